"""Tiles on the way to a core in blocks of latent attention and in unfused attention: the one rule of all tiled work."""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise

import pytest

from algorithms.chip.algorithm import get_chip_algorithm
from algorithms.chip.latent.blocks import get_block
from algorithms.chip.latent.fit import BlockParameters
from algorithms.chip.plan.in_flight import LEAST_STAGES, Buffers
from algorithms.chip.plan.kernels import load_kernel
from algorithms.chip.plan.profile import UNFITTED, KernelProfile, unfitted_for
from algorithms.chip.timing.mapping import time_plan
from algorithms.workload.shape import Workload
from algorithms.workload.text import load_workload
from hwmodels.chips.accelerator import Accelerator, load_accelerator
from simulator.errors import CapacityError

V5E, V5P, H100 = (load_accelerator(name) for name in ("tpu_v5e", "tpu_v5p", "h100_sxm5_80g"))
LATENT = load_workload("deepseek-v3").with_(phase="decode", mask="full", q_len=1, kv_len=2048)
LLAMA = load_workload("llama3-8b")
PROMPT, TOKEN = LLAMA.with_(q_len=512, kv_len=512), LLAMA.with_(phase="decode", q_len=1, kv_len=4096)
DESIGNS = {
    "absorbed": ("mla.seq", LATENT),
    "recomputed": ("mla.rc", LATENT),
    "expanded": ("mla.exp", LATENT),
    "plain": ("block.gqa", LATENT.with_(batch=4)),
    "unfused prompt": ("eager.forward", PROMPT),
    "unfused token": ("eager.forward", TOKEN),
    "unfused training": ("eager.training", PROMPT),
}
STARVED = {"stages": LEAST_STAGES, "next_item": "stored"}


def littles_tiles(chip: Accelerator, tile_bytes: int) -> int:
    """One tile, and those that latency times the bandwidth of a core holds."""
    return 1 + math.ceil(chip.memory.latency_s * chip.memory.bytes_per_second / chip.cores / tile_bytes)


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("chip", [V5E, V5P], ids=["v5e", "v5p"])
def test_few_cores_come_near_their_bounds_and_never_below(design, chip, timed):
    name, work = DESIGNS[design]
    run, starved = timed(name, work, chip), timed(name, work, chip, **STARVED)
    assert 0.7 < run.bounds.seconds / run.seconds <= 1
    assert run.seconds < 0.7 * starved.seconds


def test_as_many_tiles_as_latency_times_bandwidth_need(decided):
    found = decided("mla.seq", LATENT, V5E)
    assert (found.gemm_columns, found.gemm_depth, found.next_item) == (256, 128, "ahead")
    assert found.stages == littles_tiles(V5E, (1 + 256) * 128 * 2) == 5
    composite = decided("mla.rc", LATENT, V5E)
    assert composite.inside == "always"
    assert composite.stages == littles_tiles(V5E, (1 + 128) * 128 * 2) == 9
    assert decided("mla.seq", LATENT, V5E, scope="core").stages == littles_tiles(V5E, 128 * 576 * 2) == 3
    assert decided("eager.forward", PROMPT, V5E).stages == littles_tiles(V5E, (128 + 128) * 64 * 2) == 9
    assert decided("eager.forward", TOKEN, V5E).stages == littles_tiles(V5E, (1 + 128) * 64 * 2) == 16
    assert decided("eager.forward", PROMPT, V5P).stages == littles_tiles(V5P, (128 + 128) * 64 * 2) == 14


def test_no_more_than_there_are_tiles(decided):
    work = Workload("one", "decode", 1, 1, 1, 128, 64, mask="full")
    assert decided("eager.forward", work, V5E).stages == LEAST_STAGES
    assert decided("eager.forward", work.with_(kv_len=512), V5E).stages == 8  # of 64 keys each, of values


@pytest.mark.parametrize(("name", "work"), [DESIGNS["absorbed"], DESIGNS["recomputed"], DESIGNS["unfused token"]])
def test_local_memory_bounds_what_is_chosen(name, work, decided):
    algorithm, roomy = get_chip_algorithm(name), decided(name, work, V5E)
    needs = algorithm.plan(work, dataclasses.replace(roomy, stages=4), V5E).core_bytes
    small = V5E.with_(**{"core.sram_bytes": needs, "core.register_bytes": 0})
    tiles = {} if name.startswith("eager") else _sizes(roomy)
    found = decided(name, work, small, **tiles)
    assert found.stages == 4 < roomy.stages
    assert algorithm.plan(work, found, small).core_bytes <= needs
    with pytest.raises(CapacityError):
        algorithm.plan(work, dataclasses.replace(found, stages=5), small)


def _sizes(parameters: BlockParameters) -> dict[str, int | str]:
    names = ("tile_rows", "tile_columns", "gemm_rows", "gemm_columns", "gemm_depth", "inside")
    return {name: getattr(parameters, name) for name in names}


@pytest.mark.parametrize("name", ["mla.seq", "eager.forward"])
@pytest.mark.parametrize("given", [{"stages": 1}, {"stages": 3, "next_item": "finished"}, STARVED])
def test_what_is_asked_for_is_kept(name, given, decided):
    work = LATENT if name == "mla.seq" else PROMPT
    found = decided(name, work, V5E, **given)
    assert {key: getattr(found, key) for key in given} == given
    assert unfitted_for(found).tiles_in_flight == given["stages"]
    assert decided(name, work, V5E, next_item=found.next_item).stages != given["stages"]


@pytest.mark.parametrize("name", ["flashmla_hopper", "eager_hopper", "eager_ampere", "eager_training_ampere"])
def test_kernels_say_themselves_what_is_on_the_way(name):
    kernel = load_kernel(name)
    parameters = kernel.parameters(PROMPT)
    assert (parameters.stages, parameters.next_item) == (LEAST_STAGES, kernel.profile.next_item) == (2, "stored")


def test_the_next_item_is_loaded_ahead_where_its_queries_fit_beside(decided):
    seq = decided("mla.seq", LATENT, H100)
    assert (seq.stages, seq.next_item) == (LEAST_STAGES, "stored")
    with pytest.raises(CapacityError, match="query rows"):
        get_chip_algorithm("mla.seq").plan(LATENT, dataclasses.replace(seq, next_item="ahead"), H100)
    assert decided("mla.seq", LATENT, H100, next_item="ahead").tile_columns < seq.tile_columns
    assert decided("block.gqa", LATENT, H100).next_item == "ahead"
    assert decided("eager.forward", PROMPT, H100).next_item == "ahead"


def test_items_held_at_a_time():
    assert Buffers(9).items(1) == 1
    assert [Buffers(9, ahead=True).items(tiles) for tiles in (1, 3, 8, 100)] == [9, 4, 2, 2]
    assert Buffers(1, ahead=True).items(5) == 2


@pytest.mark.parametrize("design", ["recomputed", "expanded"])
def test_what_a_core_holds_grows_with_it(design, decided):
    name, work = DESIGNS[design]
    algorithm, sized = get_chip_algorithm(name), decided(name, work, V5E)
    held = [
        algorithm.plan(work, dataclasses.replace(sized, stages=stages, next_item=after), V5E).core_bytes
        for stages, after in ((2, "stored"), (4, "stored"), (8, "stored"), (8, "ahead"))
    ]
    assert held[0] < held[1] < held[2] <= held[3]
    assert held[2] - held[1] == 2 * (held[1] - held[0])


def test_products_hold_every_tile_and_passes_those_that_wait(decided):
    result, product, item = 128 * 128 * 4, (128 + 128) * 64 * 2, 2 * 64 * 1024
    algorithm, sized = get_chip_algorithm("eager.forward"), decided("eager.forward", PROMPT, V5E)
    for stages, held in ((1, product + result), (2, 2 * product + result), (3, 3 * product + result), (8, 6 * item)):
        assert algorithm.plan(PROMPT, dataclasses.replace(sized, stages=stages), V5E).core_bytes == held


@pytest.mark.parametrize("order", ["mla.seq", "mla.rc", "mla.exp", "mla.rc2"])
def test_counters_and_useful_work_do_not_depend_on_it(order):
    block = get_block(order)
    few, many = (block.block_plan(LATENT, BlockParameters(stages=stages), V5E) for stages in (2, 12))
    assert few.counters == many.counters
    assert few.plan.launches == many.plan.launches
    assert (few.plan.compulsory_bytes, few.plan.capacity_bytes) == (
        many.plan.compulsory_bytes,
        many.plan.capacity_bytes,
    )


@pytest.mark.parametrize("design", ["absorbed", "recomputed", "unfused prompt"])
def test_one_core_stands_for_all(design, decided, timed):
    name, work = DESIGNS[design]
    chip = V5P.with_(cores=12, **{"hbm.bytes_per_second": 6 * V5P.memory.bytes_per_second})
    exact = timed(name, work, chip, "exact")
    assert decided(name, work, chip).stages > LEAST_STAGES
    assert timed(name, work, chip).seconds == pytest.approx(exact.seconds, rel=0.02)
    assert exact.bounds.seconds <= exact.seconds


def test_ahead_reaches_as_far_as_tiles(decided):
    profile = KernelProfile(next_item="ahead", tiles_in_flight=7)
    assert (profile.items_at_a_time, UNFITTED.items_at_a_time) == (7, 1)
    assert dataclasses.replace(profile, tiles_in_flight=1).items_at_a_time == 2
    parameters = decided("eager.forward", TOKEN, V5E)
    plan = get_chip_algorithm("eager.forward").plan(TOKEN, parameters, V5E)
    seconds = [
        time_plan(plan, V5E, KernelProfile(next_item="ahead", tiles_in_flight=tiles)).seconds for tiles in (1, 2, 4, 8)
    ]
    # each of its items is a tile or two: a core that waits for its memory is as fast as tiles it asks for
    assert all(1.8 < slower / faster < 2.2 for slower, faster in pairwise(seconds[1:]))
    assert seconds[0] > seconds[1]


@pytest.mark.parametrize("name", ["flat_cloud", "groq_lpu1", "alveo_u280"])
def test_arrays_of_single_rows_have_tiles_of_keys_as_long_as_others(name, decided):
    found = decided("mla.kvcache", LATENT, load_accelerator(name))
    assert found.tile_rows == 1
    assert found.tile_columns >= 128
