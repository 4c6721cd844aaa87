"""Probe of tiers that serve one request after the other: SRAM, flash and links."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from algorithms.memory.binding import mechanism_of
from algorithms.memory.patterns import AddressSpace, make_stream
from algorithms.memory.probe_parameters import GENERATORS, ProbeParameters
from algorithms.memory.tier_report import Cause, TierReport
from hwmodels.tiers.base import ServedTier
from simulator.firing import IntArray
from simulator.servers.kernel import Kernel
from simulator.servers.mechanisms import Mechanism, kind_of

FINE_CLOCK_HZ = 1e12
"""Clock of links and drives in a probe, fine enough for picoseconds."""
LINK_SPACE_BYTES = 1 << 40
"""Addresses on a link without memory behind it, where they do not matter."""
_SINGLE = ("random", "stride")


@dataclass(frozen=True)
class _Served:
    """Mechanism of a tier, its service function, and the clock it is timed with."""

    mechanism: Mechanism
    service: Kernel[..., Any]
    clock_hz: float

    @classmethod
    def of(cls, tier: ServedTier) -> _Served:
        """The mechanism of a tier, with the tier's clock or a fine one."""
        mechanism = mechanism_of(tier, FINE_CLOCK_HZ)
        return cls(mechanism, kind_of(mechanism).service, tier.own_clock_hz or FINE_CLOCK_HZ)


def probe_requests(tier: ServedTier, parameters: ProbeParameters) -> TierReport:
    """Send reads (or writes) to the tier one after the other, each as soon as the interface takes it.

    What is lost is told apart into ``source`` (nothing was asked), ``overhead`` (protocol, and the rest of the last
    chunk, sector or word of a request) and ``queue`` (requests under way, planes or banks were all taken).
    """
    served = _Served.of(tier)
    peak = tier.peak_bytes_per_second * tier.simulated_devices / tier.count
    address, size, arrival = _requests(tier, parameters, served, peak)
    start, done, idle = _serve_all(served, address, size, arrival, int(parameters.read_fraction == 0))
    seconds = (float(done.max()) + 1) / served.clock_hz
    slots = (address % tier.slot_bytes + size + tier.slot_bytes - 1) // tier.slot_bytes
    useful = float(size.sum()) / peak / seconds
    occupied = float(slots.sum()) * tier.slot_s(reads=parameters.read_fraction > 0) / seconds
    lost: dict[Cause, float] = {
        "source": idle / served.clock_hz / seconds,
        "overhead": max(0.0, min(occupied, 1.0) - useful),
    }
    lost["queue"] = max(0.0, 1 - useful - sum(lost.values()))
    lost["source"] = 1 - useful - lost["overhead"] - lost["queue"]
    latency = (done - start + 1) / served.clock_hz
    return TierReport(
        tier.name,
        "cycle",
        tier.peak_bytes_per_second,
        seconds,
        1.0,
        useful,
        lost,
        None,
        float(latency.mean()),
        float(np.percentile(latency, 99, method="higher")),
        tier.simulated_devices,
        tier.count,
    )


def _requests(
    tier: ServedTier, parameters: ProbeParameters, served: _Served, peak: float
) -> tuple[IntArray, IntArray, IntArray]:
    """Address, size and arrival cycle of every request: single units, or runs."""
    unit = tier.address_unit_bytes
    run = unit if parameters.pattern in _SINGLE else parameters.run_bytes
    units = max(1, run // unit)
    capacity = (tier.capacity_bytes or LINK_SPACE_BYTES) * tier.simulated_devices // tier.count
    space = AddressSpace(unit, capacity, (("column", capacity // unit),), 1e9 / served.clock_hz)
    settings = {"seed": parameters.seed, "block": max(unit, run), "stride": parameters.stride_bytes}
    settings |= {"k": parameters.streams, "chunk": max(unit, run)}
    stream = make_stream(GENERATORS[parameters.pattern], space, parameters.transactions, settings)
    address = stream.address_bytes[::units].copy()
    size = np.full(address.size, run, dtype=np.int64)
    if not parameters.load:
        return address, size, np.zeros_like(size)
    cycles = run / (parameters.load * peak) * served.clock_hz
    return address, size, np.floor(np.arange(size.size) * cycles).astype(np.int64)


def _serve_all(
    served: _Served, address: IntArray, size: IntArray, arrival: IntArray, is_write: int
) -> tuple[IntArray, IntArray, int]:
    """Start and last cycle of every request, and the cycles in which the interface waited for one to arrive."""
    state = np.zeros(served.mechanism.state_words, dtype=np.int64)
    start, done = np.empty_like(address), np.empty_like(address)
    parameters = served.mechanism.parameters()
    free, idle = 0, 0
    for index in range(address.size):
        begin = max(free, int(arrival[index]))
        idle += begin - free
        start[index] = begin
        free, done[index] = served.service(parameters, state, begin, address[index], size[index], is_write)
    return start, done, idle
