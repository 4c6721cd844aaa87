"""Outputs of the streaming variants against the float64 oracle, which shares no code with them."""

from __future__ import annotations

import numpy as np
import pytest

from algorithms.registry import get_algorithm
from algorithms.workload.shape import Workload
from algorithms.workload.tensors import draw_tensors, load_tensors, workload_of_tensors
from reference.captures import capture_path
from reference.truth import metrics, oracle
from simulator import Result, simulate, values

TOLERANCE = 1e-12

VARIANTS = {
    "naive": ("sdpa.naive", {}),
    "scaled": ("sdpa.scaled", {}),
    "reordered": ("sdpa.reordered", {}),
    "reordered without max": ("sdpa.reordered", {"row_max": False}),
    "memory free": ("sdpa.memory_free", {}),
}
STABLE = [name for name in VARIANTS if name not in ("naive", "reordered without max")]

SHAPES = {
    "one head": {"heads": 1, "kv_heads": 1, "q_len": 9, "kv_len": 9, "head_dim": 4},
    "one score": {"heads": 1, "kv_heads": 1, "q_len": 1, "kv_len": 1, "head_dim": 1},
    "one query": {"heads": 2, "kv_heads": 2, "q_len": 1, "kv_len": 13, "head_dim": 3},
    "grouped heads": {"heads": 6, "kv_heads": 2, "q_len": 7, "kv_len": 7, "head_dim": 5},
    "one key head for all": {"heads": 4, "kv_heads": 1, "q_len": 5, "kv_len": 5, "head_dim": 2},
    "batch": {"heads": 2, "kv_heads": 1, "q_len": 6, "kv_len": 6, "head_dim": 4, "batch": 3},
    "ragged": {"heads": 4, "kv_heads": 2, "q_len": 5, "kv_len": 12, "head_dim": 3, "batch": 2},
    "wide values": {"heads": 2, "kv_heads": 1, "q_len": 6, "kv_len": 8, "head_dim": 3, "v_head_dim": 7},
    "narrow values": {"heads": 2, "kv_heads": 2, "q_len": 6, "kv_len": 8, "head_dim": 7, "v_head_dim": 1},
}


def workload_of(shape: str, mask: str, seed: int = 0) -> Workload:
    return Workload(name=shape, phase="prefill", mask=mask, dtype="float64", seed=seed, **SHAPES[shape])


def stream(variant: str, workload: Workload, tensors, **options) -> Result:
    """Run a variant; parameters of the algorithm are mixed with options of :func:`simulate`."""
    name, parameters = VARIANTS[variant]
    run = {key: options.pop(key) for key in ("engine", "skip") if key in options}
    algorithm = get_algorithm(name)
    graph = algorithm.build(workload, algorithm.parameters(**parameters, **options), tensors)
    result = simulate(graph, explain=False, **run)
    assert result.deadlock is None
    return result


def assert_like_the_oracle(result: Result, workload: Workload, tensors) -> None:
    expected, _ = oracle.attention(*tensors, mask=workload.mask)
    got = result.outputs["out"].reshape(expected.shape)
    assert np.max(np.abs(got - expected)) <= TOLERANCE
    assert metrics.relative_l2(got, expected) <= TOLERANCE


@pytest.mark.parametrize("granularity", ["row", "scalar"])
@pytest.mark.parametrize("mask", ["full", "causal"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_random_tensors(variant, shape, mask, granularity):
    """Both engines, whose schedules have one digest too."""
    workload = workload_of(shape, mask)
    tensors = draw_tensors(workload)
    results = [
        stream(variant, workload, tensors, granularity=granularity, engine=engine) for engine in ("compiled", "simpy")
    ]
    assert_like_the_oracle(results[0], workload, tensors)
    assert results[0].schedule_digest == results[1].schedule_digest
    assert results[0].cycles == results[1].cycles
    assert np.array_equal(results[0].outputs["out"], results[1].outputs["out"])


@pytest.mark.parametrize("granularity", ["row", "scalar"])
@pytest.mark.parametrize("mask", ["full", "causal"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_captured_tensors(variant, mask, granularity):
    """Attention of a published model over a real text: structured, with large scores."""
    q, k, v = load_tensors(capture_path("minilm_l6_layer3"))
    if granularity == "scalar":  # single elements cost 32 times as much: a part of the heads and queries will do
        q, k, v = q[:, :2, :48], k[:, :2, :64], v[:, :2, :64]
    base = workload_of("one head", mask)
    workload = workload_of_tensors(base, q, k, v)
    assert_like_the_oracle(stream(variant, workload, (q, k, v), granularity=granularity), workload, (q, k, v))


@pytest.mark.parametrize("variant", VARIANTS)
def test_values_do_not_depend_on_timing(variant):
    workload = workload_of("ragged", "causal")
    tensors = draw_tensors(workload)
    base = stream(variant, workload, tensors)
    for changes in ({"fifo_depth": 2}, {"exp_latency": 9}, {"mac_lanes": 1}, {"exp_cycles": 8, "exp_lanes": 3}):
        other = stream(variant, workload, tensors, **changes)
        assert other.cycles != base.cycles or changes == {"fifo_depth": 2}
        assert np.array_equal(other.outputs["out"], base.outputs["out"])


@pytest.mark.parametrize("granularity", ["row", "scalar"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_rows_may_be_evaluated_in_blocks_of_any_size(monkeypatch, variant, granularity):
    workload = workload_of("ragged", "causal")
    tensors = draw_tensors(workload)
    for block_bytes in (1, 300, 5000):
        monkeypatch.setattr(values, "BLOCK_BYTES", block_bytes)
        assert_like_the_oracle(stream(variant, workload, tensors, granularity=granularity), workload, tensors)


LARGE_SCORES = 2000.0  # factor on the queries


def large_scores(mask: str):
    """A workload whose scores reach some thousands, where exp overflows from 710 on."""
    workload = workload_of("grouped heads", mask)
    q, k, v = draw_tensors(workload)
    tensors = (LARGE_SCORES * q, k, v)
    _, log_sum_exp = oracle.attention(*tensors, mask=mask)
    assert np.max(log_sum_exp) > 2000
    return workload, tensors


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("mask", ["full", "causal"])
@pytest.mark.parametrize("variant", STABLE)
def test_variants_with_a_maximum_bear_scores_beyond_the_range_of_exp(variant, mask):
    """Without a warning either, although the padding of short rows is computed along."""
    workload, tensors = large_scores(mask)
    assert_like_the_oracle(stream(variant, workload, tensors), workload, tensors)


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
@pytest.mark.parametrize("variant", [name for name in VARIANTS if name not in STABLE])
def test_variants_without_a_maximum_overflow_as_documented(variant):
    workload, tensors = large_scores("full")
    result = stream(variant, workload, tensors)
    assert not np.all(np.isfinite(result.outputs["out"]))


@pytest.mark.parametrize("variant", VARIANTS)
def test_scores_all_alike_average_the_values(variant):
    """With zero queries every visible key has the same weight, so row r of a causal head is a running mean."""
    workload = workload_of("one head", "causal")
    q, k, v = draw_tensors(workload)
    result = stream(variant, workload, (0.0 * q, k, v))
    means = np.cumsum(v[0, 0], axis=0) / np.arange(1, workload.kv_len + 1)[:, None]
    np.testing.assert_allclose(result.outputs["out"], means, atol=1e-14)


@pytest.mark.parametrize("variant", VARIANTS)
def test_only_visible_keys_are_read(variant):
    """Keys and values after the last query's position do not exist, so change later ones and earlier rows stay."""
    workload = workload_of("one head", "causal")
    q, k, v = draw_tensors(workload)
    base = stream(variant, workload, (q, k, v)).outputs["out"]
    k2, v2 = k.copy(), v.copy()
    k2[:, :, 5:] += 3.0
    v2[:, :, 5:] -= 7.0
    changed = stream(variant, workload, (q, k2, v2)).outputs["out"]
    assert np.array_equal(changed[:5], base[:5])
    assert not np.any(np.all(changed[5:] == base[5:], axis=-1))


@pytest.mark.parametrize("shape", ["ragged", "batch"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_timing_alone_takes_the_same_time(variant, shape):
    workload = workload_of(shape, "causal")
    name, parameters = VARIANTS[variant]
    algorithm = get_algorithm(name)
    timing = simulate(algorithm.build(workload, algorithm.parameters(**parameters)), timing_only=True)
    assert timing.outputs == {}
    assert timing.schedule_digest == stream(variant, workload, draw_tensors(workload)).schedule_digest
