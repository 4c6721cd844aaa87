"""Tiers bound to the cycle-level DRAM kernels: recorded runs of other simulators, and unloaded latencies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from algorithms.memory.binding import dram_description, dram_energy_j, mechanism_of
from algorithms.memory.patterns import AddressSpace, make_stream
from hwmodels.tiers.text import load_tier, tier_names
from simulator.servers.dram.mapping import encode
from simulator.servers.dram.tier import Requests, run_dram
from simulator.servers.flash import flash_service
from simulator.servers.link import link_service
from simulator.servers.sram import sram_service

DRAM_TIERS = tier_names("dram")

# Sequential reads and idle reads (one per 500 ns, seed 20410) as recorded with DRAMsim3 commit 2981759 (library mode)
# and Ramulator 2.1 commit c5b1c3a (External front end): preset, channels, sequential requests, clocks of the run,
# mean latency of idle reads in ns, the clock of gaps and of latencies in ns (Ramulator cuts clocks to whole
# picoseconds), and what DRAMsim3 leaves out of a latency.
RECORDED = [
    ("hbm2", 8, 320_000, 86_925, 44.25, 1, 1, 1),
    ("ddr4_2400", 1, 200_000, 1_030_809, 44.97, 0.83, 0.83, 1),
    ("ddr4_3200", 1, 200_000, 1_204_433, 43.30, 0.63, 0.63, 1),
    ("ddr4_3200_group_low", 1, 200_000, 838_522, 43.25, 0.63, 0.63, 1),
    ("lpddr4_2400", 1, 200_000, 1_687_384, 47.64, 0.83, 0.83, 1),
    ("hbm2_pseudo", 1, 100_000, 114_829, 55.74, 1, 1, 0),
    ("hbm3", 1, 100_000, 223_903, 57.69, 0.3125, 0.312, 0),
    ("ddr5_4800", 1, 100_000, 876_894, 48.08, 0.416, 0.416, 0),
    ("lpddr5_6400", 1, 100_000, 221_652, 61.08, 1.25, 1.25, 0),
]


def with_channels(tier, channels):
    organisation = replace(tier.standard.organisation, channels=channels)
    return replace(tier, standard=replace(tier.standard, organisation=organisation))


def space_of(tier, description, clock_ns):
    """The address space of a pattern, whose channels are the pseudo-channels of a single stacked channel."""
    named = {}
    if description.organisation.rank_owns_bus and description.organisation.channels == 1:
        named = {"sid": "rank", "rank": "channel"}
    fields = tuple((named.get(field.kind, field.kind), field.size) for field in description.fields)
    unit = tier.organisation.transaction_bytes
    return AddressSpace(unit, tier.capacity_bytes, fields, clock_ns)


def run(tier, pattern, n, clock_ns, **parameters):
    description = dram_description(tier)
    stream = make_stream(pattern, space_of(tier, description, clock_ns), n, parameters)
    unit = description.organisation.transaction_bytes
    return run_dram(description, Requests.of(stream.address_bytes, unit, 0, stream.is_write, stream.arrival_clock))


@pytest.mark.parametrize(
    ("name", "channels", "n", "clocks", "idle_ns", "gap_clock_ns", "clock_ns", "left_out"), RECORDED
)
def test_presets_reproduce_recorded_runs(name, channels, n, clocks, idle_ns, gap_clock_ns, clock_ns, left_out):
    tier = with_channels(load_tier(name), channels)
    counters = run(tier, "seq_read", n, gap_clock_ns).counters
    assert counters.last_return + left_out == clocks
    idle = run(tier, "idle", 20_000 if left_out else 5_000, gap_clock_ns, seed=20410, gap_ns=500).counters
    assert (idle.mean_read_clocks - left_out) * clock_ns == pytest.approx(idle_ns, abs=0.01)


# Fractions of the peak that Ramulator 2.1 commit c5b1c3a reaches with 32 entries and FRFCFS: sequential, random 64 B,
# gathers of 4 KiB with any seed.
DEFAULT_QUEUES = {
    "controller.read_depth": 32,
    "controller.write_depth": 32,
    "controller.drain_high": 26,
    "controller.drain_low": 7,
    "controller.protect_hits": False,
}


@pytest.mark.parametrize(
    ("name", "fractions"),
    [
        ("hbm2_pseudo", (0.871, 0.300, 0.790)),
        ("hbm3", (0.821, 0.296, 0.555)),
        ("hbm4", (0.791, 0.231, 0.478)),
    ],
)
def test_stacks_with_the_references_queues_reach_its_fractions_of_the_peak(name, fractions):
    tier = with_channels(load_tier(name, changes=DEFAULT_QUEUES), 1)
    patterns = (("seq_read", {}), ("rand64_read", {"seed": 7}), ("gather", {"seed": 7, "block": 4096}))
    for (pattern, parameters), fraction in zip(patterns, fractions, strict=True):
        n = 100_000
        counters = run(tier, pattern, n, tier.standard.tick_s * 1e9, **parameters).counters
        seconds = counters.last_return * tier.standard.tick_s
        rate = n * tier.organisation.transaction_bytes / seconds
        assert rate / tier.peak_bytes_per_second == pytest.approx(fraction, rel=0.006), pattern


def address_of(description, row, column):
    coordinates = np.zeros(16, dtype=np.int64)
    coordinates[5:7] = row, column
    return int(encode(description.parameters(), coordinates)) * description.organisation.transaction_bytes


@pytest.mark.parametrize("name", DRAM_TIERS)
def test_unloaded_latency_follows_from_the_timings(name):
    tier = load_tier(name)
    description = dram_description(tier)
    places = {"closed": [(0, 0)], "open": [(0, 0), (0, 1)], "conflict": [(0, 0), (1, 0)]}
    for row_state, pairs in places.items():
        addresses = np.asarray([address_of(description, *pair) for pair in pairs])
        arrivals = 1000 * np.arange(addresses.size)
        unit = description.organisation.transaction_bytes
        done = run_dram(description, Requests.of(addresses, unit, arrival_clock=arrivals))
        measured = int(done.done_clock[-1] - done.accept_clock[-1])
        assert tier.read_latency_ticks(row_state) == measured, row_state


@pytest.mark.parametrize("name", DRAM_TIERS)
def test_more_devices_multiply_capacity_and_channels(name):
    one, five = load_tier(name), load_tier(name, count=5)
    assert five.capacity_bytes == 5 * one.capacity_bytes
    assert five.peak_bytes_per_second == pytest.approx(5 * one.peak_bytes_per_second)
    description = dram_description(five)
    assert description.organisation.capacity_bytes == five.capacity_bytes


# ---- SRAM, links, flash ----------------------------------------------------------------------------------------------


def served(server, service, size, address=0, is_write=0):
    state = np.zeros(server.state_words, dtype=np.int64)
    _, done = service(server.parameters(), state, 0, address, size, is_write)
    return int(done) + 1


@pytest.mark.parametrize("name", tier_names("link"))
@pytest.mark.parametrize("count", [1, 3])
def test_links_move_bytes_in_the_time_of_their_formula(name, count):
    tier, clock_hz = load_tier(name, count), 2e9
    for size in (1, 4096, 10**6, 123_456_789):
        cycles = served(mechanism_of(tier, clock_hz), link_service, size)
        # chunks are counted in ticks, of which a cycle has thousands
        assert cycles / clock_hz == pytest.approx(tier.transfer_s(size), rel=2e-4, abs=1.01 / clock_hz)
    assert tier.read_latency_s == pytest.approx(tier.transfer_s(1))


def test_sn40l_switches_a_model_of_16_gb_in_10_ms():
    tier = load_tier("sn40l_ddr", count=16)
    clock_hz = 1.6e9
    cycles = served(mechanism_of(tier, clock_hz), link_service, 16_060_000_000)
    assert cycles / clock_hz == pytest.approx(10.0e-3, rel=0.01)
    assert tier.transfer_s(16.06e9) == pytest.approx(10.0e-3, rel=0.01)
    assert load_tier("sn40l_ddr", 8).transfer_s(16.06e9) == pytest.approx(20.0e-3, rel=0.01)


@pytest.mark.parametrize("name", tier_names("flash"))
def test_drives_read_at_the_latency_and_rates_of_their_formulas(name):
    tier, clock_hz = load_tier(name), 1e9
    server = mechanism_of(tier, clock_hz)
    assert served(server, flash_service, 1) / clock_hz == pytest.approx(tier.read_latency_s, rel=1e-3)
    for chunk in (512, 4096, 16384, 65536):
        state = np.zeros(server.state_words, dtype=np.int64)
        n = 20_000
        last = 0
        for index in range(n):
            _, done = flash_service(server.parameters(), state, 0, index * max(chunk, tier.page_bytes), chunk, 0)
            last = max(last, done)
        assert n * chunk * clock_hz / last == pytest.approx(tier.random_bytes_per_second(chunk), rel=0.02)


def test_drives_reach_their_data_sheets():
    gen4, gen5 = load_tier("nvme_gen4"), load_tier("nvme_gen5")
    assert gen4.random_bytes_per_second(4096) / 4096 == pytest.approx(1.0e6, rel=0.01)
    assert 2.5e6 <= gen5.random_bytes_per_second(4096) / 4096 <= 3.3e6
    assert (60e-6 <= gen4.read_latency_s <= 90e-6, 55e-6 <= gen5.read_latency_s <= 80e-6) == (True, True)
    for tier in (gen4, gen5):
        seconds = served(mechanism_of(tier, 1e9), flash_service, 10**9) / 1e9
        assert 1e9 / seconds == pytest.approx(tier.peak_bytes_per_second, rel=0.01)
        written = served(mechanism_of(tier, 1e9), flash_service, 10**9, is_write=1) / 1e9
        assert 1e9 / written == pytest.approx(tier.write_bytes_each_per_second, rel=0.1)


@pytest.mark.parametrize("name", tier_names("sram"))
def test_srams_reach_their_peak(name):
    tier = load_tier(name)
    server = mechanism_of(tier, tier.clock_hz)
    assert served(server, sram_service, tier.width_bytes) == tier.latency_cycles
    size = tier.capacity_each_bytes // tier.buffers // 2
    rate = size * tier.clock_hz / (served(server, sram_service, size) - tier.latency_cycles + 1) * tier.count
    # a buffer has its share of the banks, which cannot feed all lanes when buffers split them
    assert rate == pytest.approx(tier.peak_bytes_per_second / tier.buffers, rel=0.01)


@pytest.mark.parametrize("pattern", ["seq_read", "idle"])
def test_hbm2_energy_follows_from_the_commands(pattern):
    tier = load_tier("hbm2")
    parameters = {"seed": 1, "gap_ns": 500} if pattern == "idle" else {}
    counters = run(tier, pattern, 4000, 1.0, **parameters).counters
    joules = dram_energy_j(tier, counters)
    bits = 4000 * 64 * 8
    dynamic = sum(joules[part] for part in ("activate", "array", "tsv", "io", "phy"))
    assert dynamic == pytest.approx(counters.activations * 909e-12 + bits * 3.48e-12, rel=1e-12, abs=0)
    assert joules["refresh"] == pytest.approx(counters.refreshes * 60.84e-9, rel=1e-6, abs=0)
    assert joules["background"] == pytest.approx(counters.clocks * 1e-9 * 8 * 0.066, rel=1e-6, abs=0)
