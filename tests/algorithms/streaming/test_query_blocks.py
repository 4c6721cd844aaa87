"""Streaming attention with queries that share a pass: values, cycles, traffic, and its place in the hybrid design."""

import numpy as np
import pytest

from algorithms.hybrid.graph import build as build_hybrid
from algorithms.hybrid.parameters import HybridParameters
from algorithms.registry import get_algorithm
from algorithms.streaming.memory import memory_bounds, on_memory
from algorithms.streaming.query_blocks import QueryBlockParameters, build
from algorithms.workload.shape import Workload
from algorithms.workload.tensors import draw_tensors
from hwmodels.reading.errors import InputError
from reference.truth.oracle import attention
from simulator import simulate

SHAPES = [
    {},
    {"q_len": 4, "kv_len": 31},
    {"heads": 4, "kv_heads": 2, "batch": 2},
    {"heads": 6, "kv_heads": 6, "v_head_dim": 5, "kv_len": 1},
]


def shape(**changes):
    known = {"heads": 1, "kv_heads": 1, "q_len": 12, "kv_len": 12, "head_dim": 8}
    return Workload(name="s", phase="prefill", mask="full", **(known | changes))


def result_of(workload, parameters, tensors=None, engine="compiled"):
    return simulate(build(workload, parameters, tensors), engine=engine, timing_only=tensors is None)


@pytest.mark.parametrize("queries", [1, 2, 4])
@pytest.mark.parametrize("changes", SHAPES)
def test_values_are_those_of_the_oracle(changes, queries):
    workload = shape(**changes)
    q, k, v = draw_tensors(workload)
    computed = result_of(workload, QueryBlockParameters(queries=queries), (q, k, v)).outputs["out"]
    expected, _ = attention(q, k, v, mask="full")
    assert np.abs(computed.reshape(expected.shape) - expected).max() <= 1e-12


@pytest.mark.parametrize("queries", [1, 3])
def test_both_engines_agree(queries):
    parameters = QueryBlockParameters(queries=queries, mac_lanes=3)
    digests = {result_of(shape(), parameters, engine=engine).schedule_digest for engine in ("compiled", "simpy")}
    assert len(digests) == 1


def test_one_query_is_the_reordered_pipeline():
    reordered = get_algorithm("sdpa.reordered")
    graph = reordered.build(shape(), reordered.parameters(), None)
    expected = simulate(graph, timing_only=True)
    got = result_of(shape(), QueryBlockParameters(queries=1))
    assert (got.cycles, got.firings, got.channels) == (expected.cycles, expected.firings, expected.channels)


@pytest.mark.parametrize("queries", [1, 2, 6])
def test_keys_are_read_once_per_pass_at_the_pace_of_the_lanes(queries):
    result = result_of(shape(), QueryBlockParameters(queries=queries, mac_lanes=2))
    keys = {channel.name: channel for channel in result.channels}["k->qk"]
    assert keys.tokens == 12 // queries * 12
    assert keys.bytes == keys.tokens * 8 * 2
    assert keys.tokens * 4 < result.cycles < keys.tokens * 4 + 12 * 4 + 40


def test_the_scores_of_a_pass_must_fit_the_fifo():
    assert result_of(shape(), QueryBlockParameters(long_depth=12)).deadlock is None
    assert result_of(shape(), QueryBlockParameters(long_depth=8)).deadlock is not None


def test_queries_that_share_a_pass_save_the_memory_that_much():
    workload = shape(q_len=32, kv_len=32, head_dim=64)
    moved, cycles = [], []
    for queries in (1, 4):
        parameters = QueryBlockParameters(queries=queries, kv_tier="hbm2")
        graph = build(workload, parameters, None)
        result = simulate(on_memory(graph, workload, parameters, 1e9), timing_only=True)
        bounds = memory_bounds(graph, workload, parameters, 1e9)
        assert bounds.lower_cycles <= result.cycles <= bounds.upper_cycles
        moved.append(result.servers[0].bytes)
        cycles.append(result.cycles)
    assert moved[0] == 4 * moved[1] == 32 * 2 * 32 * 64 * 2
    assert cycles[1] < 0.35 * cycles[0]


def test_it_is_the_attention_of_the_hybrid_design():
    workload = shape(layers=1, hidden=8)
    alone = result_of(workload, QueryBlockParameters(queries=3, mac_lanes=4))
    hardware = HybridParameters(attention_queries=3, attention_tile=4, bus_bits=64)
    whole = simulate(build_hybrid(workload, hardware, None), timing_only=True)
    for name in ("qk", "pv"):
        busy = [next(unit.busy_cycles for unit in result.units if unit.name == name) for result in (alone, whole)]
        assert busy[0] == busy[1] == 12 // 3 * 12 * 2


@pytest.mark.parametrize(
    ("changes", "parameters", "fields"),
    [({"q_len": 13}, {}, ["queries"]), ({"mask": "causal", "q_len": 2}, {}, ["mask", "queries"])],
)
def test_what_does_not_fit_is_refused(changes, parameters, fields):
    workload = Workload(**{**vars(shape()), **changes})
    with pytest.raises(InputError) as refusal:
        build(workload, QueryBlockParameters(**parameters), None)
    assert [problem.field for problem in refusal.value.problems] == fields


def test_queries_share_whole_rows():
    with pytest.raises(InputError, match="granularity"):
        QueryBlockParameters(granularity="scalar")
