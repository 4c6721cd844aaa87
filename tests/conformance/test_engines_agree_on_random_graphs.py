"""The two engines against each other on random graphs: every start time, cause, wait, counter and verdict.

A difference in any number is a defect of an engine or of the semantics. The graphs come from seeds, so a failure names
the seed that shows it: ``random_graph(seed)``.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator import FrozenGraph, Graph, simulate
from simulator.engines.compiled.engine import run_compiled
from simulator.engines.outcome import Outcome
from simulator.engines.reference.engine import run_reference
from simulator.explain.deadlock import explain_deadlock
from simulator.random_graphs import random_graph
from simulator.result import Trace

CHUNK = 100
RUN_SEEDS = 2400
NIGHTLY_SEEDS = 24_000
NIGHTLY_FIRST = 1_000_000

COUNTERS = [field.name for field in fields(Outcome) if field.name not in ("trace", "skipped")]


def differences(left: Outcome, right: Outcome) -> list[str]:
    """Names of all counters that are not equal."""
    return [name for name in COUNTERS if getattr(left, name) != getattr(right, name)]


def trace_differences(left: Outcome, right: Outcome) -> list[str]:
    """Columns of the trace that are not equal, with their unit."""
    assert left.trace is not None and right.trace is not None
    return [
        f"{field.name}[{unit}]"
        for field in fields(Trace)
        for unit, (a, b) in enumerate(
            zip(getattr(left.trace, field.name), getattr(right.trace, field.name), strict=True)
        )
        if not np.array_equal(a, b)
    ]


def compare(graph: FrozenGraph) -> Outcome:
    """Run ``graph`` in every way and demand one and the same schedule; return it."""
    reference = run_reference(graph)
    traced = run_compiled(graph, trace=True)
    skipping = run_compiled(graph, skip=True)
    complete = run_compiled(graph, skip=False)
    assert differences(reference, traced) + trace_differences(reference, traced) == [], graph.name
    assert differences(reference, skipping) == [], f"{graph.name} with skipping"
    assert differences(reference, complete) == [], f"{graph.name} without skipping"
    if any(reference.segment):
        cycles = max(reference.clock)
        verdicts = [
            explain_deadlock(graph, outcome, cycles, lambda *_: None) for outcome in (reference, traced, skipping)
        ]
        assert verdicts[0] == verdicts[1] == verdicts[2], graph.name
    return reference


def compare_range(first: int, count: int) -> None:
    """Compare the graphs of ``count`` seeds; every eighth also as whole results."""
    for seed in range(first, first + count):
        graph = random_graph(seed)
        compare(graph.freeze())
        if seed % 8 == 0:
            compare_results(graph)
            compare_without_records(graph.freeze())


def compare_results(graph: Graph) -> None:
    """The same through :func:`simulate`, whose results also check that every cycle is accounted for."""
    both = [
        simulate(graph, engine=engine, timing_only=True, explain=False).to_dict() for engine in ("compiled", "simpy")
    ]
    for result in both:
        for key in ("engine", "wall_s", "compile_s", "skipped"):
            del result[key]
    assert both[0] == both[1]


def compare_without_records(graph: FrozenGraph) -> None:
    """What is recorded besides must not change what happens."""
    plain = run_compiled(graph, digest=False, occupancy=False)
    assert set(differences(plain, run_compiled(graph))) <= {"hashes", "peak"}, graph.name


@pytest.mark.parametrize("first", range(0, RUN_SEEDS, CHUNK))
def test_seeded_graphs(first):
    compare_range(first, CHUNK)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(NIGHTLY_FIRST, NIGHTLY_FIRST + NIGHTLY_SEEDS, 1000))
def test_seeded_graphs_nightly(first):
    compare_range(first, 1000)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**63 - 1),
    servers=st.sampled_from([None, True, False]),
    max_iterations=st.integers(1, 30),
    depth=st.none() | st.integers(1, 12),
    extra_latency=st.integers(0, 9),
)
def test_drawn_graphs(seed, servers, max_iterations, depth, extra_latency):
    """Drawn seeds, with one FIFO given another depth and every channel a longer way."""
    graph = random_graph(seed, servers=servers, max_iterations=max_iterations)
    first = graph.channels[0]
    graph = graph.with_depths({first.name: None if depth is None else max(depth, first.initial_tokens)})
    graph.channels = [
        replace(channel, latency_cycles=channel.latency_cycles + extra_latency) for channel in graph.channels
    ]
    compare(graph.freeze())


def features(graph: Graph) -> set[str]:
    """What makes a graph worth comparing on."""
    frozen = graph.freeze()
    outcome = run_compiled(frozen)
    tables = [frozen.table(unit) for unit in range(len(frozen.units))]
    segments = [segment for table in tables for block in table.blocks for segment in block.segments]
    issues = {unit.issue for unit in graph.units}
    clients = Counter(unit.server for unit in graph.units if unit.server)
    found = {
        "deadlocks": any(outcome.segment),
        "uses a server": bool(clients),
        "shares a server": max(clients.values(), default=0) > 1,
        "has several servers": len(clients) > 1,
        "has several ports": any(server.ports > 1 for server in graph.servers),
        "holds": "hold" in issues,
        "holds in turn": "hold_in_turn" in issues,
        "has a zero interval": any(segment.ii == 0 for segment in segments),
        "grows": any(table.grows for table in tables),
        "restarts its ramp": any(table.grows and 0 < table.ramp_length < table.iterations for table in tables),
        "is multi-rate": any(max((*s.take, *s.make), default=0) > 1 for s in segments),
        "has feedback": any(channel.initial_tokens for channel in graph.channels),
        "is unbounded somewhere": any(channel.depth is None for channel in graph.channels),
        "waits for slots": any(
            any(stall[1 + unit.inputs : 1 + unit.inputs + unit.outputs])
            for unit, stall in zip(graph.units, outcome.stall, strict=True)
        ),
        "waits for a server": any(stall[-1] for stall in outcome.stall),
    }
    found |= {f"arbitrates {server.arbitration}": True for server in graph.servers}
    return {name for name, true in found.items() if true}


@pytest.fixture(scope="module")
def shares() -> dict[str, float]:
    """Share of the graphs that have each feature."""
    seeds = range(600)
    count = Counter(feature for seed in seeds for feature in features(random_graph(seed)))
    return {name: number / len(seeds) for name, number in count.items()}


@pytest.mark.parametrize(
    ("feature", "least"),
    [
        ("deadlocks", 0.03),
        ("uses a server", 0.55),
        ("shares a server", 0.45),
        ("has several servers", 0.2),
        ("has several ports", 0.3),
        ("arbitrates round_robin", 0.2),
        ("arbitrates oldest_first", 0.2),
        ("arbitrates priority", 0.2),
        ("holds", 0.5),
        ("holds in turn", 0.3),
        ("has a zero interval", 0.4),
        ("grows", 0.15),
        ("restarts its ramp", 0.04),
        ("is multi-rate", 0.8),
        ("has feedback", 0.1),
        ("is unbounded somewhere", 0.2),
        ("waits for slots", 0.5),
        ("waits for a server", 0.4),
    ],
)
def test_the_generator_gives_enough_graphs_that(shares, feature, least):
    """So that a change of the generator cannot quietly make the comparison easy."""
    assert shares.get(feature, 0.0) >= least
    assert feature != "deadlocks" or shares[feature] < 0.2
