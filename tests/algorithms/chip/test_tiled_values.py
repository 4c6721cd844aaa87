"""Outputs of the tiled algorithms against the float64 oracle, which shares no code with them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from algorithms.chip.algorithm import TiledAlgorithm, chip_algorithm_names, get_chip_algorithm
from algorithms.chip.attention.flash import softmax_over
from algorithms.chip.attention.training import TrainingParameters, gradients
from algorithms.chip.plan.online import merged
from algorithms.chip.plan.tiles import Tiling
from algorithms.workload.shape import Workload
from algorithms.workload.tensors import draw_tensors, load_tensors, workload_of_tensors
from hwmodels.chips.accelerator import load_accelerator
from reference.captures import capture_path
from reference.truth import metrics, oracle

TOLERANCE = 1e-12
H100 = load_accelerator("h100_sxm5_80g")

CASES = {
    "queries outside": ("flash.q_outer", {}),
    "keys outside": ("flash.kv_outer", {}),
    "unsplit": ("decode.split_kv", {"splits": 1}),
    "split": ("decode.split_kv", {"splits": 3}),
    "split to tiles": ("decode.split_kv", {"splits": 1000}),
    "verify": ("decode.verify", {"splits": 2}),
    "eager": ("eager.forward", {}),
    "eager training": ("eager.training", {}),
    "eager as benchmarked": ("eager.training", {"program": "attention_pytorch"}),
    "training": ("flash.training", {}),
    "keys outside training": ("flash.kv_outer_training", {}),
    "relay without prefix": ("prefix.relay", {"splits": 2}),
    "relay": ("prefix.relay", {"prefix_len": 2}),
    "relay split": ("prefix.relay", {"prefix_len": 3, "splits": 2, "prefix_splits": 2, "prefix_tile_rows": 3}),
    "low rank": ("flash.low_rank", {"rank": 1}),
    "low rank half": ("flash.low_rank", {}),
}
TILES = ({"tile_rows": 3, "tile_columns": 2}, {"tile_rows": 4, "tile_columns": 5}, {"tile_rows": 1, "tile_columns": 64})

SHAPES = {
    "one head": {"heads": 1, "kv_heads": 1, "q_len": 9, "kv_len": 9, "head_dim": 4},
    "one query": {"heads": 2, "kv_heads": 2, "q_len": 1, "kv_len": 13, "head_dim": 3},
    "grouped heads": {"heads": 6, "kv_heads": 2, "q_len": 7, "kv_len": 12, "head_dim": 5},
    "one key head for all": {"heads": 4, "kv_heads": 1, "q_len": 1, "kv_len": 11, "head_dim": 2},
    "batch": {"heads": 2, "kv_heads": 1, "q_len": 3, "kv_len": 6, "head_dim": 4, "batch": 3},
    "chunk": {"heads": 4, "kv_heads": 2, "q_len": 5, "kv_len": 12, "head_dim": 3, "batch": 2},
    "wide values": {"heads": 2, "kv_heads": 1, "q_len": 4, "kv_len": 8, "head_dim": 3, "v_head_dim": 7},
    "narrow values": {"heads": 2, "kv_heads": 2, "q_len": 4, "kv_len": 8, "head_dim": 7, "v_head_dim": 1},
}


def workload_of(shape: str, mask: str, **changes) -> Workload:
    fields = SHAPES[shape] | changes
    return Workload(name=shape, phase="prefill", mask=mask, dtype="float16", **fields)


def parameters_of(algorithm: TiledAlgorithm, **given):
    known = {field.name for field in dataclasses.fields(algorithm.parameters)}
    return algorithm.parameters(**{name: value for name, value in given.items() if name in known})


def assert_like_the_oracle(case: str, workload: Workload, tensors=None, **changes) -> None:
    name, given = CASES[case]
    algorithm = get_chip_algorithm(name)
    parameters = parameters_of(algorithm, **given | changes)
    prefix_len = getattr(parameters, "prefix_len", 0)
    if prefix_len and workload.mask == "causal":  # every query must see the whole prefix
        workload = workload.with_(q_len=min(workload.q_len, workload.kv_len - prefix_len))
    tensors = algorithm.prepared(workload, parameters, tensors or draw_tensors(workload))
    expected, _ = oracle.attention(*tensors, mask=workload.mask)
    got = algorithm.values(workload, parameters, tensors)
    assert got.shape == expected.shape
    assert np.max(np.abs(got - expected)) <= TOLERANCE
    if np.any(expected):
        assert metrics.relative_l2(got, expected) <= TOLERANCE


@pytest.mark.parametrize("mask", ["full", "causal"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("case", CASES)
def test_random_tensors(case, shape, mask):
    for tiles in TILES:
        for packing in ("always", "never"):
            assert_like_the_oracle(case, workload_of(shape, mask), **tiles, pack_gqa=packing, tile_depth=2)


@pytest.mark.parametrize("mask", ["full", "causal"])
@pytest.mark.parametrize("case", CASES)
def test_captured_tensors(case, mask):
    """Attention of a published model over a real text, structured and with large scores; tiles of an H100."""
    q, k, v = (each[:, :4] for each in load_tensors(capture_path("minilm_l6_layer3")))
    tensors = (q[:, :, 3:], k, v)  # every query sees a prefix of 3 keys
    workload = workload_of_tensors(workload_of("one head", mask), *tensors)
    algorithm = get_chip_algorithm(CASES[case][0])
    decided = algorithm.resolved(workload, parameters_of(algorithm, **CASES[case][1]), H100)
    tensors = algorithm.prepared(workload, decided, tensors)
    expected, _ = oracle.attention(*tensors, mask=mask)
    assert metrics.relative_l2(algorithm.values(workload, decided, tensors), expected) <= TOLERANCE


@pytest.mark.parametrize("case", [case for case in CASES if not case.startswith("relay ") and case != "relay"])
def test_queries_that_see_no_key_give_zero(case):
    """More queries than keys under a causal mask: the first rows see nothing, and whole tiles may be empty."""
    workload = workload_of("one head", "causal", q_len=11, kv_len=4)
    for tiles in TILES:
        assert_like_the_oracle(case, workload, **tiles)
    expected, _ = oracle.attention(*draw_tensors(workload), mask="causal")
    assert not np.any(expected[:, :, :7])


@pytest.mark.parametrize("case", [case for case in CASES if case != "low rank"])
def test_one_token(case):
    assert_like_the_oracle(case, workload_of("one head", "causal", q_len=1, kv_len=1, head_dim=2), prefix_len=0)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", CASES)
def test_scores_beyond_the_range_of_exp(case):
    workload = workload_of("grouped heads", "causal")
    q, k, v = draw_tensors(workload)
    assert_like_the_oracle(case, workload, (2000.0 * q, k, v), tile_rows=3, tile_columns=4)


def test_no_part_at_all_leaves_a_merge_unchanged():
    """A split of zero visible keys has log-sum-exp -inf and weighs nothing."""
    generator = np.random.default_rng(0)
    outputs, lse = generator.standard_normal((2, 3, 4)), generator.standard_normal((2, 3))
    empty = np.concatenate([outputs, np.zeros((1, 3, 4))]), np.concatenate([lse, np.full((1, 3), -np.inf)])
    for got, expected in zip(merged(*empty), merged(outputs, lse), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_a_tile_over_no_keys_is_the_neutral_element_of_merges():
    workload = workload_of("grouped heads", "full")
    q, k, v = draw_tensors(workload)
    tiling = Tiling(workload, 4, 5, packed=False)
    rows = tiling.laid_out(q)[..., :4, :]
    state = softmax_over(tiling, tiling.query_tiles[0], rows, k, v, range(3, 3))
    expected, lse = oracle.attention(q[:, :, :4], k[:, :, :0], v[:, :, :0])
    assert np.array_equal(state.output().reshape(expected.shape), expected)
    assert np.array_equal(state.log_sum_exp().reshape(lse.shape), lse)
    assert np.all(np.isneginf(lse))


def test_a_merge_does_not_depend_on_order():
    generator = np.random.default_rng(1)
    outputs, lse = generator.standard_normal((5, 3, 4)), 50 * generator.standard_normal((5, 3))
    expected, total = oracle.merge(list(zip(outputs, lse, strict=True)))
    order = generator.permutation(5)
    got, got_total = merged(outputs[order], lse[order])
    np.testing.assert_allclose(got, expected, atol=TOLERANCE)
    np.testing.assert_allclose(got_total, total, rtol=TOLERANCE)


def test_all_sequences_of_a_relay_start_alike():
    workload = workload_of("batch", "full")
    algorithm = get_chip_algorithm("prefix.relay")
    tensors = draw_tensors(workload)
    _, k, v = algorithm.prepared(workload, algorithm.parameters(prefix_len=2), tensors)
    assert np.array_equal(k[0, :, :2], k[2, :, :2]) and np.array_equal(v[0, :, :2], v[1, :, :2])
    assert np.array_equal(k[:, :, 2:], tensors[1][:, :, 2:])


def test_low_rank_tensors_have_their_rank_and_full_rank_changes_nothing():
    workload = workload_of("grouped heads", "full")
    algorithm = get_chip_algorithm("flash.low_rank")
    tensors = draw_tensors(workload)
    q, _, _ = algorithm.prepared(workload, algorithm.parameters(rank=2), tensors)
    assert np.linalg.matrix_rank(q[0, 0]) == 2
    for got, given in zip(algorithm.prepared(workload, algorithm.parameters(rank=5), tensors), tensors, strict=True):
        np.testing.assert_allclose(got, given, atol=1e-13)


@pytest.mark.parametrize("mask", ["full", "causal"])
@pytest.mark.parametrize("shape", ["one head", "grouped heads", "chunk", "wide values"])
def test_gradients_are_the_slopes_of_the_oracle(shape, mask):
    workload = workload_of(shape, mask)
    tensors = draw_tensors(workload)
    generator = np.random.default_rng(2)
    upstream = generator.standard_normal((workload.batch, workload.heads, workload.q_len, workload.v_head_dim))
    directions = [generator.standard_normal(tensor.shape) for tensor in tensors]
    parameters = TrainingParameters(tile_rows=3, tile_columns=4, backward_tile_rows=2, backward_tile_columns=5)
    found = gradients(workload, parameters, tensors, upstream)
    assert [each.shape for each in found] == [tensor.shape for tensor in tensors]

    def loss(step: float) -> float:
        moved = [tensor + step * direction for tensor, direction in zip(tensors, directions, strict=True)]
        return float(np.sum(oracle.attention(*moved, mask=mask)[0] * upstream))

    slope = (loss(1e-5) - loss(-1e-5)) / 2e-5
    assert sum(np.sum(a * b) for a, b in zip(found, directions, strict=True)) == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize("name", chip_algorithm_names())
def test_whatever_is_registered_is_documented_and_frozen(name):
    algorithm = get_chip_algorithm(name)
    assert algorithm.name == name
    assert algorithm.summary and "\n" not in algorithm.summary
    parameters = algorithm.parameters()
    for field in dataclasses.fields(parameters):
        assert field.metadata.get("help"), f"{name}: {field.name} has no help text"
        with pytest.raises(AttributeError):
            setattr(parameters, field.name, None)
