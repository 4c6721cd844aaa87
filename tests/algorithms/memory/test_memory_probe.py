"""Probes of memory tiers: what is lost adds up, what people know about DRAM shows, closed forms stay near."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from algorithms.memory.binding import dram_description
from algorithms.memory.probe import probe, probed_tier, traffic
from algorithms.memory.probe_parameters import ProbeParameters
from algorithms.memory.tier_report import TierReport
from hwmodels.reading.errors import InputError
from hwmodels.tiers.dram_analytic import DramTraffic, estimate_dram
from hwmodels.tiers.text import load_tier
from simulator.errors import GraphError
from simulator.servers.dram.layout import K_CHANNEL
from simulator.servers.dram.mapping import channels_of, decode

DDR4 = ProbeParameters(tier="ddr4_3200", transactions=10_000)
HBM2 = ProbeParameters(tier="hbm2", transactions=40_000)
GROUP_LOW = "group column bank rank row"


@pytest.mark.parametrize(
    "parameters",
    [
        HBM2,
        replace(HBM2, pattern="gather", read_fraction=0.6),
        replace(HBM2, pattern="random", load=0.1),
        replace(HBM2, shared_source=True, accepts_per_clock=1),
        replace(DDR4, pattern="streams", streams=3),
        replace(DDR4, pattern="stride", stride_bytes=1 << 20),
        ProbeParameters(tier="hbm3", pattern="gather", transactions=20_000),
        ProbeParameters(tier="lpddr5_6400", read_fraction=0.5, transactions=10_000),
    ],
)
@pytest.mark.parametrize("fidelity", ["cycle", "analytic"])
def test_what_is_lost_sums_exactly_to_the_gap(parameters, fidelity):
    report = probe(replace(parameters, fidelity=fidelity))
    if fidelity == "cycle":
        assert report.busy_clocks + sum(report.lost_clocks.values()) == report.bus_clocks
    lost = sum(report.lost_bytes_per_second.values())
    assert report.achieved_bytes_per_second + lost == pytest.approx(report.peak_bytes_per_second, rel=1e-12)
    assert min(report.lost_clocks.values()) >= -1e-12
    assert 0 < report.achieved_bytes_per_second <= report.peak_bytes_per_second
    assert 0 <= report.row_hit_rate <= 1


def test_a_report_whose_causes_do_not_make_up_the_gap_is_refused():
    report = probe(DDR4)
    with pytest.raises(ValueError, match="have no cause"):
        replace(report, busy_clocks=report.busy_clocks - 1)


def test_the_99th_percentile_is_that_of_the_requests():
    counters_of = probe(replace(DDR4, pattern="random"))
    assert counters_of.p99_latency_s > counters_of.mean_latency_s
    idle = probe(replace(DDR4, pattern="random", load=0.001, refresh=False, transactions=200))
    tier = probed_tier(DDR4)
    slowest = tier.read_latency_ticks("conflict") * tier.standard.tick_s
    assert idle.mean_latency_s <= idle.p99_latency_s <= 1.05 * slowest


def test_moving_the_bank_group_to_the_lowest_field_more_than_doubles_keys_and_values():
    before = probe(replace(DDR4, pattern="streams", transactions=50_000))
    after = probe(replace(DDR4, pattern="streams", transactions=50_000, mapping=GROUP_LOW))
    preset = probe(replace(DDR4, tier="ddr4_3200_group_low", pattern="streams", transactions=50_000))
    assert after.achieved_bytes_per_second > 2 * before.achieved_bytes_per_second
    assert after.achieved_bytes_per_second == pytest.approx(preset.achieved_bytes_per_second, rel=0.05)
    assert before.lost_clocks["command_spacing"] > 0.2 * before.bus_clocks
    assert after.lost_clocks["command_spacing"] < 0.01 * after.bus_clocks


@pytest.mark.parametrize("pattern", ["sequential", "gather", "random"])
def test_one_of_n_equal_channels_stands_for_all(pattern):
    whole = probe(replace(HBM2, pattern=pattern, transactions=80_000))
    sampled = probe(replace(HBM2, pattern=pattern, transactions=80_000, sample_channels=4))
    assert (sampled.simulated_channels, sampled.channels) == (2, 8)
    assert sampled.achieved_bytes_per_second == pytest.approx(whole.achieved_bytes_per_second, rel=0.05)
    assert sampled.mean_latency_s == pytest.approx(whole.mean_latency_s, rel=0.05)
    assert "one of 4" in sampled.remark


def test_channels_that_are_not_loaded_alike_cannot_be_sampled():
    with pytest.raises(InputError, match="not loaded alike"):
        probe(replace(HBM2, pattern="stride", stride_bytes=1 << 20, sample_channels=4))
    with pytest.raises(InputError, match="depend on each other"):
        replace(HBM2, shared_source=True, sample_channels=2)


def test_channels_are_those_of_the_mapping():
    p = dram_description(probed_tier(ProbeParameters(tier="hbm2_pseudo"))).parameters()
    numbers = np.random.default_rng(3).integers(1 << 25, size=200)
    coordinates = np.empty(7, dtype=np.int64)
    expected = []
    for number in numbers:
        decode(p, number, coordinates)
        expected.append(coordinates[K_CHANNEL])
    assert channels_of(p, numbers).tolist() == expected


def test_a_load_below_the_limit_is_served_and_the_rest_is_the_source():
    report = probe(replace(HBM2, pattern="gather", load=0.02))
    assert report.utilisation == pytest.approx(0.02, rel=0.02)
    assert report.limiter == "source"


def test_without_refresh_nothing_is_lost_to_it():
    assert probe(replace(DDR4, refresh=False)).lost_clocks["refresh"] == 0
    assert probe(DDR4).lost_clocks["refresh"] > 0


def test_few_transactions_under_way_obey_littles_law():
    report = probe(replace(HBM2, outstanding=4))
    bound = 8 * 4 * 64 / report.mean_latency_s
    assert report.achieved_bytes_per_second <= bound
    assert report.achieved_bytes_per_second == pytest.approx(bound, rel=0.15)
    estimate = probe(replace(HBM2, outstanding=4, fidelity="analytic"))
    assert estimate.achieved_bytes_per_second == pytest.approx(report.achieved_bytes_per_second, rel=0.15)


@pytest.mark.parametrize("tier", ["ddr4_3200", "hbm2", "lpddr4_2400"])
def test_one_bank_with_a_new_row_every_time_costs_a_row_cycle(tier):
    asked = probed_tier(ProbeParameters(tier=tier))
    row_distance = asked.capacity_bytes // asked.organisation.rows
    parameters = ProbeParameters(tier=tier, pattern="stride", stride_bytes=row_distance, transactions=4000)
    t = asked.standard.timing
    expected = t.burst / t.rc * (1 - t.rfc / t.refi) / asked.organisation.channels
    assert probe(parameters).utilisation == pytest.approx(expected, rel=0.025)
    assert probe(replace(parameters, fidelity="analytic")).utilisation == pytest.approx(expected, rel=0.025)


def test_random_reads_of_hbm2_are_bound_by_four_activations_a_window():
    t = probed_tier(HBM2).standard.timing
    report = probe(replace(HBM2, pattern="random", refresh=False, transactions=160_000))
    assert report.utilisation == pytest.approx(4 * t.burst / t.faw, rel=0.025)


@pytest.mark.parametrize("tier", ["hbm2", "hbm3", "ddr5_4800", "lpddr5_6400"])
def test_streams_reach_the_refresh_ceiling(tier):
    t = probed_tier(ProbeParameters(tier=tier)).standard.timing
    ceiling = 1 - (t.rtp + t.rp + t.rfc + t.rcd_read) / t.refi
    channels = load_tier(tier).organisation.channels
    asked = ProbeParameters(tier=tier, transactions=60_000 * channels, sample_channels=max(1, channels // 2))
    assert probe(asked).utilisation == pytest.approx(ceiling, rel=0.025)


@pytest.mark.parametrize("tier", ["hbm2", "ddr4_3200"])
def test_an_idle_tier_answers_in_its_unloaded_latency(tier):
    asked = ProbeParameters(tier=tier, pattern="random", load=0.0005, refresh=False, transactions=400)
    slowest = probed_tier(asked)
    expected = [slowest.read_latency_ticks(row) * slowest.standard.tick_s for row in ("closed", "conflict")]
    assert expected[0] * 0.975 <= probe(asked).mean_latency_s <= expected[1] * 1.025


@pytest.mark.parametrize("tier", ["ddr4_2400", "hbm2", "ddr5_4800", "hbm3"])
def test_closed_forms_are_near_the_simulation_on_streams_and_random_reads(tier):
    for pattern in ("sequential", "random"):
        parameters = ProbeParameters(tier=tier, pattern=pattern, transactions=40_000)
        cycle, analytic = probe(parameters), probe(replace(parameters, fidelity="analytic"))
        assert analytic.utilisation == pytest.approx(cycle.utilisation, rel=0.12)
        assert "attnflow validate analytic" in analytic.remark


def test_an_empty_sample_has_no_estimate():
    empty = np.zeros(0, dtype=np.int64)
    with pytest.raises(ValueError, match="at least one"):
        estimate_dram(probed_tier(HBM2), DramTraffic(empty, empty))


def test_the_share_of_writes_is_drawn_as_asked():
    stream = traffic(probed_tier(HBM2), replace(HBM2, read_fraction=0.7), 20_000)
    assert np.mean(stream.is_write) == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tier": "hbm22"}, "did you mean 'hbm2'"),
        ({"tier": "pcie5_x16", "refresh": False}, "does not apply to a tier of kind link"),
        ({"mapping": "row bank"}, "address bits are lost"),
        ({"mapping": "rows bank group rank column channel"}, "no coordinate of an address is called 'rows'"),
        ({"queue_depth": 4096}, "read_depth"),
    ],
)
def test_a_probe_that_does_not_fit_its_tier_says_why(changes, message):
    with pytest.raises(GraphError if "queue_depth" in changes else InputError, match=message):
        probe(replace(HBM2, **changes))


def test_bad_parameters_are_named_all_at_once():
    with pytest.raises(InputError) as raised:
        ProbeParameters(transactions=0, read_fraction=1.5, load=-1)
    assert [problem.field for problem in raised.value.problems] == ["transactions", "read_fraction", "load"]


def test_a_notebook_shows_the_figures():
    report = probe(replace(DDR4, pattern="streams"))
    html = report._repr_html_()
    for text in ("achieved", "lost to row cycle", "p99 latency", "tRCD", "GB/s"):
        assert text in html
    assert isinstance(report, TierReport)


@pytest.mark.parametrize("tier", ["pcie5_x16", "nvlink4", "nvme_gen5", "scratchpad_1mb", "sn40l_ddr"])
@pytest.mark.parametrize("changes", [{}, {"pattern": "random"}, {"load": 0.01}, {"read_fraction": 0.0}])
def test_tiers_without_banks_account_for_their_peak_too(tier, changes):
    report = probe(ProbeParameters(tier=tier, transactions=3000, **changes))
    lost = sum(report.lost_bytes_per_second.values())
    assert report.achieved_bytes_per_second + lost == pytest.approx(report.peak_bytes_per_second, rel=1e-9)
    assert min(report.lost_clocks.values()) >= -1e-9
    assert report.row_hit_rate is None
    assert report.p99_latency_s > 0
    if changes.get("read_fraction", 1) > 0 and tier != "scratchpad_1mb":
        assert report.mean_latency_s >= 0.9 * load_tier(tier).read_latency_s


def test_a_link_moves_whole_chunks_and_a_drive_whole_pages():
    link, drive = load_tier("pcie5_x16"), load_tier("nvme_gen5")
    fast = probe(ProbeParameters(tier="pcie5_x16", run_bytes=1 << 20, transactions=200_000))
    assert fast.achieved_bytes_per_second == pytest.approx(link.usable_bytes_per_second, rel=0.02)
    assert fast.limiter == "overhead"
    large = ProbeParameters(tier="nvme_gen5", pattern="gather", run_bytes=1 << 17, transactions=100_000)
    small = replace(large, run_bytes=512)
    assert probe(large).achieved_bytes_per_second == pytest.approx(drive.random_bytes_per_second(1 << 17), rel=0.1)
    assert probe(small).achieved_bytes_per_second < 0.1 * probe(large).achieved_bytes_per_second


def test_a_scratchpad_reaches_the_rate_of_the_banks_of_one_buffer():
    tier = load_tier("scratchpad_1mb")
    words = min(tier.lanes, tier.banks // tier.buffers * tier.ports)
    wide = ProbeParameters(tier="scratchpad_1mb", run_bytes=words * tier.width_bytes, transactions=4000)
    assert probe(wide).utilisation == pytest.approx(words / tier.lanes, rel=0.02)
    narrow = replace(wide, run_bytes=tier.width_bytes)
    assert probe(narrow).utilisation == pytest.approx(1 / tier.lanes, rel=0.02)
