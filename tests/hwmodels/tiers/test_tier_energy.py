"""Energy and area of tiers: published figures, another simulator's energies, scaling."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from itertools import pairwise

import pytest

from hwmodels.reading.errors import InputError
from hwmodels.tiers.sram_energy import sram_area_mm2, sram_leakage_w, sram_read_j_per_bit, sram_table
from hwmodels.tiers.text import load_tier, tier_names

approx = partial(pytest.approx, rel=1e-6, abs=0)
"""Without an allowance of 1e-12, which is more than many an energy in joules."""


def used(tier, **counts):
    none = {"activations": 0, "read_bits": 0, "write_bits": 0, "refreshes": 0, "channel_seconds": 0}
    return tier.energy.used(**{**none, **counts})


@pytest.mark.parametrize("name", ["hbm2", "hbm2_pseudo"])
def test_hbm2_costs_909_pj_an_activation_and_3_48_pj_a_bit(name):
    tier = load_tier(name)
    assert sum(used(tier, activations=1).values()) == approx(909e-12, rel=1e-12)
    assert sum(used(tier, read_bits=1).values()) == approx(3.48e-12, rel=1e-12)
    assert sum(used(tier, write_bits=1).values()) == approx(3.48e-12, rel=1e-12)
    joules = sum(used(tier, activations=200_000, read_bits=10**9).values())
    assert joules == approx(200_000 * 909e-12 + 10**9 * 3.48e-12, rel=1e-12)


# Commands and dynamic energy in pJ per bit as DRAMsim3 (commit 2981759) reports them for recorded runs of 200,000
# transactions: preset, activations, reads, writes, energy. Its products of volts, milliamperes and clocks were
# multiplied by the clock.
RECORDED = [
    ("ddr4_2400", 1_732, 200_000, 0, 5.7854),
    ("ddr4_2400", 201_240, 199_999, 0, 12.5073),
    ("ddr4_2400", 16_281, 133_334, 66_656, 6.0263),
    ("ddr4_3200", 1_702, 200_000, 0, 5.5514),
    ("ddr4_3200", 200_590, 199_999, 0, 13.7741),
    ("ddr4_3200", 16_238, 133_334, 66_656, 5.8686),
    ("lpddr4_2400", 3_498, 200_000, 0, 6.2193),
    ("lpddr4_2400", 201_977, 199_998, 0, 12.9606),
    ("lpddr4_2400", 22_269, 133_334, 66_656, 6.7010),
]


@pytest.mark.parametrize(("name", "activations", "reads", "writes", "pj_per_bit"), RECORDED)
def test_energies_from_currents_are_those_of_dramsim3(name, activations, reads, writes, pj_per_bit):
    tier = load_tier(name)
    bits = 8 * tier.organisation.transaction_bytes
    found = used(tier, activations=activations, read_bits=reads * bits, write_bits=writes * bits)
    # it leaves the bus out
    dynamic = found["activate"] + found["array"]
    assert dynamic / (200_000 * bits) == approx(pj_per_bit * 1e-12, rel=1e-4)


@pytest.mark.parametrize("name", tier_names("dram"))
def test_streaming_costs_what_is_quoted_for_the_class(name):
    quoted = {"hbm": (3.0, 4.6), "ddr4": (12, 20), "ddr5": (11, 20), "lpddr4": (6, 14), "lpddr5": (4, 6)}
    low, high = next(span for prefix, span in quoted.items() if name.startswith(prefix))
    assert low <= load_tier(name).streamed_j_per_bit * 1e12 <= high


def test_refresh_and_background_follow_time_not_bits():
    tier = load_tier("ddr4_3200")
    assert used(tier, refreshes=10)["refresh"] == approx(10 * 1.2 * 0.198 * 560 * 0.63e-9 * 8)
    assert used(tier, channel_seconds=2.0)["background"] == approx(2 * 1.2 * 0.052 * 8 * 2)


def test_the_drives_power_is_that_of_the_class():
    for name, watts in (("nvme_gen4", 8.0), ("nvme_gen5", 17.0)):
        tier = load_tier(name)
        assert tier.streamed_j_per_bit * 8 * tier.peak_bytes_per_second == approx(watts, rel=0.02)


# ---- SRAM ------------------------------------------------------------------------------------------------------------


def test_the_table_is_met_at_its_points():
    assert sram_read_j_per_bit(1 << 20, 22, "LOP") == approx(0.132e-12)
    assert sram_read_j_per_bit(8192, 7, "HP") * 64 == approx(7.5e-12)
    assert sram_read_j_per_bit(1 << 20, 7, "HP") * 64 == approx(14e-12)
    assert sram_leakage_w(1 << 20, 22, "LSTP") == approx(0.48e-3)
    assert sram_area_mm2(1 << 20, 5) == approx(0.24)


@pytest.mark.parametrize(("node", "cell"), [(45, "LSTP"), (32, "LSTP"), (22, "HP"), (22, "LOP"), (7, "HP"), (5, "HP")])
def test_a_bit_costs_more_in_a_larger_macro(node, cell):
    sizes = [64 * 1024 * 2**i for i in range(8)]
    energies = [sram_read_j_per_bit(size, node, cell) for size in sizes]
    assert energies == sorted(energies)
    # wires: between linear in the square root and constant
    assert all(1 < high / low <= math.sqrt(2) + 0.25 for low, high in pairwise(energies))


def test_the_fit_of_the_literature_holds_above_64_kb():
    # CACTI 7, 22 nm LOP: pJ/bit = 0.01 + 0.0038 sqrt(KB)
    for kilobytes in (64, 128, 256, 512, 1024, 2048, 4096):
        fit = 0.01 + 0.0038 * math.sqrt(kilobytes)
        assert sram_read_j_per_bit(1024 * kilobytes, 22, "LOP") * 1e12 == approx(fit, rel=0.15)


def test_nodes_between_those_of_the_table_lie_between_them():
    for what in (sram_area_mm2, lambda size, node: sram_leakage_w(size, node, "HP")):
        assert what(1 << 20, 7) < what(1 << 20, 12) < what(1 << 20, 22)
    assert sram_area_mm2(1 << 20, 3) == sram_area_mm2(1 << 20, 5)
    assert sram_read_j_per_bit(1 << 20, 5, "HP") == approx(0.725 * sram_read_j_per_bit(1 << 20, 7, "HP"))


def test_what_the_table_does_not_know_is_an_error():
    with pytest.raises(InputError, match="no SRAM data for LSTP at 7 nm"):
        sram_read_j_per_bit(1 << 20, 7, "LSTP")
    with pytest.raises(InputError, match="no SRAM data for area at 90 nm"):
        sram_area_mm2(1 << 20, 90)


def test_every_node_says_where_its_numbers_come_from():
    for node in sram_table():
        assert all(source.strip() for source in node.sources.values())
        assert {"area"} < set(node.sources)


def test_narrow_accesses_pay_for_the_word():
    tier = load_tier("scratchpad_1mb")
    word = tier.energy.used(read_words=1, write_words=0, macro_seconds=0)["read"]
    assert word == approx(128 * tier.energy.read_j_per_bit)
    assert tier.energy.used(read_words=0, write_words=0, macro_seconds=1.0)["leakage"] == approx(0.025)


def test_more_macros_leak_more():
    tier = load_tier("scratchpad_1mb")
    twice = replace(tier, count=2)
    assert twice.streamed_j_per_bit == approx(tier.streamed_j_per_bit)
    assert twice.area_mm2 == approx(2 * tier.area_mm2)
