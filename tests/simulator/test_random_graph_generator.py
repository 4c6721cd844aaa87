"""The generator of random graphs: fixed by its seed, always well formed, and as its parameters say."""

from __future__ import annotations

import pytest

from simulator.random_graphs import random_graph


def test_a_seed_fixes_the_graph():
    for seed in range(100):
        assert random_graph(seed) == random_graph(seed)


def test_other_seeds_give_other_graphs():
    graphs = [random_graph(seed).freeze() for seed in range(100)]
    shapes = {(len(g.units), len(g.channels), tuple(g.table(u) for u in range(len(g.units)))) for g in graphs}
    assert len(shapes) == 100


@pytest.mark.parametrize("first", [0, 10_000, 2**40])
def test_all_graphs_are_well_formed_and_connected(first):
    for seed in range(first, first + 200):
        graph = random_graph(seed)
        graph.freeze()
        reached = {graph.units[0].name}
        for _ in graph.units:
            for channel in graph.channels:
                ends = {channel.producer, channel.consumer}
                reached |= ends if ends & reached else set()
        assert reached == {unit.name for unit in graph.units}
        assert graph.name == f"random-{seed}"


def test_servers_on_and_off():
    for seed in range(60):
        without = random_graph(seed, servers=False)
        assert without.servers == [] and all(unit.server is None for unit in without.units)
        assert random_graph(seed, servers=True).servers


def test_iterations_stay_within_the_limit():
    for limit in (1, 3, 20):
        graphs = [random_graph(seed, max_iterations=limit) for seed in range(60)]
        iterations = {unit.table.iterations for graph in graphs for unit in graph.units}
        assert max(iterations) == limit
        assert min(iterations) >= 1
