"""Timelines against results: every cycle of every unit, every slot of every FIFO, and windows against whole runs."""

from itertools import pairwise

import numpy as np
import pytest

from simulator import ENGINES, Graph, SimulatorError, Unit, simulate, uniform
from simulator.prefix import prefix
from simulator.random_graphs import random_graph
from simulator.views.timeline import BUSY, IDLE, record_timeline

SEEDS = range(60)


def totals(cycles):
    """(busy, idle, stalled) cycles of a mapping from states to cycles."""
    stalled = sum(spent for state, spent in cycles.items() if state not in (BUSY, IDLE))
    return cycles.get(BUSY, 0), cycles.get(IDLE, 0), stalled


def cycles_of(unit):
    """Where a result says that the cycles of a unit went, without zeros."""
    parts = {BUSY: unit.busy_cycles, **unit.stalled_cycles, IDLE: unit.idle_cycles}
    return {state: spent for state, spent in parts.items() if spent}


@pytest.mark.parametrize("engine", ENGINES)
def test_cycles_and_occupancy_are_those_of_the_result(engine):
    compared = by_cause = 0
    for seed in SEEDS[:: 1 if engine == "compiled" else 4]:
        graph = random_graph(seed).freeze()
        result = simulate(graph, timing_only=True, digest=False, explain=False)
        timeline = record_timeline(graph, engine=engine)
        assert (timeline.begin, timeline.end, timeline.complete) == (0, result.cycles, True)
        assert timeline.deadlocked == (result.deadlock.blocked if result.deadlock else ())
        for number, (unit, expected) in enumerate(zip(timeline.units, result.units, strict=True)):
            assert unit.begin[0] == 0
            assert unit.end[-1] == result.cycles
            assert (unit.begin[1:] == unit.end[:-1]).all()
            assert (unit.state[1:] != unit.state[:-1]).all()
            assert unit.firings.sum() == expected.firings
            if result.deadlock and graph.units[number].issue != "reserve":
                # a result counts the interval of a result that is held for ever, which never comes
                assert sum(unit.cycles().values()) == sum(cycles_of(expected).values())
                continue
            assert totals(unit.cycles()) == totals(cycles_of(expected)), (seed, unit.name)
            compared += 1
            if not graph.servers and not result.deadlock:
                assert unit.cycles() == cycles_of(expected), (seed, unit.name)
                by_cause += 1
        for channel, expected in zip(timeline.channels, result.channels, strict=True):
            assert channel.tokens.min() >= 0
            assert channel.tokens.max() == expected.peak_occupancy, (seed, channel.name)
            assert (np.diff(channel.time) > 0).all()
    assert compared > 60
    assert by_cause > 20


def clip(begin, end, values, window):
    """Stretches of ``values`` inside a window."""
    inside = (end > window[0]) & (begin < window[1])
    begins, ends = np.maximum(begin[inside], window[0]), np.minimum(end[inside], window[1])
    kept = [value for value, is_inside in zip(values, inside, strict=True) if is_inside]
    return list(zip(begins.tolist(), ends.tolist(), kept, strict=True))


@pytest.mark.parametrize(("engine", "seeds"), [("compiled", SEEDS), ("simpy", SEEDS[:10])])
def test_a_window_shows_what_the_whole_run_shows_there(engine, seeds):
    cut = 0
    for seed in seeds:
        graph = random_graph(seed, max_iterations=60).freeze()
        whole = record_timeline(graph)
        random = np.random.default_rng(seed)
        begin = int(random.integers(0, whole.end) * random.random())
        window = (begin, begin + 1 + int(random.integers(0, whole.end) * random.random()))
        shown = record_timeline(graph, window, engine=engine)
        cut += prefix(graph, window[1]).firings < graph.firings
        assert (shown.begin, shown.end) == (begin, min(window[1], whole.end))
        assert shown.complete == (window[1] >= whole.end)
        assert shown.deadlocked == (whole.deadlocked if shown.complete else ())
        for unit, full in zip(shown.units, whole.units, strict=True):
            expected = clip(full.begin, full.end, [full.states[s] for s in full.state], window)
            found = clip(unit.begin, unit.end, [unit.states[s] for s in unit.state], window)
            assert [s[:2] for s in found] == [s[:2] for s in expected], (seed, unit.name)
            # a wait that the window cuts off is shown under what is lacking then; a server can still end it
            assert found[:-1] == expected[:-1], (seed, unit.name)
            last, cause = found[-1][2], expected[-1][2]
            assert cause in (last, *last.split(", ")) or (cause.startswith("server") and last not in (BUSY, IDLE))
        for channel, full in zip(shown.channels, whole.channels, strict=True):
            ends = np.append(full.time[1:], whole.end)
            expected = [(b, tokens) for b, _, tokens in clip(full.time, ends, full.tokens.tolist(), window)]
            assert list(zip(channel.time.tolist(), channel.tokens.tolist(), strict=True)) == expected
    assert cut > len(seeds) / 3


def line(count, *, ii=1, issue="reserve", depth=2):
    graph = Graph("line")
    source = graph.add(Unit("source", "source", uniform(count, make=(1,))))
    middle = graph.add(Unit("middle", "map", uniform(count, (1,), (1,), ii=ii), issue=issue))
    sink = graph.add(Unit("sink", "sink", uniform(count, take=(1,))))
    graph.connect(source, middle, name="a", depth=depth)
    graph.connect(middle, sink, name="b", depth=depth)
    return graph.freeze()


def test_a_window_needs_only_its_part_of_a_long_run():
    short, long = line(1_000), line(10**12)
    assert prefix(long, 100).firings <= 3 * 100
    assert record_timeline(long, (20, 100)) != record_timeline(long, (20, 99))
    for one, other in zip(record_timeline(long, (20, 100)).units, record_timeline(short, (20, 100)).units, strict=True):
        assert one.cycles() == other.cycles()
        assert one.firings.tolist() == other.firings.tolist()


@pytest.mark.parametrize("issue", ["hold", "hold_in_turn"])
def test_units_without_an_interval_are_bounded_by_their_neighbours(issue):
    assert prefix(line(10**12, ii=0, issue=issue), 100).firings <= 3 * 102


def test_a_chain_of_units_without_an_interval_is_bounded_by_its_end():
    graph = Graph("chain")
    units = [graph.add(Unit("u0", "source", uniform(10**12, make=(1,), ii=0), issue="hold"))]
    units += [graph.add(Unit(f"u{i}", "map", uniform(10**12, (1,), (1,), ii=0), issue="hold")) for i in (1, 2, 3)]
    units.append(graph.add(Unit("sink", "sink", uniform(10**12, take=(1,)))))
    for a, b in pairwise(units):
        graph.connect(a, b, depth=3)
    frozen = graph.freeze()
    assert prefix(frozen, 50).firings <= 5 * (50 + 5 * 4)
    assert record_timeline(frozen, (0, 50)).units[-1].cycles()[BUSY] == 50 - 4  # one cycle from each unit to the next


@pytest.mark.parametrize(
    ("window", "words"),
    [((5, 5), "BEGIN:END"), ((-1, 5), "BEGIN:END"), ((10**6, 10**6 + 1), "the run ends at cycle 102")],
)
def test_impossible_windows_are_refused(window, words):
    with pytest.raises(SimulatorError, match=words):
        record_timeline(line(100), window)


def test_too_long_a_run_asks_for_a_window():
    with pytest.raises(SimulatorError, match="choose a window"):
        record_timeline(line(10**12))
    with pytest.raises(SimulatorError, match="ends earlier"):
        record_timeline(line(10**12), (0, 10**9))
    with pytest.raises(SimulatorError, match="no engine"):
        record_timeline(line(10), engine="dam")
