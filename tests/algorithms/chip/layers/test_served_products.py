"""Products and experts as serving stacks call them: profiles, launches around the product, and what they cost."""

from __future__ import annotations

import dataclasses

import pytest

from algorithms.chip.layers.formats import weight_format
from algorithms.chip.layers.gemm import Gemm, chosen_tile
from algorithms.chip.layers.grouped import Routing
from algorithms.chip.layers.served import PRODUCT_MECHANISMS, SERVED_PRODUCTS, ServedProduct, find_product
from algorithms.chip.plan.profile import MOST_FITTED
from hwmodels.chips.accelerator import load_accelerator
from hwmodels.reading.errors import InputError

H100 = load_accelerator("h100")


def names(product: ServedProduct, *gemms: Gemm) -> list[str]:
    return [part.work.launch.name for part in product.parts(gemms, H100, warm_inputs=False)]


@pytest.mark.parametrize("name", SERVED_PRODUCTS.names())
def test_files_hold_few_numbers_each_for_a_mechanism_and_formats_that_exist(name):
    product = SERVED_PRODUCTS.load(name)
    assert product.name == name
    assert len(product.text.fitted_numbers) <= MOST_FITTED
    assert set(product.text.fitted_numbers) <= set(PRODUCT_MECHANISMS)
    assert bool(product.text.fitted_numbers) != bool(product.text.numbers_of)
    assert weight_format(product.text.weights).name == product.text.weights
    chips = [load_accelerator(chip) for chip in product.text.chips]
    assert [chip.name for chip in chips] == list(product.text.chips)
    for chip in chips:  # products run in a format that the chip has
        assert weight_format(product.text.weights).runs_as(product.text.activations, chip)[0]


@pytest.mark.parametrize(
    "name", [name for name in SERVED_PRODUCTS.names() if SERVED_PRODUCTS.load(name).text.fitted_numbers]
)
def test_files_say_what_their_numbers_were_fitted_on(name):
    origin = SERVED_PRODUCTS.load(name).text.origin
    assert origin is not None
    assert origin.rows > 0
    assert "@" in origin.tables


def test_are_found_by_stack_kernel_and_format():
    asked = ("gemm", "vllm", "0.24.0", "torch.nn.functional.linear", "bf16")
    found = find_product(*asked, H100)
    assert found is not None
    assert found.name == "vllm_bf16_hopper"
    assert find_product(*asked[:-1], "fp8", H100) is None
    assert find_product("moe", *asked[1:], H100) is None


def test_activations_are_quantised_in_as_many_passes_as_the_stack_makes():
    once, twice = SERVED_PRODUCTS.load("vllm_fp8_hopper"), SERVED_PRODUCTS.load("trtllm_fp8_hopper")
    gemm = once.gemm("product", 512, 4096, 4096)
    assert names(once, gemm) == ["quantise", "product"]
    assert names(twice, gemm) == ["quantise", "quantise", "product"]
    first, second = (part.work for part in twice.parts((gemm,), H100, warm_inputs=False)[:2])
    assert (first.load_bytes, first.store_bytes) == (512 * 4096 * 2, 0)  # the largest magnitude
    assert (second.load_bytes, second.store_bytes) == (512 * 4096 * 2, 512 * 4096)


def test_parts_of_a_depth_are_added_up_by_a_launch_where_the_library_does_so():
    cublas = SERVED_PRODUCTS.load("vllm_bf16_hopper")
    narrow, wide = cublas.gemm("product", 16, 512, 16384), cublas.gemm("product", 8192, 8192, 4096)
    assert chosen_tile(narrow, H100).splits > 1
    assert names(cublas, narrow) == ["product", "add up parts"]
    assert names(cublas, wide) == ["product"]


def test_results_of_quantised_products_are_sixteen_bits_wide():
    gemm = SERVED_PRODUCTS.load("vllm_fp8_hopper").gemm("product", 128, 4096, 4096)
    assert gemm.input_bytes == 128 * 4096
    assert gemm.output_bytes == 2 * 128 * 4096
    four = SERVED_PRODUCTS.load("vllm_nvfp4_blackwell").gemm("product", 128, 4096, 4096)
    assert four.input_bytes == 128 * 4096 // 2


def test_a_host_that_is_slower_than_the_chip_decides_and_else_does_not():
    product = SERVED_PRODUCTS.load("vllm_fp8_block_hopper")
    host_s = product.profile.launch_gap_s
    small, large = (
        product.estimate((product.gemm("product", *sizes),), H100) for sizes in ((1, 256, 256), (32768, 8192, 8192))
    )
    assert small.seconds == host_s
    assert large.seconds > 2 * host_s


def test_experts_are_two_products_with_a_gate_between_and_a_sum_behind():
    product = SERVED_PRODUCTS.load("vllm_experts_triton_bf16_hopper")
    routing = Routing(((4, 8),))
    parts = product.expert_parts(routing, 4096, 1536, 16, 2, H100)
    assert [part.work.launch.name for part in parts] == ["up", "gate", "down", "sum of experts"]
    up, down = parts[0].work, parts[2].work
    assert up.launch.unique_load_bytes >= 8 * 2 * 1536 * 4096 * 2  # weights of every expert with tokens
    assert down.launch.unique_load_bytes >= 8 * 1536 * 4096 * 2


def test_passes_go_over_rows_of_other_ranks_where_a_kernel_only_marks_them():
    marking, ordering = map(
        SERVED_PRODUCTS.load, ("vllm_experts_triton_fp8_block_hopper", "trtllm_experts_cutlass_fp8_hopper")
    )
    routing = Routing(((4, 8),))
    loads = [
        [part.work.load_bytes for part in product.expert_parts(routing, 4096, 1536, tokens, 8, H100)]
        for product in (marking, ordering)
        for tokens in (64, 128)
    ]
    quantise, gate, again = 0, 2, 3
    assert loads[1][gate] == 2 * loads[0][gate] and loads[1][again] == 2 * loads[0][again]
    assert loads[3][gate] == loads[2][gate] == 32 * 1536 * 2 * 2
    assert loads[3][quantise] == 2 * loads[2][quantise]  # tokens are quantised before they are dealt out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("fitted: {", "fitted: {clock_fraction: 0.9, item_gap_s: 1.0e-7, "), "at most 4 numbers"),
        (("fitted: {", "numbers_of: vllm_bf16_hopper\nfitted: {"), "has numbers of its own besides"),
        (("weights: float8", "weights: float9"), "unknown weight format 'float9'"),
    ],
)
def test_bad_files_are_told(tmp_path, change, message):
    bad = tmp_path / "bad.yaml"
    bad.write_text(SERVED_PRODUCTS.path("vllm_fp8_hopper").read_text().replace(*change))
    with pytest.raises(InputError, match=message):
        SERVED_PRODUCTS.load(bad).gemm("product", 1, 1, 1)


def test_another_profile_changes_the_time_and_not_the_launches():
    product = SERVED_PRODUCTS.load("vllm_bf16_hopper")
    slower = product.with_profile(
        dataclasses.replace(product.profile, matrix_fraction=product.profile.matrix_fraction / 2)
    )
    gemm = product.gemm("product", 8192, 8192, 8192)
    assert names(product, gemm) == names(slower, gemm)
    assert slower.estimate((gemm,), H100).seconds > 1.5 * product.estimate((gemm,), H100).seconds
