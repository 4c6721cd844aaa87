"""What the suite does with thousands of random graphs, with so few that it takes a moment in plain Python."""

from __future__ import annotations

import pytest
from few_graphs.suite import suite

from simulator.random_graphs import random_graph

FIRST, FEW, SEEDS = 3_000_000, 5, 30

agree = suite("test_engines_agree_on_random_graphs")
skipping = suite("test_skipping_changes_nothing")
grants = suite("test_skipping_between_grants")


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, FEW))
def test_engines_agree(first):
    agree.compare_range(first, FEW)


@pytest.mark.parametrize("iterations", [30, 100])
@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, FEW))
def test_skipping_changes_nothing(first, iterations):
    for seed in range(first, first + FEW):
        skipping.skip_and_compare(random_graph(seed, max_iterations=iterations).freeze())


@pytest.mark.parametrize(("change", "iterations"), [("one_list", 30), ("one_loop", 30), ("long_runs", 3)])
@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, FEW))
def test_skipping_between_grants_changes_nothing(first, change, iterations):
    for seed in range(first, first + FEW):
        graph = grants.with_tables(random_graph(seed, max_iterations=iterations, servers=True), getattr(grants, change))
        grants.skip_and_compare(graph)
