"""Firing tables: closed forms equal the expansion, firing by firing, and bad tables are refused."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import Block, FiringTable, GraphError, Segment, recorded, uniform

counts = st.integers(0, 4)


@st.composite
def segments(draw, ports=(1, 2)):
    inputs, outputs = ports
    return Segment(
        count=draw(counts),
        take=tuple(draw(st.lists(counts, min_size=inputs, max_size=inputs))),
        make=tuple(draw(st.lists(counts, min_size=outputs, max_size=outputs))),
        latency=draw(st.integers(1, 5)),
        ii=draw(st.integers(0, 3)),
        growth=draw(st.integers(0, 3)),
        request_bytes=draw(st.sampled_from([0, 0, 7])),
    )


@st.composite
def tables(draw):
    blocks = draw(
        st.lists(
            st.builds(
                Block,
                st.lists(segments(), min_size=1, max_size=3).map(tuple),
                loops=st.integers(0, 3),
                growth=st.integers(0, 2),
            ),
            min_size=1,
            max_size=3,
        )
    )
    return FiringTable(tuple(blocks), draw(st.integers(0, 9)), draw(st.integers(0, 5)))


def by_hand(table: FiringTable) -> list[Segment]:
    """The segment of every firing, straight from the definition of a table."""
    firings = []
    for iteration in range(table.iterations):
        index = iteration % table.ramp_length if table.ramp_length else iteration
        for block in table.blocks:
            for _ in range(block.loops + block.growth * index):
                for segment in block.segments:
                    firings += [segment] * (segment.count + segment.growth * index)
    return firings


@given(tables())
def test_totals_in_closed_form_equal_the_expansion(table):
    firings = by_hand(table)
    assert table.firings == len(firings)
    assert [table.taken(port) for port in range(table.inputs)] == [
        sum(segment.take[port] for segment in firings) for port in range(table.inputs)
    ]
    assert [table.made(port) for port in range(table.outputs)] == [
        sum(segment.make[port] for segment in firings) for port in range(table.outputs)
    ]
    assert table.requested_bytes == sum(segment.request_bytes for segment in firings)


@given(tables())
def test_runs_and_expanded_columns_list_every_firing_in_order(table):
    firings = by_hand(table)
    assert [segment for segment, count in table.runs() for _ in range(count)] == firings
    assert all(count > 0 for _, count in table.runs())
    expanded = table.expand()
    assert expanded.latency.tolist() == [segment.latency for segment in firings]
    assert expanded.ii.tolist() == [segment.ii for segment in firings]
    for port in range(table.inputs):
        assert expanded.take[port].tolist() == [segment.take[port] for segment in firings]
    for port in range(table.outputs):
        assert expanded.make[port].tolist() == [segment.make[port] for segment in firings]


@given(tables(), st.booleans())
def test_tokens_per_iteration_add_up(table, made):
    port = 0
    tokens = table.tokens_per_iteration(port, made=made)
    assert tokens.shape == (table.iterations,)
    assert tokens.sum() == (table.made(port) if made else table.taken(port))
    once = [
        FiringTable(
            tuple(
                Block(
                    tuple(Segment(s.count + s.growth * index, s.take, s.make, s.latency, s.ii) for s in block.segments),
                    block.loops + block.growth * index,
                )
                for block in table.blocks
            )
        )
        for index in (i % table.ramp_length if table.ramp_length else i for i in range(table.iterations))
    ]
    assert tokens.tolist() == [single.made(port) if made else single.taken(port) for single in once]


def test_causal_rows_are_a_triangle():
    table = uniform(1, (1,), growth=1, iterations=100)
    assert table.firings == 100 * 101 // 2
    assert table.grows
    assert table.tokens_per_iteration(0, made=False).tolist() == list(range(1, 101))


def test_the_ramp_starts_again_with_every_head():
    table = uniform(3, (1,), growth=2, iterations=7, ramp_length=3)
    assert table.tokens_per_iteration(0, made=False).tolist() == [3, 5, 7, 3, 5, 7, 3]
    assert table.firings == 33


def test_totals_of_a_million_rows_need_no_expansion():
    rows = 1 << 20
    table = uniform(1, (), (1,), growth=1, iterations=rows)
    assert table.firings == table.made(0) == rows * (rows + 1) // 2
    nested = FiringTable((Block((Segment(1, (), (1,), growth=1),), loops=1, growth=1),), rows)
    # the sum of squares 1 + 4 + 9 + ...
    assert nested.firings == rows * (rows + 1) * (2 * rows + 1) // 6


@given(st.lists(st.sampled_from([(1, 1), (1, 2), (2, 1)]), min_size=1, max_size=40))
def test_a_recorded_trace_is_run_length_coded_without_loss(trace):
    parts = [Segment(1, (take,), (make,)) for take, make in trace]
    table = recorded(parts)
    assert [segment.take + segment.make for segment in by_hand(table)] == trace
    changes = 1 + sum(a != b for a, b in itertools.pairwise(trace))
    assert len(table.blocks[0].segments) == changes


def test_requests_are_never_merged_since_each_has_its_own_address():
    same = Segment(1, (), (), request_bytes=8, address=64)
    assert len(recorded([same, same]).blocks[0].segments) == 2
    assert recorded([same, same]).requested_bytes == 16


def test_an_empty_recording_keeps_its_ports():
    table = recorded([Segment(0, (1,), (1, 1))])
    assert (table.firings, table.inputs, table.outputs) == (0, 1, 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: uniform(1, latency=0), "latency must be at least 1 cycle (got 0)"),
        (lambda: uniform(1, ii=-1), "initiation interval must not be negative (got -1)"),
        (lambda: uniform(1, (-1,)), "token counts and request bytes must not be negative"),
        (lambda: FiringTable((Block((Segment(1, request_bytes=-4),)),)), "token counts and request bytes must not"),
        (lambda: uniform(1, iterations=-2), "iterations must not be negative (got -2)"),
        (lambda: uniform(1, ramp_length=-1), "ramp_length must not be negative (got -1)"),
        (lambda: FiringTable((Block((Segment(1, (1,)), Segment(1, (1, 1)))),)), "the same number of ports"),
        (lambda: FiringTable(()), "a firing table needs at least one segment"),
        (lambda: uniform(5, growth=-1, iterations=7), "becomes negative along the iterations"),
        (lambda: FiringTable((Block((Segment(1),), loops=1, growth=-1),), 3), "becomes negative along the iterations"),
    ],
)
def test_bad_tables_are_refused(make, message):
    with pytest.raises(GraphError) as error:
        make()
    assert message in str(error.value)


def test_shrinking_rows_are_fine_while_they_last():
    assert uniform(5, (1,), growth=-1, iterations=6).tokens_per_iteration(0, made=False).tolist() == [5, 4, 3, 2, 1, 0]
    assert uniform(5, growth=-1, iterations=12, ramp_length=6).firings == 30


def test_all_problems_of_a_table_are_told_at_once():
    with pytest.raises(GraphError) as error:
        FiringTable((Block((Segment(1, (-1,), latency=0, ii=-3),)),), iterations=-1)
    assert len(error.value.problems) == 4


def test_columns_are_whole_numbers():
    assert uniform(3, (1,)).expand().take[0].dtype == np.int64
