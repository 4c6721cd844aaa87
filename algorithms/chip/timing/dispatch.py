"""Which core works on which item: hands out a launch's items, in order or longest first, to whoever is free first."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from algorithms.chip.plan.plan import Launch, WorkItem

ItemRuns = tuple[tuple[WorkItem, int], ...]
_MEASURABLE = 1e-100
"""Lengths between this and its inverse add up to different sums for different numbers of items."""


@dataclass(frozen=True)
class Slot:
    """A place on a core where one item at a time is worked on.

    Parameters
    ----------
    core
        Number of the core.
    items
        Pairs (item, times), in the order of work.
    estimate
        Time at which it is done, by the estimates it was handed items by.
    """

    core: int
    items: ItemRuns
    estimate: float

    @property
    def item_count(self) -> int:
        """Items of this slot."""
        return sum(times for _, times in self.items)


@dataclass(frozen=True)
class Dispatched:
    """A launch handed out to cores.

    Parameters
    ----------
    sample
        Slots of the cores that stand for all.
    working
        Cores with work.
    waves
        Most items of a slot.
    sampled
        Cores in the sample.
    """

    sample: tuple[Slot, ...]
    working: int
    waves: int
    sampled: int

    @classmethod
    def of(cls, slots: Sequence[Slot], sample: Sequence[Slot]) -> Dispatched:
        """Of all slots, and those that stand for them."""
        return cls(
            tuple(sample),
            len({slot.core for slot in slots}),
            max((slot.item_count for slot in slots), default=0),
            len({slot.core for slot in sample}),
        )


def dispatch(launch: Launch, cores: int, items_per_core: int, estimate: Callable[[WorkItem], float]) -> list[Slot]:
    """Hand out all items; slots without an item are left out.

    Parameters
    ----------
    estimate
        Length of an item in any unit.

    Notes
    -----
    Slot `n` is on core `n` modulo `cores`: cores fill up breadth first, as thread blocks do. Who gets the next item is
    decided by estimates, so that work does not depend on timing.
    """
    order = sorted(launch.items, key=lambda run: -estimate(run[0])) if launch.order == "longest_first" else launch.items
    count = min(cores * items_per_core, launch.item_count)
    free = [(0.0, number) for number in range(count)]
    runs: list[list[tuple[WorkItem, int]]] = [[] for _ in range(count)]
    for item, times in order:
        length = estimate(item)
        rounds, rest = (0, times)
        if times >= count and len({end for end, _ in free}) == 1:
            rounds, rest = divmod(times, count)  # all are free at once: whole rounds need no comparison
        if rounds:
            for taken in runs:
                _append(taken, item, rounds)
            free = [(end + rounds * length, number) for end, number in free]
            heapq.heapify(free)
        for _ in range(rest):
            end, number = free[0]
            heapq.heapreplace(free, (end + length, number))
            _append(runs[number], item, 1)
    ends = {number: end for end, number in free}
    return [Slot(number % cores, tuple(taken), ends[number]) for number, taken in enumerate(runs) if taken]


@lru_cache(maxsize=4096)
def dispatched_alike(launch: Launch, cores: int, items_per_core: int, samples: int) -> Dispatched:
    """As `dispatched`, for a launch whose items are all alike: no estimate decides who gets which."""
    slots = dispatch(launch, cores, items_per_core, lambda _: 1.0)
    return Dispatched.of(slots, sample_cores(slots, samples))


def dispatched(
    launch: Launch, cores: int, items_per_core: int, samples: int, estimate: Callable[[WorkItem], float]
) -> Dispatched:
    """All items handed out, and the slots of so many cores that stand for all."""
    if len(launch.items) == 1 and _MEASURABLE < estimate(launch.items[0][0]) < 1 / _MEASURABLE:
        return dispatched_alike(launch, cores, items_per_core, samples)
    slots = dispatch(launch, cores, items_per_core, estimate)
    return Dispatched.of(slots, sample_cores(slots, samples))


def sample_cores(slots: Sequence[Slot], count: int) -> list[Slot]:
    """Slots of ``count`` cores that stand for all: the one with most to do, and others spread evenly over the ranks."""
    ends: dict[int, float] = {}
    for slot in slots:
        ends[slot.core] = max(slot.estimate, ends.get(slot.core, 0.0))
    ranked = sorted(ends, key=lambda core: -ends[core])
    chosen = {ranked[index * len(ranked) // count] for index in range(count)} if len(ranked) > count else set(ranked)
    return [slot for slot in slots if slot.core in chosen]


def _append(runs: list[tuple[WorkItem, int]], item: WorkItem, times: int) -> None:
    if runs and runs[-1][0] is item:
        runs[-1] = (item, runs[-1][1] + times)
    else:
        runs.append((item, times))
