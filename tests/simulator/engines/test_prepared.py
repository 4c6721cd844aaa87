"""Machines that are kept: a graph that differs in depths alone runs as if it had been flattened by itself."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from algorithms.registry import get_algorithm
from algorithms.workload.shape import Workload
from simulator import FrozenGraph, simulate
from simulator.engines.compiled import prepared
from simulator.engines.compiled.engine import run_compiled
from simulator.explain.deadlock import Remedies, smallest_depth
from simulator.random_graphs import random_graph
from simulator.simulate import completes


def with_other_depths(graph: FrozenGraph, draw: random.Random) -> FrozenGraph:
    """The same graph, bounded FIFOs a little deeper or shallower."""
    bounded = [channel for channel in graph.channels if channel.depth is not None]
    return graph.with_depths({one.name: max(1, (one.depth or 1) + draw.choice([-1, 0, 1, 3])) for one in bounded})


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_other_depths_run_as_if_flattened_by_themselves(first):
    found = 0
    for seed in range(first, first + 50):
        draw = random.Random(seed)
        graph = random_graph(seed, max_iterations=30).freeze()
        for other in [with_other_depths(graph, draw) for _ in range(4)]:
            before = len(prepared._KEPT)
            kept = [run_compiled(other, skip=skip) for skip in (True, False)]
            found += len(prepared._KEPT) == before
            prepared._KEPT.clear()
            assert [run_compiled(other, skip=skip) for skip in (True, False)] == kept, (graph.name, seed)
            run_compiled(graph, skip=True), run_compiled(graph, skip=False)
    assert found > 5  # some of them were made of the machine of another


def test_a_machine_that_was_run_is_not_what_is_kept():
    graph = random_graph(3).freeze()
    assert [run_compiled(graph) for _ in range(3)] == [run_compiled(graph)] * 3


def test_designs_that_get_stuck_alike_need_one_search_between_them():
    algorithm = get_algorithm("sdpa.naive")
    work = Workload("w", batch=1, heads=1, kv_heads=1, q_len=12, kv_len=12, head_dim=4, v_head_dim=4, phase="prefill")
    ran = []

    def asked(graph: FrozenGraph) -> bool:
        ran.append(graph)
        return completes(graph)

    remedies = Remedies(asked)
    stuck = [
        algorithm.build(work, replace(algorithm.parameters(), long_depth=depth), None).freeze() for depth in (2, 3, 7)
    ]
    results = [simulate(graph, timing_only=True) for graph in stuck]
    assert all(result.deadlock for result in results)
    name = next(iter(results[0].deadlock.remedy))
    alone = [smallest_depth(graph, name, completes) for graph in stuck]
    assert [remedies.smallest_depth(graph, name) for graph in stuck] == alone
    assert [result.deadlock.remedy[name] for result in results] == alone
    count = len(ran)
    remedies.smallest_depth(stuck[1], name)
    assert len(ran) == count
    slower = replace(stuck[0], channels=tuple(replace(c, depth=5) if c.name != name else c for c in stuck[0].channels))
    remedies.smallest_depth(slower, name)
    assert len(ran) > count
