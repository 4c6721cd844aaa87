"""Closed forms that the DRAM presets must meet: one-bank conflicts, activation bound, refresh ceiling, mapping."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from algorithms.memory.binding import dram_description
from algorithms.memory.patterns import AddressSpace, make_stream
from hwmodels.tiers.text import load_tier, tier_names
from simulator.servers.dram.tier import Requests, run_dram

TOLERANCE = 0.025
TIERS = tier_names("dram")
ACTIVATION_BOUND = ("hbm2", "hbm3e", "hbm4", "ddr5_4800", "ddr5_6400", "lpddr4_2400")
"""Presets whose queues are deep enough for random reads to be bound by activations alone, not by their buses."""


def one_channel(name, refresh=True):
    standard = load_tier(name).standard
    organisation = replace(standard.organisation, channels=1)
    controller = standard.controller if refresh else replace(standard.controller, refresh="none")
    return replace(load_tier(name), standard=replace(standard, organisation=organisation, controller=controller))


def ticks_per_transaction(tier, pattern, n, **parameters):
    description = dram_description(tier)
    fields = tuple((field.kind, field.size) for field in description.fields)
    unit = tier.organisation.transaction_bytes
    space = AddressSpace(unit, tier.capacity_bytes, fields, tier.standard.tick_s * 1e9)
    stream = make_stream(pattern, space, n, parameters)
    run = run_dram(description, Requests.of(stream.address_bytes, unit))
    return run.counters.last_return / n


@pytest.mark.parametrize("name", TIERS)
def test_conflicts_in_one_bank_cost_a_row_cycle_each(name):
    tier = one_channel(name)
    t, ticks = tier.standard.timing, tier.standard.bus.ticks_per_clock
    cycle = max(t.rc, t.rcd_read + t.rtp + t.rp) * ticks
    measured = ticks_per_transaction(tier, "row_conflict_1bank", 4000)
    assert measured == pytest.approx(cycle / (1 - t.rfc / t.refi), rel=TOLERANCE)


@pytest.mark.parametrize("name", TIERS)
def test_refreshes_take_their_share_of_a_stream(name):
    t = load_tier(name).standard.timing
    n = 60_000
    rate = {refresh: 1 / ticks_per_transaction(one_channel(name, refresh), "seq_read", n) for refresh in (True, False)}
    ceiling = 1 - (t.rtp + t.rp + t.rfc + t.rcd_read) / t.refi
    tier = one_channel(name)
    buses = tier.organisation.data_buses
    bus_bound = rate[False] * t.burst * tier.standard.bus.ticks_per_clock / buses > 0.9
    if bus_bound:
        assert rate[True] / rate[False] == pytest.approx(ceiling, rel=TOLERANCE)
    else:
        # columns of one group come first: part of the refresh falls into gaps that the stream has anyway
        assert ceiling < rate[True] / rate[False] < 1


@pytest.mark.parametrize("name", TIERS)
def test_random_reads_are_bound_by_the_window_of_four_activations(name):
    tier = one_channel(name, refresh=False)
    t, ticks, ranks = tier.standard.timing, tier.standard.bus.ticks_per_clock, tier.organisation.ranks
    bound = ticks * max(t.faw / 4, t.rrd_s) / ranks
    bus = ticks * t.burst / tier.organisation.data_buses
    unit = tier.organisation.transaction_bytes
    addresses = np.random.default_rng(1).integers(0, tier.capacity_bytes // unit, 20_000) * unit
    measured = run_dram(dram_description(tier), Requests.of(addresses, unit)).counters.last_return / addresses.size
    if name in ACTIVATION_BOUND:
        assert measured == pytest.approx(max(bound, bus), rel=TOLERANCE)
    # the few reads that find their row open aside, nothing is faster
    assert measured > 0.999 * max(bound, bus)


def test_bank_groups_in_the_lowest_address_bits_double_the_rate_of_keys_and_values():
    rates = {
        name: 1 / ticks_per_transaction(one_channel(name), "kv_two_stream", 40_000)
        for name in ("ddr4_3200", "ddr4_3200_group_low")
    }
    assert rates["ddr4_3200_group_low"] > 2 * rates["ddr4_3200"]
    # 0.373 and 0.903 of the peak with DRAMsim3
    t = load_tier("ddr4_3200").standard.timing
    assert rates["ddr4_3200"] * t.burst == pytest.approx(0.373, abs=0.005)
    assert rates["ddr4_3200_group_low"] * t.burst == pytest.approx(0.903, abs=0.01)
