"""What a study is after: metrics to make small or large, and limits that a design has to keep."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, get_args

from algorithms.figures import Goal
from hwmodels.reading.errors import InputError
from hwmodels.reading.quantity import UNIT_NAMES, parse_quantity
from studies.families.metrics import Metric, find_metric
from studies.points.point import Json

Comparison = Literal["<=", ">=", "<", ">"]
COMPARISONS: tuple[Comparison, ...] = get_args(Comparison)
_CONSTRAINT = re.compile(r"\s*([\w.]+)\s*(<=|>=|<|>)\s*(\S.*?)\s*")


TOLERANCE = 0.005
"""Share of a value within which designs are equally good where nobody says: no model here is that exact."""


@dataclass(frozen=True)
class Objective:
    """A metric and which way is better."""

    metric: str
    goal: Goal
    unit: str = ""

    def cost(self, metrics: Mapping[str, Json]) -> float | None:
        """The metric of a design, turned so that less is better; None where it has none."""
        value = number_of(metrics, self.metric)
        return None if value is None else -value if self.goal == "max" else value

    def __str__(self) -> str:
        return f"{self.goal} {self.metric}"


@dataclass(frozen=True)
class Constraint:
    """A limit for a metric; `bound` is in the metric's unit."""

    metric: str
    comparison: Comparison
    bound: float
    unit: str = ""

    def violation(self, metrics: Mapping[str, Json]) -> float:
        """How far a design is beyond the limit, relative to it; 0 or less if it keeps it, infinite without a value.

        >>> limit = Constraint("area_mm2", "<=", 800.0)
        >>> limit.violation({"area_mm2": 1000.0}), limit.violation({"area_mm2": 800})
        (0.25, 0.0)
        """
        value = number_of(metrics, self.metric)
        if value is None:
            return math.inf
        beyond = value - self.bound if self.comparison in ("<=", "<") else self.bound - value
        if beyond == 0 and self.comparison in ("<", ">"):
            return math.ulp(0.0)
        return beyond / (abs(self.bound) or 1.0)

    def keeps(self, metrics: Mapping[str, Json]) -> bool:
        """Whether a design keeps the limit."""
        return self.violation(metrics) <= 0

    def __str__(self) -> str:
        return f"{self.metric} {self.comparison} {self.bound:g}{f' {self.unit}' if self.unit else ''}"


@dataclass(frozen=True)
class PacedBlock:
    """One of two blocks of a design that work side by side: the metric that is its pace, and the axes that make it."""

    metric: str
    axes: tuple[str, ...]


@dataclass(frozen=True)
class Goals:
    """What the studies of a report are after.

    Parameters
    ----------
    objectives
        Of all studies; empty when they want different things.
    constraints
        By study.
    tolerance
        Share of a value within which designs are equally good by it.
    """

    objectives: tuple[Objective, ...] = ()
    constraints: Mapping[str, tuple[Constraint, ...]] = field(default_factory=dict)
    tolerance: float = TOLERANCE

    @classmethod
    def of(cls, descriptions: Mapping[str, Mapping[str, Json]]) -> Goals:
        """The goals in the descriptions of studies, as stored; a metric that is gone is left out."""
        wanted = {name: tuple(_objectives(told.get("objectives"))) for name, told in descriptions.items()}
        return cls(
            next(iter(wanted.values())) if len(set(wanted.values())) == 1 else (),
            {name: tuple(_constraints(told.get("constraints"))) for name, told in descriptions.items()},
            max((_tolerance(told.get("tolerance")) for told in descriptions.values()), default=TOLERANCE),
        )

    def broken(self, study: str, metrics: Mapping[str, Json]) -> list[Constraint]:
        """Constraints of a study that a design does not keep."""
        return [constraint for constraint in self.constraints.get(study, ()) if not constraint.keeps(metrics)]


def _tolerance(told: Json) -> float:
    return float(told) if isinstance(told, int | float) and 0 <= told < 1 else TOLERANCE


def _objectives(told: Json) -> Iterator[Objective]:
    for name, goal in told.items() if isinstance(told, Mapping) else ():
        with suppress(InputError):
            yield read_objective(name, "max" if goal == "max" else "min")


def _constraints(told: Json) -> Iterator[Constraint]:
    for text in told if isinstance(told, Sequence) and not isinstance(told, str) else ():
        with suppress(InputError):
            yield read_constraint(str(text))


def number_of(metrics: Mapping[str, Json], name: str) -> float | None:
    """A metric as a finite number, or None; a truth value counts as 0 or 1."""
    value = metrics.get(name)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def read_objective(name: str, goal: Goal | None = None, algorithms: Iterable[str] = ()) -> Objective:
    """The objective to bring the metric `name` in the direction of `goal`; its own direction if none is given.

    Parameters
    ----------
    algorithms
        Those of the study, whose metrics are looked at first.

    Raises
    ------
    InputError
        Unknown metric, with the nearest name, or one that has no direction of its own.
    """
    metric = find_metric(name, algorithms)
    chosen = goal or metric.goal
    if chosen is None:
        raise InputError(f"{name} is not better in either direction: write it as '{name}: min' or '{name}: max'")
    return Objective(name, chosen, metric.unit)


def read_constraint(text: str, algorithms: Iterable[str] = ()) -> Constraint:
    """A constraint as written: ``area_mm2 <= 800``, ``seconds < 2 ms``, ``fifo.capacity_bytes <= 64 KiB``.

    Parameters
    ----------
    algorithms
        As `read_objective`.

    Raises
    ------
    InputError
        What is wrong with it.
    """
    found = _CONSTRAINT.fullmatch(text)
    if not found:
        raise InputError(f"must be METRIC <= VALUE, or with <, >= or > (got {text!r})")
    name, comparison, bound = found.groups()
    metric = find_metric(name, algorithms)
    return Constraint(
        name, next(each for each in COMPARISONS if each == comparison), _bound(bound, metric), metric.unit
    )


def _bound(text: str, metric: Metric) -> float:
    try:
        value = parse_quantity(text, metric.unit) if metric.unit in UNIT_NAMES else float(text)
    except ValueError as error:
        plain = f"must be a number (got {text!r})"
        raise InputError(str(error) if metric.unit in UNIT_NAMES else plain) from None
    if not math.isfinite(value):
        raise InputError(f"must be a finite number (got {text!r})")
    return value
