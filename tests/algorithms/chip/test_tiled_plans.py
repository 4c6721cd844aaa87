"""What plans of tiled attention count, against closed formulas and against counting tiles one by one."""

from __future__ import annotations

import dataclasses
from itertools import product

import numpy as np
import pytest

from algorithms.chip.algorithm import get_chip_algorithm
from algorithms.chip.attention.operators import (
    Elementwise,
    OperatorParameters,
    Product,
    softmax_backward_launch,
    softmax_launch,
    strided_ops,
)
from algorithms.chip.attention.splits import automatic_splits
from algorithms.chip.plan.kernels import load_kernel
from algorithms.chip.plan.parameters import automatic_row_groups
from algorithms.chip.plan.plan import Launch, TilePlan
from algorithms.chip.timing.mapping import time_plan
from algorithms.workload.shape import Workload
from algorithms.workload.text import load_workload
from hwmodels.chips.accelerator import load_accelerator
from hwmodels.reading.errors import InputError
from reference.truth.oracle import visible_keys
from simulator.errors import CapacityError

H100 = load_accelerator("h100_sxm5_80g")
ONE_BY_ONE = H100.with_(**{"cores": 1, "core.matrix_rows": 1, "core.matrix_columns": 1, "core.register_bytes": 1 << 30})
"""A chip whose tiles are of any size, so that the closed formulas hold without rounding."""

GQA = Workload(name="gqa", phase="prefill", heads=8, kv_heads=2, q_len=100, kv_len=130, head_dim=16, batch=2)
MHA = GQA.with_(kv_heads=8, mask="full", v_head_dim=24)
DECODE = load_workload("llama3-8b").with_(phase="decode", q_len=1, kv_len=65536)


def plan(name: str, workload: Workload, chip=H100, **given) -> TilePlan:
    algorithm = get_chip_algorithm(name)
    return algorithm.plan(workload, algorithm.parameters(**given), chip)


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def distinct_bytes(launches: tuple[Launch, ...]) -> int:
    """Bytes of all operands and results of a plan, each launch by itself."""
    return sum(launch.unique_load_bytes + launch.total("store_bytes") for launch in launches)


# --- queries outside ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "columns"), [(16, 16), (64, 48), (7, 11)])
@pytest.mark.parametrize("packing", ["always", "never"])
@pytest.mark.parametrize("mask", ["full", "causal"])
def test_tiles_that_hold_a_visible_pair_are_computed_whole_and_no_others(mask, packing, rows, columns):
    work = GQA.with_(mask=mask)
    got = plan("flash.q_outer", work, tile_rows=rows, tile_columns=columns, pack_gqa=packing)
    group = work.group_size if packing == "always" else 1
    visible = np.repeat(visible_keys(work.q_len, work.kv_len, mask=mask), group, axis=0)
    starts = product(range(0, len(visible), rows), range(0, work.kv_len, columns))
    seen = [(r, c) for r, c in starts if visible[r : r + rows, c : c + columns].any()]
    heads = work.batch * work.heads // group
    steps = sum(item.step_count * times for item, times in got.launches[0].items)
    assert steps == heads * len(seen)
    assert got.total("flops") == heads * len(seen) * rows * columns * 2 * (work.head_dim + work.v_head_dim)
    assert got.total("exps") == heads * len(seen) * rows * (columns + 1)
    keys = sum(min(columns, work.kv_len - c, visible[r : r + rows].any(axis=0).sum() - c) for r, c in seen)
    assert got.total("load_bytes") == work.q_bytes + heads * keys * 2 * work.head_dim * work.dtype_bytes
    assert got.total("store_bytes") == work.out_bytes


def test_trimmed_tiles_of_a_full_mask_do_the_useful_work_and_nothing_else():
    got = plan("flash.q_outer", MHA, tile_rows=32, tile_columns=48, edge="trimmed")
    assert got.total("flops") == got.useful_flops == MHA.attention_flops
    rescales = MHA.batch * MHA.heads * MHA.q_len * ceil_div(MHA.kv_len, 48)
    assert got.total("exps") == MHA.exponentials + rescales
    passes = ceil_div(MHA.q_len, 32)
    assert got.total("load_bytes") == MHA.q_bytes + passes * (MHA.k_bytes + MHA.v_bytes)


def test_static_order_is_head_by_head_and_longest_first_begins_with_the_last_tiles():
    tiles = {"tile_rows": 32, "tile_columns": 32, "pack_gqa": "never"}
    static, longest = (plan("flash.q_outer", GQA, order=order, **tiles) for order in ("static", "longest_first"))
    steps = [
        [item.step_count for item, times in each.launches[0].items for _ in range(times)] for each in (static, longest)
    ]
    assert steps[0][:4] == [2, 3, 4, 5][: len(steps[0][:4])] and steps[0] == steps[0][:4] * 16
    assert steps[1] == sorted(steps[0], reverse=True)
    for name in ("flops", "exps", "load_bytes", "store_bytes", "vector_ops"):
        assert static.total(name) == longest.total(name)


def test_heads_are_packed_where_tiles_would_be_empty():
    """The rule of flash-attention: when decoding, or when queries do not fill their tiles."""
    q_outer = get_chip_algorithm("flash.q_outer")
    parameters = q_outer.parameters(tile_rows=64)
    packed = {
        queries: q_outer.resolved(DECODE.with_(phase="prefill", q_len=queries), parameters, H100).pack_gqa
        for queries in (1, 16, 64, 96, 8192)
    }
    assert packed == {1: "always", 16: "always", 64: "never", 96: "always", 8192: "never"}


def test_one_to_64_packed_rows_cost_the_same_products():
    """The step of 64 rows comes from the array and the tile (FlashMLA on H20: 16 to 64 rows cost 0.60 ms)."""
    costs = {
        rows: plan("decode.split_kv", DECODE.with_(q_len=rows // 4), splits=1).total("flops")
        for rows in (4, 16, 64, 68)
    }
    assert costs[4] == costs[16] == costs[64]
    assert costs[68] == 2 * costs[64]


# --- keys outside, and traffic as the core's memory grows --------------------------------------------------------


def test_keys_outside_read_and_write_outputs_in_every_pass():
    got = plan("flash.kv_outer", MHA, tile_rows=32, tile_columns=48)
    passes, rows = ceil_div(MHA.kv_len, 48), MHA.batch * MHA.heads * MHA.q_len
    outputs = MHA.out_bytes + 8 * rows
    assert got.total("load_bytes") == MHA.k_bytes + MHA.v_bytes + passes * (MHA.q_bytes + outputs)
    assert got.total("store_bytes") == passes * outputs


def test_outputs_between_passes_may_be_float32():
    stored, wide = (plan("flash.kv_outer", MHA, tile_columns=48, partial_output=f) for f in ("stored", "float32"))
    passes = ceil_div(MHA.kv_len, 48)
    assert wide.total("store_bytes") - stored.total("store_bytes") == passes * MHA.out_bytes
    assert wide.capacity_bytes > stored.capacity_bytes


def test_keys_outside_write_gradients_of_queries_in_every_pass():
    """Algorithm 4: per tile of keys Q, O, dO and dQ come, dQ goes; K, V, dK and dV pass once."""
    work = MHA.with_(q_len=256, kv_len=256, head_dim=64, v_head_dim=64)
    tiles = {"tile_rows": 64, "tile_columns": 128, "backward_tile_columns": 64}
    forward, backward = plan("flash.kv_outer_training", work, **tiles).launches
    rows, nd = work.batch * work.heads * work.q_len, work.q_bytes
    assert backward.total("load_bytes") == 2 * nd + 4 * (4 * nd + 8 * rows)
    assert backward.total("store_bytes") == 2 * nd + 4 * nd
    assert 2 * backward.total("flops") == 5 * work.attention_flops
    assert forward.total("flops") == work.attention_flops
    causal = plan("flash.kv_outer_training", work.with_(mask="causal"), **tiles).launches[1]
    seen = [sum(64 * (i + 1) > keys for i in range(4)) for keys in range(0, 256, 64)]
    assert causal.total("flops") == backward.total("flops") * sum(seen) // 16


def test_gpt2_medium_moves_far_less_with_tiles():
    """Figure 2 of arXiv:2205.14135 (A100, forward and backward): 40.3 GB unfused and 4.4 GB tiled.

    The published unfused count has mask and dropout passes, two each way; of the tiled kernel an L2 takes a part.
    """
    a100 = load_accelerator("a100_sxm4_40g")
    work = load_workload("gpt2-medium").with_(batch=64, q_len=1024, kv_len=1024, mask="full")
    eager, flash = plan("eager.training", work, a100, elementwise_passes=2), plan("flash.kv_outer_training", work, a100)
    unfused = time_plan(eager, a100).tier_bytes["hbm"]
    assert unfused == pytest.approx(40.3e9, rel=0.06)
    moved = time_plan(flash, a100).tier_bytes["hbm"]
    cores = flash.total("load_bytes") + flash.total("store_bytes")
    assert moved < 4.4e9 < cores < 1.4 * 4.4e9
    assert 7 < unfused / cores < 9.2 < unfused / moved < 14


def test_automatic_tiles_are_those_of_the_paper():
    """Bc = ceil(M / 4d), Br = min(Bc, d), for M elements and head dimension d."""
    chip = ONE_BY_ONE.with_(**{"core.sram_bytes": 100_000})
    work = MHA.with_(head_dim=64, v_head_dim=64, q_len=4096, kv_len=4096)
    kv_outer, q_outer = (get_chip_algorithm(f"flash.{order}_outer") for order in ("kv", "q"))
    decided = kv_outer.resolved(work, kv_outer.parameters(), chip)
    assert (decided.tile_columns, decided.tile_rows) == (ceil_div(50_000, 256), 64)
    decided = q_outer.resolved(work, q_outer.parameters(), chip)
    assert (decided.tile_rows, decided.tile_columns) == (ceil_div(50_000, 256), 64)


@pytest.mark.parametrize(("order", "factor"), [("kv", 12), ("q", 8)])
def test_traffic_falls_as_one_over_the_memory_of_a_core(order, factor):
    """Theta(N^2 d^2 / M) of arXiv:2205.14135, theorem 2: 4 N^2 d^2 / M for each tensor that is read or written again.

    With keys outside these are Q, O and O again; with queries outside K and V.
    """
    n, d = 8192, 64
    work = Workload(name="io", phase="prefill", heads=1, kv_heads=1, q_len=n, kv_len=n, head_dim=d, mask="full")
    for elements in (4096, 16384, 65536, 262144):
        chip = ONE_BY_ONE.with_(**{"core.sram_bytes": 2 * elements})
        got = plan(f"flash.{order}_outer", work, chip, stages=1)
        moved = got.total("load_bytes") + got.total("store_bytes")
        if order == "kv":
            moved -= 16 * n * ceil_div(4 * d * n, elements)  # maxima and sums, read and written
        once = 2 * 2 * n * d  # K and V once, or Q and O
        assert moved - once == factor * 2 * n * n * d * d // elements


def test_eager_attention_moves_what_algorithms_0_and_3_say():
    """11 N^2 + 12 N d for forward and backward pass of GPT-2 medium, 25.2 GB (arXiv:2205.14135, figure 2)."""
    work = load_workload("gpt2-medium").with_(batch=64, q_len=1024, kv_len=1024, mask="full")
    squares = work.batch * work.heads * work.q_len * work.kv_len * work.dtype_bytes
    got = plan("eager.training", work)
    assert distinct_bytes(got.launches) == 11 * squares + 12 * work.q_bytes
    assert distinct_bytes(got.launches) == pytest.approx(25.2e9, rel=0.01)
    forward = plan("eager.forward", work)
    assert distinct_bytes(forward.launches) == 4 * squares + 4 * work.q_bytes
    passes = plan("eager.training", work, elementwise_passes=2)
    assert distinct_bytes(passes.launches) - distinct_bytes(got.launches) == 8 * squares
    flash = plan("flash.q_outer", work)
    assert distinct_bytes(forward.launches) / distinct_bytes(flash.launches) > 15


def test_scores_that_fit_into_the_cache_twice_never_leave_it():
    small = GQA.with_(q_len=512, kv_len=512, mask="full")
    got = plan("eager.forward", small)
    moved = sum(
        launch.unique_load_bytes + launch.total("store_bytes") - launch.kept_store_bytes for launch in got.launches
    )
    assert moved == small.compulsory_bytes
    none = plan("eager.forward", small, H100.with_(**{"l2.capacity_bytes": 1 << 20}))
    assert distinct_bytes(none.launches) == small.compulsory_bytes + 4 * 512 * 512 * 16 * 2


# --- split keys ---------------------------------------------------------------------------------------------


def test_a_split_reads_queries_per_part_and_writes_float32_parts_that_a_merge_reads():
    work = DECODE.with_(kv_len=1000, q_len=2)
    got = plan("decode.split_kv", work, tile_rows=64, tile_columns=64, splits=5)
    attention, merge = got.launches
    parts = ceil_div(ceil_div(1000, 64), ceil_div(ceil_div(1000, 64), 5))
    partial = parts * work.heads * work.q_len * (work.v_head_dim + 1) * 4
    assert attention.item_count == work.kv_heads * parts
    # the last part of the keys is seen by both tokens, as causal masks are aligned to the bottom right
    assert attention.total("load_bytes") == parts * work.q_bytes + work.k_bytes + work.v_bytes
    assert attention.total("store_bytes") == merge.total("load_bytes") == partial
    assert merge.total("store_bytes") == work.out_bytes
    assert got.capacity_bytes == work.compulsory_bytes + partial
    assert (attention.kept_store_bytes, merge.unique_load_bytes) == (partial, 0)  # they stay in the L2


def test_parts_too_large_for_the_caches_go_through_the_memory():
    tiny = H100.with_(**{"l2.capacity_bytes": "1000 B"})
    attention, merge = plan("decode.split_kv", DECODE, tiny, splits=8).launches
    assert attention.kept_store_bytes == 0
    assert merge.unique_load_bytes == merge.total("load_bytes")


def test_one_part_needs_no_merge():
    got = plan("decode.split_kv", DECODE, splits=1)
    assert [launch.name for launch in got.launches] == ["attention"]
    assert got.launches[0].total("store_bytes") == DECODE.out_bytes


@pytest.mark.parametrize(
    ("items", "cores", "tiles", "splits"),
    [(8, 132, 512, 15), (132, 132, 512, 1), (106, 132, 512, 1), (1, 132, 512, 109), (8, 132, 4, 1), (8, 108, 6, 6)],
)
def test_automatic_splits_fill_the_last_wave(items, cores, tiles, splits):
    assert automatic_splits(items, cores, tiles) == splits


def test_heads_that_share_keys_read_them_together():
    """Packed or not, the keys come from the memory once; unpacked heads of a group meet in the cache."""
    packed, apart = (plan("decode.split_kv", DECODE, pack_gqa=packing, splits=16) for packing in ("always", "never"))
    assert (packed.launches[0].shared_by, apart.launches[0].shared_by) == (1, DECODE.group_size)
    moved = [time_plan(each, H100).tier_bytes["hbm"] for each in (packed, apart)]
    assert moved[1] < 1.1 * moved[0]
    assert apart.total("load_bytes") > 3.9 * packed.total("load_bytes")


def test_without_a_split_most_cores_are_idle():
    """The missing-split effect of FlashAttention-2 decode comes from the mapping of 8 work items to 132 cores."""
    unsplit, split = (time_plan(plan("decode.split_kv", DECODE, splits=splits), H100) for splits in (1, 0))
    assert unsplit.launches[0].cores == DECODE.kv_heads
    assert split.launches[0].cores > 100
    assert unsplit.seconds > 4 * split.seconds


def test_verified_tokens_are_those_that_a_draft_of_that_length_is_expected_to_give():
    verify = get_chip_algorithm("decode.verify")
    work = DECODE.with_(q_len=5, batch=3)
    assert verify.tokens_made(work, verify.parameters(acceptance=0.5)) == 3 * (1 + 0.5 + 0.25 + 0.125 + 0.0625)
    assert verify.tokens_made(work, verify.parameters(acceptance=1.0)) == 15


# --- prefix, low rank, training ---------------------------------------------------------------------------


def test_a_shared_prefix_is_read_once():
    """s + b c tokens and not b (s + c), arXiv:2402.14808."""
    work = DECODE.with_(batch=16, kv_len=3072)
    per_token = 2 * work.kv_heads * work.head_dim * work.dtype_bytes
    relay, plain = plan("prefix.relay", work, prefix_len=2048), plan("prefix.relay", work)
    read = sum(launch.unique_load_bytes for launch in relay.launches)
    assert read == 2 * work.q_bytes + per_token * (2048 + 16 * 1024)
    assert plain.launches[0].unique_load_bytes == work.q_bytes + per_token * 16 * 3072
    assert plain.compulsory_bytes - relay.compulsory_bytes == per_token * 15 * 2048
    assert [launch.name for launch in relay.launches] == ["prefix", "own", "merge"]


def test_a_prefix_must_leave_each_query_its_own_keys():
    with pytest.raises(InputError, match=r"prefix_len: must leave each sequence 100 of its 130 keys \(got 31\)"):
        plan("prefix.relay", GQA, prefix_len=31)


def test_low_rank_keeps_activations_of_its_rank_and_pays_with_products():
    work = MHA.with_(head_dim=32, v_head_dim=32)
    got = plan("flash.low_rank", work, rank=8, tile_rows=100, tile_columns=130)
    tokens = work.batch * work.heads * (work.q_len + 2 * work.kv_len)
    inputs = 8 * (tokens + 3 * work.heads * 32) * work.dtype_bytes
    assert got.launches[0].unique_load_bytes == inputs
    assert got.capacity_bytes == inputs + work.out_bytes
    expansions = 2 * work.batch * work.heads * 8 * 32 * (work.q_len + 2 * work.kv_len)
    assert got.total("flops") == work.attention_flops + expansions  # one tile per head: nothing is expanded twice
    with pytest.raises(InputError, match="rank: must be at most the head width 32"):
        plan("flash.low_rank", work, rank=33)


def test_a_backward_pass_has_five_products_where_the_forward_pass_has_two():
    work = MHA.with_(q_len=256, kv_len=256, head_dim=64, v_head_dim=64)
    got = plan("flash.training", work, backward_tile_rows=64, backward_tile_columns=128)
    by_name = {launch.name: launch for launch in got.launches}
    assert list(by_name) == ["forward", "row_sums", "backward", "convert_dq"]
    assert by_name["forward"].total("flops") == work.attention_flops
    assert 2 * by_name["backward"].total("flops") == 5 * work.attention_flops
    assert got.useful_flops == 7 * work.attention_flops // 2
    assert by_name["backward"].total("exps") == work.exponentials
    rows = work.batch * work.heads * work.q_len
    assert by_name["forward"].total("store_bytes") == work.out_bytes + 4 * rows
    dq = 2 * 2 * work.q_bytes  # float32, once per tile of keys
    assert by_name["backward"].total("store_bytes") == dq + work.k_bytes + work.v_bytes
    assert "add_dk_dv" in {launch.name for launch in plan("flash.training", GQA).launches}


# --- operators ----------------------------------------------------------------------------------------------


def test_products_read_each_operand_once_per_tile_of_the_other_dimension():
    launch = Product("p", 3, rows=300, columns=200, depth=100).launch(OperatorParameters(), "float16")
    assert launch.item_count == 3 * 3 * 2
    assert launch.total("load_bytes") == 3 * 100 * (2 * 300 + 3 * 200) * 2
    assert launch.total("store_bytes") == 3 * 300 * 200 * 2
    assert launch.unique_load_bytes == 3 * 100 * (300 + 200) * 2
    assert launch.total("flops") == 3 * 6 * 2 * 128 * 128 * 100  # ragged tiles are computed whole


def test_softmax_and_elementwise_passes_touch_every_element_once():
    launch = softmax_launch(1001, 77, OperatorParameters(), "float16")
    assert (launch.total("load_bytes"), launch.total("store_bytes")) == (1001 * 77 * 2, 1001 * 77 * 2)
    assert launch.total("exps") == 1001 * 77
    launch = Elementwise("mask", 100_001, reads=2, ops=3).launch(OperatorParameters(), "float32")
    assert (launch.total("load_bytes"), launch.total("store_bytes")) == (800_008, 400_004)
    assert launch.total("vector_ops") == 300_003


@pytest.mark.parametrize(("reads", "exps"), [(1, 1), (2, 2), (3, 2)])
def test_rows_that_are_not_kept_are_read_and_their_exponentials_evaluated_again(reads, exps):
    given = OperatorParameters(softmax_reads=reads, kept_columns=64)
    elements = 1001 * 77
    launch = softmax_launch(1001, 77, given, "float16")
    assert launch.total("load_bytes") == reads * launch.unique_load_bytes == reads * elements * 2
    assert launch.total("store_bytes") == elements * 2
    assert launch.total("exps") == exps * elements
    assert {item.step_count for item, _ in launch.items} == {reads}
    for item, _ in launch.items:
        assert [step.store_bytes > 0 for step, _ in item.steps] == [False] * (reads - 1) + [True]
    kept = softmax_launch(1001, 64, given, "float16")
    assert kept.total("load_bytes") == kept.unique_load_bytes
    # the maximum is known before the first exponential, where there are three passes
    assert (launch.items[0][0].steps[0][0].exps == 0) == (reads == 3)


def test_exact_exponentials_and_divisions_take_more_operations():
    """As compiled: expf has 7 beside the exp unit's, a division 9 and a reciprocal of that unit."""
    plain, exact = (
        softmax_launch(10, 100, OperatorParameters(softmax_reads=3, exact_math=exact), "float16")
        for exact in (False, True)
    )
    assert exact.total("vector_ops") - plain.total("vector_ops") == 1000 * (2 * 7 + 9 - 1)
    assert exact.total("exps") - plain.total("exps") == 1000


def test_gradients_of_a_softmax_read_two_tensors_and_one_of_them_twice():
    given = OperatorParameters(softmax_reads=3, kept_columns=64)
    size = 1001 * 77 * 2
    launch = softmax_backward_launch(1001, 77, given, "float16")
    assert (launch.total("load_bytes"), launch.unique_load_bytes) == (3 * size, 2 * size)
    assert (launch.total("store_bytes"), launch.total("exps")) == (size, 0)
    kept = softmax_backward_launch(1001, 64, given, "float16")
    assert kept.total("load_bytes") == kept.unique_load_bytes == 2 * 1001 * 64 * 2


def test_a_scattered_read_moves_a_sector_and_an_address_costs_integer_operations():
    copy = Elementwise("copy", 1000, ops=0, integer_ops=strided_ops(3, 2), scattered=1)
    free = copy.launch(OperatorParameters(), "float16")
    assert (free.total("load_bytes"), free.total("vector_ops")) == (2000, 0)
    launch = copy.launch(OperatorParameters(sector_bytes=32, integer_ops=2), "float16")
    assert (launch.total("load_bytes"), launch.unique_load_bytes, launch.total("store_bytes")) == (32000, 2000, 2000)
    assert launch.total("vector_ops") == 1000 * 2 * (7 + 2 * 2 + 3 * (7 + 2))
    shared = Elementwise("add", 1000, reads=2, distinct=1010).launch(OperatorParameters(), "float16")
    assert (shared.total("load_bytes"), shared.unique_load_bytes) == (4000, 2020)


# --- unfused attention as a benchmark has it ------------------------------------------------------------------


PYTORCH = {
    "program": "attention_pytorch", "softmax_reads": 3, "kept_columns": 1024, "sector_bytes": 32, "exact_math": True,
    "integer_ops": 1,
}  # fmt: skip
BENCHMARK = Workload("fa2", "prefill", 32, 32, 2048, 2048, 64, mask="full", batch=8)
"""A shape of flash-attention's benchmarks: 16,384 tokens, hidden size 2,048."""


def test_launches_are_those_of_the_benchmark():
    full, causal = (plan("eager.training", BENCHMARK.with_(mask=mask), **PYTORCH) for mask in ("full", "causal"))
    forward = ["copy_q", "copy_k", "qk", "softmax", "copy_v", "pv"]
    backward = [
        "dp", "dv", "softmax_product", "softmax_backward", "dq", "scale_dq", "dk", "scale_dk", "stack",
    ]  # fmt: skip
    assert [launch.name for launch in full.launches] == forward + backward
    masked = [*forward[:3], "full", "triu", "to", "add_mask", *forward[3:]]
    assert [launch.name for launch in causal.launches] == masked + backward
    assert [launch.name for launch in plan("eager.forward", BENCHMARK, **PYTORCH).launches] == forward
    assert full.useful_flops == 3 * plan("eager.forward", BENCHMARK, **PYTORCH).useful_flops


def test_bytes_of_the_benchmark_are_passes_over_scores_and_over_operands():
    """14 N^2 where algorithms 0 and 3 have 11; the mask adds two, and passes over the square of one head."""
    squares = BENCHMARK.batch * BENCHMARK.heads * BENCHMARK.q_len * BENCHMARK.kv_len * 2
    operand = BENCHMARK.q_bytes
    got = plan("eager.training", BENCHMARK, **PYTORCH)
    copies, products = 3 * 2, 2 * 2
    backward_products, scales, stack = 4 * 2, 2 * 2, 3 * 2
    forward = plan("eager.forward", BENCHMARK, **PYTORCH)
    assert distinct_bytes(forward.launches) == 4 * squares + (copies + products) * operand
    backward_operands = backward_products + scales + stack
    assert distinct_bytes(got.launches) == 14 * squares + (copies + products + backward_operands) * operand
    causal = plan("eager.forward", BENCHMARK.with_(mask="causal"), **PYTORCH)
    square = 2048 * 2048
    mask = square * (4 + 8 + 6 + 2)  # full; triu; to; add
    assert distinct_bytes(causal.launches) == distinct_bytes(forward.launches) + 2 * squares + mask


def test_a_mask_that_does_not_stay_in_the_cache_is_read_for_every_head():
    long = BENCHMARK.with_(batch=2, q_len=8192, kv_len=8192, mask="causal")
    (added,) = [each for each in plan("eager.forward", long, **PYTORCH).launches if each.name == "add_mask"]
    squares = 2 * 32 * 8192 * 8192 * 2
    assert added.unique_load_bytes == added.total("load_bytes") == 2 * squares
    roomy = H100.with_(**{"l2.capacity_bytes": 1 << 30})
    (kept,) = [each for each in plan("eager.forward", long, roomy, **PYTORCH).launches if each.name == "add_mask"]
    assert kept.unique_load_bytes == squares + 8192 * 8192 * 2


def test_bytes_that_are_timed_are_those_of_the_plan():
    work = BENCHMARK.with_(mask="causal", batch=1)
    got = plan("eager.training", work, **PYTORCH)
    run = time_plan(got, H100)
    assert run.tier_bytes["l2"] == got.total("load_bytes") + got.total("store_bytes")
    assert run.tier_bytes["hbm"] == distinct_bytes(got.launches)


@pytest.mark.parametrize("tokens", [512, 1536])
def test_few_cores_stand_for_all_of_them(tokens):
    kernel, chip = load_kernel("eager_training_ampere"), load_accelerator("a100").with_(cores=16)
    work = BENCHMARK.with_(batch=1, heads=4, kv_heads=4, q_len=tokens, kv_len=tokens, mask="causal")
    got = kernel.algorithm.plan(work, kernel.parameters(work), chip)
    symmetric, exact = (time_plan(got, chip, kernel.profile, mode=mode) for mode in ("symmetric", "exact"))
    assert symmetric.seconds == pytest.approx(exact.seconds, rel=0.01)


def test_small_scores_pass_through_the_cache_from_launch_to_launch():
    small = BENCHMARK.with_(batch=1, heads=2, kv_heads=2, q_len=512, kv_len=512, mask="causal")
    squares = 2 * 512 * 512 * 2
    got, none = (
        plan("eager.forward", small, H100.with_(**{"l2.capacity_bytes": size}), **PYTORCH)
        for size in (50 << 20, 3 << 19)
    )
    kept = sum(launch.kept_store_bytes for launch in got.launches)
    assert kept == 3 * squares  # products to mask, to softmax, to product
    assert distinct_bytes(none.launches) - distinct_bytes(got.launches) == kept


# --- what cannot be -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["flash.q_outer", "flash.kv_outer", "decode.split_kv", "flash.low_rank"])
def test_tiles_that_do_not_fit_into_a_core_are_refused(name):
    with pytest.raises(CapacityError, match=r"tiles of 2048 queries and \d x 512 keys need .* B too little; smaller"):
        plan(name, MHA, tile_rows=2048, tile_columns=512)


@pytest.mark.parametrize(
    "name",
    [
        "flash.q_outer",
        "flash.kv_outer",
        "decode.split_kv",
        "flash.low_rank",
        "flash.training",
        "flash.kv_outer_training",
    ],
)
def test_automatic_tiles_fit_even_a_small_core(name):
    small = H100.with_(**{"core.sram_bytes": 20_000, "core.register_bytes": 40_000})
    got = plan(name, GQA, small)
    assert got.core_bytes <= 60_000


def test_all_bad_parameters_come_at_once():
    with pytest.raises(InputError) as error:
        get_chip_algorithm("flash.q_outer").parameters(tile_rows=-1, stages=-1, overlap="both", order="random")
    assert str(error.value).splitlines() == [
        "tile_rows: must be at least 0 (got -1)",
        "stages: must be at least 0 (got -1)",
        "overlap: must be one of serial, ping_pong (got 'both')",
        "order: must be one of static, longest_first (got 'random')",
    ]
    with pytest.raises(InputError, match="acceptance: must lie between 0 and 1"):
        get_chip_algorithm("decode.verify").parameters(acceptance=1.5)


def test_bad_parameters_of_operators_and_programs_are_named():
    with pytest.raises(InputError, match=r"softmax_reads: must be at most 3 \(got 4\)"):
        OperatorParameters(softmax_reads=4)
    with pytest.raises(InputError, match="softmax_rows: must be at least 1"):
        OperatorParameters(softmax_rows=0)
    with pytest.raises(InputError, match="program: must be one of algorithms, attention_pytorch"):
        get_chip_algorithm("eager.forward").parameters(program="attention")


def test_row_groups_share_a_tile_evenly_up_to_three():
    assert [automatic_row_groups(blocks) for blocks in (0, 1, 2, 3, 4, 6, 256)] == [1, 1, 2, 3, 2, 3, 2]


def test_resolving_twice_changes_nothing():
    for name in (
        "flash.q_outer",
        "flash.kv_outer",
        "decode.split_kv",
        "prefix.relay",
        "flash.low_rank",
        "flash.training",
    ):
        algorithm = get_chip_algorithm(name)
        for work in (GQA, MHA, DECODE):
            once = algorithm.resolved(work, algorithm.parameters(), H100)
            assert algorithm.resolved(work, once, H100) == once
            assert 0 not in (once.tile_rows, once.tile_columns, once.row_groups)
            assert dataclasses.replace(once) == once
