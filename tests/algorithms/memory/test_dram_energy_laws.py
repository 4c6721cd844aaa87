"""Laws of the energy of DRAM on any preset and mix: no part is missing, more work never takes less."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from algorithms.memory.binding import dram_description, dram_energy_j
from algorithms.memory.probe import probe, probed_tier, traffic
from algorithms.memory.probe_parameters import ProbeParameters
from hwmodels.tiers.text import tier_names
from simulator.servers.dram.tier import Requests, run_dram


@st.composite
def probes(draw):
    """Any preset, with fewer channels so that they are busy, and any traffic."""
    return ProbeParameters(
        tier=draw(st.sampled_from(tier_names("dram"))),
        pattern=draw(st.sampled_from(["sequential", "random", "gather", "streams", "stride"])),
        transactions=draw(st.sampled_from([1, 30, 500])),
        read_fraction=draw(st.sampled_from([0.0, 0.3, 1.0])),
        load=draw(st.sampled_from([0.0, 0.02])),
        seed=draw(st.integers(0, 1000)),
    )


def served(parameters, transactions):
    """What a tier is asked for, what it did, and the joules of that by component."""
    tier = probed_tier(parameters)
    stream = traffic(tier, parameters, transactions)
    unit = tier.organisation.transaction_bytes
    asked = Requests.of(stream.address_bytes, unit, 0, stream.is_write, stream.arrival_clock)
    run = run_dram(dram_description(tier), asked)
    return tier, asked, run, dram_energy_j(tier, run.counters)


@settings(max_examples=60, deadline=None)
@given(parameters=probes())
def test_energy_is_at_least_that_of_its_parts(parameters):
    tier, asked, run, joules = served(parameters, parameters.transactions)
    total, per, unit = sum(joules.values()), tier.energy, tier.organisation.transaction_bytes
    assert min(joules.values()) >= 0
    assert total >= max(joules.values())
    # every line that is read crosses the array and the interface once at least, unless a write has just brought it
    counters = run.counters
    moved = counters.read_commands + counters.write_commands
    if not asked.is_write.any():
        lines = np.unique(asked.address_bytes // unit)
        assert counters.read_commands >= len(lines)
    interface = per.tsv_j_per_bit + per.io_j_per_bit + per.phy_j_per_bit
    least = 8 * unit * moved * (min(per.read_j_per_bit, per.write_j_per_bit) + interface)
    most = 8 * unit * moved * (max(per.read_j_per_bit, per.write_j_per_bit) + interface)
    bits = joules["array"] + joules["tsv"] + joules["io"] + joules["phy"]
    assert least * (1 - 1e-12) <= bits <= most * (1 + 1e-12)
    # rows are opened for what is moved; all channels stand by for as long as the last answer takes
    assert joules["activate"] == pytest.approx(counters.activations * per.activate_j, rel=1e-6, abs=0)
    assert counters.activations > 0 or moved == 0
    seconds = max(run.done_clock) * tier.standard.tick_s
    assert joules["background"] >= seconds * tier.organisation.channels * per.background_w * (1 - 1e-12)
    # one refresh of a rank in an interval of its own, on every channel
    timing, organisation = tier.standard.timing, tier.organisation
    refi = timing.refi * tier.standard.bus.ticks_per_clock
    most_refreshes = organisation.channels * organisation.ranks * (math.ceil(counters.clocks / refi) + 1)
    assert joules["refresh"] <= most_refreshes * per.refresh_j * (1 + 1e-12)
    assert probe(parameters).energy_j == pytest.approx(total, rel=1e-12, abs=0)


@settings(max_examples=30, deadline=None)
@given(parameters=probes(), more=st.integers(1, 200))
def test_more_requests_never_take_less(parameters, more):
    few = served(parameters, parameters.transactions)[3]
    many = served(replace(parameters, transactions=parameters.transactions + more), parameters.transactions + more)[3]
    assert sum(many.values()) >= sum(few.values()) * (1 - 1e-12)
    assert all(many[part] >= few[part] * (1 - 1e-12) for part in few if part != "refresh")
