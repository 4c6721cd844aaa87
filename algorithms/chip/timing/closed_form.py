"""How long a launch takes, in closed form: items by their busiest unit, handed to cores, under the tiers' bandwidth.

The simulated graph of `core_graph` in one step: an item lasts as long as its loads take to arrive, plus every tile step
at the rate of the unit that binds it, plus the end that nothing hides; items go to whichever core is free first; and no
launch beats the bytes it moves. Contention inside a core beyond its busiest unit, and that of cores for a tier within a
launch, are left out. Hundreds of times faster than the simulation; a test tells how far apart they are.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from algorithms.chip.plan.plan import TileStep
from algorithms.chip.plan.profile import KernelProfile
from algorithms.chip.timing.launch_work import LaunchWork
from algorithms.chip.timing.throughput import TICKS_PER_CYCLE, Throughput
from algorithms.chip.timing.traffic import Traffic, traffic
from algorithms.compiled import compiled
from hwmodels.chips.accelerator import Accelerator

LISTED_WAVES = 4
"""Waves of items, the last ones, that are handed out one by one; those before share the cores evenly."""
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class LaunchEstimate:
    """How long a launch takes.

    Parameters
    ----------
    name
        Name of the launch.
    seconds
        Time from its start to the end of its last item.
    cores_s
        Part of that which the cores need, however fast the tiers are.
    memory_s, cache_s
        Time that the main memory and the caches need for the bytes they move.
    start_s
        Until the first tile is there.
    moved
        Bytes by tier.
    """

    name: str
    seconds: float
    cores_s: float
    memory_s: float
    cache_s: float
    start_s: float
    moved: Traffic

    @property
    def binding(self) -> str:
        """What takes the longest: ``cores``, ``memory`` or ``cache``."""
        parts = {"cores": self.cores_s, "memory": self.memory_s, "cache": self.cache_s}
        return max(parts, key=lambda name: parts[name])


def estimate_launch(
    work: LaunchWork, chip: Accelerator, profile: KernelProfile, copies: int = 1, warm: bool = False
) -> LaunchEstimate:
    """``copies`` of a launch beside each other, as the heads of an attention are.

    Parameters
    ----------
    work
        Work of one of the copies.
    warm
        Whether the caches hold all that it loads and stores from an earlier run.
    """
    cores = _Cores(work, chip, profile, copies, warm)
    moved = cores.moved
    fraction = profile.bandwidth_fraction
    memory_s = moved.memory_bytes / (chip.memory.bytes_per_second * fraction)
    cache_s = 0.0
    if chip.caches:
        slowest = min(tier.bytes_per_second for tier in chip.caches)
        cache_s = (moved.load_bytes + moved.store_bytes) / (slowest * fraction)
    start_s = cores.latency_s
    cores_s = max(cores.makespan_s() - profile.item_gap_s, 0.0)  # nothing waits behind the last item
    seconds = max(cores_s, start_s + memory_s, start_s + cache_s)
    return LaunchEstimate(work.launch.name, seconds, cores_s, memory_s, cache_s, start_s, moved)


class _Cores:
    """The cores of a chip at work on copies of a launch."""

    def __init__(self, work: LaunchWork, chip: Accelerator, profile: KernelProfile, copies: int, warm: bool) -> None:
        self.work, self.chip, self.profile, self.copies = work, chip, profile, copies
        self.throughput = Throughput.of(work.launch, chip, profile)
        self.places = chip.cores * profile.items_per_core
        self.count = work.item_count * copies
        self.sharing = min(profile.items_per_core, -(-self.count // chip.cores))
        self.latency_s = (0.0 if warm else chip.memory.latency_s) + sum(tier.latency_s for tier in chip.caches)
        self.moved = self._moved(warm)
        self.load_s_per_byte = self._seconds_per_byte(self.moved.memory_share)
        self.store_s_per_byte = self._seconds_per_byte(self.moved.stored_share)

    def _seconds_per_byte(self, memory_share: float) -> float:
        """Of what one item loads or stores, while as many others as there are on average do the same.

        Items of a wave begin together and stay in step, so that each gets its even share of the tiers; where a wave is
        not full the shares are larger.
        """
        waves = -(-self.count // self.places)
        together = self.count / waves if waves else 1.0
        fraction = self.profile.bandwidth_fraction
        parts = [self.sharing / (self.chip.core.sram_bytes_per_cycle * self.throughput.clock_hz)]
        parts.append(memory_share * together / (self.chip.memory.bytes_per_second * fraction))
        parts += [together / (tier.bytes_per_second * fraction) for tier in self.chip.caches]
        return max(parts)

    def _moved(self, warm: bool) -> Traffic:
        """Bytes of all copies: that of one copy, whose active items are its share of the places."""
        work = self.work
        active = max(1, self.places // self.copies)
        one = traffic(work.launch, self.chip, active, (work.load_bytes, work.store_bytes, work.item_count))
        return Traffic(
            self.copies * one.load_bytes,
            self.copies * one.store_bytes,
            0 if warm else self.copies * one.memory_load_bytes,
            0 if warm else self.copies * one.memory_store_bytes,
        )

    def makespan_s(self) -> float:
        """Until the last core is done, if tiers deliver at once what is asked of them."""
        lengths, times, copies = self._items_s(), self.work.times, self.copies
        if self.work.launch.order == "longest_first":
            order = np.argsort(-lengths, kind="stable")
            lengths, times, copies = lengths[order], times[order] * copies, 1
        return handed_out_s(lengths, times, self.places, copies)

    def _items_s(self) -> Numbers:
        """Items from the start of their loads until their place is free for the next, `(items,)`.

        The first tile is waited for; every other one comes while the one before it is worked on.
        """
        work, first = self.work, self.work.first_steps
        busy = np.array([self._busy_s(step) for step in work.steps])
        fed = np.array([self._feed_s(step) for step in work.steps])
        steps = np.maximum(busy, fed)
        ends = np.array([self._hidden_s(step) for step in work.steps])[first]
        ends = ends + work.last_vector_ops / (self.chip.core.vector_flops_per_cycle / 2 * self.throughput.clock_hz)
        ends = ends + work.last_store_bytes * self.store_s_per_byte
        if self.profile.next_item == "ahead":
            starts = np.zeros(len(first))
        else:
            starts = self.latency_s + work.first_load_bytes * self.load_s_per_byte + (fed + busy - steps)[first]
        lengths: Numbers = starts + work.counts @ steps + ends + self.profile.item_gap_s
        return lengths

    def _feed_s(self, step: TileStep) -> float:
        """Until what a step loads and stores has moved; of loads only so many are on their way (Little's law)."""
        moving = step.load_bytes * self.load_s_per_byte + step.store_bytes * self.store_s_per_byte
        return max(moving, self.latency_s / self.profile.tiles_in_flight) if step.load_bytes else moving

    def _busy_s(self, step: TileStep) -> float:
        """A step in the steady state, by its busiest unit, with its operands there."""
        part, groups, sharing = self.throughput.step(step), self.throughput.groups, self.sharing
        shared = sharing * groups * max(part.matrix + part.hold, part.exp, part.vector, part.exchange)
        chain: float = part.scores + part.exp + part.vector + part.exchange + part.exchange_wait
        chain += self.profile.bubble_cycles * TICKS_PER_CYCLE
        if groups == 1:
            chain += part.values
        return self._seconds(max(shared, chain, part.rearrange))

    def _hidden_s(self, step: TileStep) -> float:
        """What of a step other row groups hide in the steady state, and nothing does at an item's two ends."""
        part = self.throughput.step(step)
        if self.throughput.groups == 1:
            return 0.0
        return self._seconds(part.exp + part.vector + part.values)

    def _seconds(self, ticks: float) -> float:
        return ticks / self.throughput.tick_hz


def handed_out_s(lengths: Numbers, times: NDArray[np.int64], places: int, copies: int = 1) -> float:
    """Until the last of ``places`` is free again, when items go in order to whichever is free first.

    Parameters
    ----------
    lengths, times
        Times of items in order, and how often each stands there, `(items,)` each.
    copies
        How often the whole list is handed out.
    """
    count = copies * int(times.sum())
    if not count:
        return 0.0
    if count <= places:
        return float(lengths.max())
    total = copies * float(lengths @ times)
    return float(_last_end(total, places, lengths, times, copies, min(count, LISTED_WAVES * places)))


@compiled
def _last_end(total: float, places: int, lengths: Numbers, times: NDArray[np.int64], copies: int, listed: int) -> float:
    """When the last place is free again: the last ``listed`` items one by one, after an even share of the others."""
    of_copy = 0
    for number in range(len(times)):
        of_copy += times[number]
    skipped = copies * of_copy - listed
    position = 0
    rest = 0.0
    for _ in range(copies):  # what the listed items take together
        if position + of_copy <= skipped:
            position += of_copy
            continue
        for number in range(len(times)):
            here = min(times[number], max(0, position + times[number] - skipped))
            rest += here * lengths[number]
            position += times[number]
    before = (total - rest) / places
    ends = [before] * places
    latest = before
    position = 0
    for _ in range(copies):
        if position + of_copy <= skipped:
            position += of_copy
            continue
        for number in range(len(times)):
            here = min(times[number], max(0, position + times[number] - skipped))
            position += times[number]
            for _ in range(here):
                end = ends[0] + lengths[number]
                heapq.heapreplace(ends, end)
                latest = max(latest, end)
    return latest
