"""Streams through a constant state on both engines: every start time and cause, with and without skipping.

Sizes, lanes, latencies and depths are drawn; what a depth of one or a slow division does to a stream must be the same
on both engines, and deep FIFOs must give the closed form.
"""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from algorithms.registry import Algorithm, algorithm_names, get_algorithm
from algorithms.state.streams import StateGraph, stream_cycles
from algorithms.workload.shape import Workload
from simulator.engines.compiled.engine import run_compiled
from simulator.engines.outcome import Outcome
from simulator.engines.reference.engine import run_reference

NAMES = [name for name in algorithm_names() if isinstance(get_algorithm(name), StateGraph)]
COUNTERS = [field.name for field in fields(Outcome) if field.name not in ("trace", "skipped")]


def drawn() -> st.SearchStrategy[tuple[Workload, dict[str, int]]]:
    """A workload, and settings of a stream."""
    works = st.builds(
        lambda batch, kv_heads, group, length, keys, values: Workload(
            name="drawn",
            phase="prefill",
            batch=batch,
            heads=kv_heads * group,
            kv_heads=kv_heads,
            q_len=length,
            kv_len=length,
            head_dim=keys,
            v_head_dim=values,
            mask="causal",
        ),
        *(st.integers(1, most) for most in (2, 3, 3, 40, 9, 9)),
    )
    numbers = {
        "fifo_depth": (1, 9),
        "mac_lanes": (0, 20),
        "mac_latency": (1, 6),
        "exp_cycles": (1, 4),
        "exp_lanes": (0, 9),
        "div_latency": (1, 5),
    }
    return st.tuples(works, st.fixed_dictionaries({name: st.integers(*ends) for name, ends in numbers.items()}))


def built(name: str, work: Workload, chosen: dict[str, int]):
    found: Algorithm = get_algorithm(name)
    return found.build(work, found.parameters(**chosen)).freeze()


def test_there_are_streams():
    assert {"state.linear", "state.delta", "state.legendre"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drawn())
def test_engines_agree_on_drawn_streams(name, given_):
    graph = built(name, *given_)
    reference, traced = run_reference(graph), run_compiled(graph, trace=True)
    for column in ("start", "cause", "wait"):
        for ours, theirs in zip(getattr(reference.trace, column), getattr(traced.trace, column), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    for other in (traced, run_compiled(graph, skip=True), run_compiled(graph, skip=False)):
        assert [each for each in COUNTERS if getattr(reference, each) != getattr(other, each)] == []


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(drawn())
def test_deep_fifos_give_the_closed_form(name, given_):
    work, chosen = given_
    parameters = get_algorithm(name).parameters(**{**chosen, "fifo_depth": 40})
    outcome = run_compiled(built(name, work, {**chosen, "fifo_depth": 40}), skip=True)
    assert max(outcome.clock) == stream_cycles(name.removeprefix("state."), work, parameters)
