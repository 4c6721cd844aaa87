"""Long contexts and long streams: a step does the same work however long the context is, in bounded memory.

Work is counted in calls of functions, of Python and of C alike: array operations are few and large, and a loop over
keys would show. How long steps take is for ``attnflow bench`` to say (`studies.benchmarks.kv`).
"""

import gc
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from algorithms.kv import KVBudget, parse_policy
from algorithms.kv.run.stream import KVStream
from algorithms.kv.run.timing import TimingOptions, TimingRun
from studies.benchmarks.kv import LLAMA3_8B, STREAM_SHAPE, stream_seconds
from studies.quality.line_up import line_up

BOUNDED = ("h2o", "snapkv | adakv")
NOISE_BYTES = 150_000
"""Far below the 400 kB of keys and values that 1,500 steps bring."""
SHAPE = replace(LLAMA3_8B, layers=4)
BUDGET, SHORT, LONG = 256, 2_048, 8_192
"""Keys that stay, and two contexts."""


def calls_of(work: Callable[[], object]) -> int:
    """Functions that are called meanwhile."""
    count = 0

    def seen(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(seen)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def test_a_loop_over_keys_would_be_counted():
    keys = np.zeros(1000)
    assert calls_of(lambda: keys.sum()) < 20
    assert calls_of(lambda: [float(key) + abs(key) for key in keys]) > 1000


@pytest.mark.parametrize("policy", BOUNDED)
def test_a_stream_at_a_bounded_budget_takes_bounded_memory(policy):
    stream_seconds(policy, 200, 64, 1)  # modules and caches that come once
    tracemalloc.start()
    try:
        few, many = (_peak_bytes(policy, steps) for steps in (300, 1500))
    finally:
        tracemalloc.stop()
    assert many < few + NOISE_BYTES


def _peak_bytes(policy, steps):
    """Most memory that a stream holds beyond what was there before it."""
    gc.collect()
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    stream_seconds(policy, steps, 64, 1)
    return tracemalloc.get_traced_memory()[1] - before


@pytest.mark.parametrize("policy", ["h2o", "streaming_llm"])
def test_late_steps_of_a_stream_do_the_work_of_early_ones(policy):
    stream = KVStream(parse_policy(policy), STREAM_SHAPE, KVBudget(tokens=64), when="step", outputs=False)
    rng = np.random.default_rng(1)
    heads, kv_heads, dim = STREAM_SHAPE.query_heads, STREAM_SHAPE.kv_heads, STREAM_SHAPE.head_dim

    def steps(count):
        for _ in range(count):
            q = rng.standard_normal((heads, 1, dim), dtype=np.float32)
            stream.step(q, *rng.standard_normal((2, kv_heads, 1, dim), dtype=np.float32))

    steps(200)
    early = calls_of(lambda: steps(100))
    steps(1500)
    assert calls_of(lambda: steps(100)) <= 1.01 * early


def step_calls(entry, context):
    """Calls of one decode step of all layers at a context."""
    limit = KVBudget(tokens=BUDGET) if entry.budgeted else None
    run = TimingRun(parse_policy(entry.policy), SHAPE, context, limit, 4, TimingOptions(sampled_layers=1))
    list(run.decode(1))
    return calls_of(lambda: list(run.decode(1)))


@pytest.mark.parametrize("entry", line_up(BUDGET, SHAPE.kv_heads, SHAPE.layers), ids=lambda entry: entry.name)
def test_a_step_does_as_much_however_long_the_context(entry):
    # some look at every block of the context in turn, none at every key
    assert step_calls(entry, LONG) < step_calls(entry, SHORT) + (LONG - SHORT) / 6
