"""What a chip's memory sustains: bank by bank against the data sheet's peak."""

from __future__ import annotations

from dataclasses import replace

import pytest

from algorithms.chip.plan.plan import Launch, TilePlan, TileStep, WorkItem
from algorithms.chip.plan.profile import UNFITTED
from algorithms.chip.timing.mapping import time_plan
from algorithms.chip.timing.memory_rate import at_fidelity, run_bytes, sustained_share
from hwmodels.chips.accelerator import load_accelerator

H100 = load_accelerator("h100")


def reads(tile_bytes=1 << 15, steps=64, items=264):
    """A launch that does nothing but read."""
    item = WorkItem(((TileStep(load_bytes=tile_bytes), steps),))
    moved = tile_bytes * steps * items
    launch = Launch("reads", ((item, items),), unique_load_bytes=moved)
    return TilePlan("reads", (launch,), 0, 0, moved, moved, 2 * tile_bytes)


def test_long_runs_of_many_readers_come_near_the_peak_and_short_ones_do_not():
    shares = [sustained_share("hbm3", H100.memory.bytes_per_second / 5, run, 32) for run in (256, 4096, 1 << 14)]
    assert shares == sorted(shares)
    assert shares[0] < 0.75 < 0.8 < shares[-1] < 1


@pytest.mark.parametrize(("preset", "rate"), [("hbm2", 230e9), ("hbm3", 670e9), ("hbm3e", 800e9), ("ddr4_3200", 25e9)])
def test_closed_forms_come_near_the_banks_for_whole_tiles(preset, rate):
    closed, simulated = (sustained_share(preset, rate, 1 << 14, 32, how) for how in ("analytic", "cycle"))
    assert closed == pytest.approx(simulated, rel=0.05)


def test_what_has_no_banks_reaches_its_peak():
    assert sustained_share("sn40l_hbm", 1.6e12, 4096, 8) == 1.0


def test_a_run_is_a_tile_of_one_tensor():
    (launch,) = reads(tile_bytes=3 << 14).launches
    assert run_bytes(launch) == 1 << 14
    assert run_bytes(replace(launch, items=())) == 1


def test_reading_takes_as_much_longer_as_the_banks_are_slower():
    plan = reads()
    peak, cycle = (time_plan(plan, H100, memory=memory).seconds for memory in ("peak", "cycle"))
    (launch,) = plan.launches
    share = at_fidelity(launch, H100, UNFITTED, "cycle").bandwidth_fraction
    assert 0.75 < share < 0.95
    assert cycle / peak == pytest.approx(1 / share, rel=0.03)


def test_a_measured_bandwidth_is_kept():
    (launch,) = reads().launches
    fitted = replace(UNFITTED, name="measured", bandwidth_fraction=0.8, fitted=("bandwidth_fraction",))
    assert at_fidelity(launch, H100, fitted, "cycle") is fitted
    assert at_fidelity(launch, H100, UNFITTED, "peak") is UNFITTED
