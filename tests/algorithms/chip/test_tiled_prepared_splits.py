"""Decode with splits that a launch on the chip decides on (FlashAttention-3), and what its tiles compute."""

from __future__ import annotations

import math

import numpy as np
import pytest

from algorithms.chip.algorithm import get_chip_algorithm
from algorithms.chip.attention.decode import SplitParameters
from algorithms.chip.attention.splits import automatic_splits, prepared_splits
from algorithms.chip.plan.kernels import load_kernel
from algorithms.chip.timing.mapping import time_plan
from algorithms.workload.shape import Workload
from hwmodels.chips.accelerator import load_accelerator
from reference.truth import oracle

H200 = load_accelerator("h200")
FA3 = load_kernel("fa3_decode_hopper")
FP8 = Workload("fp8", "decode", 32, 4, 1, 65536, 128, mask="full", dtype="float8_e4m3")
SPLIT = get_chip_algorithm("decode.split_kv")


def planned(workload: Workload):
    return FA3.algorithm.plan(workload, FA3.parameters(workload), H200)


@pytest.mark.parametrize(
    ("items", "sequences", "key_tiles", "splits"),
    [
        (4, 1, 19, 17),  # 17 fill 0.85 of what 19 do; the margin would allow 19
        (4, 1, 74, 25),  # ceil(1.1 x 4 x 74 / 132) = 3 tiles per core
        (4, 1, 293, 29),  # 30 by the margin, 29 by the occupancy of one sequence
        (4, 1, 1171, 29),
        (4, 1, 4, 1),  # few tiles are not split
        (256, 64, 293, 1),  # 64 sequences fill the cores without a split
        (32, 8, 293, 4),  # 8 sequences: ceil(1.1 x 32 x 293 / 132) = 79 tiles per core
    ],
)
def test_splits_by_the_rule_of_the_kernel(items, sequences, key_tiles, splits):
    assert prepared_splits(items, sequences, 132, key_tiles) == splits


def test_prepared_splits_never_exceed_what_one_sequence_would_take():
    for key_tiles in range(1, 400, 7):
        for sequences in (1, 2, 5, 40):
            got = prepared_splits(4 * sequences, sequences, 132, key_tiles)
            assert 1 <= got <= automatic_splits(4, 132, key_tiles)
            per_core = math.ceil(1.1 * 4 * sequences * key_tiles / 132)
            assert got == 1 or (got - 1) * per_core < key_tiles


def test_a_launch_comes_first_that_moves_a_few_words():
    plan = planned(FP8)
    assert [launch.name for launch in plan.launches] == ["prepare", "attention", "merge"]
    assert plan.launches[0].total("load_bytes") == 4
    assert plan.launches[0].total("store_bytes") == 12
    without = SPLIT.plan(FP8, SplitParameters(**FA3.text.parameters | {"prepared": False}), H200)
    assert without.launches[0].name == "attention"


def test_rows_that_are_padding_are_computed_like_the_rest():
    """Eight query heads of a KV head fill 8 of the 128 rows of a tile (hopper/tile_size.h); softmax is over all."""
    attention = planned(FP8).launches[1]
    tiles = sum(step_times * times for item, times in attention.items for _, step_times in item.steps)
    assert tiles == 4 * math.ceil(65536 / 224)
    assert attention.total("flops") == tiles * 4 * 128 * 224 * 128
    assert attention.total("exps") == tiles * 128 * 225


def test_values_are_transposed_in_local_memory_in_fp8_alone():
    attention = planned(FP8).launches[1]
    tiles = 4 * math.ceil(65536 / 224)
    assert attention.total("rearranged_bytes") == tiles * 2 * 224 * 128
    assert planned(FP8.with_(dtype="float16")).launches[1].total("rearranged_bytes") == 0


def test_long_caches_are_bound_by_softmax_and_products_not_by_the_memory():
    """On an H200 at 1,500 MHz a byte more of cache costs 0.35 us per MB (tile-ai/TileOPs PR 2132), its memory 0.25."""
    profile = FA3.profile.fitted_to(clock_fraction=1.5e9 / H200.clock_hz)
    works = [FP8.with_(kv_len=tokens) for tokens in (65536, 262144)]
    runs = [time_plan(planned(work), H200, profile) for work in works]
    megabytes = (works[1].k_bytes + works[1].v_bytes - works[0].k_bytes - works[0].v_bytes) / 1e6
    assert (runs[1].seconds - runs[0].seconds) * 1e6 / megabytes == pytest.approx(0.35, rel=0.08)
    busy = runs[1].launches[1].busy
    assert busy["matrix"] + busy["exposed"] > 0.95 > busy["memory"]


def test_device_time_of_a_short_cache():
    """16.2 us of kernels for FP16 and 1,024 tokens on an H200 at 1,500 MHz (tile-ai/TileOPs PR 2084)."""
    work = FP8.with_(dtype="float16", kv_len=1024)
    run = time_plan(planned(work), H200, FA3.profile.fitted_to(clock_fraction=1.5e9 / H200.clock_hz))
    assert run.seconds * 1e6 == pytest.approx(16.2, rel=0.08)


def test_preparing_changes_no_value():
    work = Workload("values", "decode", 8, 2, 1, 700, 16, mask="full", batch=2)
    random = np.random.default_rng(5)
    q, k, v = (random.normal(size=(2, heads, tokens, 16)) for heads, tokens in ((8, 1), (2, 700), (2, 700)))
    parameters = SplitParameters(tile_rows=16, tile_columns=32, prepared=True, rearranged_values=True)
    decided = SPLIT.resolved(work, parameters, H200)
    assert decided.splits > 1
    got = SPLIT.values(work, decided, (q, k, v))
    assert np.abs(got - oracle.attention(q, k, v)[0]).max() < 1e-12
