"""Tier and standard presets: sources, derived bins, peaks, closed forms of latency and rate."""

from __future__ import annotations

from dataclasses import fields

import pytest

from hwmodels.reading.cited import UNCITED
from hwmodels.reading.errors import InputError
from hwmodels.standards.text import load_standard, standard_names
from hwmodels.tiers.dram import DramTier
from hwmodels.tiers.text import load_tier, tier_names

KINDS = {"dram", "sram", "link", "flash"}


@pytest.mark.parametrize("name", tier_names())
def test_every_number_of_a_preset_has_a_source(name):
    tier = load_tier(name)
    assert tier.name == name
    assert tier.kind in KINDS
    assert tier.citations
    assert [field for field, source in tier.citations if UNCITED in source or not source.strip()] == []


@pytest.mark.parametrize("name", standard_names())
def test_every_timing_of_a_standard_has_a_source(name):
    standard = load_standard(name)
    cited = dict(standard.citations)
    timing = standard.timing
    given = {f.name for f in fields(timing) if getattr(timing, f.name) != f.default}
    assert {each for each in given if f"timing.{each}" not in cited} == set()
    assert [field for field, source in standard.citations if UNCITED in source] == []


@pytest.mark.parametrize("name", tier_names())
def test_a_tier_has_a_rate_and_a_latency(name):
    tier = load_tier(name)
    assert tier.peak_bytes_per_second > 0
    assert tier.read_latency_s > 0
    assert tier.name in tier._repr_html_()
    more = load_tier(name, 3 * tier.count)
    assert more.peak_bytes_per_second == pytest.approx(3 * tier.peak_bytes_per_second)
    assert more.capacity_bytes == 3 * tier.capacity_bytes


def test_peaks_are_those_of_the_data_sheets():
    expected = {"hbm2": 256, "hbm2e": 409.6, "hbm3": 819.2, "hbm3e": 1177.6, "hbm4": 2048, "ddr5_6400": 51.2}
    found = {name: load_tier(name).peak_bytes_per_second / 1e9 for name in expected}
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("name", "parent"), [("hbm2e", "hbm2_pseudo"), ("hbm3e", "hbm3")])
def test_derived_bins_keep_the_nanoseconds(name, parent):
    fast, slow = load_standard(name), load_standard(parent)
    for timing in ("cl", "rcd_read", "rp", "ras", "rc", "faw", "wr", "rfc"):
        old = getattr(slow.timing, timing) * slow.clock_s
        new = getattr(fast.timing, timing) * fast.clock_s
        assert old <= new + 1e-15
        # rounded up to a clock; the row cycle may take one more since its parts are rounded one by one
        assert new < old + (2 if timing == "rc" else 1) * fast.clock_s
    assert fast.timing.refi * fast.clock_s <= slow.timing.refi * slow.clock_s
    assert (fast.timing.ccd_l, fast.timing.burst) == (slow.timing.ccd_l, slow.timing.burst)
    assert "derived" in dict(fast.citations)["timing.rc"]


def test_unknown_names_get_the_nearest():
    with pytest.raises(InputError, match="did you mean 'hbm3e'"):
        load_tier("hmb3e")
    with pytest.raises(InputError, match="did you mean 'ddr4_3200'"):
        load_standard("ddr4-3200")
    with pytest.raises(InputError, match="must be at least 1"):
        load_tier("hbm3", count=0)


def test_fields_can_be_changed_as_if_the_file_had_them():
    tier = load_tier(
        "ddr4_3200", changes={"controller.read_depth": 64, "mapping.order": "[group, column, bank, rank, row]"}
    )
    assert tier.standard.controller.read_depth == 64
    assert tier.fields == load_tier("ddr4_3200_group_low").fields
    assert tier.standard.timing == load_tier("ddr4_3200").standard.timing
    link = load_tier("pcie5_x16", changes={"rate": "64 GB/s", "outstanding": 8})
    assert (link.bytes_each_per_second, link.outstanding) == (64e9, 8)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("hbm3", {"controller.read_dept": 4}, "controller.read_dept: unknown key; did you mean 'read_depth'?"),
        ("hbm3", {"timing.rc": 3}, "timing.rc: the row cycle must be at least"),
        ("hbm3", {"count": 0}, "count: must be at least 1"),
        ("hbm3", {"name.first": 0}, "name.first: is no section"),
        ("hbm3", {"clock": "0 ns"}, "clock: must be greater than 0"),
        ("nvme_gen4", {"page": "1 GHz"}, "page: must be a quantity in B"),
    ],
)
def test_changes_are_checked(name, changes, message):
    with pytest.raises(InputError, match=message):
        load_tier(name, changes=changes)


@pytest.mark.parametrize("name", [name for name in tier_names() if isinstance(load_tier(name), DramTier)])
def test_another_rate_is_met(name):
    tier = load_tier(name)
    for factor in (0.8, 1.25):
        other = tier.at_peak(factor * tier.peak_bytes_per_second)
        assert other.peak_bytes_per_second == pytest.approx(factor * tier.peak_bytes_per_second)
        assert other.capacity_bytes == tier.capacity_bytes


def test_a_slower_stack_keeps_its_nanoseconds():
    slow = load_tier("hbm3", 5).at_peak(3.35e12)
    assert slow.peak_bytes_per_second == pytest.approx(3.35e12)
    fast = load_tier("hbm3", 5)
    assert slow.standard.timing.rc < fast.standard.timing.rc
    assert slow.standard.timing.rc * slow.standard.clock_s >= fast.standard.timing.rc * fast.standard.clock_s
    assert slow.read_latency_s == pytest.approx(fast.read_latency_s, rel=0.1)
