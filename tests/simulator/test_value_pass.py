"""The value pass: blocks of rows, padding, groups and graphs that it cannot evaluate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator import (
    FiringTable,
    Graph,
    GraphError,
    Segment,
    TokenBlock,
    Unit,
    UnitStep,
    ValueCheckError,
    operators,
    simulate,
    uniform,
    values,
)
from simulator.operators import Span
from simulator.values import evaluate


def softmax_rows(rows: int, width: int, *, growth: int = 0, group: int = 0, rows_per_group: int = 0) -> Graph:
    """``x -> exp -> (fork) -> sum -> repeat -> divide``: iterations that depend on nothing but their own row."""
    span = Span(width, rows, growth, group)
    longest = span.largest(range(rows))
    data = np.random.default_rng(3).standard_normal((rows, longest))

    def provide(block: range) -> TokenBlock:
        return TokenBlock(data[block.start : block.stop, : span.largest(block)], span.lengths(block))

    graph = Graph("softmax", rows_per_group=rows_per_group)
    source = graph.add(operators.source("source", provide, span))
    exp = graph.add(operators.map_("exp", np.exp, span))
    fork = graph.add(operators.broadcast("fork", span))
    total = graph.add(operators.reduce_("total", lambda x, valid: np.where(valid, x, 0).sum(axis=1), span))
    hold = graph.add(operators.repeat("hold", span))
    divide = graph.add(operators.zip_("divide", np.divide, span))
    out = graph.add(operators.sink("out", span))
    graph.connect(source, exp)
    graph.connect(exp, fork)
    graph.connect(fork, divide, depth=longest + 8)
    graph.connect(fork, total)
    graph.connect(total, hold)
    graph.connect(hold, divide)
    graph.connect(divide, out)
    return graph


def expected(rows: int, width: int, growth: int, group: int) -> np.ndarray:
    span = Span(width, rows, growth, group)
    data = np.random.default_rng(3).standard_normal((rows, span.largest(range(rows))))
    parts = []
    for row in range(rows):
        length = width + growth * (row % group if group else row)
        weights = np.exp(data[row, :length])
        parts.append(weights / weights.sum())
    return np.concatenate(parts)


SHAPES = [(7, 5, 0, 0), (6, 1, 1, 0), (9, 2, 1, 3), (8, 3, 2, 4), (1, 1, 0, 0)]


@pytest.mark.parametrize(("rows", "width", "growth", "group"), SHAPES)
def test_values_of_full_and_growing_rows(rows, width, growth, group):
    out = evaluate(softmax_rows(rows, width, growth=growth, group=group)).outputs["out"]
    np.testing.assert_allclose(out, expected(rows, width, growth, group), rtol=1e-14)


@pytest.mark.parametrize(("rows", "width", "growth", "group"), SHAPES)
@pytest.mark.parametrize("block_bytes", [1, 100, 200, 1 << 25])
@pytest.mark.parametrize("rows_per_group", [0, 1, 3])
def test_blocks_of_rows_do_not_change_a_bit(monkeypatch, rows, width, growth, group, block_bytes, rows_per_group):
    """Elementwise units and sums over a row are the same to the last bit however many rows go together."""
    whole = evaluate(softmax_rows(rows, width, growth=growth, group=group)).outputs["out"]
    seen: list[range] = []
    graph = softmax_rows(rows, width, growth=growth, group=group, rows_per_group=rows_per_group)
    provide = graph.units[0].function

    def watched(inputs: tuple[TokenBlock, ...], block: range) -> UnitStep:
        seen.append(block)
        return provide(inputs, block)

    graph.units[0] = Unit("source", "source", graph.units[0].table, watched)
    monkeypatch.setattr(values, "BLOCK_BYTES", block_bytes)
    # padding reaches numpy's pairwise sums, so compare sums of equal paddings exactly and others closely
    np.testing.assert_allclose(evaluate(graph).outputs["out"], whole, rtol=1e-15)
    assert [row for block in seen for row in block] == list(range(rows))
    if block_bytes == 1:
        assert all(len(block) == 1 for block in seen)
    if rows_per_group:
        assert all(block.start // rows_per_group == (block.stop - 1) // rows_per_group for block in seen)


def test_memory_is_bounded_by_the_block_size():
    """A stream of 2^24 tokens goes through in pieces of at most the block size."""
    rows, width = 1 << 12, 1 << 12
    largest = 0

    def provide(block: range) -> TokenBlock:
        nonlocal largest
        largest = max(largest, len(block) * width * 8)
        return TokenBlock(np.broadcast_to(1.0, (len(block), width)))

    graph = Graph("large")
    source = graph.add(operators.source("source", provide, Span(width, rows)))
    total = graph.add(operators.reduce_("total", lambda x, valid: x.sum(axis=1), Span(width, rows)))
    graph.connect(source, total)
    graph.connect(total, graph.add(operators.sink("out", Span(1, rows))))
    assert np.all(evaluate(graph).outputs["out"] == width)
    assert values.BLOCK_BYTES // 2 < largest <= values.BLOCK_BYTES


class TestTokenBlock:
    VALUES = np.arange(6.0).reshape(2, 3)

    def test_full_rows(self):
        block = TokenBlock(self.VALUES)
        assert block.valid().all() and block.valid().shape == (2, 3)
        assert block.counts().tolist() == [3, 3]
        assert block.stream().tolist() == [0, 1, 2, 3, 4, 5]

    def test_padding_is_left_out_of_the_stream(self):
        block = TokenBlock(self.VALUES, np.array([2, 1]))
        assert block.valid().tolist() == [[True, True, False], [True, False, False]]
        assert block.counts().tolist() == [2, 1]
        assert block.stream().tolist() == [0, 1, 3]
        assert block.with_values(-self.VALUES).stream().tolist() == [0, -1, -3]

    def test_tokens_of_any_shape(self):
        block = TokenBlock(np.arange(12.0).reshape(2, 3, 2), np.array([0, 3]))
        assert block.stream().shape == (3, 2)


class TestGraphsWithoutValues:
    def test_a_loop_is_named(self):
        graph = Graph("loop")
        start = graph.add(operators.source("start", [[1.0]]))
        first = graph.add(operators.zip_("first", np.add, 1))
        second = graph.add(operators.map_("second", np.negative, 1))
        graph.connect(start, first)
        graph.connect(first, second)
        graph.connect(second, first, initial_tokens=1)
        with pytest.raises(GraphError, match="the value pass needs an acyclic graph; in a cycle: first, second"):
            evaluate(graph)

    def test_all_units_without_a_function_are_named(self):
        graph = Graph("timing")
        graph.connect(
            graph.add(Unit("a", "source", uniform(1, (), (1,)))), graph.add(Unit("b", "sink", uniform(1, (1,), ())))
        )
        with pytest.raises(GraphError) as error:
            evaluate(graph)
        assert error.value.problems == tuple(
            f"unit {name}: has no function, so its tokens have no values" for name in ("a", "b")
        )

    def test_a_unit_that_records_no_firings_is_named(self):
        graph = Graph("late")
        source = graph.add(operators.source("source", [[1.0]]))
        late = graph.add(Unit("late", "sink", None, lambda inputs, _: UnitStep(inputs), inputs=1))
        graph.connect(source, late)
        with pytest.raises(GraphError, match="unit late: has no firing table and its function recorded none"):
            evaluate(graph)

    def test_a_function_that_gives_other_tokens_than_its_table_promises(self):
        """Three iterations of one token are not one iteration of three: the sum of each would be its own."""
        graph = Graph("rows")
        source = graph.add(operators.source("source", [[1.0], [2.0], [3.0]]))
        total = graph.add(operators.reduce_("total", lambda x, valid: x.sum(axis=1), Span(3)))
        graph.connect(source, total)
        graph.connect(total, graph.add(operators.sink("out", 1)))
        message = "unit total: its function gives 3 tokens on output 0, but its firing table makes 1"
        with pytest.raises(ValueCheckError, match=message):
            evaluate(graph)

    def test_a_function_that_gives_too_few_tokens_names_its_iterations(self):
        graph = Graph("short")
        source = graph.add(operators.source("source", lambda block: TokenBlock(np.ones((len(block), 2))), Span(3, 4)))
        graph.connect(source, graph.add(operators.sink("out", Span(3, 4))))
        message = "unit source: its function gives 8 tokens on output 0 in iterations 0 to 3, but .* makes 12"
        with pytest.raises(ValueCheckError, match=message):
            evaluate(graph)

    def test_recorded_tables_cover_all_blocks_of_rows(self, monkeypatch):
        monkeypatch.setattr(values, "BLOCK_BYTES", 1)
        graph = Graph("rows")
        source = graph.add(operators.source("source", np.ones((5, 2))))

        def count(inputs: tuple[TokenBlock, ...], block: range) -> UnitStep:
            return UnitStep(inputs, (Segment(2 * len(block), (1,), ()),))

        graph.connect(source, graph.add(Unit("late", "sink", None, count, inputs=1)))
        table = evaluate(graph).tables["late"]
        assert isinstance(table, FiringTable)
        assert (table.firings, table.taken(0), len(table.blocks[0].segments)) == (10, 10, 1)


def retimed(unit: Unit, latency: int, ii: int) -> Unit:
    """The same unit with another latency and interval."""
    blocks = tuple(
        replace(block, segments=tuple(replace(segment, latency=latency, ii=ii) for segment in block.segments))
        for block in unit.table.blocks
    )
    return replace(unit, table=replace(unit.table, blocks=blocks))


def test_values_do_not_depend_on_timing():
    """I5 seen from the values: no latency, interval or depth reaches a function."""
    results = []
    for latency, ii, depth in ((1, 1, 64), (7, 1, 40), (2, 3, 100)):
        graph = softmax_rows(5, 4).with_depths({"fork->divide": depth})
        graph.units = [retimed(unit, latency, ii) for unit in graph.units]
        results.append(simulate(graph))
    assert len({result.cycles for result in results}) == 3
    assert all(result.deadlock is None for result in results)
    assert all(np.array_equal(results[0].outputs["out"], result.outputs["out"]) for result in results)
