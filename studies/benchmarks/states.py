"""Benchmarks of constant states: a million steps that all cost the same, and a stream of FIFOs of a million tokens."""

from __future__ import annotations

import time

import numpy as np

from algorithms.registry import get_algorithm
from algorithms.state.rule import Form, Gate, Shape, State, StateRule, Tokens, rule_class, rule_names
from algorithms.state.streams import StateStreamParameters, stream_cycles
from algorithms.workload.one_head import ONE_HEAD_CAUSAL
from simulator import simulate
from studies.benchmarks.register import Figures, benchmark

STEPS = 1 << 20
WINDOW = 2048
"""Steps that are timed one by one at the beginning and at the end: a whole segment of Infini-attention."""
CHUNKS = (32, 64)
"""Chunks that are tried for the steps between: larger ones take fewer products, but may be large enough for the library
of linear algebra to start threads, which wait more than they work: ten times slower for Infini-attention."""
WIDTH = 8
RANGES: dict[Gate, tuple[float, float]] = {
    "decay": (0.9, 1.0),
    "strength": (0.0, 0.05),
    "momentum": (0.3, 0.9),
    "route": (-1.0, 1.0),
}


def tokens_for(rule: StateRule, count: int) -> Tokens:
    """Tokens of one stream with the gates of a rule."""
    draws = np.random.default_rng(0)
    memories = getattr(rule, "memories", 0)
    many = (memories + 1,) if memories else ()
    gates = {
        gate: draws.uniform(*RANGES[gate], (1, count, memories) if gate == "route" else (1, count))
        for gate in rule.gates
    }
    k, v = (draws.standard_normal((1, *many, count, WIDTH)) / WIDTH for _ in range(2))
    return Tokens(draws.standard_normal((1, 1, count, WIDTH)), k, v, gates)


def flatness(rule: StateRule, steps: int = STEPS) -> tuple[float, float]:
    """Time of the last steps over that of the first, and the most that was kept over what is counted.

    The steps between go through in chunks, of the faster size; both forms of a rule agree, so that the state is that of
    single steps.
    """
    state, tokens = State(rule, 1, WIDTH, WIDTH), tokens_for(rule, WINDOW)
    held = rule.held_elements(Shape(1, 1, WIDTH, WIDTH))
    most = 0.0

    def timed(form: Form, chunk: int = 1) -> float:
        nonlocal most
        begin = time.process_time()
        state.advance(tokens, form=form, chunk=chunk)
        taken = time.process_time() - begin
        most = max(most, state.elements / held)
        return taken

    fastest = min(CHUNKS, key=lambda chunk: min(timed("chunked", chunk) for _ in range(2)))
    first = min(timed("recurrent") for _ in range(2))
    for _ in range(steps // WINDOW - 2 * len(CHUNKS) - 4):
        timed("chunked", fastest)
    return min(timed("recurrent") for _ in range(2)) / first, most


@benchmark(
    "state_steps",
    "a million steps of every constant state: time of the last ones over the first, and what is kept over its bound",
    slowest_growth=1.5,
    largest_share=1.0,
)
def state_steps() -> Figures:
    """Every registered rule with its defaults."""
    found = {name: flatness(rule_class(name)()) for name in rule_names()}
    growth = {f"{name}_growth": time_ratio for name, (time_ratio, _) in found.items()}
    return {"slowest_growth": max(growth.values()), "largest_share": max(most for _, most in found.values()), **growth}


@benchmark("state_stream", "linear attention over a million tokens as a graph of FIFOs, skipped exactly", wall_s=2.0)
def state_stream() -> Figures:
    """The time of a run, once engines are compiled; raises AssertionError if cycles differ from the closed form."""
    work = ONE_HEAD_CAUSAL.with_(q_len=1 << 20, kv_len=1 << 20)
    algorithm = get_algorithm("state.linear")
    graph = algorithm.build(work, algorithm.parameters())
    simulate(graph, timing_only=True)
    result = simulate(graph, timing_only=True)
    if result.cycles != stream_cycles("linear", work, StateStreamParameters()):
        raise AssertionError("a skipped run differs from its closed form")
    return {
        "wall_s": result.wall_s,
        "cycles": float(result.cycles),
        "share_skipped": result.skipped.firings / result.firings,
    }
