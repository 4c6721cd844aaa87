"""Growing rows that are answered at once count exactly what they do when each of them is run."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace

import numpy as np
import pytest

from algorithms.registry import get_algorithm
from algorithms.workload.shape import Workload
from simulator import FrozenGraph, Graph, Unit, operators
from simulator.engines.compiled import rows
from simulator.engines.compiled.engine import run_compiled
from simulator.engines.outcome import Outcome
from simulator.growing import proof, schedule
from simulator.operators import Span
from simulator.random_graphs import random_graph

COUNTERS = [field.name for field in fields(Outcome) if field.name not in ("trace", "skipped")]
VARIANTS = ("sdpa.naive", "sdpa.scaled", "sdpa.reordered", "sdpa.memory_free")
FIRST_SEED = 7_000_000
CHUNK = 100
FEW = rows.SETTLED[0] + schedule.FITTED_ROWS + 3
"""Rows from which on there is anything to skip."""


@pytest.fixture
def ahead(monkeypatch):
    """Machines that were brought ahead of their rows, None for each graph for which there was no proof."""
    found = []

    original = rows.ahead_of_rows

    def watched(*given):
        found.append(original(*given))
        return found[-1]

    monkeypatch.setattr(rows, "ahead_of_rows", watched)
    return found


def differing(graph: FrozenGraph) -> list[str]:
    """Counters in which a run that may answer rows at once differs from one that simulates every firing."""
    quick, complete = run_compiled(graph, least_rows=FEW), run_compiled(graph, skip=False)
    return [name for name in COUNTERS if getattr(quick, name) != getattr(complete, name)]


def random_rows(seed: int) -> FrozenGraph:
    """A pipeline over growing rows with random times: row statistics beside FIFOs that may be too short for later rows.

    Every stage is a map, or a reduction of the row whose result meets the row again; and some work once in a row for
    long, so that another unit sets the pace in later rows.
    """
    rng = np.random.default_rng(seed)
    width, growth = int(rng.integers(1, 30)), int(rng.integers(1, 4))
    span = Span(width, FEW + int(rng.integers(0, 40)), growth)
    longest = width + growth * (span.iterations - 1)
    interval = int(rng.integers(1, 4))
    graph = Graph(f"rows-{seed}")

    def times() -> dict[str, int]:
        slower = int(rng.integers(0, 3)) if rng.random() < 0.1 else 0
        return {"latency_cycles": int(rng.integers(1, 9)), "ii_cycles": interval + slower}

    def join(producer: Unit, consumer: Unit, depth: int) -> None:
        latencies = {"latency_cycles": int(rng.integers(0, 3)), "credit_latency_cycles": int(rng.integers(1, 4))}
        graph.connect(producer, consumer, depth=depth, **latencies)

    def short() -> int:
        return int(rng.integers(12, 24)) if rng.random() < 0.85 else int(rng.integers(1, 12))

    def long() -> int:
        return longest + int(rng.integers(4, 40)) if rng.random() < 0.7 else int(rng.integers(width, longest + 4))

    last = graph.add(operators.source("source", None, span, **times()))
    for stage in range(int(rng.integers(1, 4))):
        if rng.random() < 0.4:
            unit = graph.add(operators.map_(f"map{stage}", None, span, **times()))
            join(last, unit, short())
            last = unit
            continue
        fork = graph.add(operators.broadcast(f"fork{stage}", span, **times()))
        total = graph.add(operators.reduce_(f"total{stage}", None, span, **times()))
        once = {"latency_cycles": 1, "ii_cycles": int(rng.integers(1, 150)) if rng.random() < 0.3 else 1}
        single = graph.add(operators.map_(f"single{stage}", None, span.one(), **once))
        hold = graph.add(operators.repeat(f"hold{stage}", span))
        meet = graph.add(operators.zip_(f"meet{stage}", None, span, **times()))
        join(last, fork, short())
        join(fork, total, short())
        join(total, single, short())
        join(single, hold, short())
        join(hold, meet, short())
        join(fork, meet, long())
        last = meet
    sink = graph.add(operators.sink("sink", span))
    join(last, sink, short())
    return graph.freeze()


@pytest.mark.parametrize("first", range(0, 400, CHUNK))
def test_random_rows(first, ahead):
    seen: Counter[str] = Counter()
    for seed in range(FIRST_SEED + first, FIRST_SEED + first + CHUNK):
        graph = random_rows(seed)
        assert differing(graph) == [], graph.name
        seen["proven" if ahead[-1] else "run"] += 1
    assert min(seen["proven"], seen["run"]) > 0.1 * CHUNK, seen


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 20_000, 1000))
def test_random_rows_nightly(first):
    for seed in range(FIRST_SEED + 10_000 + first, FIRST_SEED + 11_000 + first):
        assert differing(random_rows(seed)) == [], seed


def test_graphs_of_all_kinds():
    """Most of these have nothing to prove, and none is answered wrongly."""
    for seed in range(FIRST_SEED, FIRST_SEED + 60):
        graph = random_graph(seed, servers=False, max_iterations=2 * FEW).freeze()
        assert differing(graph) == [], graph.name


SETTINGS = (
    {},
    {"fifo_depth": 2},
    {"qk_latency": 5, "exp_latency": 3, "reduce_latency": 4, "pv_latency": 7, "fifo_depth": 24},
    {"mac_lanes": 2},
    {"long_depth": 100},
    {"granularity": "scalar"},
)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("name", VARIANTS)
def test_attention_graphs(name, settings, ahead):
    algorithm = get_algorithm(name)
    for heads in (1, 2):
        workload = Workload(
            name="rows", phase="prefill", heads=heads, kv_heads=1, q_len=FEW + 30, kv_len=FEW + 34, head_dim=4,
            mask="causal", batch=1,
        )  # fmt: skip
        graph = algorithm.build(workload, algorithm.parameters(**settings)).freeze()
        assert differing(graph) == []
        if settings == {}:
            assert ahead[-1] is not None


def naive(length: int, **settings) -> FrozenGraph:
    algorithm = get_algorithm("sdpa.naive")
    workload = Workload(
        name="rows", phase="prefill", heads=1, kv_heads=1, q_len=length, kv_len=length, head_dim=8, mask="causal"
    )
    return algorithm.build(workload, algorithm.parameters(**settings)).freeze()


def test_a_fifo_that_is_too_short_for_a_late_row_is_found_without_running_up_to_it(ahead):
    """All rows that are simulated look as they do with a deep FIFO."""
    settings = {"long_depth": FEW + 20}
    run_compiled(naive(FEW + 10, **settings), least_rows=FEW)
    assert ahead[-1] is not None
    graph = naive(FEW + 60, **settings)
    assert differing(graph) == []
    assert ahead[-1] is None


def test_most_of_a_million_rows_is_not_simulated(ahead):
    outcome = run_compiled(naive(1 << 20))
    assert ahead[-1] is not None
    assert sum(outcome.fired) - outcome.skipped.firings < 1_000_000 < 1e-6 * sum(outcome.fired)


def _guess(graph: FrozenGraph) -> tuple[schedule.Schedule, list[list[int]], int]:
    """What is about to be proven of a graph: its schedule, its peaks and the last row."""
    asked = []

    def noted(_, *guess):
        asked.append(guess)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "prove", noted)
        rows.ahead_of_rows(graph, lambda part: run_compiled(part, trace=True))
    return asked[0]


CHANGES = {
    "start": lambda piece: piece._replace(start=piece.start.more(1)),
    "starts that grow": lambda piece: piece._replace(start=piece.start._replace(slope=piece.start.slope + 1)),
    "step": lambda piece: piece._replace(step=piece.step + 1),
    "cause": lambda piece: piece._replace(cause=piece.cause + 1),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_guess_that_is_wrong_in_one_piece_is_not_proven(change):
    graph = naive(FEW + 40)
    guess, peaks, last = _guess(graph)
    assert proof.prove(graph, guess, peaks, last) is not None
    for number, unit in enumerate(guess.units):
        for place, piece in enumerate(unit.pieces):
            if change == "step" and piece.firings.slope == 0:
                continue  # one firing is at no distance from another
            wrong = replace(unit, pieces=(*unit.pieces[:place], CHANGES[change](piece), *unit.pieces[place + 1 :]))
            units = (*guess.units[:number], wrong, *guess.units[number + 1 :])
            assert proof.prove(graph, replace(guess, units=units), peaks, last) is None, (number, place)


@pytest.mark.parametrize("wrong", [-1, 1])
def test_a_peak_that_is_wrong_is_not_proven(wrong):
    """One too low is exceeded; one too high is not reached in the last row, where peaks grow."""
    graph = naive(FEW + 40)
    guess, peaks, last = _guess(graph)
    for number, levels in enumerate(peaks):
        if wrong < 0 or levels[0] < levels[1]:
            other = [*peaks[:number], [level + wrong for level in levels], *peaks[number + 1 :]]
            assert proof.prove(graph, guess, other, last) is None, graph.channels[number].name
