"""Skipping where servers decide: graphs whose tables are one long list of runs, as those of cores are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import fields, replace

import pytest

from simulator import Block, FiringTable, Graph, Segment, Server, Unit
from simulator.engines.compiled.engine import run_compiled
from simulator.engines.outcome import Outcome
from simulator.engines.reference.engine import run_reference
from simulator.random_graphs import random_graph

FIRST_SEED = 700_000
CHUNK = 100
LONGER = 40
COUNTERS = [field.name for field in fields(Outcome) if field.name not in ("trace", "skipped")]


def one_list(table: FiringTable) -> FiringTable:
    """The same firings in one iteration."""
    blocks = []
    for iteration in range(table.iterations):
        index = iteration % table.ramp_length if table.ramp_length else iteration
        for block in table.blocks:
            runs = tuple(replace(run, count=run.count + run.growth * index, growth=0) for run in block.segments)
            blocks.append(Block(runs, block.loops + block.growth * index))
    return FiringTable(tuple(blocks))


def one_loop(table: FiringTable) -> FiringTable:
    """The same firings in one iteration, as a loop where that is possible."""
    if len(table.blocks) > 1 or table.grows:
        return one_list(table)
    (block,) = table.blocks
    return FiringTable((Block(block.segments, block.loops * table.iterations),))


def long_runs(table: FiringTable) -> FiringTable:
    """Every run `LONGER` times as long, in one iteration."""
    blocks = one_list(table).blocks
    return FiringTable(
        tuple(replace(b, segments=tuple(replace(s, count=s.count * LONGER) for s in b.segments)) for b in blocks)
    )


def with_tables(graph: Graph, change: Callable[[FiringTable], FiringTable]) -> Graph:
    """``graph`` with all tables changed alike, so that channels stay balanced."""
    return replace(graph, units=[replace(unit, table=change(unit.table)) for unit in graph.units])


def skip_and_compare(graph: Graph) -> Outcome:
    """Run with and without skipping; demand equal counters, hashes, peaks and verdicts."""
    frozen = graph.freeze()
    skipping, complete = run_compiled(frozen), run_compiled(frozen, skip=False)
    assert [n for n in COUNTERS if getattr(skipping, n) != getattr(complete, n)] == [], graph.name
    return skipping


@pytest.mark.parametrize(
    ("change", "iterations", "least"), [(one_list, 30, 0.01), (one_loop, 30, 0.05), (long_runs, 6, 0.2)]
)
@pytest.mark.parametrize("first", range(0, 300, CHUNK))
def test_random_graphs(first, change, iterations, least):
    seen: Counter[str] = Counter()
    for seed in range(FIRST_SEED + first, FIRST_SEED + first + CHUNK):
        outcome = skip_and_compare(with_tables(random_graph(seed, max_iterations=iterations), change))
        seen["jumped"] += sum(outcome.grants) > 0 and outcome.skipped.jumps > 0
        seen["deadlock"] += any(outcome.segment)
    assert seen["jumped"] >= least * CHUNK
    assert seen["deadlock"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("change", [one_list, one_loop, long_runs])
@pytest.mark.parametrize("first", range(0, 5000, 500))
def test_random_graphs_nightly(first, change):
    for seed in range(FIRST_SEED + 10_000 + first, FIRST_SEED + 10_500 + first):
        skip_and_compare(with_tables(random_graph(seed, max_iterations=20), change))


def cores(lengths: dict[str, list[int]], *, memory_rate: int = 3, alike: bool = False) -> Graph:
    """Cores with items of so many steps each: they load over one memory, multiply, and store an item's result.

    ``alike`` items of a core are a loop, others a list of runs.
    """
    graph = Graph("cores")
    graph.add_server(Server("memory", memory_rate, 9, arbitration="oldest_first"))

    def table(items: list[int], *parts: Callable[[int], Segment]) -> FiringTable:
        blocks = [
            Block(tuple(segment for segment in (part(steps) for part in parts) if segment.count)) for steps in items
        ]
        return FiringTable((replace(blocks[0], loops=len(items)),) if alike else tuple(blocks))

    for name, items in lengths.items():
        graph.add_server(Server(f"matrix.{name}", 1, arbitration="oldest_first"))
        load = graph.add(
            Unit(
                f"load.{name}",
                "load",
                table(items, lambda n: Segment(n, (), (1, 1), 1, 5, request_bytes=13)),
                server="memory",
            )
        )
        scores = graph.add(
            Unit(
                f"scores.{name}",
                "scores",
                table(items, lambda n: Segment(n, (1, 1), (1,), 1, 7, request_bytes=7)),
                server=f"matrix.{name}",
            )
        )
        values = graph.add(
            Unit(
                f"values.{name}",
                "values",
                table(
                    items,
                    lambda n: Segment(n - 1, (1, 1), (1, 0), 1, 8, request_bytes=8),
                    lambda n: Segment(1, (1, 1), (1, 1), 1, 8, request_bytes=8),
                ),
                server=f"matrix.{name}",
            )
        )
        store = graph.add(
            Unit(
                f"store.{name}",
                "store",
                table(items, lambda n: Segment(1, (1,), (), 1, 4, request_bytes=40)),
                server="memory",
            )
        )
        graph.connect(load, scores, output=0, input=0, depth=3)
        graph.connect(load, values, output=1, input=0, depth=2)
        graph.connect(scores, values, output=0, input=1)
        graph.connect(values, scores, output=0, input=1, initial_tokens=1)
        graph.connect(values, store, output=1, input=0, depth=2)
    return graph


@pytest.mark.parametrize("memory_rate", [1, 3, 40])
def test_cores_in_the_middle_of_their_items_are_skipped(memory_rate):
    """Items of different lengths on cores that share the memory: each stretch between two ends of items recurs."""
    graph = cores({"a": [3000, 2500, 700], "b": [2900, 2400, 900], "c": [2000, 2000, 2001]}, memory_rate=memory_rate)
    outcome = skip_and_compare(graph)
    assert outcome.skipped.jumps >= 6
    assert outcome.skipped.firings > 0.8 * sum(outcome.fired)


def test_items_that_are_alike_are_skipped_as_a_whole():
    """Items are far too short to recur inside; a thousand of them do."""
    outcome = skip_and_compare(cores({"a": [4] * 1000, "b": [4] * 1000}, alike=True))
    assert 0 < outcome.skipped.jumps < 20
    assert outcome.skipped.firings > 0.9 * sum(outcome.fired)


def test_when_the_core_with_most_to_do_is_done_another_one_is_looked_at():
    """Looks follow `a`, which has the most steps, but `c` works on for three times as long."""
    graph = cores({"a": [3000], "b": [10], "c": [2900]})
    slow = {"scores.c": 50}
    graph.units = [
        replace(u, table=FiringTable(tuple(_slower(b, slow[u.name]) for b in u.table.blocks))) if u.name in slow else u
        for u in graph.units
    ]
    outcome = skip_and_compare(graph)
    assert outcome.skipped.firings > 0.9 * sum(outcome.fired)


def _slower(block: Block, request: int) -> Block:
    return replace(block, segments=tuple(replace(s, request_bytes=request, ii=request) for s in block.segments))


def test_a_long_end_without_servers_is_skipped():
    """The unit with most firings uses a server; what waits for its last one then goes on for long."""
    graph = Graph("end")
    graph.add_server(Server("memory"))
    runs = (Segment(30_000, (), (0,), request_bytes=1), Segment(1, (), (1,), request_bytes=1))
    first = graph.add(Unit("first", "source", FiringTable((Block(runs),)), server="memory"))
    then = graph.add(Unit("then", "map", FiringTable((Block((Segment(1, (1,), (1,)), Segment(20_000, (0,), (1,)))),))))
    sink = graph.add(Unit("sink", "sink", FiringTable((Block((Segment(20_001, (1,), (), 1, 4),)),))))
    graph.connect(first, then)
    graph.connect(then, sink, depth=4)
    outcome = skip_and_compare(graph)
    assert outcome.skipped.firings > 65_000


@pytest.mark.parametrize("memory_rate", [1, 3, 40])
def test_the_reference_engine_comes_to_the_same(memory_rate):
    graph = cores({"a": [90, 60], "b": [80, 77]}, memory_rate=memory_rate).freeze()
    skipping, reference = run_compiled(graph), run_reference(graph)
    assert skipping.skipped.jumps > 0
    assert [n for n in COUNTERS if getattr(skipping, n) != getattr(reference, n)] == []
