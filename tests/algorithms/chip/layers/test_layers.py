"""Layers beside attention: values against formulas of their own, plans against closed forms."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from algorithms.chip.layers import values
from algorithms.chip.layers.formats import FORMATS, rounded, weight_format
from algorithms.chip.layers.gemm import (
    Gemm,
    GemmTile,
    chosen_tile,
    depth_parts,
    forward_and_backward,
    memory_load_bytes,
)
from algorithms.chip.layers.grouped import GroupedGemm, Routing, expected_routing
from algorithms.chip.layers.passes import Passes, merged
from algorithms.chip.plan.profile import KernelProfile
from algorithms.chip.timing.mapping import time_launch
from algorithms.chip.timing.traffic import traffic
from hwmodels.chips.accelerator import accelerator_names, load_accelerator
from hwmodels.reading.errors import InputError
from reference.truth import transformer as truth
from reference.truth.dtypes import round_to

BF16 = weight_format("bfloat16")
H100 = load_accelerator("h100_sxm5_80g")
AHEAD = KernelProfile(tiles_in_flight=3, next_item="ahead")


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 20),
    columns=st.integers(1, 20),
    depth=st.integers(1, 40),
    tile=st.builds(
        GemmTile,
        rows=st.integers(1, 7),
        columns=st.integers(1, 7),
        depth=st.integers(1, 9),
        splits=st.integers(1, 5),
    ),
)
def test_a_product_by_tiles_and_parts_is_the_product(rows, columns, depth, tile):
    rng = np.random.default_rng(rows + 31 * columns + 1009 * depth)
    tokens, weights = rng.standard_normal((rows, depth)), rng.standard_normal((columns, depth))
    made = Gemm("g", rows, columns, depth, BF16).values(tokens, weights, tile)
    expected = [[math.fsum(tokens[i] * weights[j]) for j in range(columns)] for i in range(rows)]
    np.testing.assert_allclose(made, expected, rtol=0, atol=1e-12)
    parts = depth_parts(depth, tile)
    assert [place for part in parts for place in part] == list(range(depth))


def test_gradients_of_a_product_are_those_of_its_definition():
    rng = np.random.default_rng(2)
    tokens, weights, gradient = (rng.standard_normal(shape) for shape in ((5, 12), (7, 12), (5, 7)))
    tile = GemmTile(2, 3, 4, 2)
    forward, d_tokens, d_weights = forward_and_backward(Gemm("g", 5, 7, 12, BF16))
    made_tokens = d_tokens.values(gradient, weights.T, tile)
    made_weights = d_weights.values(gradient.T, tokens.T, tile)

    def loss(of_tokens, of_weights):
        return float(np.sum(gradient * forward.values(of_tokens, of_weights, tile)))

    step = 1e-6
    for array, made, other in ((tokens, made_tokens, True), (weights, made_weights, False)):
        for place in np.ndindex(array.shape):
            moved = array.copy()
            moved[place] += step
            change = loss(moved, weights) if other else loss(tokens, moved)
            assert (change - loss(tokens, weights)) / step == pytest.approx(made[place], abs=1e-7)
    assert d_tokens.flops == d_weights.flops == forward.flops


def test_the_gradient_of_few_bit_weights_reads_tokens_in_their_own_format():
    forward, d_tokens, d_weights = forward_and_backward(Gemm("g", 64, 256, 128, weight_format("int4"), "bfloat16", 3))
    assert d_tokens.weight_bytes < forward.input_bytes * 256 / 64
    assert d_weights.weight_bytes == forward.input_bytes == 3 * 64 * 128 * 2
    assert d_weights.input_bytes == 3 * 64 * 256 * 2


@pytest.mark.parametrize("chip", ["h100_sxm5_80g", "a100_sxm4_80g", "tpu_v5e", "jetson_agx_orin_64g", "groq_lpu1"])
@pytest.mark.parametrize(
    ("rows", "columns", "depth"), [(1, 4096, 4096), (33, 1000, 777), (300, 512, 64), (2048, 6144, 4096)]
)
def test_a_plan_does_the_work_and_moves_the_weights(chip, rows, columns, depth):
    accelerator = load_accelerator(chip)
    gemm = Gemm("g", rows, columns, depth, BF16, "bfloat16")
    launch = gemm.launch(accelerator)
    assert launch.total("flops") == gemm.flops == 2 * rows * columns * depth
    split = chosen_tile(gemm, accelerator).splits
    stored = launch.total("store_bytes")
    assert stored == (gemm.output_bytes if split == 1 else stored)
    assert stored >= gemm.output_bytes
    assert launch.unique_load_bytes >= gemm.weight_bytes
    assert launch.total("load_bytes") >= min(gemm.weight_bytes, launch.unique_load_bytes)


def test_both_operands_are_shared_through_the_cache():
    few = Gemm("g", 128, 57344, 8192, BF16, passing=False)
    moved = traffic(few.launch(H100), H100, H100.cores)
    assert moved.memory_load_bytes == few.weight_bytes + few.input_bytes
    # both operands are larger than the cache, yet each is read a few times at most
    many = Gemm("g", 16384, 16384, 16384, BF16, passing=False)
    loads = memory_load_bytes(many, chosen_tile(many, H100), H100)
    assert many.weight_bytes + many.input_bytes < loads < 9 * (many.weight_bytes + many.input_bytes)


def test_a_product_of_one_token_takes_as_long_as_its_weights():
    gemm = Gemm("g", 1, 65536, 8192, BF16)
    seconds = time_launch(gemm.launch(H100), H100, AHEAD, "symmetric").seconds
    weights = gemm.weight_bytes / H100.memory.bytes_per_second
    assert weights < seconds < 1.1 * weights


def test_waves_of_tiles_take_whole_turns():
    def seconds(columns):
        tile = GemmTile(128, 128, 64)
        return time_launch(Gemm("g", 128, columns, 8192, BF16).launch(H100, tile), H100, AHEAD, "symmetric").cycles

    one, full, more = seconds(128), seconds(128 * H100.cores), seconds(128 * H100.cores + 1)
    assert full < 2.5 * one
    assert more > 1.15 * full


def test_deep_products_with_few_tiles_are_split():
    tile = chosen_tile(Gemm("g", 16, 256, 65536, BF16), H100)
    assert tile.splits > 4
    assert chosen_tile(Gemm("g", 4096, 8192, 4096, BF16), H100).splits == 1


@pytest.mark.parametrize("name", FORMATS)
def test_weights_lie_in_as_many_bytes_as_their_format_says(name):
    form = weight_format(name)
    outputs, inputs = 256, 512
    scales = math.ceil(outputs / form.group_rows) * (inputs // form.group if form.group else 1)
    assert (
        form.matrix_bytes(outputs, inputs) == math.ceil(outputs * inputs * form.bits / 8) + scales * form.scale_bits / 8
    )
    assert form.source


def test_conversion_costs_time_where_the_array_lacks_the_format():
    ampere = load_accelerator("a100_sxm4_80g")
    eight = Gemm("g", 1, 8192, 8192, weight_format("float8"), "bfloat16")
    assert eight.launch(ampere).total("vector_ops") > 8192 * 8192
    assert eight.launch(ampere).matrix_format == "bfloat16"
    native = Gemm("g", 1, 8192, 8192, weight_format("float8"), "float8_e4m3")
    assert native.launch(H100).total("vector_ops") < 8192 * 8192
    assert native.launch(H100).matrix_format == "float8_e4m3"


def test_an_unknown_format_is_answered_with_the_nearest():
    with pytest.raises(InputError, match="did you mean 'nvfp4'"):
        weight_format("nvfp5")


GRIDS = {
    "int8": np.arange(-127, 128) / 127,
    "int4": np.arange(-7, 8) / 7,
    "nvfp4": np.array([-6, -4, -3, -2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 3, 4, 6]) / 6,
}


@pytest.mark.parametrize("name", GRIDS)
def test_rounded_weights_are_the_nearest_that_the_format_has(name):
    form = weight_format(name)
    weights = np.random.default_rng(3).standard_normal((4, 256))
    made = rounded(weights, form)
    size = form.group or 256
    for row in range(4):
        for start in range(0, 256, size):
            group = weights[row, start : start + size]
            grid = GRIDS[name] * np.abs(group).max()
            nearest = np.abs(group[:, None] - grid).min(axis=1)
            np.testing.assert_allclose(np.abs(made[row, start : start + size] - group), nearest, atol=1e-12)


def test_rounding_to_bfloat16_is_that_of_the_reference():
    weights = np.random.default_rng(4).standard_normal((8, 64))
    np.testing.assert_array_equal(rounded(weights, BF16), round_to(weights, "bfloat16"))


def test_eight_bit_floats_keep_three_bits_of_their_fractions():
    weights = np.random.default_rng(5).standard_normal((8, 64))
    made = rounded(weights, weight_format("float8"))
    scale = np.abs(weights).max(axis=1, keepdims=True) / 448
    mantissa, exponent = np.frexp(made / scale)
    normal = exponent > -6
    np.testing.assert_allclose((mantissa * 16)[normal], np.rint(mantissa * 16)[normal], atol=1e-9)
    assert np.max(np.abs(made - weights)[normal] / np.abs(weights)[normal]) <= 1 / 16 + 1e-12


def test_ternary_weights_are_a_scale_up_down_or_nothing():
    weights = np.random.default_rng(6).standard_normal((3, 40))
    made = rounded(weights, weight_format("ternary"))
    for row in range(3):
        scale = np.mean(np.abs(weights[row]))
        np.testing.assert_allclose(made[row], np.clip(np.rint(weights[row] / scale), -1, 1) * scale, atol=1e-12)


@given(tokens=st.integers(0, 500), active=st.integers(1, 8), experts=st.integers(8, 64))
def test_routed_rows_add_up(tokens, active, experts):
    routing = expected_routing(tokens, experts, active)
    assert routing.rows == tokens * active
    assert routing.experts <= min(experts, tokens * active)


def test_as_many_experts_have_tokens_as_a_random_choice_gives_them():
    rng = np.random.default_rng(7)
    draws = [len(set(np.concatenate([rng.choice(128, 8, replace=False) for _ in range(16)]))) for _ in range(200)]
    assert expected_routing(16, 128, 8).experts == pytest.approx(np.mean(draws), rel=0.02)


def test_grouped_products_read_the_experts_that_have_tokens_and_do_their_rows():
    grouped = GroupedGemm("up", expected_routing(16, 128, 8), 768, 2048, BF16)
    launch = grouped.launch(H100)
    assert launch.total("flops") == grouped.flops == 2 * 128 * 768 * 2048
    assert grouped.weight_bytes == expected_routing(16, 128, 8).experts * 768 * 2048 * 2
    assert launch.unique_load_bytes >= grouped.weight_bytes


def test_grouped_values_are_those_of_each_rows_expert():
    rng = np.random.default_rng(8)
    tokens, weights = rng.standard_normal((9, 6)), rng.standard_normal((4, 5, 6))
    chosen = np.array([2, 0, 3, 2, 2, 0, 1, 3, 0], dtype=float)
    made = GroupedGemm("g", Routing(((9, 1),)), 5, 6, BF16).values(tokens, weights, chosen, GemmTile(2, 2, 4))
    for row in range(9):
        np.testing.assert_allclose(made[row], weights[int(chosen[row])] @ tokens[row], atol=1e-12)


def test_elementwise_values_equal_formulas_of_their_own():
    rng = np.random.default_rng(9)
    tokens, weight, bias = rng.standard_normal((6, 10)), rng.standard_normal(10), rng.standard_normal(10)
    named = {"n.weight": weight, "n.bias": bias}
    for kind, made in (("rms", values.rms_norm(tokens, weight)), ("layer", values.layer_norm(tokens, weight, bias))):
        np.testing.assert_allclose(made, truth._normed(tokens, kind, named, "n"), atol=1e-12)
    np.testing.assert_allclose(
        values.rotary(tokens, np.arange(6.0)), truth.rotated(tokens, tuple(range(6))), atol=1e-12
    )
    for name, function in values.ACTIVATIONS.items():
        np.testing.assert_allclose(function(tokens), truth.activated(tokens, name), atol=1e-12)


def test_a_patch_embedding_is_a_convolution_with_its_own_windows():
    rng = np.random.default_rng(10)
    image, kernel = rng.standard_normal((3, 6, 8)), rng.standard_normal((5, 3, 2, 2))
    made = values.patches(image, 2) @ kernel.reshape(5, -1).T
    for row in range(3):
        for column in range(4):
            window = image[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            for out in range(5):
                assert made[row * 4 + column, out] == pytest.approx(np.sum(window * kernel[out]))


@pytest.mark.parametrize("chip", accelerator_names())
def test_passes_move_all_of_their_bytes_on_every_chip(chip):
    accelerator = load_accelerator(chip)
    launch = Passes("bfloat16").norm("norm", 77, 4096, residual=True).launch(accelerator)
    assert launch.total("load_bytes") == 77 * 4096 * 4 + 4096 * 2
    assert launch.total("store_bytes") == 77 * 4096 * 4
    assert time_launch(launch, accelerator, KernelProfile(), "symmetric").seconds > 0


def test_passes_made_one_keep_the_work_and_drop_what_lay_between():
    passes = Passes("bfloat16")
    up, down = passes.activation("act", 1000, gated=True), passes.quantise("q", 1, 1000, 1)
    one = merged("both", up, down)
    assert one.ops == up.ops + down.ops
    assert one.read_bytes == up.read_bytes
    assert one.write_bytes == down.write_bytes


def test_experts_have_the_tile_of_even_shares_however_tokens_are_spread():
    even = GroupedGemm("up", Routing(((64, 8),)), 768, 2048, BF16).launch(H100)
    skewed = GroupedGemm("up", Routing(((505, 1), (1, 7))), 768, 2048, BF16).launch(H100)
    steps = [{step.values[0].columns for item, _ in each.items for step, _ in item.steps} for each in (even, skewed)]
    assert steps[0] <= steps[1]


def test_weights_stay_narrow_in_local_memory():
    chip = load_accelerator("rtx_pro_6000_server")  # whose local memory holds no step of them at 16 bits
    tile = chosen_tile(Gemm("up", 512, 5760, 2880, weight_format("mxfp4"), count=128), chip)
    assert tile.rows >= 32 and tile.columns >= 128
