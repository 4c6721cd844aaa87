"""Plans of attention blocks: counters against closed formulas, waste apart, and what chips make of them."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from algorithms.chip.algorithm import chip_algorithm_names, get_chip_algorithm
from algorithms.chip.latent.blocks import get_block
from algorithms.chip.latent.core import CoreTiles, attention_items, core_shape
from algorithms.chip.latent.fit import BlockParameters
from algorithms.chip.latent.fusion import fused_bytes, unfused_bytes
from algorithms.chip.latent.gemm import GemmTiles, Task, gemm_items
from algorithms.chip.latent.orders import ORDERS, latent_program, plain_program
from algorithms.chip.latent.program import Product, core_of
from algorithms.chip.timing.mapping import time_plan
from algorithms.workload.shape import LatentAttention, Workload
from algorithms.workload.text import load_workload
from hwmodels.chips.accelerator import load_accelerator
from hwmodels.reading.errors import InputError
from simulator.errors import CapacityError
from studies.validate.mla.formulas import absorption_crossover, costs, reuse_crossover

H100 = load_accelerator("h100_sxm5_80g")
MODELS = {name: load_workload(f"deepseek-{name}") for name in ("v2", "v3")}
PHASES = {
    "decode": {"phase": "decode", "q_len": 1, "mask": "full"},
    "verify": {"phase": "decode", "q_len": 4, "mask": "causal"},
    "chunk": {"phase": "prefill", "q_len": 300, "mask": "causal"},
    "prompt": {"phase": "prefill", "mask": "causal"},
    "encoder": {"phase": "prefill", "mask": "full"},
}


def block_plan(order, workload, chip=H100, **parameters):
    block = get_block("block.gqa" if order == "plain" else f"mla.{order}")
    return block.block_plan(workload, BlockParameters(**parameters), chip)


def assert_equals_formulas(order, workload, counters):
    closed = costs(order, workload)
    for field in dataclasses.fields(closed):
        got = getattr(counters, field.name) if field.name != "hidden_bytes" else None
        got = counters.input_bytes + counters.output_bytes if got is None else got
        assert got == getattr(closed, field.name), (order, field.name)
    assert (counters.flops, counters.compulsory_bytes) == (closed.flops, closed.bytes)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("order", ORDERS)
def test_counters_of_latent_blocks_equal_the_formulas(order, model, phase):
    for batch in (1, 3, 128):
        for context in (1, 317, 4096):
            changes = {"q_len": context, **PHASES[phase], "kv_len": context, "batch": batch}
            changes["q_len"] = min(changes["q_len"], context)
            workload = MODELS[model].with_(**changes)
            plan = block_plan(order, workload)
            assert_equals_formulas(order, workload, plan.counters)
            assert plan.plan.useful_flops == plan.counters.flops
            assert plan.plan.useful_exps == workload.exponentials
            assert plan.plan.compulsory_bytes == plan.counters.compulsory_bytes


@pytest.mark.parametrize("kv_heads", [128, 8, 1])
@pytest.mark.parametrize("phase", PHASES)
def test_counters_of_plain_blocks_equal_the_formulas(kv_heads, phase):
    base = MODELS["v3"].with_(latent=None, head_dim=128, v_head_dim=128, kv_heads=kv_heads)
    for context in (1, 700):
        q_len = min(PHASES[phase].get("q_len", context), context)
        workload = base.with_(**{**PHASES[phase], "q_len": q_len, "kv_len": context, "batch": 2})
        assert_equals_formulas("plain", workload, block_plan("plain", workload).counters)


@given(
    order=st.sampled_from(ORDERS),
    inside=st.sampled_from(["always", "never"]),
    rank=st.sampled_from([None, 24]),
    sizes=st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(0, 200)),
    tiles=st.tuples(st.integers(1, 70), st.integers(1, 70), st.integers(1, 9)),
    gemm=st.tuples(st.integers(1, 70), st.integers(1, 70), st.integers(1, 70)),
    mask=st.sampled_from(["full", "causal"]),
)
@settings(max_examples=60, deadline=None)
def test_counters_do_not_depend_on_tiles(order, inside, rank, sizes, tiles, gemm, mask):
    batch, q_len, earlier = sizes
    latent = LatentAttention(kv_lora_rank=40, qk_rope_head_dim=8, q_lora_rank=rank)
    workload = Workload(
        "odd", "decode", 6, 6, q_len, q_len + earlier, 28, 12, mask, "bfloat16", batch=batch, hidden=72, latent=latent
    )
    rows = 64 if order == "exp" and inside == "always" else tiles[0]
    names = ("tile_rows", "tile_columns", "splits", "gemm_rows", "gemm_columns", "gemm_depth")
    chosen = dict(zip(names, (rows, *tiles[1:], *gemm), strict=True))
    plan = block_plan(order, workload, inside=inside, **chosen)
    assert_equals_formulas(order, workload, plan.counters)
    waste = plan.plan.total("flops") - plan.counters.flops
    assert waste >= 0
    if mask == "full":
        assert waste == 0  # what an array pads is not part of a plan
    moved = plan.plan.total("load_bytes")
    assert moved >= sum(launch.unique_load_bytes for launch in plan.plan.launches)


def test_every_block_is_registered_under_its_name():
    names = [name for name in chip_algorithm_names() if name.startswith(("mla.", "block."))]
    assert len(names) == len(ORDERS) + 3
    for name in names:
        assert get_block(name) is get_chip_algorithm(name)


@pytest.mark.parametrize(("name", "kv_heads"), [("block.mha", 128), ("block.gqa", 8), ("block.mqa", 1)])
def test_plain_blocks_stand_in_for_latent_ones(name, kv_heads):
    workload = MODELS["v3"].with_(q_len=1, kv_len=512, phase="decode", batch=2)
    layer = workload.with_(latent=None, head_dim=128, v_head_dim=128, kv_heads=kv_heads)
    counters = get_block(name).block_plan(workload, BlockParameters(), H100).counters
    assert_equals_formulas("plain", layer, counters)
    nothing = (np.empty(0),) * 3
    q, k, v = get_block(name).prepared(workload.with_(kv_len=40), BlockParameters(), nothing)
    assert (q.shape, k.shape, v.shape) == ((2, 128, 1, 128), (2, 128, 40, 128), (2, 128, 40, 128))
    assert len(np.unique(k[0, :, 0, 0])) == kv_heads


def test_waste_of_diagonal_tiles_stands_apart():
    workload = MODELS["v3"].with_(q_len=1024, kv_len=1024, mask="causal")
    plan = block_plan("kvcache", workload, tile_rows=128, tile_columns=64)
    # each of 8 row tiles computes its 2 diagonal tiles of keys in full: 128 * 128 pairs instead of 128 * 129 / 2
    wasted_pairs = 128 * 8 * (128 * 128 - 128 * 129 // 2)
    assert plan.plan.total("flops") - plan.counters.flops == wasted_pairs * 2 * (192 + 128)


def test_the_absorbed_core_loads_the_cache_once_for_keys_and_values():
    workload = MODELS["v3"].with_(q_len=1, kv_len=4096, phase="decode", batch=7, heads=64, kv_heads=64)
    plan = block_plan("seq", workload, scope="core", splits=1)
    queries = 7 * 64 * 576 * 2
    assert plan.counters.cache_read_bytes == 7 * 4096 * 576 * 2
    assert plan.plan.launches[0].unique_load_bytes == plan.counters.cache_read_bytes + queries
    assert plan.plan.launches[0].total("load_bytes") == plan.counters.cache_read_bytes + queries


def test_expansion_inside_the_attention_makes_each_key_once():
    workload = MODELS["v3"].with_(q_len=64, kv_len=2048, phase="decode", mask="full")
    inside, before = (block_plan("exp", workload, inside=choice, tile_columns=32) for choice in ("always", "never"))
    assert inside.counters.flops == before.counters.flops
    assert inside.counters.spill_bytes == 0
    assert before.counters.spill_bytes == 2 * 2 * 2048 * 128 * 256  # bfloat16, written and read
    made = [step.scores for item, _ in inside.plan.launches[-2].items for step, _ in item.steps]
    assert all(len(products) == 3 for products in made)  # keys, values, scores


def test_a_composite_never_leaves_the_cores_unless_too_many_tokens_share_it():
    few, many = (MODELS["v3"].with_(q_len=1, kv_len=512, phase="decode", mask="full", batch=n) for n in (1, 2048))
    assert block_plan("rc", few).counters.spill_bytes == 0
    assert block_plan("rc", many).counters.spill_bytes >= 2 * 2 * 128 * 1536 * 512


@pytest.mark.parametrize("cores", [1, 7, 132])
@pytest.mark.parametrize("product", [Product(1, 1, 7168, 1536), Product(3, 100, 65, 130), Product(2, 5, 1, 1)])
def test_items_of_a_product_cover_it_exactly(product, cores):
    (runs,) = gemm_items([Task(product, 2)], GemmTiles(64, 128, 64, 64, 8), cores)
    assert sum(item.total("flops") * times for item, times in runs) == product.flops
    weights = product.groups * product.depth * product.columns
    row_tiles, column_tiles = -(-product.rows // 64), -(-product.columns // 128)
    loads = sum(item.total("load_bytes") * times for item, times in runs)
    assert loads == 2 * (row_tiles * weights + column_tiles * product.groups * product.rows * product.depth)


def test_depth_is_cut_where_tiles_alone_leave_cores_idle():
    (runs,) = gemm_items([Task(Product(1, 1, 7168, 1536), 2)], GemmTiles(), 132)
    items = sum(times for _, times in runs)
    assert 120 <= items <= 132
    assert all(item.last_store_bytes == 128 * 4 for item, _ in runs)  # partial sums


def test_splits_add_up_to_the_whole_attention():
    program = core_of(latent_program("seq", MODELS["v3"].with_(q_len=1, kv_len=1000, phase="decode", batch=3)))
    shape = core_shape(program, 2)
    whole = attention_items(shape, CoreTiles(64, 64, 1))
    split = attention_items(shape, CoreTiles(64, 64, 5))
    totals = [sum(item.total("flops") * times for item, times in runs) for runs in (whole, split)]
    assert totals == [shape.useful_flops] * 2
    assert sum(times for _, times in split) == 5 * sum(times for _, times in whole)


def test_wrong_workloads_and_parameters_are_refused():
    with pytest.raises(InputError, match="latent"):
        plain_program(MODELS["v3"])
    with pytest.raises(InputError, match="latent"):
        block_plan("seq", load_workload("llama3-8b"))
    with pytest.raises(InputError, match=r"tile_rows.*-1"):
        BlockParameters(tile_rows=-1)
    with pytest.raises(InputError, match="scope"):
        BlockParameters(scope="blok")
    with pytest.raises(CapacityError, match="query rows"):
        block_plan("seq", MODELS["v3"], tile_rows=4096, tile_columns=4096)


def test_crossovers_of_the_formulas():
    v3 = MODELS["v3"].with_(q_len=1, phase="decode", mask="full")
    found = [round(absorption_crossover(v3.with_(kv_len=context))) for context in (1024, 4096, 32768)]
    assert found == [146, 164, 170]
    ridges = {(1, 1024): 52, (1, 65536): 76, (32, 4096): 119, (128, 4096): 212}
    for (batch, context), ridge in ridges.items():
        assert round(reuse_crossover(v3.with_(batch=batch, kv_len=context))) == ridge
    assert round(reuse_crossover(v3.with_(kv_len=1024), "rc2", "ru2")) == 123


@pytest.mark.parametrize("order", ORDERS)
def test_time_on_a_chip_is_above_its_bounds_and_near_them(order):
    workload = MODELS["v3"].with_(q_len=1, kv_len=4096, phase="decode", mask="full", batch=16)
    run = time_plan(block_plan(order, workload).plan, H100)
    assert run.bounds.seconds <= run.seconds <= 2.5 * run.bounds.seconds


def test_rows_of_absorbed_decode_cost_a_step_per_tile_of_64():
    """FlashMLA on an H20: 16 to 64 rows take the same time, 80 and 96 rows twice that (64-row tiles)."""
    chip = load_accelerator("h20")
    base = MODELS["v3"].with_(q_len=1, kv_len=4096, phase="decode", mask="full", batch=128)
    seconds = {}
    for heads in (16, 64, 80):
        workload = base.with_(heads=heads, kv_heads=heads)
        plan = block_plan("seq", workload, chip, scope="core").plan
        seconds[heads] = time_plan(plan, chip).seconds
    assert seconds[64] < 1.1 * seconds[16]
    assert seconds[80] > 1.6 * seconds[64]


def test_fused_bytes_are_those_of_the_counters_and_unfused_ones_add_every_intermediate():
    for workload in (MODELS["v3"].with_(q_len=1, kv_len=99, phase="decode"), MODELS["v2"].with_(q_len=64, kv_len=64)):
        program = latent_program("seq", workload)
        assert fused_bytes(program, 2) == costs("seq", workload).bytes
    plain = MODELS["v3"].with_(latent=None, head_dim=128, v_head_dim=128, q_len=4, kv_len=4, heads=2, kv_heads=1)
    program = plain_program(plain)
    x, q, k, scores = 4 * 7168, 4 * 2 * 128, 4 * 128, 2 * 4 * 4
    weights = 7168 * 128 * (2 + 1 + 1 + 2)
    projected = (3 * x + q + k + k) + 2 * (q + k)  # three products, two rotations
    attended = q + k + k + q + 4 * scores
    assert unfused_bytes(program, 2) == 2 * (weights + projected + attended + q + x)
