"""Firing tables of a core's units, from the places in its items at which they fire.

The items of a core are many, but differ in little else than how often a step is repeated. What a unit does is therefore
worked out once per *place*: a step, whether it is the first or the last of its item, and what the item loads and stores
around it. Runs of equal firings are joined within an item and from one item to the next, so that a table grows with
what differs, not with steps, and for most units not with items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from algorithms.chip.cores.dispatch import ItemRuns
from algorithms.chip.plan.plan import TileStep, WorkItem
from algorithms.chip.timing.throughput import StepTicks, Throughput
from simulator import Block, FiringTable, Segment


@dataclass(frozen=True)
class Place:
    """Place of a firing in its item.

    Parameters
    ----------
    step
        Step that the firing is a part of.
    first, last
        Whether that is the first, or the last, of the item.
    first_load_bytes, last_vector_ops, last_store_bytes
        Bytes and operations of the item before its first and after its last step.
    """

    step: StepTicks
    first: bool
    last: bool
    first_load_bytes: int
    last_vector_ops: int
    last_store_bytes: int

    @property
    def emits(self) -> bool:
        """Whether something is stored behind the step."""
        return self.last or self.step.store_bytes > 0

    @property
    def stored_bytes(self) -> int:
        """Behind the step."""
        return self.step.store_bytes + (self.last_store_bytes if self.last else 0)


class Fired(NamedTuple):
    """One firing of a unit; the fields are those of `simulator.Segment`, which takes ten times as long to make."""

    take: tuple[int, ...]
    make: tuple[int, ...]
    latency: int
    ii: int
    request_bytes: int


class Moving(NamedTuple):
    """A firing that moves bytes over a shared tier, whose times are a matter of how fast that is.

    Parameters
    ----------
    take, make
        Tokens, as in `Fired`.
    tier, share
        The tier, and which share of the bytes it moves: that of loads or stores that the main memory has to do with,
        or all.
    bytes
        Bytes that the firing moves, before the share is taken.
    behind_cache
        Whether data comes through the caches, which cannot hold it up, a latency later.
    rearrange
        Ticks for which the local memory is busy with what has come.
    """

    take: tuple[int, ...]
    make: tuple[int, ...]
    tier: Literal["memory", "cache"]
    share: Literal["load", "store", "all"]
    bytes: int
    behind_cache: bool = False
    rearrange: int = 0


PlaceRuns = tuple[tuple[Place, int], ...]
"""The places of an item in order, each with the number of equal steps there."""
Work = Sequence[tuple[PlaceRuns, int]]
"""The items of a core in order, each with the number of equal items."""
Firing = Callable[[Place], Fired | Moving | None]
"""The firing at a place, None where there is none."""
Run = tuple[Fired | Moving, int]
"""Equal firings one after the other, and their number."""
Loop = tuple[tuple[Run, ...], int]
"""Runs that are repeated together, and how often."""


class Places:
    """The places of the items of a launch; those that are equal are one object."""

    def __init__(self, throughput: Throughput) -> None:
        self._throughput = throughput
        self._same: dict[Place, Place] = {}
        self._of_item: dict[int, tuple[WorkItem, PlaceRuns]] = {}

    def work(self, items: ItemRuns) -> Work:
        """The work of a core with these items."""
        return [(self._places(item), times) for item, times in items]

    def _places(self, item: WorkItem) -> PlaceRuns:
        # by identity, since comparing items takes longer; the item is kept, and with it its identity
        if id(item) not in self._of_item:
            places = tuple((self._same.setdefault(place, place), times) for place, times in self._cut(item))
            self._of_item[id(item)] = item, places
        return self._of_item[id(item)][1]

    def _cut(self, item: WorkItem) -> Iterator[tuple[Place, int]]:
        """First and last step are places of their own; one step that does nothing for an item without any."""
        steps = [(self._throughput.step(step), times) for step, times in item.steps if times]
        steps = steps or [(self._throughput.step(TileStep()), 1)]
        around = item.first_load_bytes, item.last_vector_ops, item.last_store_bytes
        total, done = sum(times for _, times in steps), 0
        for step, given in steps:
            times = given
            if done == 0:
                yield Place(step, True, total == 1, *around), 1
                done, times = 1, times - 1
            final = int(times > 0 and done + times == total)
            if times > final:
                yield Place(step, False, False, *around), times - final
            if final:
                yield Place(step, False, True, *around), 1
            done += times


def firing_table(work: Work, firing: Firing, before: Firing | None = None) -> FiringTable:
    """A ``firing`` per step of every item, and one ``before`` the steps of each item; none of them has an address."""
    return table_of(firing_loops(work, firing, before))


def table_of(loops: Sequence[Loop]) -> FiringTable:
    """Loops as a table of the simulator."""
    return FiringTable(tuple(Block(_segments(runs), times) for runs, times in loops))


def firing_loops(work: Work, firing: Firing, before: Firing | None = None) -> tuple[Loop, ...]:
    """The firings of `firing_table`, neighbours joined where they are equal."""
    table = _Joined()
    at, ahead = _Once(firing), _Once(before)
    for places, times in work:
        runs = [(at(place), count) for place, count in places]
        if before:
            runs.insert(0, (ahead(places[0][0]), 1))
        table.add([(fired, count) for fired, count in runs if fired is not None], times)
    return table.made()


class _Once:
    """A firing at places, worked out once per place; equal ones are one object."""

    def __init__(self, firing: Firing | None) -> None:
        self._firing = firing
        self._at: dict[int, Fired | Moving | None] = {}
        self._same: dict[Fired | Moving | None, Fired | Moving | None] = {}

    def __call__(self, place: Place) -> Fired | Moving | None:
        if id(place) not in self._at:
            fired = self._firing(place) if self._firing else None
            self._at[id(place)] = self._same.setdefault(fired, fired)
        return self._at[id(place)]


class _Joined:
    """Runs of firings, neighbours joined where they are equal."""

    def __init__(self) -> None:
        self._loops: list[Loop] = []
        self._open: list[Run] = []

    def add(self, runs: list[Run], times: int) -> None:
        """``times`` repetitions of ``runs``; one that has a single kind of firing is a longer run."""
        joined = _joined(runs)
        if len(joined) == 1:
            segment, count = joined[0]
            joined, times = [(segment, count * times)], 1
        if times == 1:
            self._open = _joined(joined, self._open)
        elif joined:
            self._close()
            self._loops.append((tuple(joined), times))

    def made(self) -> tuple[Loop, ...]:
        """All places of all items."""
        self._close()
        return tuple(self._loops)

    def _close(self) -> None:
        if self._open:
            self._loops.append((tuple(self._open), 1))
            self._open = []


def _joined(runs: list[Run], behind: list[Run] | None = None) -> list[Run]:
    """``runs`` added to those ``behind`` which they come; equal firings are one object."""
    joined = [] if behind is None else behind
    for segment, count in runs:
        if joined and joined[-1][0] is segment:
            joined[-1] = segment, joined[-1][1] + count
        else:
            joined.append((segment, count))
    return joined


def _segments(runs: Sequence[Run]) -> tuple[Segment, ...]:
    return tuple(_segment(one, count) for one, count in runs)


def _segment(one: Fired | Moving, count: int) -> Segment:
    if isinstance(one, Moving):
        raise TypeError("how long bytes take to move is a matter of the tiers")
    return Segment(count, one.take, one.make, one.latency, one.ii, request_bytes=one.request_bytes)
