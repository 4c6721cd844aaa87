"""Axes and the space they span: every combination that differs in something that matters.

An axis may hold only under a condition (`when`): the depth of a FIFO that one algorithm has, for example. Where
the condition does not hold the axis takes no value, so that no design is met twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from studies.points.point import Scalar

Choice = Mapping[str, Scalar]
"""A value for every axis that holds, by the name of the axis."""


@dataclass(frozen=True)
class Axis:
    """What is varied.

    Parameters
    ----------
    name
        As in the study.
    values
        In the order of the study, all different.
    when
        Pairs (axis, values): the axis holds where each of these earlier axes has one of the values.
    """

    name: str
    values: tuple[Scalar, ...]
    when: tuple[tuple[str, tuple[Scalar, ...]], ...] = ()

    def holds(self, chosen: Choice) -> bool:
        """Whether the values chosen for earlier axes meet the condition; an axis without value meets none."""
        return all(name in chosen and chosen[name] in allowed for name, allowed in self.when)


@dataclass(frozen=True)
class Space:
    """All combinations of some axes; an axis may depend on earlier ones only."""

    axes: tuple[Axis, ...] = ()

    @classmethod
    def of(cls, axes: Mapping[str, Sequence[Scalar]]) -> Space:
        """A space of axes that do not depend on each other."""
        return cls(tuple(Axis(name, tuple(values)) for name, values in axes.items()))

    def choices(self) -> Iterator[dict[str, Scalar]]:
        """Every combination, the last axis changing fastest.

        >>> space = Space((Axis("kind", ("a", "b")), Axis("depth", (1, 2), when=(("kind", ("a",)),))))
        >>> list(space.choices())
        [{'kind': 'a', 'depth': 1}, {'kind': 'a', 'depth': 2}, {'kind': 'b'}]
        """
        yield from self._continue({}, 0)

    def _continue(self, chosen: dict[str, Scalar], position: int) -> Iterator[dict[str, Scalar]]:
        while position < len(self.axes) and not self.axes[position].holds(chosen):
            position += 1
        if position == len(self.axes):
            yield dict(chosen)
            return
        axis = self.axes[position]
        for value in axis.values:
            yield from self._continue({**chosen, axis.name: value}, position + 1)

    def firsts(self) -> dict[int, Choice]:
        """For every value of every axis the first combination that has it, by the place of that in `choices`.

        >>> Space((Axis("kind", ("a", "b")), Axis("depth", (1, 2)))).firsts()
        {0: {'kind': 'a', 'depth': 1}, 1: {'kind': 'a', 'depth': 2}, 2: {'kind': 'b', 'depth': 1}}
        """
        seen: set[tuple[str, Scalar]] = set()
        found: dict[int, Choice] = {}
        counts: dict[tuple[int, tuple[Scalar, ...]], int] = {}
        deciders = sorted(self.deciders)

        def visit(chosen: dict[str, Scalar], position: int, place: int) -> int:
            """How many combinations go on from what is chosen; those that decide alike go on alike."""
            while position < len(self.axes) and not self.axes[position].holds(chosen):
                position += 1
            if position == len(self.axes):
                return 1
            alike = position, tuple(chosen.get(name) for name in deciders)
            if alike not in counts:
                axis, count = self.axes[position], 0
                for value in axis.values:
                    further = {**chosen, axis.name: value}
                    if (axis.name, value) not in seen:
                        seen.add((axis.name, value))
                        found[place + count] = next(self._continue(further, position + 1))
                    count += visit(further, position + 1, place + count)
                counts[alike] = count
            return counts[alike]

        visit({}, 0, 0)
        return found

    @cached_property
    def size(self) -> int:
        """Number of combinations."""
        deciders = self.deciders
        within = Space(tuple(axis for axis in self.axes if axis.name in deciders))
        others = [axis for axis in self.axes if axis.name not in deciders]
        return sum(math.prod(len(axis.values) for axis in others if axis.holds(choice)) for choice in within.choices())

    @cached_property
    def deciders(self) -> frozenset[str]:
        """Axes that conditions refer to."""
        return frozenset(name for axis in self.axes for name, _ in axis.when)

    def restricted(self, names: frozenset[str]) -> Space:
        """The axes of some names, and those that they depend on."""
        wanted = set(names)
        for axis in reversed(self.axes):  # an axis depends on earlier ones only
            if axis.name in wanted:
                wanted.update(name for name, _ in axis.when)
        return Space(tuple(axis for axis in self.axes if axis.name in wanted))
