"""A graph run on a machine that was kept, or among others that differ in times, counts what its plain run counts.

The plain run has a machine of its own and simulates every firing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace

import pytest

from simulator import FiringTable, FrozenGraph
from simulator.engines.compiled import prepared
from simulator.engines.compiled.engine import run_compiled
from simulator.engines.outcome import Outcome
from simulator.explain.alike import Mould
from simulator.random_graphs import random_graph

FIRST_SEED = 5_000_000
CHUNK, RUN_SEEDS, NIGHTLY_SEEDS = 200, 2000, 20_000
COUNTERS = [field.name for field in fields(Outcome) if field.name not in ("trace", "skipped")]


def plain_run(graph: FrozenGraph) -> Outcome:
    """Every firing simulated, on a machine that nothing else has used."""
    prepared.forget_machines()
    outcome = run_compiled(graph, skip=False)
    prepared.forget_machines()
    return outcome


def deeper(graph: FrozenGraph) -> FrozenGraph:
    """The graph with FIFOs one deeper where their rings, twice the depth as a power of two, stay as they are."""
    depths = {one.name: one.depth for one in graph.channels if one.depth is not None}
    return graph.with_depths({name: depth + (depth & (depth - 1) > 0) for name, depth in depths.items()})


def slower(graph: FrozenGraph) -> FrozenGraph:
    """The graph with other latencies and intervals."""

    def table(old: FiringTable) -> FiringTable:
        return replace(
            old,
            blocks=tuple(
                replace(b, segments=tuple(replace(s, latency=s.latency + 3, ii=2 * s.ii + 1) for s in b.segments))
                for b in old.blocks
            ),
        )

    return replace(graph, units=tuple(replace(unit, table=table(unit.table)) for unit in graph.units))


def has_free_firings(graph: FrozenGraph) -> bool:
    """Whether an interval is 0, which is not run among others."""
    tables = map(graph.table, range(len(graph.units)))
    return any(segment.ii == 0 for table in tables for block in table.blocks for segment in block.segments)


def compare_kept(graph: FrozenGraph, plain: Outcome) -> bool:
    """Compare a run on the machine of deeper FIFOs; whether it was that one."""
    run_compiled(deeper(graph))
    machines = len(prepared._KEPT)
    kept = run_compiled(graph)
    assert [name for name in COUNTERS if getattr(kept, name) != getattr(plain, name)] == [], graph.name
    return machines == len(prepared._KEPT) > 0 and deeper(graph) != graph


def compare_batch(graph: FrozenGraph, plain: Outcome) -> str:
    """Compare a run in a mould that has been filled with other times; how it went."""
    mould = Mould(slower(graph))
    mould.run(Mould.times_of(slower(graph)))
    counts = mould.run(Mould.times_of(graph))
    assert (counts is None) == any(plain.segment), graph.name
    if counts is None:
        return "stuck"
    assert counts.cycles == max(plain.clock), graph.name
    assert counts.firings == sum(plain.fired), graph.name
    assert counts.busy == plain.busy, graph.name
    assert counts.stalls == [cycles for unit in plain.stall for cycles in unit], graph.name
    assert counts.served == plain.server_busy, graph.name
    return "skipped" if counts.skipped_firings else "simulated"


def compare_range(first: int, count: int) -> Counter[str]:
    """Compare the graphs of so many seeds; return how many there were of each kind."""
    seen: Counter[str] = Counter()
    for seed in range(first, first + count):
        graph = random_graph(seed, max_iterations=60).freeze()
        plain = plain_run(graph)
        seen["kept"] += compare_kept(graph, plain)
        if Mould.fits(graph):
            if has_free_firings(graph):
                graph = slower(graph)
                plain = plain_run(graph)
            seen[compare_batch(graph, plain)] += 1
    return seen


@pytest.mark.parametrize("first", range(FIRST_SEED, FIRST_SEED + RUN_SEEDS, CHUNK))
def test_random_graphs(first):
    seen = compare_range(first, CHUNK)
    assert seen["kept"] > 0.3 * CHUNK
    assert min(seen["skipped"], seen["simulated"]) > 0.1 * CHUNK
    assert seen["stuck"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("first", range(FIRST_SEED + 10_000, FIRST_SEED + 10_000 + NIGHTLY_SEEDS, 1000))
def test_random_graphs_nightly(first):
    seen = compare_range(first, 1000)
    assert min(seen["kept"], seen["skipped"], seen["simulated"]) > 100
