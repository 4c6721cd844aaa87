"""What a graph does, checked start by start against numbers worked out by hand, on every engine."""

from __future__ import annotations

import itertools

import pytest

from simulator import Block, FiringTable, Graph, Segment, Unit, uniform

DELAYS = list(itertools.product((1, 2, 5), (1, 3), (1, 2, 4), (1, 2, 3, 8, None), (0, 2), (1, 3)))


def table(*segments: Segment, iterations: int = 1) -> FiringTable:
    return FiringTable((Block(segments),), iterations)


def consumes(count: int, take: int = 1, **timing: int) -> FiringTable:
    return uniform(count, (take,), (), **timing)


def produces(count: int, make: int = 1, **timing: int) -> FiringTable:
    return uniform(count, (), (make,), **timing)


class TestOneChannel:
    @pytest.mark.parametrize(("latency", "source_ii", "sink_ii", "depth", "channel", "credit"), DELAYS)
    def test_both_ends_follow_the_recurrence(self, run, pair, latency, source_ii, sink_ii, depth, channel, credit):
        tokens = 25
        graph = pair(
            tokens,
            source_latency=latency,
            source_ii=source_ii,
            sink_ii=sink_ii,
            depth=depth,
            channel_latency=channel,
            credit_latency=credit,
        )
        sent: list[int] = []
        taken: list[int] = []
        for n in range(tokens):
            ready = sent[-1] + source_ii if sent else 0
            slot = taken[n - depth] + credit if depth is not None and n >= depth else 0
            sent.append(max(ready, slot))
            free = taken[-1] + sink_ii if taken else 0
            taken.append(max(free, sent[n] + latency + channel))
        schedule = run(graph)
        assert schedule.starts("source") == sent
        assert schedule.starts("sink") == taken
        assert schedule.result.cycles == max(sent[-1] + source_ii, taken[-1] + sink_ii)
        blocked = sum(later - earlier - source_ii for earlier, later in itertools.pairwise(sent))
        assert schedule.stalls("source") == ({"output fifo": blocked} if blocked else {})
        starved = taken[0] + sum(later - earlier - sink_ii for earlier, later in itertools.pairwise(taken))
        assert schedule.stalls("sink") == {"input fifo": starved}

    @pytest.mark.parametrize(("depth", "period"), [(1, 8), (2, 4), (4, 2), (8, 1), (16, 1)])
    def test_a_fifo_carries_one_round_trip_per_depth(self, run, pair, depth, period):
        """Round trip: latency 4 + channel 2 + credit 2 = 8 cycles for `depth` tokens, never below one a cycle."""
        tokens = 4 * depth + 1
        graph = pair(tokens, source_latency=4, depth=depth, channel_latency=2, credit_latency=2)
        starts = run(graph).starts("sink")
        assert starts[-1] - starts[-1 - depth] == max(period * depth, depth)

    def test_default_depth_of_two_runs_at_full_rate(self, run, pair):
        assert run(pair(50)).starts("sink") == list(range(1, 51))

    def test_occupancy_counts_tokens_in_flight(self, run, pair):
        """Latency 6 with one token a cycle: a slot is taken at the start and returned 7 cycles later."""
        result = run(pair(30, source_latency=6, depth=None)).result
        assert result.channel("fifo").peak_occupancy == 7
        assert run(pair(30, source_latency=6, depth=4)).result.channel("fifo").peak_occupancy == 4

    def test_slow_sink_fills_the_fifo_and_blocks_the_source(self, run, pair):
        schedule = run(pair(6, sink_ii=5, depth=3))
        assert schedule.starts("sink") == [1, 6, 11, 16, 21, 26]
        assert schedule.starts("source") == [0, 1, 2, 3, 7, 12]
        assert schedule.causes("source") == [0, 0, 0, 0, 1, 1]
        assert schedule.result.unit("source").idle_cycles == schedule.result.cycles - 13

    def test_slow_source_starves_the_sink(self, run, pair):
        schedule = run(pair(4, source_ii=7, depth=3))
        assert schedule.starts("sink") == [1, 8, 15, 22]
        assert schedule.stalls("sink") == {"input fifo": 1 + 3 * 6}

    def test_visible_times_never_go_back_when_latency_shrinks(self, run):
        """I2: the second token is ready at 3, but may not overtake the first, ready at 9."""
        graph = Graph("monotone")
        source = graph.add(
            Unit("source", "source", table(Segment(1, (), (1,), 9), Segment(1, (), (1,), 2), Segment(1, (), (1,), 12)))
        )
        sink = graph.add(Unit("sink", "sink", consumes(3)))
        graph.connect(source, sink, depth=4)
        assert run(graph).starts("sink") == [9, 10, 14]


class TestRates:
    def test_a_firing_needs_its_last_token(self, run):
        graph = Graph("gather")
        source = graph.add(Unit("source", "source", produces(12)))
        gather = graph.add(Unit("gather", "reduce", uniform(3, (4,), (1,), latency=2)))
        sink = graph.add(Unit("sink", "sink", consumes(3)))
        graph.connect(source, gather, depth=8)
        graph.connect(gather, sink)
        schedule = run(graph)
        assert schedule.starts("gather") == [4, 8, 12]
        assert schedule.starts("sink") == [6, 10, 14]

    def test_a_firing_needs_all_slots_at_once(self, run):
        """Bursts of 3 into a FIFO of 4: the next burst waits until the second token of the last one is gone."""
        graph = Graph("burst")
        source = graph.add(Unit("source", "source", produces(3, 3)))
        sink = graph.add(Unit("sink", "sink", consumes(9, ii=2)))
        graph.connect(source, sink, depth=4)
        schedule = run(graph)
        assert schedule.starts("sink") == [1, 3, 5, 7, 9, 11, 13, 15, 17]
        assert schedule.starts("source") == [0, 4, 10]

    def test_cyclo_static_rates_and_timing_change_by_firing(self, run):
        graph = Graph("phases")
        source = graph.add(Unit("source", "source", produces(12)))
        phases = (Segment(1, (1,), (0,), 1, 1), Segment(1, (2,), (3,), 5, 4), Segment(1, (0,), (1,), 1, 2))
        unit = graph.add(Unit("unit", "phased", table(*phases, iterations=4)))
        sink = graph.add(Unit("sink", "sink", consumes(16)))
        graph.connect(source, unit, depth=4)
        graph.connect(unit, sink, depth=8)
        schedule = run(graph)
        assert schedule.starts("unit") == [1, 3, 7, 9, 10, 14, 16, 17, 21, 23, 24, 28]
        assert schedule.starts("sink")[:8] == [8, 9, 10, 11, 15, 16, 17, 18]

    def test_two_inputs_wait_for_the_later_one_and_ties_go_to_the_first(self, run):
        graph = Graph("join")
        early = graph.add(Unit("early", "source", produces(3, latency=2, ii=4)))
        late = graph.add(Unit("late", "source", table(*(Segment(1, (), (1,), x, 4) for x in (2, 5, 1)))))
        join = graph.add(Unit("join", "zip", uniform(3, (1, 1), ())))
        graph.connect(early, join, name="a")
        graph.connect(late, join, name="b")
        schedule = run(graph)
        assert schedule.starts("join") == [2, 9, 10]
        assert schedule.causes("join") == [1, 2, 0]
        assert schedule.stalls("join") == {"input a": 2, "input b": 6}

    def test_a_fork_waits_for_the_slower_branch(self, run):
        graph = Graph("fork")
        fork = graph.add(Unit("fork", "broadcast", uniform(4, (), (1, 1))))
        fast = graph.add(Unit("fast", "sink", consumes(4)))
        slow = graph.add(Unit("slow", "sink", consumes(4, ii=6)))
        graph.connect(fork, fast, depth=1, name="to fast")
        graph.connect(fork, slow, depth=1, name="to slow")
        schedule = run(graph)
        assert schedule.starts("fork") == [0, 2, 8, 14]
        assert schedule.causes("fork") == [0, 1, 2, 2]
        assert schedule.stalls("fork") == {"output to fast": 1, "output to slow": 5 + 5}

    def test_units_without_channels_just_count(self, run):
        graph = Graph("alone")
        graph.add(Unit("alone", "timer", table(Segment(3, (), (), 1, 4), Segment(2, (), (), 9, 1))))
        schedule = run(graph)
        assert schedule.starts("alone") == [0, 4, 8, 12, 13]
        assert schedule.result.cycles == 14


class TestFeedback:
    @pytest.mark.parametrize(("latency", "tokens"), [(1, 1), (4, 1), (4, 2), (4, 4), (7, 3)])
    def test_a_loop_runs_at_tokens_per_round_trip(self, run, latency, tokens):
        graph = Graph("loop")
        unit = graph.add(Unit("unit", "map", uniform(12, (1,), (1,), latency=latency)))
        back = graph.add(Unit("back", "map", uniform(12, (1,), (1,))))
        graph.connect(unit, back, depth=12)
        graph.connect(back, unit, depth=12, initial_tokens=tokens)
        round_trip = latency + 1
        expected: list[int] = []
        for n in range(12):
            returned = expected[n - tokens] + round_trip if n >= tokens else 0
            expected.append(max(expected[-1] + 1 if expected else 0, returned))
        assert run(graph).starts("unit") == expected

    @pytest.mark.parametrize("depth", [2, 3])
    def test_a_unit_that_feeds_itself(self, run, depth):
        """It needs one slot more than there are tokens: the slot is reserved before the token is taken."""
        graph = Graph("self")
        unit = graph.add(Unit("unit", "map", uniform(5, (1,), (1,), latency=3)))
        graph.connect(unit, unit, depth=depth, initial_tokens=1)
        assert run(graph).starts("unit") == [0, 3, 6, 9, 12]

    def test_a_unit_that_feeds_itself_through_a_full_fifo_deadlocks(self, run):
        graph = Graph("self")
        unit = graph.add(Unit("unit", "map", uniform(5, (1,), (1,))))
        graph.connect(unit, unit, name="loop", depth=1, initial_tokens=1)
        deadlock = run(graph).result.deadlock
        assert deadlock is not None
        assert [(wait.unit, wait.waits_for, wait.channel) for wait in deadlock.waits] == [("unit", "unit", "loop")]
        assert deadlock.remedy == {"loop": 2}

    def test_initial_tokens_are_there_at_time_zero_and_fill_slots(self, run, pair):
        graph = Graph("preloaded")
        source = graph.add(Unit("source", "source", produces(4, latency=3)))
        sink = graph.add(Unit("sink", "sink", consumes(6)))
        graph.connect(source, sink, name="fifo", depth=3, initial_tokens=2)
        schedule = run(graph)
        assert schedule.starts("sink") == [0, 1, 3, 4, 5, 7]
        assert schedule.starts("source") == [0, 1, 2, 4]
        assert schedule.result.channel("fifo").peak_occupancy == 3

    def test_tokens_left_in_a_loop_at_the_end_are_fine(self, run):
        graph = Graph("left over")
        unit = graph.add(Unit("unit", "map", uniform(6, (1,), (1,))))
        graph.connect(unit, unit, depth=8, initial_tokens=5)
        assert run(graph).starts("unit") == [0, 1, 2, 3, 4, 5]


class TestHold:
    def test_a_held_result_hides_its_latency_behind_the_wait(self, run, pair):
        """DAM's rule: at latency 5 and depth 1 a token takes 3.5 cycles on average, not 6."""
        starts = run(pair(101, source_latency=5, depth=1, issue="hold")).starts("sink")
        assert starts[-1] - starts[-3] == 7
        reserved = run(pair(101, source_latency=5, depth=1)).starts("sink")
        assert reserved[-1] - reserved[-2] == 6

    def test_input_is_popped_at_the_start_and_the_result_waits(self, run):
        graph = Graph("hold")
        source = graph.add(Unit("source", "source", produces(4)))
        hold = graph.add(Unit("hold", "map", uniform(4, (1,), (1,), latency=2), issue="hold"))
        sink = graph.add(Unit("sink", "sink", consumes(4, ii=6)))
        graph.connect(source, hold, name="in", depth=1)
        graph.connect(hold, sink, name="out", depth=1)
        schedule = run(graph)
        assert schedule.starts("hold") == [1, 3, 5, 11]
        assert schedule.waits("hold") == [0, 1, 5, 5]
        assert schedule.starts("source") == [0, 2, 4, 6]
        assert schedule.starts("sink") == [3, 9, 15, 21]
        assert schedule.stalls("hold") == {"input in": 1 + 1, "output out": 1 + 5 + 5}

    def test_a_transfer_takes_a_cycle_even_after_a_long_wait(self, run):
        graph = Graph("late")
        hold = graph.add(Unit("hold", "source", produces(2, latency=2), issue="hold"))
        sink = graph.add(Unit("sink", "sink", consumes(2, ii=20)))
        graph.connect(hold, sink, depth=1, credit_latency_cycles=18)
        assert run(graph).starts("hold") == [0, 1]
        assert run(graph).waits("hold") == [0, 19]
        assert run(graph).starts("sink") == [2, 22]

    def test_zero_interval_is_free_throughput(self, run):
        """A repeat unit with II 0 emits all its tokens in the cycle that it got its input in."""
        graph = Graph("repeat")
        source = graph.add(Unit("source", "source", produces(2, ii=10)))
        repeat = graph.add(
            Unit(
                "repeat",
                "repeat",
                table(Segment(1, (1,), (1,), 1, 0), Segment(3, (0,), (1,), 1, 0), iterations=2),
                issue="hold",
            )
        )
        sink = graph.add(Unit("sink", "sink", consumes(8)))
        graph.connect(source, repeat)
        graph.connect(repeat, sink, depth=4)
        schedule = run(graph)
        assert schedule.starts("repeat") == [1, 1, 1, 1, 11, 11, 11, 11]
        assert schedule.starts("sink") == [2, 3, 4, 5, 12, 13, 14, 15]
        assert schedule.result.unit("repeat").busy_cycles == 0

    @pytest.mark.parametrize(("issue", "a_starts"), [("hold", [0, 2, 7]), ("hold_in_turn", [0, 2, 4])])
    def test_outputs_together_or_in_turn(self, run, issue, a_starts):
        """Both FIFOs are full at first. `a` has room again at 1 and 3, `b` at 1 and 6.

        The second result starts at 2 and is out at 6: in turn, `a` gets it at 3 already.
        """
        graph = Graph("outputs")
        unit = graph.add(Unit("unit", "broadcast", uniform(2, (), (1, 1)), issue=issue))
        for name, ii in (("a", 1), ("b", 5)):
            sink = graph.add(Unit(name, "sink", consumes(3, ii=ii)))
            graph.connect(unit, sink, name=f"to {name}", depth=1, initial_tokens=1)
        schedule = run(graph)
        assert schedule.starts("unit") == [0, 2]
        assert schedule.waits("unit") == [1, 4]
        assert schedule.starts("a") == a_starts
        assert schedule.starts("b") == [0, 5, 10]
        # both release at 1: the first output is named; then `a` costs 1 cycle and `b` the other 3
        assert schedule.stalls("unit") == {"output to a": 1 + 1, "output to b": 3}


class TestUnbounded:
    @pytest.mark.parametrize("tokens", [10, 127, 128, 129, 1000, 5000])
    def test_nothing_is_ever_refused(self, run, tokens):
        graph = Graph("unbounded")
        source = graph.add(Unit("source", "source", produces(tokens)))
        sink = graph.add(Unit("sink", "sink", table(Segment(1, (tokens,), ()))))
        graph.connect(source, sink, name="fifo", depth=None)
        schedule = run(graph)
        assert schedule.starts("source") == list(range(tokens))
        assert schedule.starts("sink") == [tokens]
        assert schedule.result.channel("fifo").peak_occupancy == tokens
        assert schedule.result.channel("fifo").capacity_bytes is None

    def test_a_slow_sink_lets_the_queue_grow(self, run, pair):
        result = run(pair(600, sink_ii=3, depth=None)).result
        assert result.unit("source").stalled_cycles == {}
        # token n is pushed at n; before its push, 1 + (n - 2) // 3 slots have come back by then
        assert result.channel("fifo").peak_occupancy == 600 - (1 + (599 - 2) // 3)


class TestDeadlock:
    def test_a_row_fifo_one_slot_short(self, run):
        """The fork cannot send a row's last token both ways: the reduction waits for it, the FIFO is full."""
        graph = Graph("row")
        source = graph.add(Unit("source", "source", produces(24)))
        fork = graph.add(Unit("fork", "broadcast", uniform(24, (1,), (1, 1))))
        total = graph.add(Unit("total", "reduce", table(Segment(7, (1,), (0,)), Segment(1, (1,), (1,)), iterations=3)))
        spread = graph.add(
            Unit("spread", "repeat", table(Segment(1, (1,), (1,)), Segment(7, (0,), (1,)), iterations=3))
        )
        divide = graph.add(Unit("divide", "zip", uniform(24, (1, 1), ())))
        graph.connect(source, fork)
        graph.connect(fork, divide, name="long", depth=7)
        graph.connect(fork, total, name="short")
        graph.connect(total, spread, name="sums")
        graph.connect(spread, divide, name="spread sums")
        result = run(graph).result
        deadlock = result.deadlock
        assert deadlock is not None
        assert deadlock.blocked == ("source", "fork", "total", "spread", "divide")
        told = {(wait.unit, wait.waits_for, wait.channel, wait.reason, wait.occupancy) for wait in deadlock.waits}
        assert told == {
            ("fork", "divide", "long", "space", 7),
            ("divide", "spread", "spread sums", "data", 0),
            ("spread", "total", "sums", "data", 0),
            ("total", "fork", "short", "data", 0),
        }
        assert deadlock.remedy == {"long": 8}
        assert "smallest depth that frees it: long = 8" in str(deadlock)
        assert run(graph.with_depths({"long": 8})).result.deadlock is None

    def test_a_loop_without_tokens(self, run):
        graph = Graph("empty loop")
        first = graph.add(Unit("first", "map", uniform(2, (1,), (1,))))
        second = graph.add(Unit("second", "map", uniform(2, (1,), (1,))))
        graph.connect(first, second, name="there")
        graph.connect(second, first, name="back")
        result = run(graph).result
        assert result.deadlock is not None
        assert {wait.channel for wait in result.deadlock.waits} == {"there", "back"}
        assert all(wait.reason == "data" for wait in result.deadlock.waits)
        assert result.deadlock.remedy == {}
        assert "no single FIFO depth frees it" in str(result.deadlock)
        assert result.cycles == 0

    def test_a_burst_larger_than_the_fifo_never_fits(self, run):
        graph = Graph("burst")
        source = graph.add(Unit("source", "source", produces(2, 4)))
        sink = graph.add(Unit("sink", "sink", consumes(8)))
        graph.connect(source, sink, name="fifo", depth=3)
        deadlock = run(graph).result.deadlock
        assert deadlock is not None
        assert deadlock.remedy == {"fifo": 4}

    def test_units_outside_the_cycle_finish_or_are_told_as_blocked(self, run):
        graph = Graph("partly")
        lonely = graph.add(Unit("lonely", "source", produces(3)))
        done = graph.add(Unit("done", "sink", consumes(3)))
        graph.connect(lonely, done)
        stuck = graph.add(Unit("stuck", "map", uniform(2, (1,), (1,))))
        graph.connect(stuck, stuck, name="loop", depth=1, initial_tokens=1)
        result = run(graph).result
        assert result.deadlock is not None and result.deadlock.blocked == ("stuck",)
        assert result.unit("stuck").stalled_cycles == {"output loop": result.cycles}
        assert result.unit("done").firings == 3

    @pytest.mark.parametrize("issue", ["hold", "hold_in_turn"])
    def test_a_unit_stuck_with_a_result_is_accounted_for(self, run, issue):
        """It has issued to `a` after some waiting, and waits for ever for room in `b`."""
        graph = Graph("stuck result")
        unit = graph.add(Unit("unit", "broadcast", uniform(3, (), (1, 1)), issue=issue))
        slow = graph.add(Unit("slow", "sink", consumes(3, ii=5)))
        greedy = graph.add(Unit("greedy", "sink", table(Segment(1, (3,), ()))))
        graph.connect(unit, slow, name="a", depth=1)
        graph.connect(unit, greedy, name="b", depth=2)
        result = run(graph).result
        assert result.deadlock is not None
        assert [(wait.unit, wait.channel) for wait in result.deadlock.waits] == [("unit", "b"), ("greedy", "b")]
        assert result.deadlock.remedy == {"b": 3}
        stuck = result.unit("unit")
        assert stuck.busy_cycles + sum(stuck.stalled_cycles.values()) + stuck.idle_cycles == result.cycles
        assert stuck.stalled_cycles["output b"] > 0
