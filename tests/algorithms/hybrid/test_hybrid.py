"""The hybrid pattern on FPGAs: what it simulates against its closed forms, and its resources."""

from __future__ import annotations

import pytest

from algorithms.hybrid.design import HybridDesign, block_rams, dsp_per_product
from algorithms.hybrid.graph import build
from algorithms.hybrid.parameters import HybridParameters
from algorithms.registry import get_algorithm
from algorithms.workload.shape import Workload
from algorithms.workload.tensors import draw_tensors
from algorithms.workload.text import load_workload
from hwmodels.reading.errors import InputError
from simulator import Result, simulate
from studies.cli.options import DesignOptions, design_point
from studies.families.evaluate import evaluate

TINY = Workload(
    name="tiny", phase="prefill", heads=2, kv_heads=2, q_len=9, kv_len=9, head_dim=8, mask="full", layers=4, hidden=16
)
SMALL = HybridParameters(linear_in=4, linear_out=4, attention_tile=4, attention_queries=2, bus_bits=64, linear_units=2)


def run(workload: Workload, parameters: HybridParameters, engine: str = "compiled") -> Result:
    return simulate(build(workload, parameters, None), engine=engine, timing_only=True)


def with_(parameters: HybridParameters, **changes: int) -> HybridParameters:
    return HybridParameters(**{**vars(parameters), **changes})


@pytest.mark.parametrize("changes", [{}, {"experts": 3, "images": 2}, {"streaming_modules": 2, "images": 3}])
def test_both_engines_agree(changes: dict[str, int]) -> None:
    parameters = with_(SMALL, **changes)
    assert run(TINY, parameters).schedule_digest == run(TINY, parameters, "simpy").schedule_digest


@pytest.mark.parametrize(
    "changes",
    [{}, {"attention_queries": 1}, {"linear_units": 1}, {"streaming_modules": 3, "linear_units": 4}, {"linear_in": 16}],
)
def test_many_images_leave_at_the_pace_of_the_slower_block(changes: dict[str, int]) -> None:
    few, many = (with_(SMALL, images=images, **changes) for images in (16, 32))
    design = HybridDesign(TINY, few)
    pace = max(design.attention_block_cycles, design.feed_forward_cycles)
    per_image = (run(TINY, many).cycles - run(TINY, few).cycles) / 16
    assert per_image == pytest.approx(pace * design.layers, rel=0.02)


def test_one_image_passes_every_phase_after_the_other() -> None:
    result, design = run(TINY, SMALL), HybridDesign(TINY, SMALL)
    attention = design.query_blocks * design.tokens * design.key_cycles
    layer = 3 * design.pass_cycles + 4 * design.projection_cycles + attention
    layer += sum(design.dense_cycles) + design.pass_cycles
    loads = design.load_cycles(4 * design.weight_bytes(16, 16))
    assert (
        design.layers * layer < result.cycles < design.layers * (layer + loads + design.tokens * design.key_cycles + 40)
    )


def test_the_fifo_of_scores_must_hold_a_pass() -> None:
    assert run(TINY, with_(SMALL, score_depth=9)).deadlock is None
    deadlock = run(TINY, with_(SMALL, score_depth=8)).deadlock
    assert deadlock is not None
    assert "scores" in str(deadlock)


def test_weights_of_used_experts_are_loaded_for_every_image_and_dense_ones_once() -> None:
    parameters = with_(SMALL, experts=4, images=3)
    design, result = HybridDesign(TINY, parameters), run(TINY, parameters)
    used = sum(1 for tokens in design.queue_lengths if tokens)
    weights = 4 * 4 * 16 * 16 + 2 * 2 * 16 * 64 + 2 * 3 * 2 * used * 16 * 32
    assert result.servers[0].bytes == weights * parameters.weight_bits // 8


def test_every_token_goes_to_so_many_experts() -> None:
    workload = load_workload("m3vit-tiny")
    lengths = HybridDesign(workload, HybridParameters(experts=16)).queue_lengths
    assert len(lengths) == 16
    assert sum(lengths) == 2 * workload.q_len
    assert max(lengths) <= workload.q_len
    assert lengths != HybridDesign(workload.with_(seed=1), HybridParameters(experts=16)).queue_lengths


@pytest.mark.parametrize(("bits", "slices"), [((16, 16), 1), ((32, 16), 2), ((32, 32), 4), ((18, 27), 2), ((8, 8), 1)])
def test_a_multiplier_is_cut_into_pieces_that_a_slice_takes(bits: tuple[int, int], slices: int) -> None:
    assert dsp_per_product(*bits) == dsp_per_product(*reversed(bits)) == slices


def test_block_rams_take_their_best_shape() -> None:
    assert block_rams(72, 512) == 1
    assert block_rams(9, 4096) == 1
    assert block_rams(4096, 144) == 57
    assert block_rams(256, 3096) == 28


def test_dsp_of_the_published_configuration() -> None:
    design = HybridDesign(load_workload("m3vit-tiny"), HybridParameters(experts=16))
    assert design.linear_dsp == 16 * 16 * 2
    assert design.attention_dsp == (2 * 4 * 8 + 4 * 3) * 4
    assert design.dsp == design.attention_dsp + 5 * design.linear_dsp


def test_the_published_configuration_on_vit_small_takes_the_measured_time() -> None:
    # github.com/DJ000011/UbiMoE, ViT_Fixed16 (commit 166c8b6): 26.4 ms on an Alveo U50 with these constants, whose
    # kernels run at 300 MHz at most; a clock is not stated
    parameters = HybridParameters(attention_tile=16, linear_units=2, activation_bits=16, images=8)
    cycles_per_image = run(load_workload("vit-small"), parameters).cycles / 8
    assert cycles_per_image / 300e6 < 26.4e-3 < cycles_per_image / 200e6


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"mask": "causal"}, "mask"),
        ({"kv_len": 12}, "q_len"),
    ],
)
def test_what_is_no_encoder_is_refused(changes: dict[str, object], field: str) -> None:
    with pytest.raises(InputError) as refusal:
        build(TINY.with_(**changes), SMALL, None)
    assert [problem.field for problem in refusal.value.problems] == [field]


def test_it_is_always_about_timing_only() -> None:
    assert not get_algorithm("vit.hybrid").has_values
    point = design_point("vit.hybrid", DesignOptions(seq_len=9, head_dim=8))
    assert point.timing_only
    assert evaluate(point).deviation is None
    with pytest.raises(InputError, match=r"vit\.hybrid has timing only and takes no tensors"):
        build(TINY, SMALL, draw_tensors(TINY))


def test_all_bad_parameters_are_told_at_once() -> None:
    with pytest.raises(InputError) as refusal:
        HybridParameters(linear_in=0, experts=2, experts_per_token=3, images=-1)
    assert {problem.field for problem in refusal.value.problems} == {"linear_in", "experts_per_token", "images"}
