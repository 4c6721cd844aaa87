"""The critical path accounts for every cycle, and names what binds."""

from __future__ import annotations

import pytest

from algorithms.registry import get_algorithm
from algorithms.workload.shape import Workload
from simulator import SimulatorError
from simulator.explain.critical_path import critical_path
from simulator.random_graphs import random_graph


@pytest.mark.parametrize("chunk", range(4))
def test_shares_add_up_to_the_makespan_on_random_graphs(chunk: int) -> None:
    walked = 0
    for seed in range(100 * chunk, 100 * chunk + 100):
        graph = random_graph(seed).freeze()
        try:
            path = critical_path(graph)
        except SimulatorError as error:
            assert "deadlocks" in str(error)
            continue
        walked += 1
        assert path.exact or graph.servers, seed
        if path.exact:
            assert sum(share.cycles for share in path.shares) == path.cycles
    assert walked > 80


@pytest.mark.parametrize(
    ("name", "parameters", "kind", "where"),
    [
        ("sdpa.naive", {"exp_cycles": 4}, "interval", "exp"),
        ("sdpa.memory_free", {"exp_cycles": 3}, "interval", "online_max"),
        ("sdpa.naive", {"div_cycles": 5}, "interval", "div"),
        ("sdpa.memory_free", {"mac_lanes": 4}, "interval", "pv"),  # as slow as qk, and the last of the two
        ("sdpa.scaled", {"exp_latency": 40}, "latency", "exp"),
    ],
)
def test_the_largest_share_names_the_bottleneck(name: str, parameters: dict[str, int], kind: str, where: str) -> None:
    work = Workload("path", "prefill", 1, 1, 64, 64, 16, mask="full")
    algorithm = get_algorithm(name)
    path = critical_path(algorithm.build(work, algorithm.parameters(**parameters)).freeze())
    assert (path.shares[0].kind, path.shares[0].where) == (kind, where)


def test_too_many_firings_are_refused_before_they_fill_the_memory() -> None:
    work = Workload("path", "prefill", 32, 32, 2048, 2048, 128, mask="full")
    algorithm = get_algorithm("sdpa.naive")
    with pytest.raises(SimulatorError, match="shorten"):
        critical_path(algorithm.build(work, algorithm.parameters()).freeze())
