"""All KV policies at an equal budget: what each keeps, costs and is worth, on any chips.

Costs are those of a decode step of all layers under ``decode.policy``, at the contexts asked for. Qualities come from
the same policies, at the same share of the tokens kept, on streams of known quality of `QUALITY_TOKENS` tokens:
synthetic attention has no meaning at 128 K. They are not claims about the accuracy of a model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from algorithms.kv.text import parse_policy
from algorithms.workload.shape import Workload
from hwmodels.reading.errors import InputError, Problem
from simulator.engines.progress import report
from simulator.errors import SimulatorError
from studies.families.detail import Detail
from studies.families.evaluate import evaluate
from studies.points.find import find_algorithm
from studies.points.knobs import complete_parameters
from studies.points.outcome import Outcome, Row
from studies.points.point import ChipSetting, DesignPoint, Json, Scalar
from studies.quality.drift import DriftRow, drift_over_steps
from studies.quality.line_up import Entry, line_up
from studies.quality.passkeys import passkey_table
from studies.quality.quality import quality_table
from studies.quality.streams import StreamSize, stream_named
from studies.study.goals import Goals, Objective

QUALITY_TOKENS = 1024
"""Length of the synthetic streams; the heavy-hitter stream is calibrated at it."""
QUALITY_HEADS = 2
STUDY = "kv policies"
ALGORITHM = "decode.policy"
GOALS = Goals(
    (Objective("quality.heavy_hitter", "max"), Objective("energy_j", "min", "J"), Objective("seconds", "min", "s"))
)
"""What a policy is chosen by: quality against energy and time."""


@dataclass(frozen=True)
class Request:
    """What to put into the table.

    Parameters
    ----------
    workload
        A model; its phase and lengths are replaced.
    chips
        Where.
    contexts
        Tokens attended by full attention.
    share
        Budget as a share of the context.
    samples
        Seeds of each quality.
    tensors
        A shipped capture or an ``.npz`` file, for the quality on real tensors.
    policies
        Texts of policies; everything registered if empty.
    sampled_layers
        See ``decode.policy``.
    """

    workload: Workload
    chips: tuple[ChipSetting, ...]
    contexts: tuple[int, ...] = (32_768, 131_072)
    share: float = 1 / 8
    samples: int = 8
    tensors: str = "minilm_l6_layer3"
    policies: tuple[str, ...] = ()
    sampled_layers: int = 1

    def __post_init__(self) -> None:
        problems, least = [], 64
        if not 0 < self.share <= 1:
            problems.append(Problem(f"must be in (0, 1] (got {self.share:g})", field="share"))
        if self.samples < 1:
            problems.append(Problem(f"must be at least 1 (got {self.samples})", field="samples"))
        problems += [
            Problem(f"must be at least {least} (got {context})", field="context")
            for context in self.contexts
            if context < least
        ]
        if problems:
            raise InputError(problems)

    def entries(self, tokens: int, kv_heads: int, layers: int) -> tuple[Entry, ...]:
        """The policies at a length of ``tokens``."""
        if self.policies:
            return tuple(Entry(text, str(parse_policy(text))) for text in self.policies)
        return line_up(self.budget(tokens), kv_heads, layers)

    def budget(self, tokens: int) -> int:
        """Keys kept of ``tokens``."""
        return max(1, round(self.share * tokens))


@dataclass(frozen=True)
class Cell:
    """A policy at a context on a chip.

    Parameters
    ----------
    name, policy
        Registered name, and the configuration.
    chip, context, budget
        Where, and at how many keys per KV head; budget is None for a policy with sizes of its own.
    point
        The design; None if there is none.
    metrics
        Of `studies.families.metrics`, qualities included; empty if it cannot be evaluated.
    detail
        The whole result; None if there is none.
    notes
        Why there are no numbers, or not all.
    """

    name: str
    policy: str
    chip: str
    context: int
    budget: int | None
    point: DesignPoint | None
    metrics: Mapping[str, Json]
    detail: Detail | None = field(repr=False)
    notes: tuple[str, ...] = ()

    def describe(self) -> dict[str, Json]:
        """The cell as plain JSON values."""
        return {
            "policy": self.name,
            "configuration": self.policy,
            "chip": self.chip,
            "context": self.context,
            "budget": self.budget,
            "metrics": dict(self.metrics),
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Quality:
    """What a policy is worth: by stream, a number or the reason why there is none."""

    values: Mapping[str, float]
    reasons: Mapping[str, str]

    def notes(self) -> list[str]:
        """A line per reason, with the streams it holds for."""
        streams: dict[str, list[str]] = {}
        for stream, why in self.reasons.items():
            streams.setdefault(why, []).append(stream)
        return [f"{', '.join(named)}: {why}" for why, named in streams.items()]


def policy_table(request: Request, told: Callable[[str], None] = lambda line: None) -> list[Cell]:
    """All cells: context by context, chip by chip, policies by name.

    Parameters
    ----------
    told
        Receives a line before each piece of work.
    """
    qualities = qualities_of(request, told)
    return [cell for context in request.contexts for cell in _cells(request, context, qualities, told)]


def qualities_of(request: Request, told: Callable[[str], None] = lambda line: None) -> dict[str, Quality]:
    """Quality of every policy by name, on every stream."""
    judged = {name: dict(rows) for name, rows in _judged(request, told)}
    names = dict.fromkeys(policy for rows in judged.values() for policy in rows)
    return {
        policy: Quality(
            {name: value for name, rows in judged.items() if (value := rows[policy][0]) is not None},
            {name: rows[policy][1] for name, rows in judged.items() if rows[policy][0] is None},
        )
        for policy in names
    }


Judged = dict[str, tuple[float | None, str]]
"""By policy: a quality, and why there is none."""


def _judged(request: Request, told: Callable[[str], None]) -> Iterator[tuple[str, Judged]]:
    size = StreamSize(QUALITY_TOKENS, QUALITY_HEADS)
    for name, source in (("heavy_hitter", "heavy_hitter"), ("drift", "drift"), ("captured", request.tensors)):
        told(f"quality on {source}")
        stream = stream_named(source, size)
        sample = stream.draw(0)
        entries = request.entries(sample.tokens, sample.k.shape[0], 1)
        texts = [entry.policy for entry in entries]
        found = {
            row.policy: (row.normalised, row.note)
            for row in quality_table(texts, stream, request.budget(sample.tokens), request.samples)
        }
        yield name, {entry.name: found[str(parse_policy(entry.policy))] for entry in entries}
    told("passkeys")
    entries = request.entries(QUALITY_TOKENS, QUALITY_HEADS, 1)
    rows = passkey_table(
        [entry.policy for entry in entries],
        request.budget(QUALITY_TOKENS),
        samples=max(1, request.samples // 2),
        size=size,
    )
    for name, aware in (("passkey_aware", True), ("passkey_agnostic", False)):
        answers = {row.policy: (row.mean, row.note) for row in rows if row.query_aware is aware}
        yield name, {entry.name: answers[str(parse_policy(entry.policy))] for entry in entries}


def drift_rows(
    request: Request, intervals: int, told: Callable[[str], None] = lambda line: None
) -> tuple[DriftRow, ...]:
    """How the quality of every policy moves over the second half of a stream that it decodes; arguments as above."""
    stream = stream_named("drift", StreamSize(QUALITY_TOKENS, QUALITY_HEADS))
    rows = []
    for entry in request.entries(QUALITY_TOKENS, QUALITY_HEADS, 1):
        told(f"drift of {entry.name}")
        budget = request.budget(QUALITY_TOKENS)
        row = drift_over_steps(entry.policy, stream, budget, request.samples, intervals)
        rows.append(replace(row, policy=entry.name))
    return tuple(rows)


def _cells(
    request: Request, context: int, qualities: Mapping[str, Quality], told: Callable[[str], None]
) -> Iterator[Cell]:
    work = request.workload.with_(phase="decode", q_len=1, kv_len=context)
    budget = request.budget(context)
    entries = request.entries(context, work.kv_heads, work.layers or 1)
    before = request.contexts.index(context) * len(entries)
    for number, entry in enumerate(entries):
        report("policies", before + number, len(request.contexts) * len(entries))
        told(f"{entry.name} at {context:,} tokens")
        for setting in request.chips:
            yield _cell(request, work, entry, budget, setting, qualities[entry.name])


def _cell(request: Request, work: Workload, entry: Entry, budget: int, setting: ChipSetting, quality: Quality) -> Cell:
    chip = setting.accelerator.name
    limited = entry.budgeted and parse_policy(entry.policy).fixed_tokens() is None
    values: dict[str, Scalar] = {
        "policy": entry.policy,
        "budget": budget if limited else 0,
        "sampled_layers": request.sampled_layers,
    }
    notes = quality.notes()
    if not entry.budgeted:
        notes.append("no budget limits it")
    try:
        parameters = complete_parameters(find_algorithm(ALGORITHM), values)
        point = DesignPoint(ALGORITHM, work, parameters, timing_only=True, chip=setting)
        evaluation = evaluate(point)
    except (InputError, SimulatorError) as error:
        why = "; ".join(str(error).splitlines())
        return Cell(entry.name, entry.policy, chip, work.kv_len, budget, None, {}, None, (f"cost: {why}", *notes))
    detail = evaluation.detail
    metrics = {**detail.measured(), **{f"quality.{name}": value for name, value in quality.values.items()}}
    return Cell(
        entry.name,
        entry.policy,
        chip,
        work.kv_len,
        budget if limited else None,
        point,
        metrics,
        detail,
        tuple(notes),
    )


def report_rows(cells: Sequence[Cell]) -> list[Row]:
    """The cells as rows of a report."""
    rows = []
    for position, cell in enumerate(cell for cell in cells if cell.point is not None):
        if cell.point is not None:
            outcome = Outcome(cell.point.key, "done", cell.metrics, cell.detail)
            rows.append(Row(STUDY, position, cell.point, outcome, 1, None, {}, cell.notes))
    return rows


def title_of(request: Request) -> str:
    """Heading of the page."""
    return f"KV policies on {request.workload.name}, {100 * request.share:.4g} % of the tokens kept"
