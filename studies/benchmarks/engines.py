"""Benchmarks of the two engines, both measured in one run on this computer."""

from __future__ import annotations

import resource
import time

from algorithms.registry import get_algorithm
from algorithms.streaming.memory import on_memory
from algorithms.streaming.parameters import StreamingParameters
from algorithms.workload.shape import Workload
from simulator import FrozenGraph, Graph, Server, Unit, operators
from simulator.engines.compiled.engine import run_compiled
from simulator.engines.reference.engine import run_reference
from simulator.firing import Block, FiringTable, Segment
from studies.benchmarks.register import Figures, benchmark

SEQUENCE = 512
HEAD_DIM = 64
REFERENCE_SEQUENCE = 24
REPEATS = 3
SERVED_TOKENS = 400_000
SERVED_TOKENS_REFERENCE = 4_000
DRAM_SEQUENCE = 384
DRAM_SEQUENCE_REFERENCE = 48
CLOCK_HZ = 1e9


def one_head(sequence: int, head_dim: int) -> Workload:
    """One head with as many keys as queries and no mask."""
    return Workload("bench", "prefill", 1, 1, sequence, sequence, head_dim, mask="full")


def naive_graph(sequence: int) -> FrozenGraph:
    """Naive streaming SDPA over scalar tokens, one head, head dimension 64."""
    algorithm = get_algorithm("sdpa.naive")
    parameters = algorithm.parameters(granularity="scalar")
    return algorithm.build(one_head(sequence, HEAD_DIM), parameters).freeze()


def served_graph(tokens: int) -> FrozenGraph:
    """Two streams of loads that share a memory port, joined and reduced: every fourth firing of a load asks it."""
    graph = Graph("two loads, one port")
    graph.add_server(Server("memory", bytes_per_cycle=64, latency_cycles=20))
    loads = []
    for name in ("k", "v"):
        ask = Segment(1, (), (1,), request_bytes=256)
        stream = Segment(3, (), (1,))
        table = FiringTable((Block((ask, stream)),), iterations=tokens // 4)
        loads.append(graph.add(Unit(f"load_{name}", "load", table, server="memory")))
    join = graph.add(operators.zip_("join", None, tokens))
    stages = [graph.add(operators.map_(f"stage{number}", None, tokens)) for number in range(4)]
    out = graph.add(operators.sink("out", tokens))
    for load in loads:
        graph.connect(load, join, depth=64)
    for producer, consumer in zip([join, *stages], [*stages, out], strict=True):
        graph.connect(producer, consumer, depth=64)
    return graph.freeze()


def loaded_graph(sequence: int) -> FrozenGraph:
    """Memory-free streaming SDPA whose keys and values come from HBM2."""
    algorithm, workload = get_algorithm("sdpa.memory_free"), one_head(sequence, 128)
    parameters = StreamingParameters(kv_tier="hbm2")
    return on_memory(algorithm.build(workload, parameters), workload, parameters, CLOCK_HZ).freeze()


def _rate(graph: FrozenGraph, *, compiled: bool) -> float:
    """Firings per second of one engine without skipping: the best of several runs, since others share the machine."""
    best = 0.0
    for _ in range(REPEATS if compiled else 1):
        begin = time.perf_counter()
        outcome = run_compiled(graph, skip=False, digest=False) if compiled else run_reference(graph)
        best = max(best, sum(outcome.fired) / (time.perf_counter() - begin))
    return best


def _compare(large: FrozenGraph, small: FrozenGraph) -> Figures:
    compiled = _rate(large, compiled=True)
    simpy = _rate(small, compiled=False)
    return {
        "compiled_firings_per_s": compiled,
        "simpy_firings_per_s": simpy,
        "ratio": compiled / simpy,
        "firings": float(large.firings),
        "peak_memory_bytes": float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024),
    }


@benchmark("naive_scalar", "naive SDPA, N = 512, d = 64, scalar tokens, every firing simulated; SimPy on N = 24")
def naive_scalar() -> Figures:
    """Both engines on the graph without servers."""
    return _compare(naive_graph(SEQUENCE), naive_graph(REFERENCE_SEQUENCE))


@benchmark("with_server", "two loads through one shared port, joined; SimPy on a prefix")
def with_server() -> Figures:
    """Both engines on a graph whose events a server orders."""
    return _compare(served_graph(SERVED_TOKENS), served_graph(SERVED_TOKENS_REFERENCE))


@benchmark("with_dram", "memory-free SDPA, N = 384, d = 128, K and V loaded from HBM2 bank by bank; SimPy on N = 48")
def with_dram() -> Figures:
    """Both engines on a graph whose loads contend for the banks of a memory tier."""
    large, small = loaded_graph(DRAM_SEQUENCE), loaded_graph(DRAM_SEQUENCE_REFERENCE)
    figures = _compare(large, small)
    begin = time.perf_counter()
    (tier,) = run_compiled(large, digest=False).tiers
    reads = 0 if tier is None else tier.reads
    return figures | {"compiled_reads_per_s": reads / (time.perf_counter() - begin)}


@benchmark("million_tokens", "memory-free SDPA, N = 1,048,576 rows, d = 128: 1.1e12 scores with exact skipping")
def million_tokens() -> Figures:
    """Wall time of an exact run that skips its steady state."""
    algorithm = get_algorithm("sdpa.memory_free")
    graph = algorithm.build(one_head(1 << 20, 128), algorithm.parameters()).freeze()
    begin = time.perf_counter()
    outcome = run_compiled(graph)
    return {
        "wall_s": time.perf_counter() - begin,
        "cycles": float(max(outcome.clock)),
        "firings": float(sum(outcome.fired)),
        "skipped_firings": float(outcome.skipped.firings),
    }
