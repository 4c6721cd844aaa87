"""How many tiles of keys a core has on the way where nobody says so: enough to be busy while a latency passes.

And whether the next item's are among them: where its queries fit beside.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from algorithms.chip.algorithm import chip_algorithm_names, get_chip_algorithm
from algorithms.chip.attention.decode import SplitParameters
from algorithms.chip.plan.in_flight import LEAST_STAGES
from algorithms.chip.plan.kernels import kernel_names, load_kernel
from algorithms.chip.plan.parameters import TileParameters, excess_bytes, footprint, items_held
from algorithms.chip.plan.profile import unfitted_for
from algorithms.workload.shape import Workload
from algorithms.workload.tensors import draw_tensors
from algorithms.workload.text import load_workload
from hwmodels.chips.accelerator import Accelerator, load_accelerator
from simulator.errors import CapacityError

FEW_CORES = ("tpu_v5e", "tpu_v5p", "groq_lpu1")
GPUS = ("h100_sxm5_80g", "a100_sxm4_80g", "mi300x", "h20", "b200")
LLAMA = load_workload("llama3-8b")
DECODE = LLAMA.with_(phase="decode", q_len=1, kv_len=32768)
ATTENTION = chip_algorithm_names()
"""Other kernels stand for single operators, which have no tiles of keys."""
AHEAD = {
    "flash.q_outer": (LLAMA.with_(q_len=2048, kv_len=2048), {}),
    "flash.low_rank": (LLAMA.with_(q_len=1024, kv_len=1024), {}),
    "decode.split_kv": (DECODE.with_(kv_len=8192), {}),
    "decode.verify": (DECODE.with_(q_len=4, kv_len=2048), {}),
    "decode.policy": (DECODE.with_(kv_len=2048), {"layers": 2}),
    "prefix.relay": (DECODE.with_(kv_len=2048, batch=8), {"prefix_len": 1024}),
}


def littles_bytes(chip: Accelerator, cores: int) -> float:
    """Latency times the bandwidth of one of so many cores."""
    latency_s = chip.memory.latency_s + sum(tier.latency_s for tier in chip.caches)
    return latency_s * min(chip.memory.bytes_per_second / cores, chip.core.sram_bytes_per_cycle * chip.clock_hz)


@pytest.mark.parametrize("name", FEW_CORES)
def test_few_cores_keep_their_memory_busy(name, timed):
    chip = load_accelerator(name)
    run = timed("decode.split_kv", DECODE, chip)
    starved = timed("decode.split_kv", DECODE, chip, stages=LEAST_STAGES, next_item="stored")
    assert 0.97 < run.bounds.seconds / run.seconds <= 1
    assert starved.bounds.seconds / starved.seconds < 0.75


@pytest.mark.parametrize("name", FEW_CORES)
def test_as_many_tiles_as_latency_times_bandwidth_need_and_no_more(name, decided):
    chip = load_accelerator(name)
    found = decided("decode.split_kv", DECODE, chip)
    tile_bytes = 2 * DECODE.head_dim * DECODE.dtype_bytes * found.tile_columns
    assert (found.stages - 2) * tile_bytes < littles_bytes(chip, chip.cores) <= (found.stages - 1) * tile_bytes


@pytest.mark.parametrize("name", GPUS)
@pytest.mark.parametrize("algorithm", ["decode.split_kv", "flash.q_outer", "decode.policy"])
def test_many_cores_with_small_shares_need_two(name, algorithm, decided):
    work = LLAMA.with_(q_len=4096, kv_len=4096) if algorithm == "flash.q_outer" else DECODE.with_(kv_len=4096)
    assert decided(algorithm, work, load_accelerator(name)).stages == LEAST_STAGES


def test_cores_without_neighbours_at_work_have_larger_shares(decided):
    chip = load_accelerator("h100_sxm5_80g")
    few = decided("flash.q_outer", DECODE, chip)
    assert few.stages > decided("flash.q_outer", DECODE.with_(batch=64), chip).stages == LEAST_STAGES


@pytest.mark.parametrize("name", [*FEW_CORES, *GPUS, "sambanova_sn40l", "apple_m4_max_40c"])
@pytest.mark.parametrize("algorithm", ["decode.split_kv", "flash.q_outer", "flash.training", "prefix.relay"])
def test_what_is_chosen_fits_and_leaves_tiles_as_large(name, algorithm, decided):
    chip, given = load_accelerator(name), {"prefix_len": 512} if algorithm == "prefix.relay" else {}
    work = LLAMA.with_(q_len=1 if given or algorithm == "decode.split_kv" else 1024, kv_len=1024, batch=2)
    found = decided(algorithm, work, chip, **given)
    assert excess_bytes(chip.core, *footprint(work, found, found.tile_rows, found.tile_columns)) <= 0
    get_chip_algorithm(algorithm).plan(work, found, chip)
    two = decided(algorithm, work, chip, stages=LEAST_STAGES, **given)
    assert dataclasses.replace(found, stages=LEAST_STAGES) == two


def test_local_memory_bounds_what_is_chosen(decided):
    chip = load_accelerator("tpu_v5p").with_(**{"core.sram_bytes": 300 << 10})
    given = {"tile_rows": 8, "tile_columns": 128}
    found = decided("decode.split_kv", DECODE, chip, **given)
    assert found.stages == 4 < decided("decode.split_kv", DECODE, load_accelerator("tpu_v5p"), **given).stages


def test_no_more_than_there_are_tiles(decided):
    chip, work = load_accelerator("tpu_v5p"), DECODE.with_(kv_len=384)
    assert decided("decode.split_kv", work, chip, next_item="stored").stages == 3  # of an item
    enough = decided("decode.split_kv", work, chip)
    assert (enough.next_item, enough.stages) == ("ahead", 8)  # of four items, 12 in all
    assert decided("decode.split_kv", work.with_(heads=8, kv_heads=2), chip).stages == 3  # an item for each core


@pytest.mark.parametrize("name", ["tpu_v5e", "tpu_v5p"])
@pytest.mark.parametrize("algorithm", AHEAD)
def test_loads_of_the_next_item_come_ahead_where_there_is_room(name, algorithm, decided, timed):
    work, given = AHEAD[algorithm]
    chip = load_accelerator(name)
    assert decided(algorithm, work, chip, **given).next_item == "ahead"
    run, waits = timed(algorithm, work, chip, **given), timed(algorithm, work, chip, next_item="stored", **given)
    assert run.bounds.seconds <= run.seconds < 0.97 * waits.seconds


@pytest.mark.parametrize("chip", [load_accelerator(name) for name in GPUS], ids=GPUS)
@pytest.mark.parametrize("length", [2048, 8192])
def test_queries_that_leave_no_room_wait_until_results_are_stored(chip, length, decided):
    work = LLAMA.with_(q_len=length, kv_len=length)
    found = decided("flash.q_outer", work, chip)
    other = dataclasses.replace(found, next_item="ahead", stages=LEAST_STAGES)
    fits = excess_bytes(chip.core, *footprint(work, other, found.tile_rows, found.tile_columns)) <= 0
    assert found.next_item == ("ahead" if fits else "stored")
    assert fits == (chip.name not in ("a100_sxm4_80g", "mi300x"))
    if not fits:
        with pytest.raises(CapacityError, match="queries"):
            get_chip_algorithm("flash.q_outer").plan(work, other, chip)
        assert decided("flash.q_outer", work, chip, next_item="ahead").tile_rows <= found.tile_rows


def test_local_memory_bounds_what_is_ahead(decided):
    work, given = DECODE.with_(kv_len=256), {"tile_rows": 8, "tile_columns": 128}
    room = load_accelerator("tpu_v5p")
    queries, tile = 8 * 128 * 2, 2 * 128 * 128 * 2
    scores = footprint(work, decided("decode.split_kv", work, room, **given), 8, 128)[1]
    for stages, items in ((2, 2), (3, 2), (4, 3), (5, 3)):  # two tiles an item
        exactly = room.with_(
            **{
                "core.sram_bytes": items * queries + stages * tile,
                "core.register_bytes": scores,
                "core.accumulator_bytes": 0,
            }
        )
        found = decided("decode.split_kv", work, exactly, **given)
        assert (found.stages, found.next_item) == (stages, "ahead")
        less = exactly.with_(**{"core.sram_bytes": items * queries + stages * tile - 1})
        fewer = decided("decode.split_kv", work, less, **given)
        assert (fewer.stages, fewer.next_item) == ((stages - 1, "ahead") if stages > 2 else (2, "stored"))


def test_short_items_are_many_at_a_time():
    work = Workload("short", "prefill", 1, 1, 256, 256, 64)
    parameters = TileParameters(tile_rows=128, tile_columns=64, stages=9, next_item="ahead", pack_gqa="never")
    full = work.with_(mask="full")
    assert items_held(full, parameters, 128, 64) == 3  # of four tiles each
    assert items_held(work, parameters, 128, 64) == 5  # the first queries see two
    split = SplitParameters(**vars(parameters))
    for splits, of_full, of_causal in ((0, 9, 9), (1, 3, 5), (2, 5, 9), (3, 5, 9)):
        divided = dataclasses.replace(split, splits=splits)
        assert (items_held(full, divided, 128, 64), items_held(work, divided, 128, 64)) == (of_full, of_causal)
    assert items_held(full.with_(kv_len=257), dataclasses.replace(split, splits=2), 128, 64) == 5  # three and two
    assert items_held(work, dataclasses.replace(parameters, next_item="finished"), 128, 64) == 1


@pytest.mark.parametrize("algorithm", ["flash.kv_outer", "flash.kv_outer_training", "flash.training"])
def test_published_schedules_wait_and_what_is_set_is_counted(algorithm, decided):
    chip, work = load_accelerator("tpu_v5e"), LLAMA.with_(q_len=1024, kv_len=1024)
    made, found = get_chip_algorithm(algorithm), decided(algorithm, work, chip)
    assert found.next_item == "stored"
    ahead = dataclasses.replace(found, next_item="ahead")
    held = [made.plan(work, parameters, chip).core_bytes for parameters in (found, ahead)]
    assert held[0] < held[1]
    small = chip.with_(**{"core.sram_bytes": held[0], "core.register_bytes": 0, "core.accumulator_bytes": 0})
    assert made.plan(work, found, small).core_bytes == held[0]
    with pytest.raises(CapacityError):
        made.plan(work, ahead, small)
    assert made.resolved(work, dataclasses.replace(found, next_item="auto"), small) == found
    assert decided(algorithm, work, chip, next_item="auto").next_item == "ahead"


def test_prefixes_and_the_rest_go_ahead_together(decided):
    work = DECODE.with_(batch=64, kv_len=4096)
    given = {"prefix_len": 2048, "tile_rows": 64, "prefix_tile_rows": 256, "tile_columns": 128, "pack_gqa": "always"}
    queries, tiles = 256 * 128 * 2, LEAST_STAGES * 128 * 256 * 2
    chip, algorithm = load_accelerator("h100_sxm5_80g"), get_chip_algorithm("prefix.relay")
    for sram_bytes, after in ((2 * queries + tiles, "ahead"), (2 * queries + tiles - 1, "stored")):
        small = chip.with_(**{"core.sram_bytes": sram_bytes, "core.register_bytes": 1 << 20})
        found = decided("prefix.relay", work, small, **given)
        assert (found.next_item, found.stages) == (after, LEAST_STAGES)
        assert algorithm.plan(work, found, small).core_bytes > sram_bytes - queries


@pytest.mark.parametrize("algorithm", ["decode.split_kv", "decode.policy", "flash.training", "flash.low_rank"])
def test_what_is_asked_for_is_kept(algorithm, decided):
    work = LLAMA.with_(q_len=256, kv_len=256) if algorithm.startswith("flash") else DECODE.with_(kv_len=4096)
    assert decided(algorithm, work, load_accelerator("tpu_v5e"), stages=1).stages == 1
    assert decided(algorithm, work, load_accelerator("tpu_v5e")).stages > 1
    for after in ("ahead", "finished", "stored"):
        found = decided(algorithm, work, load_accelerator("tpu_v5e"), next_item=after)
        assert (found.next_item, unfitted_for(found).next_item) == (after, after)


@pytest.mark.parametrize("name", [name for name in kernel_names() if load_kernel(name).text.algorithm in ATTENTION])
def test_kernels_say_themselves_what_is_on_the_way(name):
    kernel = load_kernel(name)
    parameters = kernel.parameters(DECODE)
    assert getattr(parameters, "stages", LEAST_STAGES) in (1, LEAST_STAGES)
    assert getattr(parameters, "next_item", kernel.profile.next_item) == kernel.profile.next_item


@pytest.mark.parametrize(("name", "work"), [("tpu_v5p", DECODE), ("tpu_v5p", LLAMA), ("h20", DECODE.with_(batch=4))])
def test_one_core_stands_for_all(name, work, timed):
    chip, algorithm = load_accelerator(name), "decode.split_kv" if work.q_len == 1 else "flash.q_outer"
    exact = timed(algorithm, work, chip, "exact")
    assert timed(algorithm, work, chip).seconds == pytest.approx(exact.seconds, rel=0.02)
    assert exact.bounds.seconds <= exact.seconds


def test_values_do_not_depend_on_it(decided):
    work = DECODE.with_(kv_len=300, heads=4, kv_heads=2, head_dim=16, v_head_dim=16)
    algorithm, tensors = get_chip_algorithm("decode.split_kv"), draw_tensors(work)
    chip = load_accelerator("tpu_v5p")
    two = algorithm.values(work, decided("decode.split_kv", work, chip, stages=2, tile_columns=32), tensors)
    found = decided("decode.split_kv", work, chip, tile_columns=32)
    assert found.stages > 2
    np.testing.assert_array_equal(algorithm.values(work, found, tensors), two)
