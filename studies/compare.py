"""Two runs side by side: how their configurations, metrics and stalls differ, and whether that is too much."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from hwmodels.errors import InputError, Problem, did_you_mean
from studies.deviation import Deviation
from studies.evaluate import Evaluation
from studies.metrics import Metric, measure, metrics
from studies.space import DesignPoint, Json, Scalar, adapter_of

if TYPE_CHECKING:
    from simulator.result import Deadlock, Result

T = TypeVar("T")

ALWAYS_COMPARED = "deadlock"
"""A design that stops is never within the tolerance of one that finishes."""


@dataclass(frozen=True)
class Record:
    """What is stored of a run that is no graph: its point, its metrics, and on a chip cycles by launch and unit."""

    point: DesignPoint
    metrics: Mapping[str, Scalar]
    uses: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Run:
    """A stored run, the name it is shown under, and the document it was read from."""

    source: str
    evaluation: Evaluation | Record
    document: Mapping[str, Json] = field(default_factory=dict, repr=False)

    @property
    def metrics(self) -> Mapping[str, Scalar]:
        """All metrics by name."""
        if isinstance(self.evaluation, Record):
            return self.evaluation.metrics
        return measure(self.evaluation)

    @property
    def uses(self) -> Mapping[str, Mapping[str, int]]:
        """Cycles that each unit spends on each use."""
        return self.evaluation.uses if isinstance(self.evaluation, Record) else _uses(self.evaluation.result)


@dataclass(frozen=True)
class _Launch:
    """What comparisons read of a launch on a chip."""

    name: str
    cycles: float
    busy: dict[str, float]


@dataclass(frozen=True)
class Change:
    """A setting that differs; None where a run does not have it."""

    name: str
    a: Json
    b: Json


@dataclass(frozen=True)
class MetricDelta:
    """A metric of both runs.

    Parameters
    ----------
    delta, delta_pct
        ``b - a``, and that in percent of `a`; None for what is not a number, or for percents of 0.
    compared
        Whether the verdict depends on it.
    within
        Whether the two agree within the tolerance.
    """

    metric: Metric
    a: Scalar
    b: Scalar
    delta: float | int | None
    delta_pct: float | None
    compared: bool
    within: bool

    def describe(self) -> dict[str, Json]:
        """Plain JSON values."""
        named = {"name": self.metric.name, "unit": self.metric.unit, "meaning": self.metric.meaning}
        return {**named, **{name: value for name, value in vars(self).items() if name != "metric"}}


@dataclass(frozen=True)
class StallDelta:
    """Cycles that one unit spends on one use (busy, idle, a stall cause); None where a run has no such unit."""

    unit: str
    use: str
    a: int | None
    b: int | None

    @property
    def delta(self) -> int:
        """Cycles more in the second run."""
        return (self.b or 0) - (self.a or 0)


@dataclass(frozen=True)
class Comparison:
    """All differences between run `a` and run `b`.

    Parameters
    ----------
    tolerance_pct
        Largest difference of a compared metric, in percent of the first run's value.
    changes
        Settings that differ.
    deltas
        All metrics.
    stalls
        Uses of units whose cycles differ, in the order of the graphs.
    """

    a: Run
    b: Run
    tolerance_pct: float
    changes: tuple[Change, ...]
    deltas: tuple[MetricDelta, ...]
    stalls: tuple[StallDelta, ...]

    @property
    def within(self) -> bool:
        """Whether every compared metric is within the tolerance."""
        return all(delta.within for delta in self.deltas if delta.compared)

    def describe(self) -> dict[str, Json]:
        """Plain JSON values."""
        return {
            "a": {"source": self.a.source, "key": self.a.evaluation.point.key},
            "b": {"source": self.b.source, "key": self.b.evaluation.point.key},
            "tolerance_pct": self.tolerance_pct,
            "within": self.within,
            "config": [dict(vars(change)) for change in self.changes],
            "metrics": [delta.describe() for delta in self.deltas],
            "stalls": [{**vars(stall), "delta": stall.delta} for stall in self.stalls],
        }


def compare(a: Run, b: Run, *, tolerance_pct: float = 0.0, compared: Sequence[str] = ()) -> Comparison:
    """Compare two runs.

    Parameters
    ----------
    compared
        Names of the metrics that the verdict depends on; if there are none, cycles, or for memory tiers the rate.

    Raises
    ------
    InputError
        For an unknown metric or a negative tolerance.
    """
    if not compared:
        on_tiers = a.evaluation.point.workload is None and b.evaluation.point.workload is None
        compared = ("tier.bytes_per_second",) if on_tiers else ("cycles",)
    names = [metric.name for metric in metrics()]
    problems = [
        Problem(f"no metric is called {name!r}", field="--metric", hint=did_you_mean(name, names))
        for name in compared
        if name not in names
    ]
    if not tolerance_pct >= 0:
        problems.append(Problem(f"must be at least 0 (got {tolerance_pct:g})", field="--tolerance"))
    if problems:
        raise InputError(problems)
    values = a.metrics, b.metrics
    chosen = {*compared, ALWAYS_COMPARED}
    return Comparison(
        a,
        b,
        tolerance_pct,
        changes=tuple(_changes(a.evaluation.point, b.evaluation.point)),
        deltas=tuple(
            _delta(metric, values[0].get(metric.name), values[1].get(metric.name), tolerance_pct, metric.name in chosen)
            for metric in metrics()
        ),
        stalls=tuple(_stalls(a.uses, b.uses)),
    )


def _changes(a: DesignPoint, b: DesignPoint) -> Iterator[Change]:
    chips = [point.chip.accelerator.name for point in (a, b) if point.chip is not None]
    in_full = len(set(chips)) == 1
    before, after = (dict(_flat(_settings(point, in_full=in_full))) for point in (a, b))
    for name in [*before, *(name for name in after if name not in before)]:
        if before.get(name) != after.get(name):
            yield Change(name, before.get(name), after.get(name))


def _settings(point: DesignPoint, *, in_full: bool) -> Mapping[str, Json]:
    """A point as it is compared: of different chips the names and what was changed, of equal ones every number."""
    if point.chip is None:
        return point.describe()
    accelerator = point.chip.accelerator
    fields = accelerator.values() if in_full else dict(accelerator.changes)
    shown: dict[str, Json] = {"name": accelerator.name, **fields, "mapping": point.chip.mapping}
    shown["memory"] = point.chip.memory
    return {**point.describe(), "chip": shown}


def _flat(settings: Mapping[str, Json], prefix: str = "") -> Iterator[tuple[str, Json]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _delta(metric: Metric, a: Scalar, b: Scalar, tolerance_pct: float, compared: bool) -> MetricDelta:
    if isinstance(a, bool | str | None) or isinstance(b, bool | str | None):
        return MetricDelta(metric, a, b, None, None, compared, a == b)
    delta = b - a
    percent = 100 * delta / abs(a) if a else None
    within = abs(delta) <= tolerance_pct / 100 * abs(a)
    return MetricDelta(metric, a, b, delta, percent, compared, within)


def _stalls(before: Mapping[str, Mapping[str, int]], after: Mapping[str, Mapping[str, int]]) -> Iterator[StallDelta]:
    for unit in [*before, *(unit for unit in after if unit not in before)]:
        ours, theirs = before.get(unit), after.get(unit)
        for use in {**(ours or {}), **(theirs or {})}:
            stall = StallDelta(
                unit, use, None if ours is None else ours.get(use, 0), None if theirs is None else theirs.get(use, 0)
            )
            if stall.a != stall.b:
                yield stall


def _uses(result: Result) -> dict[str, dict[str, int]]:
    return {
        unit.name: {"busy": unit.busy_cycles, **unit.stalled_cycles, "idle": unit.idle_cycles} for unit in result.units
    }


def read_run(source: str) -> Run:
    """A run from a file that ``attnflow run --json`` wrote, or from ``STORE.sqlite:KEY`` (the start of a key will do).

    Raises
    ------
    InputError
        With one line: no such file, not JSON, not a run, no such key.
    """
    path, colon, key = source.rpartition(":")
    if colon and not Path(source).exists() and Path(path).suffix in (".sqlite", ".db"):
        document = _stored(path, key)
        return Run(source, _evaluation(document, source), document)
    try:
        document: Mapping[str, Json] = json.loads(Path(source).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(Problem(f"cannot be read: {error.strerror}", source)) from None
    except UnicodeDecodeError:
        raise InputError(Problem("is not a text file", source)) from None
    except json.JSONDecodeError as error:
        raise InputError(Problem(f"is not JSON: {error.msg}", source, error.lineno)) from None
    except RecursionError:
        raise InputError(Problem("is nested too deeply", source)) from None
    if not isinstance(document, dict):
        raise InputError(Problem("is not a run: write one with `attnflow run ... --json`", source))
    return Run(source, _evaluation(document, source), document)


def _stored(path: str, key: str) -> Mapping[str, Json]:
    from studies.store import Store

    with Store(path) as store:
        found = {row.outcome.key: row.outcome for row in store.rows() if key and row.outcome.key.startswith(key)}
    if len(found) != 1:
        what = f"{len(found)} keys start" if found else "no key starts"
        raise InputError(Problem(f"{what} with {key!r}", path))
    (outcome,) = found.values()
    if outcome.status != "done":
        raise InputError(Problem(f"{key}: {outcome.error or 'not evaluated yet'}", path))
    return outcome.detail


def _evaluation(document: Mapping[str, Json], source: str) -> Evaluation | Record:
    """The evaluation that the `describe` of an evaluation of some kind described.

    Raises
    ------
    InputError
        With the first thing that is wrong.
    """
    from simulator.errors import AccountingError

    try:
        point = DesignPoint.from_description(_part(document, "point"))
        if point.workload is None:
            return Record(point, _metrics(document), {})
        if point.chip is not None:
            return _chip_record(document, point)
        error = document["error"]
        deviation = adapter_of(Deviation).validate_python(error) if error is not None else None
        result = _result(document)
        if not result.units or not result.clock_hz > 0:
            raise TypeError("it has no units, or no clock")
        return Evaluation(point, result, deviation)
    except ValidationError as invalid:
        first = invalid.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(Problem(f"is not a run: {first['msg']}", source, field=place or None)) from None
    except KeyError as missing:
        message = f"is not a run: it lacks {missing.args[0]!r}; write one with `attnflow run ... --json`"
        raise InputError(Problem(message, source)) from None
    except (TypeError, AccountingError) as broken:
        raise InputError(Problem(f"is not a run: {broken}", source)) from None


def _chip_record(document: Mapping[str, Json], point: DesignPoint) -> Record:
    launches = adapter_of(tuple[_Launch, ...]).validate_python(document["launches"])
    uses = {
        f"{launch.name}: {unit}": {"busy": round(share * launch.cycles)}
        for launch in launches
        for unit, share in launch.busy.items()
    }
    return Record(point, _metrics(document), uses)


def _metrics(document: Mapping[str, Json]) -> dict[str, Scalar]:
    return adapter_of(dict[str, Scalar]).validate_python(document["metrics"])


def _part(document: Mapping[str, Json], name: str) -> Mapping[str, Json]:
    part = document[name]
    if not isinstance(part, Mapping):
        raise TypeError(f"{name!r} is not an object")
    return part


def _result(document: Mapping[str, Json]) -> Result:
    """The result that `Result.to_dict` described; tokens and traces are not in it."""
    from simulator.result import ChannelResult, Result, ServerResult, Skipped, UnitResult

    def read(kind: type[T], name: str) -> T:
        return adapter_of(kind).validate_python(document[name])

    return Result(
        graph=read(str, "graph"),
        engine=read(str, "engine"),
        cycles=read(int, "cycles"),
        firings=read(int, "firings"),
        wall_s=read(float, "wall_s"),
        compile_s=read(float, "compile_s"),
        schedule_digest=adapter_of(str | None).validate_python(document["schedule_digest"]),
        deadlock=_deadlock(document),
        units=read(tuple[UnitResult, ...], "units"),
        channels=read(tuple[ChannelResult, ...], "channels"),
        servers=read(tuple[ServerResult, ...], "servers"),
        lints=read(tuple[str, ...], "lints"),
        skipped=read(Skipped, "skipped"),
        outputs={},
        clock_hz=read(float, "clock_hz"),
    )


def _deadlock(document: Mapping[str, Json]) -> Deadlock | None:
    from simulator.result import Deadlock

    if document["deadlock"] is None:
        return None
    told = _part(document, "deadlock")
    return adapter_of(Deadlock).validate_python({**told, "remedy": told["smallest_depth"]})
