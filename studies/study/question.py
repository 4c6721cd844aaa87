"""A question: the space of designs that a study is about, and what makes one of them better than another."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

from hwmodels.reading.errors import InputError
from studies.points.point import DesignPoint, Json, Scalar
from studies.study.axes import Choice, Space
from studies.study.goals import TOLERANCE, Constraint, Objective, PacedBlock

LARGEST_GRID = 5_000_000
"""Points that a sweep takes at most."""
SECTION = 20_000
"""Points of a large grid that are made together, so that no more than these are in memory."""


@dataclass(frozen=True)
class Setting:
    """One resolved value of a study and where it comes from."""

    name: str
    value: Json
    origin: str


@dataclass(frozen=True)
class Question:
    """What a study asks, resolved.

    Parameters
    ----------
    name, title
        What stores and reports call it.
    space
        Its axes.
    point
        The design point of a combination of the axes; raises InputError where they do not fit together.
    settings
        Every resolved value with its origin.
    objectives, constraints
        What to look for; reports fall back on the metrics that have a direction.
    blocks
        Two that work side by side, for a search in two stages; none for most studies.
    tolerance
        Share of a value within which designs are equally good by it.
    """

    name: str
    title: str
    space: Space
    point: Callable[[Choice], DesignPoint] = field(repr=False)
    settings: tuple[Setting, ...] = ()
    objectives: tuple[Objective, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    blocks: tuple[PacedBlock, ...] = ()
    tolerance: float = TOLERANCE

    @cached_property
    def points(self) -> tuple[DesignPoint, ...]:
        """Its whole grid, the last axis changing fastest; raises as `sections`."""
        if self.space.size > SECTION:
            return tuple(point for _, points in self.sections() for point in points)
        return tuple(self.point(choice) for choice in self.space.choices())

    def sections(self, skipped: Container[int] = ()) -> Iterator[tuple[int, tuple[DesignPoint, ...]]]:
        """Its grid in order, `SECTION` points at a time, each time with the place of the first.

        Parameters
        ----------
        skipped
            Numbers of sections that are not made.

        Raises
        ------
        InputError
            If the grid is too large to be swept; or, when it comes to it, of a point that cannot be made.
        """
        self._refuse_too_large()
        if self.space.size <= SECTION:
            sections = iter([self.points])
        else:
            choices = self.space.choices()
            parts = iter(lambda: tuple(islice(choices, SECTION)), ())
            sections = (() if i in skipped else tuple(map(self.point, part)) for i, part in enumerate(parts))
        yield from ((i * SECTION, points) for i, points in enumerate(sections) if i not in skipped)

    def samples(self) -> dict[int, DesignPoint]:
        """A point for every value of every axis, by their places: whatever the study names, one of them is made of it.

        Raises
        ------
        InputError
            As `sections`.
        """
        self._refuse_too_large()
        return {place: self.point(choice) for place, choice in self.space.firsts().items()}

    def _refuse_too_large(self) -> None:
        if self.space.size > LARGEST_GRID:
            size, limit = f"{self.space.size:,}", f"{LARGEST_GRID:,}"
            raise InputError(
                f"the grid of {self.name} has {size} points, more than {limit}: "
                "thin its axes, or let `attnflow search` choose"
            )

    @property
    def axes(self) -> dict[str, tuple[Scalar, ...]]:
        """Values of every axis by name."""
        return {axis.name: axis.values for axis in self.space.axes}

    def describe(self) -> dict[str, Json]:
        """The question as plain JSON values, for provenance and ``config show``."""
        conditions = {axis.name: {name: list(values) for name, values in axis.when} for axis in self.space.axes}
        chosen: dict[str, Json] = {} if self.tolerance == TOLERANCE else {"tolerance": self.tolerance}
        return {
            "name": self.name,
            "title": self.title,
            "points": self.space.size,
            "axes": {name: list(values) for name, values in self.axes.items()},
            "conditions": {name: when for name, when in conditions.items() if when},
            "objectives": {objective.metric: objective.goal for objective in self.objectives},
            "constraints": [str(constraint) for constraint in self.constraints],
            "blocks": [{"metric": block.metric, "axes": list(block.axes)} for block in self.blocks],
            "settings": {setting.name: {"value": setting.value, "origin": setting.origin} for setting in self.settings},
            **chosen,
        }
