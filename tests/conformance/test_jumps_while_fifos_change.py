"""FIFOs that fill or drain, and units of unequal pace, are jumped over; every counter is that of the full run."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import fields

import numpy as np
import pytest

from simulator import FrozenGraph, Graph, Unit, uniform
from simulator.engines.compiled import filling
from simulator.engines.compiled.engine import run_compiled
from simulator.engines.outcome import Outcome
from simulator.engines.reference.engine import run_reference
from simulator.firing import Block, FiringTable, Segment
from simulator.random_graphs import random_graph

CHUNK = 100
COUNTERS = [field.name for field in fields(Outcome) if field.name not in ("trace", "skipped")]


def deep(seed: int, iterations: int) -> FrozenGraph:
    """A random graph, some of whose FIFOs are deep or unbounded."""
    graph = random_graph(seed, max_iterations=iterations, servers=False).freeze()
    draw = random.Random(seed)
    kinds = {c.name: draw.choice([None, c.depth, c.depth, draw.randint(20, 3000)]) for c in graph.channels if c.depth}
    return graph.with_depths(kinds)


def same(graph: FrozenGraph, reference: Outcome) -> Outcome:
    skipping = run_compiled(graph)
    assert [name for name in COUNTERS if getattr(skipping, name) != getattr(reference, name)] == [], graph.name
    return skipping


@pytest.mark.parametrize("first", range(0, 600, CHUNK))
def test_random_graphs_with_deep_fifos(first: int) -> None:
    jumps: Counter[str] = Counter()
    for seed in range(first, first + CHUNK):
        graph = deep(seed, 1000)
        outcome = same(graph, run_compiled(graph, skip=False))
        jumps["any"] += outcome.skipped.jumps > 0
        jumps["hold"] += outcome.skipped.jumps > 0 and any(unit.issue != "reserve" for unit in graph.units)
    assert jumps["any"] > 0.4 * CHUNK
    assert jumps["hold"] > 0.15 * CHUNK


@pytest.mark.slow
@pytest.mark.parametrize("first", range(10_000, 20_000, 1000))
def test_random_graphs_with_deep_fifos_nightly(first: int) -> None:
    for seed in range(first, first + 1000):
        graph = deep(seed, 3000)
        same(graph, run_compiled(graph, skip=False))


@pytest.mark.parametrize("seed", range(60))
def test_the_reference_engine_agrees(seed: int) -> None:
    graph = deep(seed, 40)
    same(graph, run_reference(graph))


def waiting_for_a_row(length: int, rows: int, depth: int | None) -> Graph:
    """A fork whose one branch sums a row, and a unit that needs the sum before the row that waits in a FIFO."""
    graph = Graph("row")
    fork = graph.add(Unit("fork", "fork", uniform(length, (), (1, 1), iterations=rows)))
    takes = [Segment(length - 1, (1,), (0,)), Segment(1, (1,), (1,), latency=3)]
    total = graph.add(Unit("sum", "reduce", FiringTable((Block(tuple(takes)),), rows)))
    uses = [Segment(1, (1, 1), (1,)), Segment(length - 1, (1, 0), (1,))]
    div = graph.add(Unit("div", "zip", FiringTable((Block(tuple(uses)),), rows)))
    out = graph.add(Unit("out", "sink", uniform(length, (1,), (), iterations=rows)))
    graph.connect(fork, total, output=0, depth=2)
    graph.connect(fork, div, output=1, input=0, depth=depth)
    graph.connect(total, div, input=1, depth=2)
    graph.connect(div, out, depth=2)
    return graph


@pytest.mark.parametrize("depth", [5003, 7000, 4000, None])
def test_a_row_that_fills_a_fifo_takes_few_firings(depth: int | None) -> None:
    graph = waiting_for_a_row(5000, 1, depth).freeze()
    outcome = same(graph, run_compiled(graph, skip=False))
    assert any(outcome.segment) == (depth == 4000)
    if depth is not None:
        assert sum(outcome.fired) - outcome.skipped.firings < 0.4 * sum(outcome.fired)


@pytest.mark.parametrize("depth", [50_000, 100_000, 300_000])
def test_a_source_that_runs_ahead_of_a_slow_sink_is_jumped_over(depth: int) -> None:
    graph = Graph("slow sink")
    source = graph.add(Unit("source", "source", uniform(100_000, (), (1,))))
    middle = graph.add(Unit("middle", "map", uniform(100_000, (1,), (1,))))
    sink = graph.add(Unit("sink", "sink", uniform(100_000, (1,), (), ii=3)))
    graph.connect(source, middle, depth=2)
    graph.connect(middle, sink, depth=depth)
    frozen = graph.freeze()
    outcome = same(frozen, run_compiled(frozen, skip=False))
    assert outcome.peak[1] == min(depth, 66_667)
    assert sum(outcome.fired) - outcome.skipped.firings < 0.3 * sum(outcome.fired)


def test_times_of_a_window_are_compared_period_by_period() -> None:
    ring = np.array([0, 1, 10, 11, 20, 22, 30, 31], np.int64)
    assert filling.alike_tokens(ring, 0, 7, 2, 8, 2, -100, 10) == 5  # 22 is a cycle late
    assert filling.alike_tokens(ring, 0, 7, 2, 8, 2, 11, 10) == 8  # unless the unit would not have waited for it
    assert filling.window_periods(ring, 0, 7, 2, 8, 2, -100, 10, 9, False) == 1
    assert filling.window_periods(ring, 0, 7, 2, 8, 2, 11, 10, 9, False) == 3
    assert filling.window_periods(ring, 0, 7, 2, 8, 2, 11, 10, 9, True) == 9
