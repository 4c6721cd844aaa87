"""What a KV policy costs in attention: recall and output error, beside three references.

Every table has the rows ``full``, ``random`` and ``oracle`` (the keys the question attends most), and scores
are normalised between the last two. Selections come from the same `KVStream` that accounts for the cost.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from algorithms.kv.budget import KVBudget
from algorithms.kv.cost import CacheShape
from algorithms.kv.layer import Schedule
from algorithms.kv.policy import KVPolicy
from algorithms.kv.run.attention import Visible, attend
from algorithms.kv.run.stream import KVStream, StepResult
from algorithms.kv.text import parse_policy
from hwmodels.reading.errors import InputError
from studies.quality.streams import QualityStream, Sample

Array = NDArray[np.floating]

REFERENCES = ("full", "random", "oracle")
DISCLAIMER = "Synthetic attention without trained weights: not a claim about model accuracy."


@dataclass(frozen=True)
class Statistic:
    """A mean over seeds.

    Parameters
    ----------
    mean
        Of the seeds' means over heads.
    standard_error
        Of that mean; None with one seed.
    p95
        95th percentile over seeds and heads.
    """

    mean: float
    standard_error: float | None
    p95: float

    @classmethod
    def of(cls, per_seed: Sequence[Array]) -> Statistic:
        """From one array over heads per seed."""
        means = np.array([np.mean(values) for values in per_seed])
        error = float(means.std(ddof=1) / np.sqrt(means.size)) if means.size > 1 else None
        return cls(float(means.mean()), error, float(np.percentile(np.concatenate(per_seed), 95)))


@dataclass(frozen=True)
class QualityRow:
    """One policy on one stream.

    Parameters
    ----------
    policy, stream
        Which.
    budget
        Keys per head, and the length of the stream.
    tokens
        Tokens of the stream.
    samples
        Seeds (or questions of a file).
    mean_attended
        Keys the question saw per head; larger than the budget where a policy is not bound by it.
    mass_recall
        Probability that full attention puts on the keys seen.
    top_recall
        Share of the `budget` keys with the highest probability that were seen.
    relative_error
        `|output - full| / |full|` per query head.
    normalised
        Relative error between ``random`` (0) and ``oracle`` (1); above 1 is better than the oracle.
    note
        Why a cell is empty, or what to keep in mind.
    """

    policy: str
    stream: str
    budget: int
    tokens: int
    samples: int
    mean_attended: float | None = None
    mass_recall: Statistic | None = None
    top_recall: Statistic | None = None
    relative_error: Statistic | None = None
    normalised: float | None = None
    note: str = ""

    @property
    def evaluable(self) -> bool:
        """Whether there are numbers."""
        return self.relative_error is not None


@dataclass(frozen=True, eq=False)
class Truth:
    """Full attention of the question of a sample."""

    sample: Sample
    output: Array
    probabilities: Array

    @classmethod
    def of(cls, sample: Sample) -> Truth:
        """Of the last token of `sample`, which attends to all."""
        positions = np.arange(sample.tokens)[None]
        full = attend(
            sample.q[:, -1:],
            np.array([sample.tokens - 1]),
            Visible(sample.k, sample.v, positions),
            last_probabilities=True,
        )
        if full.last_probabilities is None:
            raise ValueError("attention was asked for its probabilities and has none")
        return cls(sample, full.output[:, 0], full.last_probabilities)


def quality_table(
    policies: Iterable[KVPolicy | str], stream: QualityStream, budget: int, samples: int = 30, seed: int = 0
) -> list[QualityRow]:
    """Quality of `policies` at an equal budget on one stream; the references come first.

    A sample's prompt is everything but its last token; the last query is the question. Policies that hold
    frames get the prompt frame by frame, the others as their papers do: in one pass, or in their chunks.

    Parameters
    ----------
    budget
        Keys per KV head.
    samples
        Seeds, the same for every policy.
    """
    count = samples if stream.most_samples is None else min(samples, stream.most_samples)
    truths = [Truth.of(stream.draw(seed + number)) for number in range(count)]
    names = [str(policy) for policy in policies]
    rows = [_row(parse_policy(name), stream, budget, truths) for name in dict.fromkeys([*REFERENCES, *names])]
    return _normalised(rows)


def _normalised(rows: list[QualityRow]) -> list[QualityRow]:
    by_name = {row.policy: row.relative_error for row in rows}
    worst, best = by_name["random"], by_name["oracle"]
    if worst is None or best is None or worst.mean == best.mean:
        return rows
    span = worst.mean - best.mean
    return [
        row if row.relative_error is None else replace(row, normalised=(worst.mean - row.relative_error.mean) / span)
        for row in rows
    ]


def _row(policy: KVPolicy, stream: QualityStream, budget: int, truths: Sequence[Truth]) -> QualityRow:
    tokens = truths[0].sample.tokens
    blank = QualityRow(str(policy), stream.name, budget, tokens, len(truths))
    why = cannot_judge(policy, stream)
    if why:
        return replace(blank, note=why)
    mass: list[Array] = []
    top: list[Array] = []
    error: list[Array] = []
    attended: list[float] = []
    try:
        for number, truth in enumerate(truths):
            result = ask(policy, truth.sample, budget, seed=number)
            attended.append(float(np.mean(result.cost.attended)))
            one = measures(result, truth, budget)
            for collected, values in zip((mass, top, error), one, strict=True):
                collected.append(values)
    except InputError as reason:
        return replace(blank, note=str(reason))
    keyed = policy.exact_when_unlimited
    return replace(
        blank,
        mean_attended=float(np.mean(attended)),
        mass_recall=Statistic.of(mass) if keyed else None,
        top_recall=Statistic.of(top) if keyed else None,
        relative_error=Statistic.of(error),
        note="" if keyed else "answers from a state, so recall of keys has no meaning",
    )


def cannot_judge(policy: KVPolicy, stream: QualityStream) -> str:
    """Why a policy cannot be judged on a stream; empty when it can."""
    if stream.synthetic and not _judged_on_synthetic(policy):
        return "not evaluable on synthetic streams: rests on a property of trained keys or values"
    wanted = policy.wanted()
    if "logits" in wanted:
        return "needs the self-information of tokens, which the stream does not have"
    if "modality" in wanted:
        return "needs modalities, which the stream does not have"
    return ""


def _judged_on_synthetic(policy: KVPolicy) -> bool:
    parts = [*getattr(policy, "parts", ()), *getattr(policy, "policies", ())]
    base = getattr(policy, "base", None)
    inner = [*parts, *([base] if base is not None else [])]
    return policy.synthetic_evaluable and all(_judged_on_synthetic(part) for part in inner)


def ask(policy: KVPolicy, sample: Sample, budget: int, *, prompt: int | None = None, seed: int = 0) -> StepResult:
    """Feed the prompt of a sample, then its question; the result of the question.

    Parameters
    ----------
    prompt
        Tokens of the prompt; all but the last when None. Tokens between it and the last are decoded one by
        one.
    """
    stream = stream_over(policy, sample, budget, seed)
    stream.outputs = False
    prompt = sample.tokens - 1 if prompt is None else prompt
    frame = getattr(policy, "frame", None)
    if "grid" in policy.wanted() and isinstance(frame, int):
        _feed_frames(stream, sample, prompt, frame)
    else:
        stream.prefill(sample.q[:, :prompt], sample.k[:, :prompt], sample.v[:, :prompt])
    for at in range(prompt, sample.tokens - 1):
        stream.step(*token_at(sample, at))
    stream.outputs = True
    return stream.step(*token_at(sample, sample.tokens - 1))


def token_at(sample: Sample, at: int) -> tuple[Array, Array, Array]:
    """q, k and v of one token, as `KVStream.step` takes them."""
    return sample.q[:, at : at + 1], sample.k[:, at : at + 1], sample.v[:, at : at + 1]


def _feed_frames(stream: KVStream, sample: Sample, prompt: int, frame: int) -> None:
    for start in range(0, prompt, frame):
        rows = slice(start, min(start + frame, prompt))
        stream.step(sample.q[:, rows], sample.k[:, rows], sample.v[:, rows], phase="frame")


def stream_over(policy: KVPolicy, sample: Sample, budget: int, seed: int, when: Schedule | None = None) -> KVStream:
    """An empty cache of the shape of a sample under `policy`, with `budget` keys per head."""
    shape = CacheShape(sample.q.shape[0], sample.k.shape[0], sample.k.shape[2], sample.v.shape[2])
    return KVStream(
        policy,
        shape,
        KVBudget(tokens=budget),
        source=(sample.k, sample.v),
        context_tokens=sample.tokens,
        seed=seed,
        when=when,
    )


def last_output(result: StepResult) -> Array:
    """What the last query got: `(query_heads, value_dim)`, of a stream that computes outputs."""
    if result.output is None:
        raise ValueError("a stream without outputs answers no question")
    return result.output[:, -1]


def measures(result: StepResult, truth: Truth, budget: int) -> tuple[Array, Array, Array]:
    """Mass recall, top-k recall and relative error per query head."""
    heads, group = len(truth.output), len(truth.output) // len(result.selected)
    mass, top = np.empty(heads), np.empty(heads)
    for head in range(heads):
        seen = result.selected[head // group]
        probabilities = truth.probabilities[head]
        mass[head] = probabilities[seen].sum()
        best = np.argsort(-probabilities, kind="stable")[:budget]
        top[head] = np.isin(best, seen).mean()
    gap = np.linalg.norm(last_output(result) - truth.output, axis=-1)
    return mass, top, gap / np.linalg.norm(truth.output, axis=-1)
