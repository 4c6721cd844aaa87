"""Machines that are filled with other times count what the graph with these times counts, whatever ran before."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from simulator import Block, FiringTable, FrozenGraph, Graph, MemoryServer, Segment, Unit, simulate, uniform
from simulator.engines.compiled.run_ahead import OUT_OF_VISITS
from simulator.engines.progress import leave, listen
from simulator.errors import AccountingError
from simulator.explain.alike import MOST_CYCLES, Counts, Mould, run
from simulator.random_graphs import random_graph
from simulator.servers.link import LinkServer


def retimed(graph: FrozenGraph, seed: int) -> FrozenGraph:
    """The graph with other latencies, intervals and requests, rates of servers and latencies of channels."""
    draw = np.random.default_rng(seed)

    def other(segment):
        asked = int(draw.integers(1, 40)) if segment.request_bytes else 0
        times = {"latency": int(draw.integers(1, 9)), "ii": int(draw.integers(1, 6)), "request_bytes": asked}
        return replace(segment, **times)

    def table(old):
        blocks = [replace(block, segments=tuple(map(other, block.segments))) for block in old.blocks]
        return replace(old, blocks=tuple(blocks))

    return replace(
        graph,
        units=tuple(replace(unit, table=table(unit.table)) for unit in graph.units),
        channels=tuple(replace(channel, latency_cycles=int(draw.integers(0, 4))) for channel in graph.channels),
        servers=tuple(
            replace(server, bytes_per_cycle=int(draw.integers(1, 9)), latency_cycles=int(draw.integers(0, 9)))
            for server in graph.servers
        ),
    )


def counted(graph: FrozenGraph) -> Counts | None:
    """What a plain run counts."""
    result = simulate(graph, timing_only=True, digest=False, explain=False)
    if result.deadlock:
        return None
    causes = Mould(graph).causes
    stalled = [[unit.stalled_cycles.get(name, 0) for name in causes[i]] for i, unit in enumerate(result.units)]
    return Counts(
        result.cycles,
        result.firings,
        result.skipped.firings,
        [unit.busy_cycles for unit in result.units],
        [cycles for unit in stalled for cycles in unit],
        tuple(np.cumsum(list(map(len, stalled))).tolist()),
        [server.busy_cycles for server in result.servers],
    )


GRAPHS = [
    graph for graph in (random_graph(seed, max_iterations=60).freeze() for seed in range(80)) if Mould.fits(graph)
]


@pytest.mark.parametrize("seed", range(len(GRAPHS)))
def test_other_times_in_a_mould_count_as_in_a_graph_of_their_own(seed):
    graph = retimed(GRAPHS[seed], seed)
    mould = Mould(graph)
    for other in (graph, *(retimed(graph, 1000 * seed + n) for n in range(3)), graph):
        assert mould.run(Mould.times_of(other)) == counted(other)


def test_runs_with_equal_times_are_counted_once_and_few_are_kept(ending, monkeypatch):
    mould, times = Mould(ending), Mould.times_of(ending)
    later, latest = (times._replace(latencies=times.latencies + n) for n in (1, 2))
    alone = [Mould(ending).run(each) for each in (times, later, latest)]
    assert alone[0] != alone[1]
    ran = []
    monkeypatch.setattr("simulator.explain.alike.run", lambda *given: ran.append(None) or run(*given))
    monkeypatch.setattr("simulator.explain.alike.MOST_COUNTED", 2)
    assert [mould.run(each) for each in (times, times, later, times)] == [alone[0], alone[0], alone[1], alone[0]]
    assert len(ran) == 2
    assert [mould.run(each) for each in (latest, times, latest)] == [alone[2], alone[0], alone[2]]
    assert len(ran) == 4  # there was room for two, and both were forgotten for the third


def test_graphs_with_servers_that_skip_and_that_get_stuck_are_among_those_that_are_compared():
    graphs = [retimed(graph, seed) for seed, graph in enumerate(GRAPHS)]
    found = [counted(graph) for graph in graphs]
    assert len(GRAPHS) >= 50
    assert sum(each is None for each in found) >= 2
    assert sum(each is not None and each.skipped_firings > 0 for each in found) >= 5
    assert sum(any(graph.servers) for graph in graphs) >= 20


@pytest.fixture(scope="module")
def ending():
    """A graph without servers that comes to its end."""
    graphs = (graph for graph in GRAPHS if not graph.servers and len(graph.units) > 3)
    return next(graph for graph in graphs if Mould(graph).run(Mould.times_of(graph)))


def test_times_that_might_not_fit_into_64_bits_are_left_to_the_checks_of_the_graph(ending):
    times = Mould.times_of(ending)
    assert Mould(ending).run(times._replace(latencies=times.latencies + (1 << 61))) is None


def test_many_firings_of_times_that_fit_might_not_fit_together(ending):
    mould, times = Mould(ending), Mould.times_of(ending)
    most = MOST_CYCLES // mould.run(times).firings
    assert mould.run(times._replace(latencies=times.latencies + most)) is None
    assert mould.run(times._replace(latencies=times.latencies + most // 4)) is not None


@pytest.mark.parametrize("interval", [0, -1])
def test_firings_that_take_no_time_are_left_to_the_checks_of_the_graph(ending, interval):
    mould, times = Mould(ending), Mould.times_of(ending)
    assert mould.run(times._replace(intervals=np.ones_like(times.intervals))) is not None
    assert mould.run(times._replace(intervals=np.full_like(times.intervals, interval))) is None


def test_times_fit_as_long_as_those_of_all_firings_one_after_another_do(monkeypatch):
    """In a firing one may wait for the longest of each time, and for slots to come back."""
    graph = Graph("one after another")
    ends = (graph.add(Unit(name, "map", uniform(3, *ports))) for name, ports in (("a", ((), (1,))), ("b", ((1,), ()))))
    graph.connect(*ends, latency_cycles=5, credit_latency_cycles=7)
    mould, times = Mould(graph.freeze()), Mould.times_of(graph.freeze())
    latency, interval = int(times.latencies.max()), int(times.intervals.max())
    longest = 6 * (latency + interval + 5 + 7)
    monkeypatch.setattr("simulator.explain.alike.MOST_CYCLES", longest)
    assert mould.run(times) is None
    monkeypatch.setattr("simulator.explain.alike.MOST_CYCLES", longest + 1)
    assert Mould(graph.freeze()).run(times) == counted(graph.freeze())


def test_stalls_are_read_by_unit(ending):
    counts = Mould(ending).run(Mould.times_of(ending))
    units = range(len(ending.units))
    assert [cycles for unit in units for cycles in counts.stalled(unit)] == counts.stalls
    assert [len(counts.stalled(unit)) for unit in units] == [len(names) for names in Mould(ending).causes]


def test_a_graph_in_which_nothing_fires_takes_no_time():
    graph = Graph("idle")
    graph.add(Unit("idle", "source", FiringTable((Block((Segment(0),)),))))
    counts = Mould(graph.freeze()).run(Mould.times_of(graph.freeze()))
    assert (counts.cycles, counts.firings) == (0, 0)


def test_long_runs_tell_how_far_they_are_to_who_listens(ending, monkeypatch):
    monkeypatch.setattr("simulator.explain.alike.VISITS_PER_SLICE", 2 * len(ending.units))
    alone = Mould(ending).run(Mould.times_of(ending))
    heard = []

    def note(*told):
        heard.append(told)

    statuses = []
    monkeypatch.setattr("simulator.explain.alike.run", lambda *given: statuses.append(run(*given)) or statuses[-1])
    listen(note)
    try:
        assert Mould(ending).run(Mould.times_of(ending)) == alone
    finally:
        leave(note)
    assert len(heard) == statuses.count(OUT_OF_VISITS) > 1
    assert {(what, total) for what, _, total in heard} == {("firings", alone.firings)}
    done = [done for _, done, _ in heard]
    assert done == sorted(done)


def test_graphs_without_listeners_count_no_firings_between_slices(ending, monkeypatch):
    monkeypatch.setattr("simulator.explain.alike.VISITS_PER_SLICE", 2 * len(ending.units))
    monkeypatch.setattr("simulator.explain.alike.report", lambda *_: pytest.fail("nobody listens"))
    assert Mould(ending).run(Mould.times_of(ending)) is not None


@pytest.mark.parametrize("part", ["busy", "stalls", "idle"])
def test_cycles_that_are_not_accounted_for_are_a_fault(ending, part):
    mould = Mould(ending)
    counts = mould.run(Mould.times_of(ending))
    busy, stalls = np.array(counts.busy), np.array(counts.stalls)
    clocks = busy + np.add.reduceat(stalls, [0, *counts.ends[:-1]])
    mould._check(busy, clocks, stalls, counts.cycles)
    if part == "busy":
        busy[1] += 1
    elif part == "stalls":  # the sum is right
        first = counts.ends[0]
        busy[1] += stalls[first] + 1
        stalls[first] = -1
    else:
        busy[1] += counts.cycles
        clocks[1] += counts.cycles
    with pytest.raises(AccountingError, match=rf"unit {ending.units[1].name}: .* not the total of"):
        mould._check(busy, clocks, stalls, counts.cycles)


def test_a_graph_that_gets_stuck_counts_nothing():
    graph = Graph("stuck")
    ends = (
        graph.add(Unit("burst", "source", uniform(2, (), (5,)))),
        graph.add(Unit("end", "sink", uniform(10, (1,), ()))),
    )
    graph.connect(*ends, depth=4)
    mould = Mould(graph.freeze())
    assert mould.run(Mould.times_of(graph.freeze())) is None


def test_graphs_with_rings_that_grow_do_not_fit():
    graph = GRAPHS[0]
    unbounded = replace(graph.channels[0], depth=None)
    assert Mould.fits(graph)
    assert not Mould.fits(replace(graph, channels=(unbounded, *graph.channels[1:])))


def test_graphs_with_memories_do_not_fit():
    graph = next(graph for graph in GRAPHS if graph.servers)
    memory = MemoryServer(graph.servers[0].name, LinkServer(1, Fraction(1), Fraction(0), 1))
    assert not Mould.fits(replace(graph, servers=(memory, *graph.servers[1:])))
