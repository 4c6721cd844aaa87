"""Two runs side by side: how their configurations, metrics and stalls differ, and whether that is too much."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from hwmodels.reading.errors import InputError, Problem, did_you_mean
from studies.families.detail import Detail
from studies.families.family import family_of
from studies.families.metrics import Metric, metrics
from studies.points.point import DesignPoint, Json, Scalar

COMPARED = "cycles"
"""What designs of different families are compared by."""
ALWAYS_COMPARED = "deadlock"
"""A design that stops is never within the tolerance of one that finishes."""


@dataclass(frozen=True)
class Run:
    """A stored run, and the name it is shown under."""

    source: str
    detail: Detail

    @property
    def point(self) -> DesignPoint:
        """What was evaluated."""
        return self.detail.point

    @cached_property
    def metrics(self) -> Mapping[str, Scalar]:
        """All metrics by name."""
        return self.detail.measured()


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
            "a": {"source": self.a.source, "key": self.a.point.key},
            "b": {"source": self.b.source, "key": self.b.point.key},
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
        Names of the metrics that the verdict depends on; if there are none, the one that the family of both is after,
        or cycles.

    Raises
    ------
    InputError
        For an unknown metric or a negative tolerance.
    """
    if not compared:
        wanted = {family_of(run.point).objective for run in (a, b)}
        compared = tuple(wanted) if len(wanted) == 1 else (COMPARED,)
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
        changes=tuple(_changes(a.point, b.point)),
        deltas=tuple(
            _delta(metric, values[0].get(metric.name), values[1].get(metric.name), tolerance_pct, metric.name in chosen)
            for metric in metrics()
        ),
        stalls=tuple(_stalls(a.detail.uses, b.detail.uses)),
    )


def _changes(a: DesignPoint, b: DesignPoint) -> Iterator[Change]:
    pairs = ((a, b), (b, a))
    before, after = (dict(_flat(family_of(point).settings(point, other))) for point, other in pairs)
    for name in [*before, *(name for name in after if name not in before)]:
        if before.get(name) != after.get(name):
            yield Change(name, before.get(name), after.get(name))


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
