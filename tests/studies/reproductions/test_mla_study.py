"""Orders of latent attention on chips: crossovers near the formulas, and what follows from mechanism alone."""

from __future__ import annotations

import pytest

from algorithms.chip.latent.blocks import get_block
from algorithms.chip.latent.fit import BlockParameters
from algorithms.chip.timing.mapping import time_plan
from hwmodels.chips.accelerator import load_accelerator
from studies.reproductions.mla_study import (
    CHIPS,
    absorption_point,
    arithmetic_alone,
    cost,
    decode_step,
    over_bandwidth,
    over_chips,
    persistent,
    reuse_ridge,
    reuse_ridge_by_launch,
    with_ridge,
)
from studies.validate.mla.formulas import absorption_crossover, reuse_crossover

H100 = load_accelerator("h100_sxm5_80g")


@pytest.mark.parametrize("context", [1024, 4096, 32768])
def test_arithmetic_alone_expands_about_where_the_formula_says(context):
    found = absorption_point(arithmetic_alone(H100), context)
    assert found == pytest.approx(absorption_crossover(decode_step(1, context)), rel=0.15)


def test_absorbing_wins_a_decode_step_and_loses_a_long_chunk():
    for chip in ("h100_sxm5_80g", "a100_sxm4_80g", "b200"):
        found = absorption_point(load_accelerator(chip), 4096)
        assert found is not None
        assert 64 < found < 256


def test_recomputing_pays_above_a_ridge_between_the_rooflines_and_what_launches_cost():
    for batch, context in ((1, 1024), (128, 4096)):
        workload = decode_step(batch, context)
        whole, launches = reuse_crossover(workload), reuse_ridge_by_launch(H100, workload)
        found = reuse_ridge(H100, workload)
        assert whole < launches < found < 1.3 * launches
        below, above = (with_ridge(H100, found * factor) for factor in (0.8, 1.25))
        assert cost("mla.ru", workload, below).seconds < cost("mla.rc", workload, below).seconds
        assert cost("mla.rc", workload, above).seconds < cost("mla.ru", workload, above).seconds


def test_the_ridge_is_what_was_asked_for():
    assert with_ridge(H100, 52.0).ridge_flops_per_byte("bfloat16") == pytest.approx(52.0)
    assert with_ridge(H100, 52.0).memory == H100.memory


def test_on_every_chip_factors_in_turn_beat_composites_and_the_latent_beats_plain_heads():
    orders = ("block.mha", "block.gqa", "mla.seq", "mla.rc", "mla.ru")
    costs = {(found.chip, found.order): found for found in over_chips(orders, decode_step(1, 4096))}
    assert len(CHIPS) >= 8
    for chip in {chip for chip, _ in costs}:
        seconds = {order: costs[chip, order].seconds for order in orders}
        assert seconds["mla.seq"] <= min(seconds["mla.rc"], seconds["mla.ru"])
        assert seconds["mla.seq"] < seconds["block.gqa"] < seconds["block.mha"]
        energy = {order: costs[chip, order].energy_j for order in orders}
        assert energy["mla.seq"] < energy["block.gqa"] < energy["block.mha"]
        assert costs[chip, "mla.seq"].intensity < costs[chip, "mla.seq"].ridge or chip == "groq_lpu1"


def test_less_bandwidth_never_helps_and_hurts_latent_attention_least():
    slow_down = {}
    for order in ("block.mha", "mla.seq"):
        times = [found.seconds for _, found in over_bandwidth([order], decode_step(128, 4096), H100, (4.0, 1.0, 0.25))]
        assert times == sorted(times)
        slow_down[order] = times[2] / times[0]
    assert slow_down["mla.seq"] < 0.9 * slow_down["block.mha"]


@pytest.mark.parametrize("order", ["mla.seq", "mla.rc", "mla.exp", "block.gqa"])
def test_a_few_cores_stand_for_all_of_them(order):
    share = 16 / H100.cores
    rates = {f"{tier.name}.bytes_per_second": tier.bytes_per_second * share for tier in H100.tiers}
    chip = H100.with_(cores=16, **rates)
    for workload in (decode_step(2, 1024), decode_step(1, 512, 64)):
        parameters = get_block(order).resolved(workload, BlockParameters(), chip)
        plan, profile = get_block(order).plan(workload, parameters, chip), persistent(parameters)
        seconds = [time_plan(plan, chip, profile, mode).seconds for mode in ("symmetric", "exact")]
        assert seconds[0] == pytest.approx(seconds[1], rel=0.01)
