"""Share of its peak that a chip's main memory sustains for the runs of bytes that a launch reads.

``peak`` takes the data sheet's rate. ``cycle`` serves the pattern on the banks of the tier's preset: many readers, one
per work item and tensor, each with runs of a tile's bytes, as fast as the memory takes them; ``analytic`` puts the same
pattern into closed forms, whose error against the banks ``attnflow validate analytic`` tabulates. One device of several
stands for all, since runs are spread over them alike. A kernel profile with a fitted bandwidth keeps its own figure.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from algorithms.chip.plan.plan import Launch
from algorithms.chip.plan.profile import KernelProfile
from algorithms.chip.timing.fidelity import MemoryFidelity
from algorithms.memory.binding import dram_description
from hwmodels.chips.accelerator import Accelerator
from hwmodels.tiers.dram import DramTier
from hwmodels.tiers.dram_analytic import DramTraffic, estimate_dram
from hwmodels.tiers.text import load_tier
from simulator.firing import IntArray
from simulator.servers.dram.tier import Requests, run_dram

REFRESH_INTERVALS = 2
"""Length of the sample: every bank is refreshed so often in it."""
ANALYTIC_TRANSACTIONS = 1 << 13
LARGEST_RUN_BYTES = 1 << 16
MOST_READERS = 64
TENSORS = 2
"""Keys and values are read side by side."""


def at_fidelity(launch: Launch, chip: Accelerator, profile: KernelProfile, fidelity: MemoryFidelity) -> KernelProfile:
    """`profile` with the share of the main memory's peak that the launch's work items sustain between them."""
    memory = chip.memory
    if fidelity == "peak" or "bandwidth_fraction" in profile.fitted or memory.preset is None:
        return profile
    readers = min(launch.item_count, chip.cores * profile.items_per_core) * TENSORS // memory.count
    streams = _power_of_two(min(max(readers, 1), MOST_READERS))
    device_rate = memory.bytes_per_second / memory.count
    share = sustained_share(
        memory.preset, device_rate, run_bytes(launch), streams, fidelity, scattered=launch.gather_bytes > 0
    )
    return replace(profile, bandwidth_fraction=profile.bandwidth_fraction * share)


def run_bytes(launch: Launch) -> int:
    """Bytes that a work item reads of one tensor at a stretch, down to a power of two.

    They are half of its largest step, or the pieces of a gather.
    """
    if launch.gather_bytes:
        return _power_of_two(min(launch.gather_bytes, LARGEST_RUN_BYTES))
    largest = max((step.load_bytes for item, _ in launch.items for step, _ in item.steps), default=0)
    return _power_of_two(min(max(largest // TENSORS, 1), LARGEST_RUN_BYTES))


def _power_of_two(number: int) -> int:
    """The largest power of two that is not above a positive number."""
    return 1 << (number.bit_length() - 1)


@lru_cache(maxsize=1024)
def sustained_share(
    preset: str,
    device_bytes_per_second: float,
    run: int,
    streams: int,
    fidelity: MemoryFidelity = "cycle",
    scattered: bool = False,
) -> float:
    """Share of the peak that one device reaches for ``streams`` sequential readers of ``run`` bytes at a time.

    Where runs are ``scattered`` each of them is anywhere, as the pieces of a gather are.

    Tiers without banks (SRAM, links) reach their peak.
    """
    tier = load_tier(preset, 1)
    if not isinstance(tier, DramTier):
        return 1.0
    tier = tier.at_peak(device_bytes_per_second)
    run = max(run, tier.organisation.transaction_bytes)
    if fidelity == "analytic":
        unit = tier.organisation.transaction_bytes
        address = _addresses(tier, run, streams, ANALYTIC_TRANSACTIONS * unit, scattered)
        transactions = (address[:, None] + np.arange(0, run, unit, dtype=np.int64)).ravel()
        return estimate_dram(tier, DramTraffic(transactions, np.zeros_like(transactions))).utilisation
    timing, bus = tier.standard.timing, tier.standard.bus
    interval_s = timing.refi * bus.ticks_per_clock * tier.standard.tick_s
    sample_bytes = round(REFRESH_INTERVALS * interval_s * tier.peak_bytes_per_second)
    address = _addresses(tier, run, streams, sample_bytes, scattered)
    counters = run_dram(dram_description(tier), Requests.of(address, run)).counters
    return counters.busy_clocks / counters.bus_clocks


def _addresses(tier: DramTier, run: int, streams: int, total_bytes: int, scattered: bool = False) -> IntArray:
    """Addresses of readers of ``run`` bytes at a time, in turns, until they have read ``total_bytes``."""
    organisation = tier.organisation
    rounds = max(1, total_bytes // (run * streams))
    if scattered:
        places = np.random.default_rng(run).integers(0, organisation.capacity_bytes // run, rounds * streams)
        return places * run
    region = organisation.capacity_bytes // streams // run * run
    # regions that begin at the same bank would meet in it again and again, which allocators avoid
    skew = organisation.columns * organisation.transaction_bytes * organisation.channels
    reader = np.arange(streams, dtype=np.int64)
    bases = reader * region + reader * skew % region // run * run
    address = (bases + run * np.arange(rounds, dtype=np.int64)[:, None]).ravel()
    starts: IntArray = np.minimum(address, organisation.capacity_bytes - run)
    return starts
