"""Metrics: the numbers of a result that stores keep and reports compare, each with its unit and meaning.

A new metric is one function with one decorator, in any module of `studies.families` or in one that an entry point of
the group ``attnflow.metrics`` names. Numbers that a single algorithm has it declares itself (`algorithms.figures`);
they are metrics like all others.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from algorithms.figures import LAST, Figure, Goal
from algorithms.register import Register, Stamp
from algorithms.registry import ALGORITHMS, AnyAlgorithm
from hwmodels.reading.errors import InputError, Problem
from studies.families.family import FAMILIES, Evaluation, family_of
from studies.families.naming import display_name, is_share
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


class _Assembled:
    """The list of all metrics, made again only when something else is registered."""

    def __init__(self) -> None:
        self._stamps: tuple[Stamp, ...] = ()
        self._metrics: tuple[Metric, ...] = ()
        self._of_family: dict[str, tuple[tuple[str, Callable[..., Scalar] | None], ...]] = {}

    def metrics(self) -> tuple[Metric, ...]:
        """Metrics that are functions, and those that algorithms declare."""
        self._assemble()
        return self._metrics

    def of_family(self, family: str) -> tuple[tuple[str, Callable[..., Scalar] | None], ...]:
        """The name of every metric, and how points of a family measure it; None where they have no such thing."""
        self._assemble()
        if family not in self._of_family:
            owners = (ANY, family)
            self._of_family[family] = tuple(
                (each.name, each.measure if each.family in owners else None) for each in self._metrics
            )
        return self._of_family[family]

    def _assemble(self) -> None:
        stamps = FAMILIES.stamp, METRICS.stamp, ALGORITHMS.stamp
        if stamps == self._stamps:
            return
        found = {name: METRICS.get(name) for name in METRICS.names()}
        for algorithm in map(ALGORITHMS.get, ALGORITHMS.names()):
            for place, figure in enumerate(algorithm.figure_kinds):
                _add(found, _metric_of(figure, algorithm, place))
        self._metrics = tuple(sorted(found.values(), key=lambda each: (each.order, each.source, each.place)))
        self._of_family = {}
        self._stamps = stamps


_assembled = _Assembled()


def _add(known: dict[str, Metric], found: Metric) -> None:
    """Add a figure of an algorithm; several algorithms may have the same."""
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
    """All metrics of an evaluation by name; None where one does not apply or is not finite."""
    found: dict[str, Scalar] = {}
    for name, how in _assembled.of_family(family_of(evaluation.point).name):
        value = how(evaluation) if how else None
        found[name] = None if isinstance(value, float) and not math.isfinite(value) else value
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
