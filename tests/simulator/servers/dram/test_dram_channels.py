"""DRAM tiers: mapping, run-length requests, hazards, front ends, resuming, accounting, refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import CapacityError, GraphError, SimulatorError
from simulator.servers.dram.mapping import bank_of, decode, encode
from simulator.servers.dram.parameters import (
    FIELD_KINDS,
    AddressField,
    Controller,
    DramDescription,
    Organisation,
    Timing,
)
from simulator.servers.dram.tier import LOSS_CAUSES, DramCounters, Requests, RunningTier, layout, run_dram

TIMING = Timing(
    cl=7, cwl=4, rcd_read=6, rcd_write=5, rp=6, ras=14, rc=20, rrd_s=3, rrd_l=4, faw=17, ccd_s=2, ccd_l=4,
    rtp=3, wtr_s=3, wtr_l=5, wr=6, burst=2, rfc=40, refi=400, rfc_bank=16, refi_bank=60, rrefd=4, rp_all=7,
)  # fmt: skip
ORGANISATION = Organisation(
    channels=4, ranks=2, sids=1, bank_groups=2, banks_per_group=2, rows=32, columns=16, transaction_bytes=64
)
BANK_QUEUES = Controller(policy="dramsim3", read_depth=16, write_depth=16, drain_high=16)
POOL = Controller(policy="ramulator2", read_depth=16, write_depth=16, drain_high=13, drain_low=4, refresh="together")
POLICIES = {"dramsim3": BANK_QUEUES, "ramulator2": POOL}
ORDER = ("column", "channel", "group", "rank", "sid", "bank", "row")


def describe(controller=BANK_QUEUES, organisation=ORGANISATION, timing=TIMING, order=ORDER, xor=()):
    fields = tuple(AddressField(kind, organisation.size(kind), kind in xor) for kind in order)
    return DramDescription(organisation, timing, controller, fields)


@pytest.fixture(params=POLICIES)
def description(request):
    return describe(POLICIES[request.param])


def random_requests(description, seed, count=300, writes=0.3, arrival=0):
    rng = np.random.default_rng(seed)
    blocks = description.organisation.capacity_bytes // 64
    address = rng.integers(blocks, size=count) * 64
    return Requests.of(address, 64, is_write=(rng.random(count) < writes).astype(np.int64), arrival_clock=arrival)


# ---- mapping ---------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    order=st.permutations(FIELD_KINDS),
    channels=st.sampled_from([1, 2, 5, 6]),
    xor=st.sets(st.sampled_from(["rank", "group", "bank", "row"])),
    number=st.integers(0),
)
def test_every_address_has_its_own_place_and_back(order, channels, xor, number):
    organisation = replace(ORGANISATION, channels=channels)
    p = describe(organisation=organisation, order=order, xor=xor).parameters()
    number %= organisation.capacity_bytes // 64
    coordinates = np.empty(7, dtype=np.int64)
    decode(p, number, coordinates)
    sizes = [organisation.size(kind) for kind in FIELD_KINDS]
    assert all(0 <= value < size for value, size in zip(coordinates, sizes, strict=True))
    assert encode(p, coordinates) == number


def test_a_small_tier_is_covered_exactly_once():
    organisation = replace(ORGANISATION, rows=4)
    p = describe(organisation=organisation, xor=("group", "bank")).parameters()
    seen = set()
    coordinates = np.empty(7, dtype=np.int64)
    for number in range(organisation.capacity_bytes // 64):
        decode(p, number, coordinates)
        assert 0 <= bank_of(p, coordinates) < organisation.banks
        seen.add(tuple(coordinates))
    assert len(seen) == organisation.capacity_bytes // 64


def test_a_field_in_two_parts():
    fields = [AddressField("column", 4), AddressField("channel", 4), AddressField("column", 4)]
    fields += [AddressField(kind, ORGANISATION.size(kind)) for kind in ("group", "rank", "bank", "row")]
    p = DramDescription(ORGANISATION, TIMING, BANK_QUEUES, tuple(fields)).parameters()
    coordinates = np.empty(7, dtype=np.int64)
    decode(p, 3 + 4 * 2 + 16 * 3, coordinates)
    assert coordinates[FIELD_KINDS.index("column")] == 3 + 4 * 3
    assert coordinates[FIELD_KINDS.index("channel")] == 2


def test_consecutive_column_bits_are_xored_in_the_order_of_the_coordinates():
    p = describe(xor=("rank", "group", "bank", "row")).parameters()
    coordinates = np.empty(7, dtype=np.int64)
    for column in range(16):
        decode(p, column, coordinates)
        by_kind = dict(zip(FIELD_KINDS, coordinates, strict=True))
        bits = [column >> shift & 1 for shift in range(3)]
        assert [by_kind["rank"], by_kind["group"], by_kind["bank"]] == bits
        assert by_kind["row"] == column >> 3


# ---- run-length requests ---------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    policy=st.sampled_from(sorted(POLICIES)),
    blocks=st.lists(st.tuples(st.integers(0, 63), st.integers(1, 40), st.booleans()), min_size=1, max_size=20),
    xor=st.booleans(),
)
def test_a_run_takes_as_long_as_its_transactions_one_by_one(policy, blocks, xor):
    description = describe(POLICIES[policy], xor=("group",) if xor else ())
    address = np.array([block * 4096 for block, _, _ in blocks])
    length = np.array([length for _, length, _ in blocks])
    is_write = np.array([int(write) for _, _, write in blocks])
    runs = run_dram(description, Requests.of(address, length * 64, is_write=is_write))
    owner = np.repeat(np.arange(len(blocks)), length)
    offset = np.concatenate([np.arange(n) for n in length])
    single = run_dram(description, Requests.of(address[owner] + offset * 64, 64, is_write=is_write[owner]))
    assert runs.counters == single.counters
    done = np.zeros(len(blocks), dtype=np.int64)
    np.maximum.at(done, owner, single.done_clock)
    assert np.array_equal(runs.done_clock, done)


EVEN = describe(
    replace(BANK_QUEUES, read_depth=32, dual_command_bus=True),
    replace(ORGANISATION, channels=2, ranks=1, banks_per_group=8, columns=32),
    replace(TIMING, ccd_l=2, refi=700),
)
"""Reads may follow each other without a gap wherever they go, so that the fast lane takes whole rounds at once."""


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    longest=st.sampled_from([8, 64, 300]),
    writes=st.sampled_from([0.0, 0.0, 0.1]),
    gap=st.sampled_from([0, 0, 40]),
    width=st.sampled_from([1, 2, 5]),
)
def test_whole_rounds_are_the_same_as_one_read_after_the_other(seed, longest, writes, gap, width):
    description = replace(EVEN, controller=replace(EVEN.controller, width=width))
    rng = np.random.default_rng(seed)
    length = rng.integers(1, longest, size=30)
    address = rng.integers(description.organisation.capacity_bytes // 64 - longest, size=30) * 64
    is_write = (rng.random(30) < writes).astype(np.int64)
    arrival = np.arange(30) * gap
    runs = run_dram(description, Requests.of(address, length * 64, 0, is_write, arrival))
    owner = np.repeat(np.arange(30), length)
    offset = np.concatenate([np.arange(n) for n in length])
    single = run_dram(description, Requests.of(address[owner] + offset * 64, 64, 0, is_write[owner], arrival[owner]))
    assert runs.counters == single.counters
    done = np.zeros(30, dtype=np.int64)
    np.maximum.at(done, owner, single.done_clock)
    assert np.array_equal(runs.done_clock, done)


def test_a_strided_run_is_the_same_as_its_transactions(description):
    stride = 3 * 64
    run = run_dram(description, Requests.of(np.array([128]), 50 * 64, stride_bytes=stride))
    singles = run_dram(description, Requests.of(128 + np.arange(50) * stride, 64))
    assert run.done_clock[0] == singles.done_clock.max()
    assert run.counters == singles.counters


def test_a_request_covers_every_transaction_it_touches(description):
    run = run_dram(description, Requests.of(np.array([60]), np.array([8])))
    assert run.counters.reads == 2


# ---- hazards ---------------------------------------------------------------------------------------------------------


def test_reads_of_one_address_share_an_access_under_dramsim3_only():
    requests = Requests.of(np.zeros(6, dtype=np.int64), 64)
    commands = {name: run_dram(describe(c), requests).counters.read_commands for name, c in POLICIES.items()}
    assert commands == {"dramsim3": 1, "ramulator2": 6}


def test_a_read_takes_its_data_from_a_buffered_write(description):
    requests = Requests.of(np.zeros(2, dtype=np.int64), 64, is_write=np.array([1, 0]))
    run = run_dram(description, requests)
    assert run.counters.forwarded == 1
    assert run.counters.read_commands == 0
    assert run.done_clock[1] <= 2


def test_a_write_replaces_a_buffered_write(description):
    run = run_dram(description, Requests.of(np.zeros(5, dtype=np.int64), 64, is_write=1))
    assert run.counters.writes == 5
    # the pool of ramulator2 lets go of a write when it opens its row
    assert run.counters.merged >= 3


def test_a_write_waits_for_a_read_of_the_old_data():
    # the read comes first in program order, so it must not see the write behind it
    description = describe()
    address = np.concatenate([[0], np.zeros(1, dtype=np.int64), np.arange(1, 40) * 64])
    is_write = np.concatenate([[0], np.ones(40, dtype=np.int64)])
    run = run_dram(description, Requests.of(address, 64, is_write=is_write))
    assert run.counters.forwarded == 0
    assert run.counters.read_commands == 1


# ---- front ends ------------------------------------------------------------------------------------------------------


def test_one_request_per_clock_cannot_fill_four_channels():
    reads = Requests.of(np.arange(4000) * 64 % ORGANISATION.capacity_bytes, 64)
    timing = replace(TIMING, ccd_l=2)
    for controller in POLICIES.values():
        wide = run_dram(describe(replace(controller, refresh="none"), timing=timing), reads).counters
        narrow_source = replace(controller, refresh="none", shared_source=True, width=1)
        spread = ("channel", *ORDER[:1], *ORDER[2:])
        narrow = run_dram(describe(narrow_source, timing=timing, order=spread), reads).counters
        assert narrow.clocks >= 4000
        assert narrow.lost_clocks["source"] > narrow.busy_clocks * 0.6
        assert wide.clocks < 2600


def test_a_transaction_that_must_wait_holds_back_a_shared_source(description):
    # channel 0 gets a burst of row conflicts, channel 1 a single read behind them
    organisation = description.organisation
    row = organisation.capacity_bytes // organisation.rows
    address = np.concatenate([np.arange(30) * row, [organisation.columns * 64]])
    requests = Requests.of(address, 64)
    controller = replace(description.controller, width=4)
    apart = run_dram(describe(controller), requests)
    shared = run_dram(describe(replace(controller, shared_source=True)), requests)
    assert apart.accept_clock[-1] == 0
    assert shared.accept_clock[-1] > 5 * TIMING.rc


@pytest.mark.parametrize("limit", [1, 2, 7])
@pytest.mark.parametrize("shared", [False, True])
def test_no_more_transactions_in_flight_than_allowed(description, limit, shared):
    organisation = replace(description.organisation, channels=1)
    controller = replace(description.controller, outstanding=limit, shared_source=shared)
    requests = random_requests(describe(controller, organisation), seed=3, writes=0.0)
    run = run_dram(describe(controller, organisation), requests)
    # transaction n may be accepted when transaction n - limit has returned
    assert np.all(run.accept_clock[limit:] >= run.done_clock[:-limit])
    free = run_dram(describe(description.controller, organisation), requests)
    assert run.counters.clocks >= free.counters.clocks


def test_arrivals_are_respected(description):
    requests = random_requests(description, seed=4, count=100, arrival=np.arange(100) * 37)
    run = run_dram(description, requests)
    assert np.all(run.accept_clock >= requests.arrival_clock)
    assert np.all(run.accept_clock <= requests.arrival_clock + TIMING.rfc + TIMING.rc)


# ---- refresh and page policies ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("refresh", ["staggered", "together", "per_bank", "none"])
def test_refreshes_come_at_their_interval(description, refresh):
    description = describe(replace(description.controller, refresh=refresh))
    arrival = np.arange(200) * 100
    counters = run_dram(description, random_requests(description, 5, 200, 0.0, arrival)).counters
    per_interval = {"staggered": 1, "together": 2, "per_bank": 1, "none": 0}[refresh]
    interval = {"staggered": 200, "together": 400, "per_bank": 60, "none": 1}[refresh]
    due = (counters.clocks - 1) // interval * per_interval * description.organisation.channels
    done = counters.bank_refreshes if refresh == "per_bank" else counters.refreshes
    assert due - 2 * description.organisation.channels * max(per_interval, 1) <= done <= due
    assert (counters.lost_clocks["refresh"] > 0) == (refresh != "none")


def test_per_bank_refresh_costs_less_than_all_banks(description):
    clocks = {}
    for refresh in ("together", "per_bank", "none"):
        # the same share of time per bank: one refresh of 16 clocks per bank and 480 clocks
        timing = replace(TIMING, refi=480, rfc=16, refi_bank=60, rfc_bank=16)
        d = describe(replace(description.controller, refresh=refresh), timing=timing)
        clocks[refresh] = run_dram(d, random_requests(d, 6, 4000, 0.0)).counters.clocks
    assert clocks["none"] < min(clocks["per_bank"], clocks["together"])
    if description.controller.policy == "dramsim3":
        # ramulator2 stops all reads and writes of the channel for every refresh
        assert clocks["per_bank"] < clocks["together"]


def test_close_page_activates_for_every_access(description):
    reads = Requests.of(np.arange(400) * 64, 64)
    controller = replace(description.controller, refresh="none")
    close = run_dram(describe(replace(controller, page="close")), reads).counters
    open_page = run_dram(describe(controller), reads).counters
    assert close.activations == 400
    assert open_page.activations < 60


# ---- resuming --------------------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(
    policy=st.sampled_from(sorted(POLICIES)),
    seed=st.integers(0, 50),
    steps=st.lists(st.integers(1, 60), min_size=1, max_size=30),
    outstanding=st.sampled_from([0, 5]),
)
def test_running_in_steps_changes_nothing(policy, seed, steps, outstanding):
    description = describe(replace(POLICIES[policy], outstanding=outstanding))
    rng = np.random.default_rng(seed)
    arrival = np.sort(rng.integers(0, 900, size=120))
    requests = random_requests(description, seed, 120, 0.3, arrival)
    whole = run_dram(description, requests)
    tier = RunningTier(description, requests=120)
    clock, step, offered = 0, 0, 0
    while any(tier.done_clock(i) is None for i in range(120)):
        assert clock < 20_000
        while offered < 120 and arrival[offered] <= clock:
            columns = (requests.address_bytes, requests.size_bytes)
            address, size = (int(column[offered]) for column in columns)
            assert tier.offer(offered, address, size, int(arrival[offered]), 0, bool(requests.is_write[offered]))
            offered += 1
        # no request may be offered before a clock that has been run already
        upcoming = int(arrival[offered]) if offered < 120 else clock + steps[step % len(steps)]
        clock = min(clock + steps[step % len(steps)], max(upcoming, clock + 1))
        tier.advance(clock - 1)
        step += 1
    assert [tier.done_clock(i) for i in range(120)] == list(whole.done_clock)


def test_a_copied_state_goes_on_like_the_original(description):
    requests = random_requests(description, 8)
    tiers = [RunningTier(description, requests=300) for _ in range(2)]
    for i in range(300):
        assert tiers[0].offer(i, int(requests.address_bytes[i]), 64, 0, 0, bool(requests.is_write[i]))
    tiers[0].advance(150)
    for name in ("state", "rings", "out"):
        getattr(tiers[1], name)[:] = getattr(tiers[0], name)
    for tier in tiers:
        tier.advance(5000)
    assert np.array_equal(tiers[0].out, tiers[1].out)
    assert np.array_equal(tiers[0].state, tiers[1].state)


def test_the_next_event_is_never_late(description):
    requests = random_requests(description, 9, count=40, writes=0.0)
    tier = RunningTier(description, requests=40)
    assert tier.next_event() == layout.FAR
    for i in range(40):
        assert tier.offer(i, int(requests.address_bytes[i]), 64, 0)
    tier.advance(0)
    known: set[int] = set()
    while len(known) < 40:
        clock = tier.next_event()
        # nothing becomes known by running to the clock before the event
        tier.advance(clock - 1)
        assert {i for i in range(40) if tier.done_clock(i) is not None} == known
        tier.advance(clock)
        known = {i for i in range(40) if tier.done_clock(i) is not None}
    assert list(run_dram(description, requests).done_clock) == [tier.done_clock(i) for i in range(40)]


def test_an_offer_that_does_not_fit_changes_nothing(description):
    tier = RunningTier(description, requests=3)
    before = tier.state.copy()
    assert not tier.offer(0, 0, 2048 * 64, 0)
    assert np.array_equal(tier.state[:, : layout.SCRATCH], before[:, : layout.SCRATCH])
    assert tier.offer(0, 0, 512 * 64, 0)


# ---- accounting ------------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    policy=st.sampled_from(sorted(POLICIES)),
    seed=st.integers(0, 1000),
    writes=st.sampled_from([0.0, 0.5, 1.0]),
    pseudo_channels=st.booleans(),
    gap=st.integers(0, 30),
)
def test_busy_and_lost_clocks_add_up_to_the_time_of_all_buses(policy, seed, writes, pseudo_channels, gap):
    organisation = replace(ORGANISATION, rank_owns_bus=pseudo_channels)
    description = describe(POLICIES[policy], organisation)
    arrival = np.arange(200) * gap
    counters = run_dram(description, random_requests(description, seed, 200, writes, arrival)).counters
    assert counters.busy_clocks + sum(counters.lost_clocks.values()) == counters.bus_clocks
    assert min(counters.lost_clocks.values()) >= 0
    assert tuple(counters.lost_clocks) == LOSS_CAUSES
    assert counters.bus_clocks == counters.clocks * 4 * (2 if pseudo_channels else 1)


def test_the_dominant_cause_is_named(description):
    """One pattern per cause that is built to be limited by it."""
    organisation = replace(ORGANISATION, channels=1, ranks=1, bank_groups=4, columns=256)
    row = organisation.capacity_bytes // organisation.rows
    count = 2000

    def dominant(address, timing=TIMING, is_write=0, arrival=0, **changes):
        controller = replace(description.controller, **{"refresh": "none", **changes})
        d = describe(controller, organisation, timing, ORDER)
        run = run_dram(d, Requests.of(address % organisation.capacity_bytes, 64, 0, is_write, arrival))
        lost = run.counters.lost_clocks
        return max(lost, key=lost.__getitem__)

    sequential = np.arange(count) * 64
    rng = np.random.default_rng(1)
    assert dominant(sequential) == "command_spacing"
    assert dominant(sequential, arrival=np.arange(count) * 20) == "source"
    assert dominant(np.arange(count) * row) == "row_cycle"
    swinging = {"read_depth": 4, "write_depth": 2, "drain_high": 2, "drain_low": 1}
    wide = replace(TIMING, ccd_l=2, wtr_s=12, wtr_l=12)
    assert dominant(sequential, wide, np.arange(count) % 2, **swinging) == "turnaround"
    scattered = rng.integers(organisation.capacity_bytes // 64, size=count) * 64
    assert dominant(scattered, replace(TIMING, faw=120, rrd_s=2, rrd_l=2)) == "faw"
    often = replace(TIMING, refi=240, rfc=100)
    assert dominant(sequential, often, refresh="together") == "refresh"


def test_counters_of_an_idle_tier():
    tier = RunningTier(describe(), requests=1)
    counters = DramCounters.from_state(tier.parameters, tier.state, 100)
    assert counters.lost_clocks["source"] == counters.bus_clocks == 400
    assert counters.mean_read_clocks == 0.0


# ---- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("requests", "error", "message"),
    [
        (Requests.of(np.array([-64]), 64), CapacityError, "bytes do not fit"),
        (Requests.of(np.array([ORGANISATION.capacity_bytes]), 64), CapacityError, "64 bytes do not fit"),
        (Requests.of(np.array([0]), 0), SimulatorError, "at least one byte"),
        (Requests.of(np.array([0]), 64, -64), SimulatorError, "negative"),
        (Requests.of(np.array([0, 64]), 64, arrival_clock=np.array([5, 4])), SimulatorError, "sorted by arrival"),
    ],
)
def test_requests_that_cannot_be_served(requests, error, message):
    with pytest.raises(error, match=message):
        run_dram(describe(), requests)


def test_no_requests_take_no_time():
    assert run_dram(describe(), Requests.of(np.zeros(0, dtype=np.int64), 64)).counters.clocks == 0


def test_all_problems_of_a_description_are_told_at_once():
    organisation = replace(ORGANISATION, channels=0)
    controller = replace(BANK_QUEUES, bank_depth=9, width=0)
    with pytest.raises(GraphError) as caught:
        describe(controller, organisation, order=ORDER[1:])
    text = str(caught.value)
    assert "channels must be at least 1 (got 0)" in text
    assert "bank_depth must be between 1 and 8 (got 9)" in text
    assert "covers 1 of the 16 values of column" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"banks_per_group": 64}, "at most 128 banks"),
        ({"banks_per_group": 32}, "takes 62 banks a channel at most"),
        ({"ranks": 9}, "at most 8 ranks"),
    ],
)
def test_what_is_too_large_for_the_kernels_is_refused(changes, message):
    with pytest.raises(GraphError, match=message):
        describe(BANK_QUEUES, replace(ORGANISATION, **changes))


def test_a_field_that_is_no_power_of_two_cannot_be_xored():
    with pytest.raises(GraphError, match="cannot be XORed"):
        describe(organisation=replace(ORGANISATION, channels=5), xor=("channel",))


def test_a_full_write_buffer_behind_a_read_of_the_same_address_lets_that_read_go_first():
    """The writes are urgent, the oldest of them waits for a read, and no command is queued that could clear the way."""
    blocks = [
        (0, 33, 0), (1, 4, 0), (0, 5, 1), (0, 28, 0), (1, 29, 1), (1, 21, 0), (0, 1, 1), (0, 15, 1), (1, 32, 0),
        (1, 24, 1), (0, 33, 1), (0, 5, 0), (1, 19, 1),
    ]  # fmt: skip
    block, length, is_write = (np.array(column) for column in zip(*blocks, strict=True))
    tier = RunningTier(describe(BANK_QUEUES), len(blocks))
    tier.rings = np.zeros((4, 8 * tier.rings.shape[1]), dtype=np.int64)
    for number in range(len(blocks)):
        tier.offer(number, int(block[number]) * 4096, int(length[number]) * 64, 0, 0, bool(is_write[number]))
    tier.advance(1000)
    assert all(tier.done_clock(number) is not None for number in range(len(blocks)))
