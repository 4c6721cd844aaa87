"""Smallest FIFO depths: linear in N where a row must wait, constant where nothing must."""

from __future__ import annotations

import pytest

from algorithms.registry import get_algorithm
from algorithms.workload.shape import Workload
from simulator import Graph, Server, SimulatorError, operators
from simulator.engines.compiled.engine import run_compiled
from simulator.engines.outcome import Outcome
from simulator.explain import depths, full_rate
from simulator.explain.depths import advise_depths
from simulator.explain.full_rate import FullRate
from simulator.graph import FrozenGraph
from simulator.random_graphs import random_graph

LONG = {
    "sdpa.naive": ("weights_fifo",),
    "sdpa.scaled": ("scores_fifo", "weights_fifo"),
    "sdpa.reordered": ("scores_fifo",),
    "sdpa.memory_free": (),
}


def graph_of(name: str, length: int, **parameters: object) -> FrozenGraph:
    work = Workload("advice", "prefill", 1, 1, length, length, 16, mask="full")
    algorithm = get_algorithm(name)
    return algorithm.build(work, algorithm.parameters(**parameters)).freeze()


@pytest.mark.parametrize("length", [64, 256, 1024, 4096])
@pytest.mark.parametrize("name", LONG)
def test_long_fifos_are_linear_in_the_row_and_all_others_constant(name: str, length: int) -> None:
    advice = advise_depths(graph_of(name, length))
    for channel in advice.channels:
        if channel.name in LONG[name]:
            # N weights of a row, and N + 3 so that the next row can follow without a bubble
            assert (channel.min_depth, channel.full_rate_depth) == (length, length + 3)
        elif channel.name in ("q->q_hold", "v->pv", "k->qk"):
            assert channel.full_rate_depth <= 2
        else:
            assert channel.full_rate_depth <= 3, channel
    unbounded = graph_of(name, length).with_depths(dict.fromkeys(c.name for c in advice.channels))
    assert advice.full_rate_cycles == max(run_compiled(unbounded).clock)


@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize("granularity", ["row", "scalar"])
def test_no_advised_depth_can_be_lowered_alone(name: str, granularity: str) -> None:
    graph = graph_of(name, 24, granularity=granularity, exp_latency=5)
    advice = advise_depths(graph)
    fast = {c.name: c.full_rate_depth for c in advice.channels}
    small = {c.name: c.min_depth for c in advice.channels}
    assert max(run_compiled(graph.with_depths(fast)).clock) == advice.full_rate_cycles
    assert not any(run_compiled(graph.with_depths(small)).segment)
    for channel, depth in fast.items():
        if depth > 1:
            outcome = run_compiled(graph.with_depths(fast | {channel: depth - 1}))
            assert any(outcome.segment) or max(outcome.clock) > advice.full_rate_cycles, channel
    for channel, depth in small.items():
        if depth > 1:
            assert any(run_compiled(graph.with_depths(small | {channel: depth - 1})).segment), channel


def test_graphs_with_servers_get_a_clear_refusal() -> None:
    graph = Graph("served")
    graph.add_server(Server("memory"))
    source, sink = graph.add(operators.source("source", None, 4)), graph.add(operators.sink("sink", 4))
    graph.connect(source, sink)
    with pytest.raises(SimulatorError, match="without servers"):
        advise_depths(graph.freeze())


def as_if_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Find full rate by proof, whatever the number of firings."""
    monkeypatch.setattr(depths, "LONGEST_UNBOUNDED", 0)


@pytest.mark.parametrize("length", [24, 300])
@pytest.mark.parametrize("name", LONG)
def test_full_rate_by_proof_is_that_of_unbounded_fifos(name: str, length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = graph_of(name, length)
    simulated = advise_depths(graph)
    as_if_long(monkeypatch)
    unbounded = []
    run = depths._run

    def watched(graph: FrozenGraph, given: dict[str, int | None]) -> Outcome:
        unbounded.append(None in given.values())
        return run(graph, given)

    monkeypatch.setattr(depths, "_run", watched)
    assert advise_depths(graph) == simulated
    assert not any(unbounded)


@pytest.mark.parametrize("wrong", [-1, 0, 5])
@pytest.mark.parametrize("name", LONG)
def test_a_guess_changes_the_work_and_never_the_advice(name: str, wrong: int, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = graph_of(name, 100)
    searched = advise_depths(graph)
    as_if_long(monkeypatch)
    near = {c.name: max(1, c.min_depth + wrong) for c in searched.channels}
    far = {c.name: max(1, c.full_rate_depth + wrong) for c in searched.channels}
    assert advise_depths(graph, (near, far)) == searched


@pytest.mark.parametrize("seed", range(150))
def test_no_proof_of_full_rate_is_ever_wrong(seed: int) -> None:
    graph = random_graph(seed, servers=False).freeze()
    free = run_compiled(graph.with_depths(dict.fromkeys(c.name for c in graph.channels)))
    given = run_compiled(graph)
    if any(free.segment) or any(given.segment):
        return
    assert not any(FullRate.proof(graph, max(free.clock) + more) for more in range(1, 9))
    if FullRate.proof(graph, max(given.clock)) is not None:
        assert max(given.clock) == max(free.clock)


@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize("granularity", ["row", "scalar"])
def test_what_a_unit_does_not_depend_on_does_not_decide_when_it_starts(
    name: str, granularity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = graph_of(name, 12, granularity=granularity, exp_latency=5)
    one = full_rate._iterations(graph, 1).with_depths(dict.fromkeys(c.name for c in graph.channels))
    units = range(len(graph.units))
    short = [full_rate._start(one, unit) for unit in units]
    fired: list[int] = []
    run = full_rate.run_compiled

    def watched(graph: FrozenGraph, *, digest: bool, occupancy: bool) -> Outcome:
        fired.append(sum((outcome := run(graph, digest=digest, occupancy=occupancy)).fired))
        return outcome

    monkeypatch.setattr(full_rate, "run_compiled", watched)
    assert [full_rate._start(one, unit) for unit in units] == short
    few = fired.copy()
    monkeypatch.setattr(full_rate, "_demanded", lambda one, unit: one)
    fired.clear()
    assert [full_rate._start(one, unit) for unit in units] == short
    assert few[0] == 1  # the source of queries depends on nothing
    assert all(needed <= whole for needed, whole in zip(few, fired, strict=True))


@pytest.mark.parametrize("name", LONG)
def test_depths_at_full_rate_are_never_refuted_and_a_late_start_is_seen_early(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = graph_of(name, 300)
    advice = advise_depths(graph)
    proof = FullRate.proof(graph, advice.full_rate_cycles)
    assert proof is not None
    fast = {c.name: c.full_rate_depth for c in advice.channels}
    assert not proof.refutes(fast, proof.cycles)
    monkeypatch.setattr(full_rate, "FIRST_CYCLES", 64)
    beginning = full_rate.prefix(graph.with_depths(fast | {"k->qk": 1}), 64)
    assert proof._late(beginning, proof.cycles)
    assert not proof._late(full_rate.prefix(graph.with_depths(fast), 64), proof.cycles)


def test_a_long_design_is_advised_by_few_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    length = 1 << 14
    least = {c.name: c.min_depth for c in advise_depths(graph_of("sdpa.naive", 64)).channels} | {"weights_fifo": length}
    full = {c.name: c.full_rate_depth for c in advise_depths(graph_of("sdpa.naive", 64)).channels}
    runs = []
    run = depths._run
    monkeypatch.setattr(depths, "_run", lambda graph, given: runs.append(given) or run(graph, given))
    advice = advise_depths(graph_of("sdpa.naive", length), (least, full | {"weights_fifo": length + 3}))
    assert {c.name: c.full_rate_depth for c in advice.channels}["weights_fifo"] == length + 3
    assert len(runs) <= 4
