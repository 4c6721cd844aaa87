"""Which core works on which item: hands out a launch's items, in order or longest first, to whoever is free first."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
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
    runs, ends = _handed_out(launch, cores, items_per_core, estimate)
    return [Slot(number % cores, tuple(taken), ends[number]) for number, taken in enumerate(runs) if taken]


def _handed_out(
    launch: Launch, cores: int, items_per_core: int, estimate: Callable[[WorkItem], float]
) -> tuple[list[list[tuple[WorkItem, int]]], list[float]]:
    """Items and end of every slot."""
    order = sorted(launch.items, key=lambda run: -estimate(run[0])) if launch.order == "longest_first" else launch.items
    count = min(cores * items_per_core, launch.item_count)
    free = [(0.0, number) for number in range(count)]
    runs: list[list[tuple[WorkItem, int]]] = [[] for _ in range(count)]
    for item, times in order:
        length = estimate(item)
        rounds, rest = (0, times)
        if times >= count and all(end == free[0][0] for end, _ in free):
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
    ends = [0.0] * count
    for end, number in free:
        ends[number] = end
    return runs, ends


@lru_cache(maxsize=4096)
def dispatched_alike(launch: Launch, cores: int, items_per_core: int, samples: int) -> Dispatched:
    """As `dispatched`, for a launch whose items are all alike: no estimate decides who gets which."""
    return _dispatched(launch, cores, items_per_core, samples, lambda _: 1.0)


def dispatched(
    launch: Launch, cores: int, items_per_core: int, samples: int, estimate: Callable[[WorkItem], float]
) -> Dispatched:
    """All items handed out, and the slots of so many cores that stand for all."""
    if len(launch.items) == 1 and _MEASURABLE < estimate(launch.items[0][0]) < 1 / _MEASURABLE:
        return dispatched_alike(launch, cores, items_per_core, samples)
    return _dispatched(launch, cores, items_per_core, samples, estimate)


def _dispatched(
    launch: Launch, cores: int, items_per_core: int, samples: int, estimate: Callable[[WorkItem], float]
) -> Dispatched:
    runs, ends = _handed_out(launch, cores, items_per_core, estimate)
    chosen = _ranked(((number % cores, ends[number]) for number, taken in enumerate(runs) if taken), samples)
    sample = [
        Slot(number % cores, tuple(taken), ends[number])
        for number, taken in enumerate(runs)
        if taken and number % cores in chosen
    ]
    return Dispatched(
        tuple(sample),
        working=len({number % cores for number, taken in enumerate(runs) if taken}),
        waves=max((sum(times for _, times in taken) for taken in runs), default=0),
        sampled=len(chosen),
    )


def sample_cores(slots: Sequence[Slot], count: int) -> list[Slot]:
    """Slots of ``count`` cores that stand for all: the one with most to do, and others spread evenly over the ranks."""
    chosen = _ranked(((slot.core, slot.estimate) for slot in slots), count)
    return [slot for slot in slots if slot.core in chosen]


def _ranked(ends: Iterable[tuple[int, float]], count: int) -> set[int]:
    """Of pairs (core, end of a slot) the cores that stand for all."""
    last: dict[int, float] = {}
    for core, end in ends:
        last[core] = max(end, last.get(core, 0.0))
    ranked = sorted(last, key=lambda core: -last[core])
    return {ranked[index * len(ranked) // count] for index in range(count)} if len(ranked) > count else set(ranked)


def _append(runs: list[tuple[WorkItem, int]], item: WorkItem, times: int) -> None:
    if runs and runs[-1][0] is item:
        runs[-1] = (item, runs[-1][1] + times)
    else:
        runs.append((item, times))
