"""Metrics: the numbers of a result that stores keep and reports compare, each with its unit and meaning.

A new metric is one function with one decorator, in any module of `studies.families` or in one that an entry point of
the group ``attnflow.metrics`` names. Numbers that a single algorithm has it declares itself (`algorithms.figures`);
they are metrics like all others.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TypeVar

from algorithms.figures import LAST, Figure, Goal
from algorithms.register import Register, Stamp
from algorithms.registry import ALGORITHMS, AnyAlgorithm
from hwmodels.reading.errors import InputError, Problem, did_you_mean
from studies.families.family import FAMILIES, Evaluation, family_of
from studies.families.naming import display_name, is_share
from studies.points.find import find_algorithm
from studies.points.point import Scalar

ANY = "any"
"""In place of the name of a family: all of them."""

Measured = TypeVar("Measured", bound=Evaluation)
Measure = Callable[[Measured], Scalar]


@dataclass(frozen=True)
class Metric:
    """A number of a result.

    Parameters
    ----------
    name
        As in stores and reports.
    unit
        Empty for none.
    meaning
        One line.
    measure
        From an evaluation to the number.
    source
        Module that declares it.
    goal
        Which way is better, for a metric that designs are chosen by.
    static
        It belongs to the design, not to the run, and so holds even where the design deadlocks.
    family
        Name of the family whose points have it, or ``any``.
    title
        What people read in place of the name; made from the name where nobody says.
    order, place
        Metrics are listed in ascending order; those of one order by their module, and in its own order.
    """

    name: str
    unit: str
    meaning: str
    measure: Callable[..., Scalar]
    source: str
    goal: Goal | None = None
    static: bool = False
    family: str = ANY
    order: int = LAST
    place: int = 0
    title: str = ""

    @property
    def shown(self) -> str:
        """The name that people read."""
        return self.title or display_name(self.name)

    @property
    def share(self) -> bool:
        """Whether it is a part of a whole, which people read in per cent."""
        return not self.unit and is_share(self.name)


METRICS: Register[Metric] = Register("metric", "studies.families", "attnflow.metrics")
"""Metrics that are functions; `metrics` has those of algorithms, too."""

_places = itertools.count()


def metric(
    name: str,
    unit: str,
    meaning: str,
    *,
    family: str,
    goal: Goal | None = None,
    static: bool = False,
    order: int = LAST,
    title: str = "",
) -> Callable[[Measure[Measured]], Measure[Measured]]:
    """Register the decorated function as the metric `name`; see `Metric` for the parameters.

    Raises
    ------
    InputError
        If there is a metric of that name; the message names both modules.
    """

    def register(function: Measure[Measured]) -> Measure[Measured]:
        source = getattr(function, "__module__", __name__)
        found = Metric(name, unit, meaning, function, source, goal, static, family, order, next(_places), title)
        METRICS.add(name, found)
        return function

    return register


def metrics() -> tuple[Metric, ...]:
    """All metrics, those of algorithms among them, in their order.

    Raises
    ------
    InputError
        Two algorithms that mean different things by one name, or a plug-in that does not load.
    """
    return _assembled.metrics()


def metrics_of(algorithms: Iterable[str]) -> tuple[Metric, ...]:
    """Metrics that points of some algorithms have, in their order; all where one of the algorithms is gone.

    Nothing that other families and other algorithms declare is imported for it; raises as `metrics`.
    """
    try:
        found = [_own_metrics(find_algorithm(name)) for name in dict.fromkeys(algorithms)]
    except InputError:  # a store may outlive the plug-in that wrote it
        return metrics()
    return _in_order({metric.name: metric for own in reversed(found) for metric in own})


def find_metric(name: str, algorithms: Iterable[str] = ()) -> Metric:
    """The metric called `name`; what no point of `algorithms` has is looked for among all others.

    Raises
    ------
    InputError
        If there is none, with the nearest name; or as `metrics`.
    """
    own = {metric.name: metric for metric in metrics_of(algorithms)}
    found = own.get(name) or METRICS.present(name)
    if found is None:
        known = {metric.name: metric for metric in metrics()}
        if name not in known:
            raise InputError(Problem(f"no metric is called {name!r}", hint=did_you_mean(name, known)))
        found = known[name]
    return found


class _Assembled:
    """The list of all metrics, made again only when something else is registered."""

    def __init__(self) -> None:
        self._stamps: tuple[Stamp, ...] = ()
        self._metrics: tuple[Metric, ...] = ()

    def metrics(self) -> tuple[Metric, ...]:
        """Metrics that are functions, and those that algorithms declare."""
        stamps = FAMILIES.stamp, METRICS.stamp, ALGORITHMS.stamp
        if stamps != self._stamps:
            found = {name: METRICS.get(name) for name in METRICS.names()}
            for algorithm in map(ALGORITHMS.get, ALGORITHMS.names()):
                _add_figures(found, algorithm)
            self._metrics = _in_order(found)
            self._stamps = stamps
        return self._metrics


_assembled = _Assembled()


def _own_metrics(algorithm: AnyAlgorithm) -> tuple[Metric, ...]:
    METRICS.load_part(family_of(algorithm).source.rpartition(".")[0])
    return _metrics_of(algorithm, METRICS.held)


@lru_cache(maxsize=1024)
def _metrics_of(algorithm: AnyAlgorithm, stamp: Stamp) -> tuple[Metric, ...]:
    """What points of an algorithm are measured by: all that is of any family, of its own, and what it declares itself.

    No other family and no other algorithm is imported for it.
    """
    del stamp
    owners = (ANY, family_of(algorithm).name)
    found = {metric.name: metric for metric in METRICS.entries if metric.family in owners}
    _add_figures(found, algorithm)
    return _in_order(found)


def _in_order(found: Mapping[str, Metric]) -> tuple[Metric, ...]:
    return tuple(sorted(found.values(), key=lambda each: (each.order, each.source, each.place)))


def _add_figures(known: dict[str, Metric], algorithm: AnyAlgorithm) -> None:
    """Add the figures of an algorithm; several algorithms may have the same."""
    for place, figure in enumerate(algorithm.figure_kinds):
        found = _metric_of(figure, algorithm, place)
        first = known.setdefault(found.name, found)
        if replace(found, measure=first.measure, source=first.source, place=first.place) != first:
            both = f"{first.source} and {found.source}"
            raise InputError(Problem(f"metric {found.name!r} is declared in different ways by {both}"))


def _metric_of(figure: Figure, algorithm: AnyAlgorithm, place: int) -> Metric:
    return Metric(
        figure.name,
        figure.unit,
        figure.meaning,
        partial(_figure, figure.name),
        algorithm.source,
        figure.goal,
        figure.static,
        family_of(algorithm).name,
        figure.order,
        place,
        figure.title,
    )


def _figure(name: str, evaluation: Evaluation) -> Scalar:
    return evaluation.figures.get(name)


def measure(evaluation: Evaluation) -> dict[str, Scalar]:
    """The metrics of an evaluation by name: those of any family, of its family, and what its algorithm declares.

    One that does not apply to this design, or is not finite, is None; those of other families are not there.
    """
    found: dict[str, Scalar] = {}
    for metric in _own_metrics(find_algorithm(evaluation.point.algorithm)):
        value = metric.measure(evaluation)
        found[metric.name] = None if isinstance(value, float) and not math.isfinite(value) else value
    return found


@metric("cycles", "cycle", "simulated cycles until all work is done", goal="min", family=ANY, order=0, title="Cycles")
def _cycles(evaluation: Evaluation) -> Scalar:
    return evaluation.cycles


@metric("seconds", "s", "simulated time until all work is done", goal="min", family=ANY, order=1, title="Time")
def _seconds(evaluation: Evaluation) -> Scalar:
    return evaluation.seconds


@metric(
    "error.rel_l2",
    "",
    "relative L2 error of the output against the float64 oracle",
    family=ANY,
    order=20,
    title="Relative L2 error",
)
def _relative_error(evaluation: Evaluation) -> Scalar:
    return evaluation.deviation.rel_l2 if evaluation.deviation else None


@metric(
    "error.max_abs",
    "",
    "largest absolute error of one output element against the float64 oracle",
    family=ANY,
    order=21,
    title="Largest error",
)
def _absolute_error(evaluation: Evaluation) -> Scalar:
    return evaluation.deviation.max_abs if evaluation.deviation else None


@metric(
    "wall_s",
    "s",
    "time the simulation itself took on this computer, compilation not counted",
    family=ANY,
    order=40,
    title="Simulation time",
)
def _wall_s(evaluation: Evaluation) -> Scalar:
    return evaluation.wall_s
