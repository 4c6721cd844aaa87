"""Long contexts and long streams: no work that grows with every token, and endless streams in bounded memory."""

import gc
import sys
import tracemalloc
from collections import Counter
from contextlib import contextmanager

import numpy as np
import pytest

from algorithms.kv.budget import KVBudget
from algorithms.kv.cost import CacheShape
from algorithms.kv.run.stream import KVStream
from algorithms.kv.run.timing import TimingOptions, TimingRun
from algorithms.kv.text import parse_policy
from studies.benchmarks.kv import stream_seconds
from studies.quality.line_up import line_up

SHAPE, STREAM = CacheShape(8, 2, 32, layers=2), CacheShape(4, 2, 16)
BUDGET = 512
CONTEXTS = (2048, 16_384)
BOUNDED = ("h2o", "snapkv | adakv")
NOISE_BYTES = 150_000
"""Far below the 400 kB of keys and values that 1,500 steps bring."""


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


@contextmanager
def counted():
    """Counts calls of functions while it is open, those of C included: work, on whatever machine."""
    calls = Counter()

    def note(frame, event, argument):
        calls[event] += 1

    sys.setprofile(note)
    try:
        yield calls
    finally:
        sys.setprofile(None)


@pytest.mark.parametrize("entry", line_up(BUDGET, SHAPE.kv_heads, SHAPE.layers), ids=lambda entry: entry.name)
def test_a_step_calls_no_function_for_every_token(entry):
    """How many seconds it takes at 128 K is for `attnflow bench kv_step` to say."""
    limit = KVBudget(tokens=BUDGET) if entry.budgeted else None
    options = TimingOptions(sampled_layers=SHAPE.layers)
    needed = []
    for context in CONTEXTS:
        run = TimingRun(parse_policy(entry.policy), SHAPE, context, limit, 2, options)
        list(run.decode(1))  # modules and caches that come once
        with counted() as calls:
            list(run.decode(1))
        needed.append(calls["call"] + calls["c_call"])
    assert 100 < needed[1] < needed[0] + (CONTEXTS[1] - CONTEXTS[0]) / 4


@pytest.mark.parametrize("policy", ["h2o", "streaming_llm"])
def test_late_steps_of_a_stream_are_no_more_work_than_early_ones(policy):
    stream = KVStream(parse_policy(policy), STREAM, KVBudget(tokens=64), when="step", outputs=False)
    rng = np.random.default_rng(1)
    needed = []
    for _ in range(4):
        with counted() as calls:
            for _ in range(300):
                q = rng.standard_normal((STREAM.query_heads, 1, STREAM.head_dim), dtype=np.float32)
                k, v = rng.standard_normal((2, STREAM.kv_heads, 1, STREAM.head_dim), dtype=np.float32)
                stream.step(q, k, v)
        needed.append(calls["call"] + calls["c_call"])
    assert 300 * 20 < needed[3] < 1.02 * needed[1]
