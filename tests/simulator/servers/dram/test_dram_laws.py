"""Laws that hold on any DRAM tier and any mix: bytes are conserved, the peak is never passed, clocks add up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from simulator.servers.dram.devices import FIELD_KINDS, REFRESHES
from simulator.servers.dram.parameters import AddressField, Controller, DramDescription, Organisation, Timing
from simulator.servers.dram.tier import Requests, run_dram

UNIT_BYTES = 32
TIMING = Timing(
    cl=7, cwl=4, rcd_read=6, rcd_write=5, rp=6, ras=14, rc=20, rrd_s=3, rrd_l=4, faw=17, ccd_s=2, ccd_l=4,
    rtp=3, wtr_s=3, wtr_l=5, wr=6, burst=2, rfc=40, refi=400, rfc_bank=16, refi_bank=60, rrefd=4, rp_all=7,
)  # fmt: skip
CONTROLLERS = {
    "dramsim3": Controller(policy="dramsim3"),
    "ramulator2": Controller(policy="ramulator2"),
}
POWERS = st.sampled_from([1, 2, 4])


@st.composite
def tiers(draw):
    """Any tier: its organisation, address order, some timings and its controller."""
    organisation = Organisation(
        channels=draw(st.sampled_from([1, 2, 3])),
        ranks=draw(st.sampled_from([1, 2])),
        sids=draw(st.sampled_from([1, 2])),
        bank_groups=draw(POWERS),
        banks_per_group=draw(POWERS),
        rows=draw(st.sampled_from([2, 16, 64])),
        columns=draw(st.sampled_from([2, 16])),
        transaction_bytes=UNIT_BYTES,
        rank_owns_bus=draw(st.booleans()),
    )
    assume(organisation.banks <= 32)
    burst = draw(st.integers(1, 4))
    ccd = burst + draw(st.integers(0, 2))
    timing = replace(
        TIMING,
        burst=burst,
        ccd_s=ccd,
        ccd_l=ccd + draw(st.integers(0, 3)),
        cl=draw(st.integers(4, 12)),
        faw=draw(st.integers(12, 40)),
        wtr_l=draw(st.integers(3, 9)),
    )
    depth = draw(st.sampled_from([4, 16, 32]))
    controller = replace(
        CONTROLLERS[draw(st.sampled_from(sorted(CONTROLLERS)))],
        read_depth=depth,
        write_depth=depth,
        bank_depth=draw(st.sampled_from([2, 8])),
        drain_high=draw(st.integers(depth // 2, depth)),
        drain_low=draw(st.integers(1, depth // 4)),
        page=draw(st.sampled_from(["open", "close"])),
        refresh=draw(st.sampled_from(REFRESHES)),
        width=draw(st.sampled_from([1, 2])),
        outstanding=draw(st.sampled_from([0, 3, 20])),
        shared_source=draw(st.booleans()),
    )
    order = draw(st.permutations(FIELD_KINDS))
    return DramDescription(
        organisation, timing, controller, tuple(AddressField(kind, organisation.size(kind), False) for kind in order)
    )


@st.composite
def mixes(draw, capacity_bytes):
    """Any requests within some bytes: short and long, contiguous and strided, read and written, together and apart."""
    count = draw(st.integers(1, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    most = draw(st.sampled_from([UNIT_BYTES, 5 * UNIT_BYTES]))
    reach = min(capacity_bytes, draw(st.sampled_from([8, 200, 100_000])) * UNIT_BYTES)
    size = np.minimum(rng.integers(1, most + 1, count), reach)
    stride = np.where(rng.random(count) < draw(st.sampled_from([0.0, 0.4])), UNIT_BYTES, 0)
    # a transaction more than its bytes need, where the first is cut by a boundary
    room = np.maximum(reach - (size + 2 * UNIT_BYTES), 0)
    address = rng.integers(0, room + 1)
    address = np.where(stride > 0, address // UNIT_BYTES * UNIT_BYTES, address)
    writes = rng.random(count) < draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    arrival = np.cumsum(rng.integers(0, draw(st.sampled_from([1, 4, 300])), count))
    return Requests.of(address, size, stride, writes.astype(np.int64), arrival)


@st.composite
def runs(draw):
    """A tier and what is asked of it."""
    tier = draw(tiers())
    asked = draw(mixes(tier.organisation.capacity_bytes))
    return tier, asked


def transactions_of(asked):
    """Transactions that each request touches: all units with one of its bytes, or as many as its bytes fill."""
    first = asked.address_bytes // UNIT_BYTES
    last = (asked.address_bytes + asked.size_bytes - 1) // UNIT_BYTES
    return np.where(asked.stride_bytes > 0, -(-asked.size_bytes // UNIT_BYTES), last - first + 1)


@settings(max_examples=120, deadline=None)
@given(drawn=runs())
def test_bytes_are_conserved_and_the_peak_is_never_passed(drawn):
    tier, asked = drawn
    run = run_dram(tier, asked)
    counters, wanted = run.counters, transactions_of(asked)
    written = asked.is_write == 1
    # every transaction is counted once, and is moved, or found where another one has it
    assert (counters.reads, counters.writes) == (wanted[~written].sum(), wanted[written].sum())
    moved = counters.read_commands + counters.write_commands
    room = tier.controller.write_depth + tier.controller.bank_depth * tier.organisation.banks  # of a channel
    buffered = counters.reads + counters.writes - moved - counters.forwarded - counters.merged
    assert 0 <= buffered <= tier.organisation.channels * room * bool(counters.writes)
    assert counters.write_commands <= counters.writes and counters.read_commands <= counters.reads
    assert 0 <= counters.read_hits <= counters.read_commands and 0 <= counters.write_hits <= counters.write_commands
    # every clock of every bus is used or lost for a reason; what a burst takes after the end is not counted
    buses = tier.organisation.channels * (tier.organisation.ranks if tier.organisation.rank_owns_bus else 1)
    assert counters.bus_clocks == counters.clocks * buses
    beyond = moved * tier.timing.burst - counters.busy_clocks
    assert 0 <= beyond <= buses * (max(tier.timing.cl, tier.timing.cwl) + tier.timing.burst)
    assert counters.busy_clocks + sum(counters.lost_clocks.values()) == counters.bus_clocks
    assert min(counters.lost_clocks.values()) >= 0 and counters.busy_clocks <= counters.bus_clocks
    # nothing is taken before it comes, nor answered before it is taken; data needs its latency
    assert (run.accept_clock >= asked.arrival_clock).all()
    assert (run.done_clock >= run.accept_clock).all()
    assert counters.last_return == max(run.done_clock[~written], default=-1)


@settings(max_examples=80, deadline=None)
@given(tier=tiers(), seed=st.integers(0, 2**32 - 1), count=st.integers(1, 120), gap=st.sampled_from([0, 1, 9]))
def test_no_stretch_of_a_stream_of_reads_is_faster_than_its_buses(tier, seed, count, gap):
    """Reads of lines that all differ: none is answered from a queue, so that every return is a burst of its own."""
    rng = np.random.default_rng(seed)
    lines = rng.permutation(tier.organisation.capacity_bytes // UNIT_BYTES)[:count]
    run = run_dram(tier, Requests.of(lines * UNIT_BYTES, UNIT_BYTES, 0, 0, np.arange(len(lines)) * gap))
    assert run.counters.read_commands == len(lines)
    assert run.counters.activations >= len(lines) / (tier.organisation.columns * max(1, tier.organisation.rows))
    buses = tier.organisation.channels * (tier.organisation.ranks if tier.organisation.rank_owns_bus else 1)
    done = np.sort(run.done_clock)
    assert (run.done_clock - run.accept_clock >= tier.timing.cl + tier.timing.burst).all()
    if tier.controller.outstanding == 0:  # otherwise answers are handed over in order, some at once
        for length in {2, buses + 1, 2 * buses + 1, len(lines)}:
            if length <= len(lines):
                spans = done[length - 1 :] - done[: len(lines) - length + 1]
                assert (spans >= (length - buses) / buses * tier.timing.burst).all()
