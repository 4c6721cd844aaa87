"""Every operator on a case small enough to work out by hand: its values and its start times."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from simulator import ENGINES, Graph, GraphError, Result, Server, TokenBlock, Unit, ValueCheckError, operators, simulate
from simulator.operators import Span
from simulator.values import evaluate


def feed(values, **timing: int) -> Unit:
    return operators.source("source", values, **timing)


def through(*units: Unit, **options) -> Result:
    """Join units in a row by deep FIFOs and simulate them."""
    graph = Graph("row")
    for unit in units:
        graph.add(unit)
    for left, right in itertools.pairwise(units):
        graph.connect(left, right, depth=64)
    return simulate(graph, trace=True, **options)


def starts(result: Result, name: str) -> list[int]:
    return result.trace.start[[unit.name for unit in result.units].index(name)].tolist()


@pytest.fixture(params=ENGINES)
def engine(request) -> str:
    return request.param


class TestElementwise:
    def test_map(self, engine):
        double = operators.map_("double", lambda x: 2 * x, 4, latency_cycles=3, ii_cycles=2)
        result = through(feed([[1.0, 2.0, 3.0, 4.0]]), double, operators.sink("out", 4), engine=engine)
        assert result.outputs["out"].tolist() == [2.0, 4.0, 6.0, 8.0]
        assert starts(result, "double") == [1, 3, 5, 7]
        assert starts(result, "out") == [4, 6, 8, 10]
        assert result.unit("double").kind == "map"

    def test_zip(self, engine):
        graph = Graph("zip")
        left, right = (graph.add(operators.source(name, [[v, 2 * v]])) for name, v in (("left", 3.0), ("right", 5.0)))
        subtract = graph.add(operators.zip_("subtract", np.subtract, 2, latency_cycles=2))
        out = graph.add(operators.sink("out", 2))
        graph.connect(left, subtract)
        graph.connect(right, subtract, latency_cycles=4)
        graph.connect(subtract, out)
        result = simulate(graph, engine=engine, trace=True)
        assert result.outputs["out"].tolist() == [-2.0, -4.0]
        assert starts(result, "subtract") == [5, 6]

    def test_zip_of_three(self):
        graph = Graph("zip")
        sources = [graph.add(operators.source(f"s{i}", [[float(i)]])) for i in range(3)]
        add = graph.add(operators.zip_("add", lambda a, b, c: a + 10 * b + 100 * c, 1, inputs=3))
        out = graph.add(operators.sink("out", 1))
        for unit in sources:
            graph.connect(unit, add)
        graph.connect(add, out)
        assert simulate(graph).outputs["out"].tolist() == [210.0]

    def test_tokens_may_be_vectors(self):
        result = through(
            feed([[[1.0, 2.0], [3.0, 4.0]]]),
            operators.map_("sum", lambda rows: rows.sum(axis=-1), 2),
            operators.sink("out", 2),
        )
        assert result.outputs["out"].tolist() == [3.0, 7.0]

    def test_broadcast(self, engine):
        graph = Graph("fork")
        source = graph.add(feed([[1.0, 2.0]]))
        fork = graph.add(operators.broadcast("fork", 2, outputs=3, latency_cycles=2))
        graph.connect(source, fork)
        for name in ("a", "b", "c"):
            graph.connect(fork, graph.add(operators.sink(name, 2)))
        result = simulate(graph, engine=engine, trace=True)
        assert all(result.outputs[name].tolist() == [1.0, 2.0] for name in ("a", "b", "c"))
        assert all(starts(result, name) == [3, 4] for name in ("a", "b", "c"))


class TestFolds:
    VALUES = ((3.0, 1.0, 2.0), (5.0, 9.0, 4.0))

    def test_reduce_emits_with_its_last_token(self, engine):
        total = operators.reduce_("total", lambda x, valid: x.sum(axis=1), Span(3, 2), latency_cycles=4)
        result = through(feed(self.VALUES), total, operators.sink("out", Span(1, 2)), engine=engine)
        assert result.outputs["out"].tolist() == [6.0, 18.0]
        assert starts(result, "total") == [1, 2, 3, 4, 5, 6]
        assert starts(result, "out") == [7, 10]

    def test_scan_emits_every_state_and_starts_afresh(self, engine):
        running = operators.scan("running", lambda x, valid: np.maximum.accumulate(x, axis=1), Span(3, 2))
        result = through(feed(self.VALUES), running, operators.sink("out", Span(3, 2)), engine=engine)
        assert result.outputs["out"].tolist() == [3.0, 3.0, 3.0, 5.0, 9.0, 9.0]
        assert starts(result, "out") == [2, 3, 4, 5, 6, 7]

    def test_accumulate_keeps_several_registers(self, engine):
        """Tokens of two registers take turns; both leave with their last update."""

        def fold(values, valid):
            return values.reshape(len(values), -1, 2).sum(axis=1)

        unit = operators.accumulate("registers", fold, Span(3, 1), outputs_per_iteration=2, inputs=1, latency_cycles=2)
        result = through(
            feed([[1.0, 10.0, 2.0, 20.0, 3.0, 30.0]]), unit, operators.sink("out", Span(2, 1)), engine=engine
        )
        assert result.outputs["out"].tolist() == [6.0, 60.0]
        assert starts(result, "registers") == [1, 2, 3, 4, 5, 6]
        assert starts(result, "out") == [7, 8]

    def test_reduce_groups_folds_neighbours(self, engine):
        graph = Graph("dot")
        left, right = (
            graph.add(operators.source("a", [[1.0, 2.0, 3.0, 4.0]])),
            graph.add(operators.source("b", [[10.0, 100.0, 10.0, 100.0]])),
        )
        dot = graph.add(operators.reduce_groups("dot", lambda a, b: (a * b).sum(axis=-1), 2, 2, latency_cycles=3))
        out = graph.add(operators.sink("out", 2))
        graph.connect(left, dot)
        graph.connect(right, dot)
        graph.connect(dot, out)
        result = simulate(graph, engine=engine, trace=True)
        assert result.outputs["out"].tolist() == [210.0, 430.0]
        assert starts(result, "dot") == [1, 2, 3, 4]
        assert starts(result, "out") == [5, 7]

    def test_growing_rows_are_masked(self):
        """Rows of 1, 2, 3 tokens, padded with a value that would show up in a wrong sum."""
        span = Span(1, 3, growth=1)
        padded = np.full((3, 3), 1000.0)
        for row in range(3):
            padded[row, : row + 1] = row + 1

        def provide(block: range) -> TokenBlock:
            return TokenBlock(padded[block.start : block.stop], span.lengths(block))

        result = through(
            operators.source("source", provide, span),
            operators.reduce_("total", lambda x, valid: np.where(valid, x, 0.0).sum(axis=1), span),
            operators.sink("out", span.one()),
        )
        assert result.outputs["out"].tolist() == [1.0, 4.0, 9.0]
        assert starts(result, "total") == [1, 2, 3, 4, 5, 6]
        assert starts(result, "out") == [2, 4, 7]


class TestRepeats:
    def test_repeat_takes_once_and_emits_often(self, engine):
        result = through(
            feed([[7.0], [8.0]]),
            operators.repeat("again", Span(3, 2), latency_cycles=2),
            operators.sink("out", Span(3, 2)),
            engine=engine,
        )
        assert result.outputs["out"].tolist() == [7.0, 7.0, 7.0, 8.0, 8.0, 8.0]
        assert starts(result, "again") == [1, 2, 3, 4, 5, 6]
        assert starts(result, "out") == [3, 4, 5, 6, 7, 8]

    def test_replay_repeats_a_sequence(self):
        result = through(feed([[1.0, 2.0]]), operators.replay("twice", 2, 2), operators.sink("out", 4))
        assert result.outputs["out"].tolist() == [1.0, 2.0, 1.0, 2.0]
        assert starts(result, "twice") == [1, 2, 3, 4]

    def test_repeat_each_stretches_every_token(self):
        result = through(feed([[1.0, 2.0]]), operators.repeat_each("stretch", 2, 3), operators.sink("out", 6))
        assert result.outputs["out"].tolist() == [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]
        assert starts(result, "stretch") == [1, 2, 3, 4, 5, 6]
        assert result.channel("source->stretch").tokens == 2

    @pytest.mark.parametrize("group", [1, 2])
    def test_growing_repeats(self, group):
        span = Span(1, 3, growth=1)
        values = [[10.0 * row + i for i in range(group)] for row in range(3)]
        result = through(feed(values), operators.replay("again", span, group), operators.sink("out", span.times(group)))
        expected = [value for row in range(3) for _ in range(row + 1) for value in values[row]]
        assert result.outputs["out"].tolist() == expected


class TestDataDependent:
    PREDICATE = staticmethod(lambda x: x > 2.0)

    def test_select_routes_and_records_its_table(self, engine):
        graph = Graph("select")
        source = graph.add(feed([[1.0, 5.0, 2.0, 7.0, 9.0]]))
        select = graph.add(operators.select("select", self.PREDICATE, latency_cycles=2))
        graph.connect(source, select, depth=8)
        for name in ("large", "small"):
            graph.connect(select, graph.add(operators.sink(name, None)), depth=8)
        result = simulate(graph, engine=engine, trace=True)
        assert result.outputs["large"].tolist() == [5.0, 7.0, 9.0]
        assert result.outputs["small"].tolist() == [1.0, 2.0]
        assert starts(result, "select") == [1, 2, 3, 4, 5]
        assert starts(result, "large") == [4, 6, 7]
        assert starts(result, "small") == [3, 5]

    def test_the_recorded_table_is_run_length_coded(self):
        graph = Graph("select")
        source = graph.add(feed([[1.0, 5.0, 2.0], [7.0, 9.0, 1.0]]))
        select = graph.add(operators.select("select", self.PREDICATE))
        graph.connect(source, select)
        for name in ("large", "small"):
            graph.connect(select, graph.add(operators.sink(name, None)))
        table = evaluate(graph).tables["select"]
        assert [(segment.count, segment.make) for segment, _ in table.runs()] == [
            (1, (0, 1)),
            (1, (1, 0)),
            (1, (0, 1)),
            (2, (1, 0)),
            (1, (0, 1)),
        ]

    def merged(self, control, first, second, **options) -> Graph:
        graph = Graph("merge")
        units = [
            graph.add(operators.source(name, [values]))
            for name, values in (("control", control), ("first", first), ("second", second))
        ]
        merge = graph.add(operators.merge("merge", **options))
        out = graph.add(operators.sink("out", len(control)))
        for unit in units:
            graph.connect(unit, merge)
        graph.connect(merge, out)
        return graph

    def test_merge_follows_its_control_tokens(self, engine):
        graph = self.merged([1.0, 0.0, 0.0, 1.0], [10.0, 11.0], [20.0, 21.0], latency_cycles=3, ii_cycles=2)
        result = simulate(graph, engine=engine, trace=True)
        assert result.outputs["out"].tolist() == [10.0, 20.0, 21.0, 11.0]
        assert starts(result, "merge") == [1, 3, 5, 7]
        assert starts(result, "out") == [4, 6, 8, 10]

    def test_merge_waits_for_the_stream_that_its_control_names(self, engine):
        """The second stream comes 20 cycles late: only the tokens it is asked for have to wait for it."""
        graph = self.merged([1.0, 0.0, 1.0, 0.0, 1.0], [10.0, 11.0, 12.0], [20.0, 21.0])
        late = next(channel for channel in graph.channels if channel.producer == "second")
        graph.channels[graph.channels.index(late)] = replace(late, latency_cycles=20)
        result = simulate(graph, engine=engine, trace=True)
        assert result.outputs["out"].tolist() == [10.0, 20.0, 11.0, 21.0, 12.0]
        assert starts(result, "merge") == [1, 21, 22, 23, 24]
        assert result.unit("merge").stalled_cycles == {"input control->merge": 1, "input second->merge": 19}
        table = evaluate(graph).tables["merge"].expand()
        assert [take.tolist() for take in table.take] == [[1] * 5, [1, 0, 1, 0, 1], [0, 1, 0, 1, 0]]
        assert table.make[0].tolist() == [1] * 5

    @pytest.mark.parametrize("kind", ["select", "merge"])
    def test_streams_may_be_empty(self, kind):
        if kind == "merge":
            graph = self.merged([], [], [])
        else:
            graph = Graph("select")
            select = graph.add(operators.select("select", self.PREDICATE))
            graph.connect(graph.add(feed(np.zeros((1, 0)))), select)
            for name in ("large", "small"):
                graph.connect(select, graph.add(operators.sink(name, None)))
        assert simulate(graph).firings == 0

    def test_merge_refuses_streams_that_do_not_match_its_control(self):
        with pytest.raises(ValueCheckError, match="unit merge: control tokens and data tokens do not match"):
            simulate(self.merged([1.0, 1.0, 0.0], [10.0], [20.0, 21.0]))

    def test_select_then_merge_restores_the_stream(self, engine):
        values = [[4.0, 1.0, 3.0, 2.0, 0.0, 8.0]]
        graph = Graph("round trip")
        source = graph.add(feed(values))
        fork = graph.add(operators.broadcast("fork", 6))
        decide = graph.add(operators.map_("decide", lambda x: (x > 2.0).astype(float), 6))
        select = graph.add(operators.select("select", self.PREDICATE))
        merge = graph.add(operators.merge("merge"))
        check = graph.add(operators.checker("check", values[0]))
        graph.connect(source, fork)
        graph.connect(fork, select, depth=8)
        graph.connect(fork, decide)
        graph.connect(decide, merge, depth=8)
        graph.connect(select, merge, depth=8)
        graph.connect(select, merge, depth=8)
        graph.connect(merge, check)
        assert simulate(graph, engine=engine).deadlock is None

    def test_tables_are_recorded_for_timing_alone_too(self):
        graph = self.merged([0.0, 1.0], [10.0], [20.0])
        result = simulate(graph, timing_only=True)
        assert result.outputs == {}
        assert result.unit("merge").firings == 2


class TestEnds:
    def test_a_source_paces_its_tokens(self, engine):
        result = through(
            feed([[1.0, 2.0, 3.0]], latency_cycles=2, ii_cycles=4), operators.sink("out", 3), engine=engine
        )
        assert starts(result, "source") == [0, 4, 8]
        assert starts(result, "out") == [2, 6, 10]

    def test_a_source_without_values_has_timing(self):
        result = through(operators.source("source", None, 3), operators.sink("out", 3), timing_only=True)
        assert result.firings == 6
        with pytest.raises(GraphError, match="unit source: has no function"):
            through(operators.source("source", None, 3), operators.sink("out", 3))

    def test_a_source_needs_tokens_or_a_number_of_them(self):
        with pytest.raises(GraphError, match="unit source: needs either values or a number of tokens"):
            operators.source("source", None)

    def test_a_source_array_needs_two_axes(self):
        with pytest.raises(GraphError, match=r"unit source: values must have shape \(iterations, width, ...\)"):
            operators.source("source", [1.0, 2.0])

    def test_a_sink_may_take_what_comes(self):
        result = through(feed([[1.0, 2.0, 3.0]]), operators.sink("out", None, ii_cycles=2))
        assert result.outputs["out"].tolist() == [1.0, 2.0, 3.0]
        assert starts(result, "out") == [1, 3, 5]

    def test_a_slow_sink_takes_its_interval(self):
        assert starts(through(feed([[1.0, 2.0]]), operators.sink("out", 2, ii_cycles=5)), "out") == [1, 6]


class TestChecker:
    def test_passes_equal_tokens_and_those_within_tolerance(self):
        through(feed([[1.0, 2.0]]), operators.checker("check", [1.0, 2.0]))
        through(feed([[1.0, 2.0]]), operators.checker("check", [1.1, 1.9], tolerance=0.11))

    @pytest.mark.parametrize("value", [2.5, np.nan])
    def test_names_the_first_wrong_token(self, value):
        with pytest.raises(ValueCheckError) as error:
            through(feed([[1.0, value, 9.0]]), operators.checker("check", [1.0, 2.0, 3.0]))
        assert str(error.value) == f"unit check: token 1 is {value}, expected 2.0"

    def test_counts_tokens_over_iterations(self):
        values = np.arange(6.0).reshape(3, 2)
        expected = values.reshape(-1).copy()
        expected[5] = -1
        graph = Graph("rows", rows_per_group=1)
        graph.connect(graph.add(feed(values)), graph.add(operators.checker("check", expected, iterations=3)), depth=8)
        with pytest.raises(ValueCheckError, match=r"unit check: token 5 is 5.0, expected -1.0"):
            simulate(graph)

    def test_refuses_another_token_shape(self):
        with pytest.raises(ValueCheckError, match=r"unit check: got tokens of shape \(2, 1\), expected \(2,\)"):
            through(feed([[[1.0], [2.0]]]), operators.checker("check", [1.0, 2.0]))

    def test_refuses_tokens_that_do_not_divide_into_iterations(self):
        with pytest.raises(GraphError, match="unit check: 5 expected tokens do not divide into 2 iterations"):
            operators.checker("check", [0.0] * 5, iterations=2)


ONE_IN = {
    "map": lambda **o: operators.map_("unit", lambda x: x, 4, **o),
    "scan": lambda **o: operators.scan("unit", lambda x, valid: x, 4, **o),
    "reduce": lambda **o: operators.reduce_("unit", lambda x, valid: x.sum(axis=1), 4, **o),
    "accumulate": lambda **o: operators.accumulate("unit", lambda x, valid: x[:, :1], 4, inputs=1, **o),
    "reduce_groups": lambda **o: operators.reduce_groups("unit", lambda x: x.sum(axis=-1), 1, 4, inputs=1, **o),
    "repeat_each": lambda **o: operators.repeat_each("unit", 4, 2, **o),
    "replay": lambda **o: operators.replay("unit", 2, 4, **o),
    "broadcast": lambda **o: operators.broadcast("unit", 4, 1, **o),
    "select": lambda **o: operators.select("unit", lambda x: x > 0, **o),
}


class TestOptionsOfEveryOperator:
    @pytest.mark.parametrize("kind", ONE_IN)
    def test_latency_and_interval_are_those_given(self, kind):
        unit = ONE_IN[kind](latency_cycles=6, ii_cycles=3)
        graph = Graph("one")
        graph.connect(graph.add(feed([[1.0, 2.0, 3.0, 4.0]])), graph.add(unit), depth=16)
        ends = [graph.add(operators.sink(f"out{port}", None)) for port in range(unit.outputs)]
        for end in ends:
            graph.connect(unit, end, depth=16)
        result = simulate(graph, trace=True)
        begun = starts(result, "unit")
        assert begun == list(range(1, 1 + 3 * len(begun), 3))
        assert result.unit("unit").busy_cycles == 3 * len(begun)
        table = graph.with_tables(evaluate(graph).tables).units[1].table
        makes = np.asarray(table.expand().make[0])
        first_token = begun[int(np.argmax(makes > 0))]
        assert starts(result, "out0")[0] == first_token + 6

    @pytest.mark.parametrize("kind", [kind for kind in ONE_IN if kind != "select"])
    def test_illegal_timing_names_the_unit(self, kind):
        with pytest.raises(GraphError) as error:
            ONE_IN[kind](latency_cycles=0, ii_cycles=-1)
        assert error.value.problems == (
            "unit unit: initiation interval must not be negative (got -1)",
            "unit unit: latency must be at least 1 cycle (got 0)",
        )

    @pytest.mark.parametrize("kind", [kind for kind in ONE_IN if kind != "select"])
    def test_issue_rule_is_the_one_given(self, kind):
        assert ONE_IN[kind](issue="hold").issue == "hold"
        assert ONE_IN[kind]().issue == "reserve"

    def test_operators_have_no_server_of_their_own(self):
        assert all(make().server is None for make in ONE_IN.values())
        assert Server("memory").parameters().tolist() == [64, 0]
