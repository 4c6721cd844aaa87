"""Skipping whole periods of the steady state gives the very numbers of the full run, and says what it skipped."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import fields

import pytest

from algorithms.registry import get_algorithm
from algorithms.workload.shape import Workload
from simulator import FrozenGraph, Graph, Unit, simulate, uniform
from simulator.engines.compiled.engine import run_compiled
from simulator.engines.outcome import Outcome
from simulator.random_graphs import random_graph

FIRST_SEED = 500_000
CHUNK = 200
COUNTERS = [field.name for field in fields(Outcome) if field.name not in ("trace", "skipped")]
VARIANTS = ("sdpa.naive", "sdpa.scaled", "sdpa.reordered", "sdpa.memory_free")


def skip_and_compare(graph: FrozenGraph) -> Outcome:
    """Run with and without skipping; demand equal counters, hashes, peaks and verdicts."""
    skipping, complete = run_compiled(graph, skip=True), run_compiled(graph, skip=False)
    differing = [name for name in COUNTERS if getattr(skipping, name) != getattr(complete, name)]
    assert differing == [], graph.name
    assert complete.skipped.jumps == complete.skipped.firings == 0
    assert (skipping.skipped.jumps > 0) == (skipping.skipped.firings > 0)
    assert skipping.skipped.firings < sum(skipping.fired) or skipping.skipped.jumps == 0
    return skipping


@pytest.mark.parametrize("first", range(0, 2000, CHUNK))
def test_random_graphs(first):
    """Up to a hundred iterations each, so that most graphs reach a steady state."""
    seen: Counter[str] = Counter()
    for seed in range(FIRST_SEED + first, FIRST_SEED + first + CHUNK):
        graph = random_graph(seed, max_iterations=100).freeze()
        outcome = skip_and_compare(graph)
        if outcome.skipped.jumps:
            tables = [graph.table(unit) for unit in range(len(graph.units))]
            seen["any"] += 1
            seen["server"] += sum(outcome.grants) > 0
            seen["hold"] += any(unit.issue != "reserve" for unit in graph.units)
            seen["growing"] += any(table.grows for table in tables)
            seen["deadlock"] += any(outcome.segment)
    assert seen["any"] > 0.4 * CHUNK
    assert min(seen["server"], seen["hold"]) > 0.15 * CHUNK
    assert seen["growing"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 20_000, 1000))
def test_random_graphs_nightly(first):
    for seed in range(FIRST_SEED + 10_000 + first, FIRST_SEED + 11_000 + first):
        skip_and_compare(random_graph(seed, max_iterations=300).freeze())


@pytest.mark.parametrize("granularity", ["row", "scalar"])
@pytest.mark.parametrize("mask", ["full", "causal"])
@pytest.mark.parametrize("name", VARIANTS)
def test_attention_graphs(name, mask, granularity):
    algorithm = get_algorithm(name)
    shapes = [(1, 1, 1), (5, 3, 1), (16, 4, 2), (33, 2, 3), (64, 8, 1)]
    settings = [{}, {"fifo_depth": 2}, {"qk_latency": 5, "exp_latency": 3, "reduce_latency": 4, "fifo_depth": 3}]
    skipped = 0
    for (length, head_dim, heads), changes in itertools.product(shapes, settings):
        workload = Workload(
            name="skip", phase="prefill", heads=heads, kv_heads=1, q_len=length, kv_len=length + 2, head_dim=head_dim,
            mask=mask, batch=2,
        )  # fmt: skip
        parameters = algorithm.parameters(granularity=granularity, **changes)
        skipped += skip_and_compare(algorithm.build(workload, parameters).freeze()).skipped.firings
    assert skipped > 0


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("long_depth", [1, 3, 8, 16, 18])
def test_attention_graphs_that_deadlock_or_crawl(name, long_depth):
    workload = Workload(
        name="shallow", phase="prefill", heads=2, kv_heads=1, q_len=16, kv_len=16, head_dim=4, mask="full"
    )
    algorithm = get_algorithm(name)
    skip_and_compare(algorithm.build(workload, algorithm.parameters(long_depth=long_depth)).freeze())


def test_a_skipping_result_tells_what_was_skipped():
    graph = Graph("long")
    source = graph.add(Unit("source", "source", uniform(1_000_000, (), (1,))))
    sink = graph.add(Unit("sink", "sink", uniform(1_000_000, (1,), (), ii=3)))
    graph.connect(source, sink, name="fifo", depth=4)
    skipping = simulate(graph, timing_only=True)
    complete = simulate(graph, timing_only=True, skip=False)
    assert skipping.cycles == complete.cycles == 1 + 3 * 1_000_000
    assert skipping.schedule_digest == complete.schedule_digest
    assert skipping.skipped.jumps > 0
    assert skipping.skipped.firings > 0.99 * skipping.firings
    assert complete.skipped.firings == 0 and complete.skipped.note


def test_a_traced_run_skips_nothing():
    graph = Graph("traced")
    source = graph.add(Unit("source", "source", uniform(5000, (), (1,))))
    sink = graph.add(Unit("sink", "sink", uniform(5000, (1,), ())))
    graph.connect(source, sink)
    result = simulate(graph, timing_only=True, trace=True)
    assert result.skipped.firings == 0
    assert [len(start) for start in result.trace.start] == [5000, 5000]
