"""The invariants of the semantics, one by one, and the laws that follow from them, on random graphs."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import (
    ENGINES,
    Block,
    Channel,
    FiringTable,
    Graph,
    GraphError,
    Result,
    Segment,
    Server,
    Unit,
    simulate,
    uniform,
)
from simulator.random_graphs import random_graph
from simulator.result import ChannelResult
from simulator.servers.contract import ARBITRATIONS, choose

SEEDS = range(200_000, 200_150)


def traced(graph: Graph, engine: str = "compiled") -> Result:
    return simulate(graph, engine=engine, timing_only=True, trace=True, explain=False)


def starts_by_name(result: Result) -> dict[str, list[int]]:
    return {unit.name: start.tolist() for unit, start in zip(result.units, result.trace.start, strict=True)}


def with_segments(graph: Graph, change) -> Graph:
    """The same graph with ``change(segment)`` for every segment."""
    units = [
        replace(
            unit,
            table=replace(
                unit.table,
                blocks=tuple(
                    replace(block, segments=tuple(map(change, block.segments))) for block in unit.table.blocks
                ),
            ),
        )
        for unit in graph.units
    ]
    return replace(graph, units=units)


def all_reserving(graph: Graph) -> Graph:
    """The same graph without held results."""
    graph = with_segments(graph, lambda segment: replace(segment, ii=max(segment.ii, 1)))
    return replace(graph, units=[replace(unit, issue="reserve") for unit in graph.units])


def channel_history(graph: Graph, result: Result, number: int) -> tuple[list[int], list[int], list[int]]:
    """Issue times, times of being ready, and pop times of all tokens of a channel, from the trace alone."""
    channel = graph.channels[number]
    names = [unit.name for unit in graph.units]
    producer, consumer = names.index(channel.producer), names.index(channel.consumer)
    issues, visible, pops = [0] * channel.initial_tokens, [0] * channel.initial_tokens, []
    made = graph.units[producer].table.expand()
    for n, (start, wait) in enumerate(zip(result.trace.start[producer], result.trace.wait[producer], strict=True)):
        tokens = int(made.make[channel.output][n])
        issues += [int(start + wait)] * tokens
        visible += [int(max(start + made.latency[n], start + wait + 1)) + channel.latency_cycles] * tokens
    taken = graph.units[consumer].table.expand()
    for n, start in enumerate(result.trace.start[consumer]):
        pops += [int(start)] * int(taken.take[channel.input][n])
    return issues, visible, pops


def histories(engine: str) -> Iterator[tuple[Channel, ChannelResult, list[int], list[int], list[int]]]:
    """All channels of the random graphs whose issue times the trace tells.

    It does not tell which last results are held back in a deadlock, nor when each output of a unit that issues in turn
    was served.
    """
    for seed in SEEDS:
        graph = random_graph(seed)
        result = traced(graph, engine)
        if result.deadlock is None:
            in_turn = {unit.name for unit in graph.units if unit.issue == "hold_in_turn" and unit.outputs > 1}
            for number, channel in enumerate(graph.channels):
                if channel.producer not in in_turn:
                    yield channel, result.channels[number], *channel_history(graph, result, number)


@pytest.mark.parametrize("engine", ENGINES)
class TestInvariants:
    def test_i1_order_inside_a_cycle_cannot_matter(self, engine):
        """Units and channels may be listed in any order (without servers, whose ties go by order)."""
        rng = np.random.default_rng(1)
        for seed in SEEDS[:60]:
            graph = random_graph(seed, servers=False)
            shuffled = replace(
                graph,
                units=[graph.units[i] for i in rng.permutation(len(graph.units))],
                channels=[graph.channels[i] for i in rng.permutation(len(graph.channels))],
            )
            first, second = traced(graph, engine), traced(shuffled, engine)
            assert starts_by_name(first) == starts_by_name(second)
            assert {u.name: u for u in first.units} == {u.name: u for u in second.units}
            assert {c.name: c for c in first.channels} == {c.name: c for c in second.channels}

    def test_i2_tokens_are_seen_in_fifo_order_and_not_early(self, engine):
        """A token is taken no earlier than any token before it on its channel is ready."""
        overtakers = 0
        for _, _, _, ready, pops in histories(engine):
            visible = np.maximum.accumulate(np.array(ready, int))
            assert np.all(np.array(pops, int) >= visible[: len(pops)])
            overtakers += any(np.diff(ready) < 0)
        assert overtakers > 20, "latencies must vary, or the order is no test"

    def test_i3_a_slot_is_held_from_issue_to_pop_plus_credit(self, engine):
        """Slots in use never exceed the depth, and the most in use is the peak that is reported."""
        full = 0
        for channel, told, issues, _, pops in histories(engine):
            releases = [pop + channel.credit_latency_cycles for pop in pops]
            used = [taken - bisect_right(releases, now) for taken, now in enumerate(issues, 1)]
            peak = max([channel.initial_tokens, *used[channel.initial_tokens :]])
            assert told.peak_occupancy == peak
            assert channel.depth is None or peak <= channel.depth
            full += peak == channel.depth
        assert full > 100, "most FIFOs must fill up, or the bound is no test"

    @pytest.mark.parametrize("arbitration", ARBITRATIONS)
    @pytest.mark.parametrize(("asks_at", "granted_at"), [(5, 6), (6, 6), (7, 12)])
    def test_i4_a_server_sees_all_requests_that_arrived_by_now(self, engine, arbitration, asks_at, granted_at):
        """`early` is added first and so wins ties; at 6 it competes with `busy` if it asks at 6 or before."""
        graph = Graph("decision")
        graph.add_server(Server("memory", bytes_per_cycle=1, arbitration=arbitration))
        waits = FiringTable((Block((Segment(1, ii=asks_at), Segment(1, request_bytes=6))),))
        graph.add(Unit("early", "client", waits, server="memory"))
        again = FiringTable((Block((Segment(1, ii=6, request_bytes=6), Segment(1, request_bytes=6))),))
        graph.add(Unit("busy", "client", again, server="memory"))
        starts = starts_by_name(traced(graph, engine))
        assert starts["early"][1] == granted_at
        assert starts["busy"] == [0, 12 if granted_at == 6 else 6]

    def test_i5_no_unit_reads_the_clock(self, engine):
        """Everything that starts 1000 cycles later goes on 1000 cycles later, servers included."""
        delay = 1000
        for seed in SEEDS[:60]:
            graph = random_graph(seed)
            late = replace(graph, units=[self.delayed(unit, delay) for unit in graph.units])
            first, second = traced(graph, engine), traced(late, engine)
            for unit, early, later in zip(first.units, first.trace.start, second.trace.start, strict=True):
                assert later[0] == 0
                assert np.array_equal(later[1:], early + delay)
                assert second.unit(unit.name).stalled_cycles == unit.stalled_cycles
            assert np.array_equal(second.trace.cause[0][1:], first.trace.cause[0])
            assert [c.peak_occupancy for c in first.channels] == [c.peak_occupancy for c in second.channels]

    @staticmethod
    def delayed(unit: Unit, cycles: int) -> Unit:
        """The firings of ``unit`` one by one, behind an idle one that takes ``cycles``."""
        idle = Segment(1, (0,) * unit.inputs, (0,) * unit.outputs, 1, cycles)
        runs = [replace(segment, count=count, growth=0) for segment, count in unit.table.runs()]
        return replace(unit, table=FiringTable((Block((idle, *runs)),)))


class TestInvariantsAreEnforced:
    @pytest.mark.parametrize("latency", [0, -1])
    def test_i1_unit_latency(self, latency):
        with pytest.raises(GraphError, match="latency must be at least 1 cycle"):
            uniform(1, (), (1,), latency=latency)

    def test_i1_credit_latency(self):
        graph = Graph("g")
        ends = graph.add(Unit("a", "x", uniform(1, (), (1,)))), graph.add(Unit("b", "x", uniform(1, (1,), ())))
        graph.connect(*ends, credit_latency_cycles=0)
        with pytest.raises(GraphError, match="credit latency must be at least 1"):
            graph.freeze()

    @given(
        st.sampled_from(range(3)),
        st.integers(0, 30),
        st.lists(st.tuples(st.booleans(), st.integers(0, 40)), min_size=1, max_size=6),
        st.integers(-1, 5),
    )
    def test_i4_arbitration_is_pure_fair_to_time_and_stable(self, arbitration, now, requests, last):
        waiting = np.array([pending for pending, _ in requests], np.int64)
        arrival = np.array([time for _, time in requests], np.int64)
        last = min(last, len(requests) - 1)
        chosen = choose(arbitration, now, waiting, arrival, last)
        arrived = [i for i, (pending, time) in enumerate(requests) if pending and time <= now]
        assert chosen in arrived if arrived else chosen == -1
        late = np.where(arrival > now, arrival + 100, arrival)
        assert choose(arbitration, now, waiting, late, last) == chosen
        if arrived:
            expected = {
                "round_robin": min(arrived, key=lambda i: (i - last - 1) % len(requests)),
                "oldest_first": min(arrived, key=lambda i: (arrival[i], i)),
                "priority": arrived[0],
            }
            assert chosen == expected[ARBITRATIONS[arbitration]]


class TestAccounting:
    @pytest.mark.parametrize("engine", ENGINES)
    def test_every_cycle_of_every_unit_is_accounted_for(self, engine):
        deadlocks = 0
        for seed in range(210_000, 210_250):
            graph = random_graph(seed)
            result = traced(graph, engine)
            deadlocks += result.deadlock is not None
            for unit, start in zip(graph.units, result.trace.start, strict=True):
                told = result.unit(unit.name)
                assert told.busy_cycles + sum(told.stalled_cycles.values()) + told.idle_cycles == result.cycles
                assert told.busy_cycles == int(unit.table.expand().ii[: len(start)].sum())
                assert min([told.busy_cycles, told.idle_cycles, *told.stalled_cycles.values()]) >= 0
                assert told.firings == len(start) <= unit.table.firings
                assert result.deadlock or told.firings == unit.table.firings
                causes = {f"input {c.name}" for c in graph.channels if c.consumer == unit.name}
                causes |= {f"output {c.name}" for c in graph.channels if c.producer == unit.name}
                assert set(told.stalled_cycles) <= causes | {f"server {unit.server}"}
                if result.deadlock and unit.name in result.deadlock.blocked:
                    assert told.idle_cycles == 0, "a blocked unit waits, it does not idle"
        assert deadlocks > 5

    def test_servers_count_what_their_clients_asked_for(self):
        grants = 0
        for seed in range(210_000, 210_100):
            graph = random_graph(seed, servers=True)
            result = traced(graph)
            for server in result.servers:
                clients = [u for u in graph.units if u.server == server.name]
                sizes = [
                    segment.request_bytes
                    for unit in clients
                    for segment in self.fired(unit, result.unit(unit.name).firings)
                    if segment.request_bytes
                ]
                rate = next(s.bytes_per_cycle for s in graph.servers if s.name == server.name)
                assert (server.grants, server.bytes) == (len(sizes), sum(sizes))
                assert server.busy_cycles == sum(-(-size // rate) for size in sizes)
                grants += server.grants
        assert grants > 1000

    @staticmethod
    def fired(unit: Unit, firings: int) -> list[Segment]:
        return [segment for segment, count in unit.table.runs() for _ in range(count)][:firings]

    def test_channels_count_what_went_through(self):
        tokens = 0
        for seed in range(210_000, 210_100):
            graph = random_graph(seed)
            result = traced(graph)
            for number, channel in enumerate(graph.channels):
                _, _, pops = channel_history(graph, result, number)
                told = result.channels[number]
                assert (told.tokens, told.bytes) == (len(pops), len(pops) * channel.token_bytes)
                tokens += told.tokens
        assert tokens > 1000


class TestLaws:
    """What must follow from a recurrence of maxima and sums; servers are left out where they may break it."""

    def test_deeper_fifos_never_make_any_start_later(self):
        faster = 0
        for seed in SEEDS:
            graph = random_graph(seed, servers=False)
            deeper = graph.with_depths({c.name: c.depth + 1 + seed % 3 for c in graph.channels if c.depth is not None})
            shallow, deep = traced(graph), traced(deeper)
            for before, after in zip(shallow.trace.start, deep.trace.start, strict=True):
                assert len(after) >= len(before)
                assert np.all(after[: len(before)] <= before)
            faster += deep.cycles < shallow.cycles
        assert faster > 20

    def test_more_latency_never_makes_any_start_earlier(self):
        for seed in SEEDS[:80]:
            graph = random_graph(seed, servers=False)
            slower = with_segments(graph, lambda segment: replace(segment, latency=segment.latency + 2))
            for before, after in zip(traced(graph).trace.start, traced(slower).trace.start, strict=True):
                assert len(after) == len(before)
                assert np.all(after >= before)

    @pytest.mark.parametrize("factor", [2, 7])
    def test_scaling_all_times_scales_all_starts(self, factor):
        for seed in SEEDS:
            graph = all_reserving(random_graph(seed, servers=False))
            scaled = with_segments(graph, lambda s: replace(s, latency=s.latency * factor, ii=s.ii * factor))
            scaled.channels = [
                replace(
                    channel,
                    latency_cycles=channel.latency_cycles * factor,
                    credit_latency_cycles=channel.credit_latency_cycles * factor,
                )
                for channel in graph.channels
            ]
            first, second = traced(graph), traced(scaled)
            assert second.cycles == factor * first.cycles
            for before, after in zip(first.trace.start, second.trace.start, strict=True):
                assert np.array_equal(after, factor * before)
            for before, after in zip(first.trace.cause, second.trace.cause, strict=True):
                assert np.array_equal(after, before)

    def test_depths_of_the_unbounded_peaks_change_nothing(self):
        """What an unbounded run uses at most is enough.

        Not so with servers: a request only arrives when its slots are free, though it takes them at its grant.
        """
        for seed in SEEDS:
            graph = random_graph(seed, servers=False)
            free = traced(graph.with_depths({c.name: None for c in graph.channels}))
            if free.deadlock:
                continue
            peaks = {c.name: max(c.peak_occupancy, 1) for c in free.channels}
            tight = traced(graph.with_depths(peaks))
            assert tight.deadlock is None
            assert tight.schedule_digest == free.schedule_digest
            assert [c.peak_occupancy for c in tight.channels] == [c.peak_occupancy for c in free.channels]

    def test_run_length_coding_is_only_a_notation(self):
        for seed in SEEDS[:80]:
            graph = random_graph(seed)
            flat = replace(graph, units=[self.written_out(unit) for unit in graph.units])
            assert traced(flat).schedule_digest == traced(graph).schedule_digest

    @staticmethod
    def written_out(unit: Unit) -> Unit:
        """Every firing as a segment of its own."""
        segments = [replace(s, count=1, growth=0) for s, count in unit.table.runs() for _ in range(count)]
        empty = Segment(0, (0,) * unit.inputs, (0,) * unit.outputs)
        return replace(unit, table=FiringTable((Block(tuple(segments or [empty])),)))

    def test_renaming_units_changes_nothing_but_the_digest(self):
        for seed in SEEDS[:60]:
            graph = random_graph(seed)
            renamed = replace(
                graph,
                units=[replace(unit, name=f"new {unit.name}") for unit in graph.units],
                channels=[
                    replace(c, producer=f"new {c.producer}", consumer=f"new {c.consumer}") for c in graph.channels
                ],
            )
            first, second = simulate(graph, timing_only=True), simulate(renamed, timing_only=True)
            assert first.schedule_digest != second.schedule_digest
            told = [result.to_dict() for result in (first, second)]
            for result in told:
                for key in ("schedule_digest", "wall_s", "compile_s"):
                    del result[key]
            assert str(told[1]).replace("new ", "") == str(told[0])
