"""Benchmarks of KV policies: a decode step at a long context, and a long stream at a bounded budget."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager

import numpy as np

from algorithms.kv.budget import KVBudget
from algorithms.kv.cost import CacheShape
from algorithms.kv.run.stream import KVStream
from algorithms.kv.run.timing import TimingOptions, TimingRun
from algorithms.kv.text import parse_policy
from studies.benchmarks.register import Figures, benchmark
from studies.quality.line_up import line_up
from studies.running.runner import one_thread, open_processes

LLAMA3_8B = CacheShape(32, 8, 128, layers=32)
CONTEXT, BUDGET = 131_072, 8_192
LAYERS_RUN = 4
"""Of 32; the time is that of these layers, eight times."""
STEPS = 3
COSTLIEST = ("oracle", "retroinfer", "specache", "h2o_masked", "quest")
STREAM_STEPS = 100_000
STREAM_SHAPE = CacheShape(4, 2, 16)
STREAM_BUDGET = 256


@contextmanager
def one_worker() -> Iterator[Executor]:
    """A process of its own with one thread, as in a sweep: threads that wait for work would count as CPU time."""
    with one_thread(), open_processes(1) as alone:
        yield alone


def step_seconds(policy: str, budget: int | None, layers_run: int = LAYERS_RUN) -> float:
    """CPU seconds of selecting and accounting one decode step of all layers at 128 K: the best of several steps.

    Parameters
    ----------
    layers_run
        Layers that are run; the time is scaled to all 32. Policies whose layers differ run all of them.
    """
    options = TimingOptions(sampled_layers=layers_run)
    chosen = parse_policy(policy)
    limit = None if budget is None else KVBudget(tokens=budget)
    run = TimingRun(chosen, LLAMA3_8B, CONTEXT, limit, STEPS + 1, options)
    list(run.decode(1))
    best = float("inf")
    for _ in range(STEPS):
        begin = time.process_time()
        list(run.decode(1))
        best = min(best, time.process_time() - begin)
    return best * LLAMA3_8B.layers / options.layers_run(chosen, LLAMA3_8B.layers)


@benchmark(
    "kv_step",
    "a decode step at 128 K, 32 layers, 8 KV heads: CPU seconds to select and account, by policy",
    slowest_s=0.5,
)
def kv_step() -> Figures:
    """Every registered policy."""
    entries = line_up(BUDGET, LLAMA3_8B.kv_heads, LLAMA3_8B.layers)
    with one_worker() as worker:
        found = {
            f"{entry.name}_s": worker.submit(step_seconds, entry.policy, BUDGET if entry.budgeted else None).result()
            for entry in entries
        }
    return {"slowest_s": max(found.values()), **found}


@benchmark("kv_layers", "the same with every layer run, for the costliest policies", slowest_s=0.5)
def kv_layers() -> Figures:
    """No layer stands for another."""
    with one_worker() as worker:
        found = {
            f"{policy}_s": worker.submit(
                step_seconds, policy, None if policy == "specache" else BUDGET, LLAMA3_8B.layers
            ).result()
            for policy in COSTLIEST
        }
    return {"slowest_s": max(found.values()), **found}


def stream_seconds(policy: str, steps: int, budget: int = STREAM_BUDGET, parts: int = 10) -> list[float]:
    """CPU seconds of every part of a stream of single tokens whose keys are drawn as they come."""
    stream = KVStream(parse_policy(policy), STREAM_SHAPE, KVBudget(tokens=budget), when="step", outputs=False)
    rng = np.random.default_rng(1)
    heads, kv_heads, dim = STREAM_SHAPE.query_heads, STREAM_SHAPE.kv_heads, STREAM_SHAPE.head_dim
    found = []
    for _ in range(parts):
        begin = time.process_time()
        for _ in range(steps // parts):
            q = rng.standard_normal((heads, 1, dim), dtype=np.float32)
            k, v = rng.standard_normal((2, kv_heads, 1, dim), dtype=np.float32)
            stream.step(q, k, v)
        found.append(time.process_time() - begin)
    return found


@benchmark(
    "kv_stream",
    "100,000 decode steps under H2O at 256 keys: CPU time of early and late steps, memory",
    slowdown=1.5,
    peak_memory_bytes=1e9,
)
def kv_stream() -> Figures:
    """A long stream in bounded memory, without slowing down; in a process of its own, so that the peak is its."""
    with one_worker() as worker:
        return worker.submit(_stream_figures).result()


def _stream_figures() -> Figures:
    parts = stream_seconds("h2o", STREAM_STEPS)
    return {
        "cpu_s": sum(parts),
        "second_tenth_s": parts[1],
        "last_tenth_s": parts[-1],
        "slowdown": parts[-1] / parts[1],
        "peak_memory_bytes": float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024),
    }
