"""Which core works on which item: hands out a launch's items, in order or longest first, to whoever is free first."""

from __future__ import annotations

import heapq
from bisect import bisect_left
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
    if items_per_core == 1 and _later_each_time(launch, estimate):
        return _dispatched_together(launch, cores, samples, estimate)
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


def _later_each_time(launch: Launch, estimate: Callable[[WorkItem], float]) -> bool:
    """Whether every item takes time, however late it begins: none is too short to be seen beside the sum of all."""
    lengths = [(estimate(item), times) for item, times in launch.items]
    latest = 2 * sum(length * times for length, times in lengths)
    return bool(lengths) and latest + min(length for length, _ in lengths) > latest


@dataclass(frozen=True)
class _Alike:
    """Slots that have had the same items, by their numbers in order."""

    numbers: tuple[int, ...]
    items: ItemRuns

    def cut(self, count: int) -> tuple[_Alike, _Alike]:
        """The first so many of them, and the others."""
        return _Alike(self.numbers[:count], self.items), _Alike(self.numbers[count:], self.items)

    def given(self, item: WorkItem, times: int) -> _Alike:
        """The same slots with so many items more each."""
        runs = list(self.items)
        _append(runs, item, times)
        return _Alike(self.numbers, tuple(runs))


def _dispatched_together(launch: Launch, cores: int, samples: int, estimate: Callable[[WorkItem], float]) -> Dispatched:
    """As `_dispatched` for cores with one slot and items that take time: slots that are free at once are taken at once.

    A slot that takes an item is free again later than it was, so nobody who was free at the same time comes after it.
    """
    free = _handed_out_together(launch, min(cores, launch.item_count), estimate)
    ranked = [(number, end) for end in sorted(free, reverse=True) for number in _numbers(free[end])]
    count = len(ranked)
    places = [index * count // samples for index in range(samples)] if count > samples else range(count)
    chosen = sorted(ranked[place] for place in places)
    ends = {end for _, end in chosen}
    items = {number: alike.items for end in ends for alike in free[end] for number in alike.numbers}
    waves = max(sum(times for _, times in alike.items) for group in free.values() for alike in group)
    sample = tuple(Slot(number, items[number], end) for number, end in chosen)
    return Dispatched(sample, working=count, waves=waves, sampled=len(chosen))


def _handed_out_together(
    launch: Launch, count: int, estimate: Callable[[WorkItem], float]
) -> dict[float, list[_Alike]]:
    """Slots by the time at which they are done."""
    order = sorted(launch.items, key=lambda run: -estimate(run[0])) if launch.order == "longest_first" else launch.items
    free: dict[float, list[_Alike]] = {0.0: [_Alike(tuple(range(count)), ())]}
    for item, times in order:
        length, rest = estimate(item), times
        if times >= count and len(free) == 1:  # as `_handed_out`, whose sums these are
            rounds, rest = divmod(times, count)
            ((end, group),) = free.items()
            free = {end + rounds * length: [alike.given(item, rounds) for alike in group]}
        while rest:
            first = min(free)
            taken, left = _first(free.pop(first), rest)
            if left:
                free[first] = left
            free.setdefault(first + length, []).extend(alike.given(item, 1) for alike in taken)
            rest -= sum(len(alike.numbers) for alike in taken)
    return free


def _first(group: list[_Alike], count: int) -> tuple[list[_Alike], list[_Alike]]:
    """Of slots that are free at the same time those with the lowest numbers, up to ``count``, and the others."""
    numbers = _numbers(group)
    if len(numbers) <= count:
        return group, []
    most = numbers[count]
    cuts = [alike.cut(bisect_left(alike.numbers, most)) for alike in group]
    return [taken for taken, _ in cuts if taken.numbers], [left for _, left in cuts if left.numbers]


def _numbers(group: list[_Alike]) -> list[int]:
    return sorted(number for alike in group for number in alike.numbers)


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
