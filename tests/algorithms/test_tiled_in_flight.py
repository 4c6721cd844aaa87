"""How many tiles of keys a core has on the way where nobody says so: enough to be busy while a latency passes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from algorithms.chip_registry import chip_algorithm_names, get_chip_algorithm
from algorithms.shape import Workload
from algorithms.tensors import draw_tensors
from algorithms.tiled.kernels import kernel_names, load_kernel
from algorithms.tiled.mapping import ChipRun, Mode, time_plan
from algorithms.tiled.parameters import LEAST_STAGES, excess_bytes, footprint
from algorithms.tiled.profile import UNFITTED
from algorithms.workload import load_workload
from hwmodels.accelerator import Accelerator, load_accelerator

FEW_CORES = ("tpu_v5e", "tpu_v5p", "groq_lpu1")
GPUS = ("h100_sxm5_80g", "a100_sxm4_80g", "mi300x", "h20", "b200")
LLAMA = load_workload("llama3-8b")
DECODE = LLAMA.with_(phase="decode", q_len=1, kv_len=32768)


def decided(name: str, workload: Workload, chip: Accelerator, **given):
    """Parameters with nothing automatic left."""
    algorithm = get_chip_algorithm(name)
    return algorithm.resolved(workload, algorithm.parameters(**given), chip)


def timed(name: str, workload: Workload, chip: Accelerator, mode: Mode = "symmetric", **given) -> ChipRun:
    """A run with as many tiles on the way as were decided for."""
    parameters = decided(name, workload, chip, **given)
    profile = dataclasses.replace(UNFITTED, tiles_in_flight=parameters.stages)
    return time_plan(get_chip_algorithm(name).plan(workload, parameters, chip), chip, profile, mode)


def littles_bytes(chip: Accelerator, cores: int) -> float:
    """Latency times the bandwidth of one of so many cores."""
    latency_s = chip.memory.latency_s + sum(tier.latency_s for tier in chip.caches)
    return latency_s * min(chip.memory.bytes_per_second / cores, chip.core.sram_bytes_per_cycle * chip.clock_hz)


@pytest.mark.parametrize("name", FEW_CORES)
def test_few_cores_keep_their_memory_busy(name):
    chip = load_accelerator(name)
    run = timed("decode.split_kv", DECODE, chip)
    starved = timed("decode.split_kv", DECODE, chip, stages=LEAST_STAGES)
    assert 0.94 < run.bounds.seconds / run.seconds <= 1
    assert starved.bounds.seconds / starved.seconds < 0.75


@pytest.mark.parametrize("name", FEW_CORES)
def test_as_many_tiles_as_latency_times_bandwidth_need_and_no_more(name):
    chip = load_accelerator(name)
    found = decided("decode.split_kv", DECODE, chip)
    tile_bytes = 2 * DECODE.head_dim * DECODE.dtype_bytes * found.tile_columns
    assert (found.stages - 1) * tile_bytes >= littles_bytes(chip, chip.cores)
    needed = littles_bytes(chip, chip.cores)
    assert (found.stages - 2) * tile_bytes < needed


@pytest.mark.parametrize("name", GPUS)
@pytest.mark.parametrize("algorithm", ["decode.split_kv", "flash.q_outer", "decode.policy"])
def test_many_cores_with_small_shares_need_two(name, algorithm):
    work = LLAMA.with_(q_len=4096, kv_len=4096) if algorithm == "flash.q_outer" else DECODE.with_(kv_len=4096)
    assert decided(algorithm, work, load_accelerator(name)).stages == LEAST_STAGES


def test_cores_without_neighbours_at_work_have_larger_shares():
    chip = load_accelerator("h100_sxm5_80g")
    few = decided("flash.q_outer", DECODE, chip)
    assert few.stages > decided("flash.q_outer", DECODE.with_(batch=64), chip).stages == LEAST_STAGES


@pytest.mark.parametrize("name", [*FEW_CORES, *GPUS, "sambanova_sn40l", "apple_m4_max_40c"])
@pytest.mark.parametrize("algorithm", ["decode.split_kv", "flash.q_outer", "flash.training", "prefix.relay"])
def test_what_is_chosen_fits_and_leaves_tiles_as_large(name, algorithm):
    chip, given = load_accelerator(name), {"prefix_len": 512} if algorithm == "prefix.relay" else {}
    work = LLAMA.with_(q_len=1 if given or algorithm == "decode.split_kv" else 1024, kv_len=1024, batch=2)
    found = decided(algorithm, work, chip, **given)
    assert excess_bytes(chip.core, *footprint(work, found, found.tile_rows, found.tile_columns)) <= 0
    get_chip_algorithm(algorithm).plan(work, found, chip)
    two = decided(algorithm, work, chip, stages=LEAST_STAGES, **given)
    assert dataclasses.replace(found, stages=LEAST_STAGES) == two


def test_local_memory_bounds_what_is_chosen():
    chip = load_accelerator("tpu_v5p").with_(**{"core.sram_bytes": 300 << 10})
    given = {"tile_rows": 8, "tile_columns": 128}
    found = decided("decode.split_kv", DECODE, chip, **given)
    assert found.stages == 4 < decided("decode.split_kv", DECODE, load_accelerator("tpu_v5p"), **given).stages


def test_an_item_has_no_more_than_its_tiles():
    chip = load_accelerator("tpu_v5p")
    assert decided("decode.split_kv", DECODE.with_(kv_len=384), chip).stages == 3


@pytest.mark.parametrize("algorithm", ["decode.split_kv", "decode.policy", "flash.training", "flash.low_rank"])
def test_what_is_asked_for_is_kept(algorithm):
    work = LLAMA.with_(q_len=256, kv_len=256) if algorithm.startswith("flash") else DECODE.with_(kv_len=4096)
    assert decided(algorithm, work, load_accelerator("tpu_v5e"), stages=1).stages == 1
    assert decided(algorithm, work, load_accelerator("tpu_v5e")).stages > 1


@pytest.mark.parametrize("name", kernel_names())
def test_kernels_say_themselves_what_is_on_the_way(name):
    kernel = load_kernel(name)
    if kernel.text.algorithm not in chip_algorithm_names():
        pytest.skip("stands for single operators, which have no tiles of keys")
    assert getattr(kernel.parameters(DECODE), "stages", LEAST_STAGES) in (1, LEAST_STAGES)


@pytest.mark.parametrize(("name", "work"), [("tpu_v5p", DECODE), ("tpu_v5p", LLAMA), ("h20", DECODE.with_(batch=4))])
def test_one_core_stands_for_all(name, work):
    chip, algorithm = load_accelerator(name), "decode.split_kv" if work.q_len == 1 else "flash.q_outer"
    exact = timed(algorithm, work, chip, "exact")
    assert timed(algorithm, work, chip).seconds == pytest.approx(exact.seconds, rel=0.02)
    assert exact.bounds.seconds <= exact.seconds


def test_values_do_not_depend_on_it():
    work = DECODE.with_(kv_len=300, heads=4, kv_heads=2, head_dim=16, v_head_dim=16)
    algorithm, tensors = get_chip_algorithm("decode.split_kv"), draw_tensors(work)
    chip = load_accelerator("tpu_v5p")
    two = algorithm.values(work, decided("decode.split_kv", work, chip, stages=2, tile_columns=32), tensors)
    found = decided("decode.split_kv", work, chip, tile_columns=32)
    assert found.stages > 2
    np.testing.assert_array_equal(algorithm.values(work, found, tensors), two)
