"""Benchmarks of design points on chips: from a workload to its time, nothing remembered from the point before."""

from __future__ import annotations

import time
from collections.abc import Callable

from algorithms.chip.algorithm import TiledAlgorithm, get_chip_algorithm
from algorithms.chip.attention.decode import SplitParameters
from algorithms.chip.attention.decoder_step import DECODERS, Context, decoder_step
from algorithms.chip.plan.parameters import TileParameters
from algorithms.chip.plan.plan import TilePlan
from algorithms.chip.plan.profile import KernelProfile, unfitted_for
from algorithms.chip.timing.mapping import forget_launches, time_plan
from algorithms.registry import Parameters
from algorithms.workload.shape import Workload
from algorithms.workload.text import load_workload
from hwmodels.chips.accelerator import Accelerator, load_accelerator
from studies.benchmarks.register import Figures, benchmark

REPEATS = 5
CONTEXT = 128 * 1024
PROMPT = 256 * 1024
MILLION = 1024 * 1024
LONG = (
    ("decode.split_kv", "llama3-8b", "decode", 1, 10 * MILLION),
    ("decode.split_kv", "llama3-8b", "decode", 2 * 1024, MILLION),
    ("flash.q_outer", "llama3-8b", "prefill", 8 * 1024, MILLION),
    ("flash.kv_outer", "llama3-8b", "prefill", 128 * 1024, 128 * 1024),
    ("flash.training", "llama3-8b", "prefill", 64 * 1024, 64 * 1024),
    ("mla.exp", "deepseek-v3", "prefill", 64 * 1024, 64 * 1024),
)
"""Algorithm, model, phase, queries and keys."""
ARRAY = 32


def small_array() -> Accelerator:
    """A core with a 32 x 32 array, 32 elementwise units and DDR4-3200 on one channel."""
    flops = 2 * ARRAY * ARRAY
    changes: dict[str, int | str] = {
        "core.matrix_flops_per_cycle.bfloat16": flops,
        "core.matrix_columns": ARRAY,
        "core.matrix_depth": ARRAY,
        "core.vector_flops_per_cycle": 2 * ARRAY,
        "core.exp_per_cycle": ARRAY,
        "dram.bytes_per_second": "25.6 GB/s",
    }
    return load_accelerator("flat_cloud").with_(**changes)


def _milliseconds(point: Callable[[], TilePlan], chip: Accelerator, profile: KernelProfile | None = None) -> float:
    """Wall time to plan and simulate a point: the best of several, since others share the machine."""
    best = float("inf")
    for _ in range(REPEATS):
        forget_launches()
        begin = time.perf_counter()
        time_plan(point(), chip, profile)
        best = min(best, time.perf_counter() - begin)
    return 1e3 * best


@benchmark("fused-attention", "a design point: fused attention, N = 512, d = 64, on a 32 x 32 array with DRAM")
def fused_attention() -> Figures:
    """One head of 512 queries and keys, tiles chosen for the array."""
    chip = small_array()
    work = Workload("bench", "prefill", 1, 1, 512, 512, 64, mask="full", dtype="bfloat16")
    algorithm, parameters = get_chip_algorithm("flash.q_outer"), TileParameters(tile_rows=ARRAY, tile_columns=ARRAY)
    return {"milliseconds_per_point": _milliseconds(lambda: algorithm.plan(work, parameters, chip), chip)}


@benchmark("decode-step", "a design point: a Llama-3-8B decode step against 128 K tokens, all layers, on an H100")
def decode_step() -> Figures:
    """Every kernel of every layer."""
    chip, model = load_accelerator("h100_sxm5_80g"), DECODERS["llama3-8b"]

    def plan() -> TilePlan:
        return decoder_step(model, Context(CONTEXT), chip, SplitParameters())

    return {"milliseconds_per_point": _milliseconds(plan, chip), "launches": float(len(plan().launches))}


@benchmark("latent-decode", "a design point: a DeepSeek-V3 latent-attention decode layer on an H100")
def latent_decode() -> Figures:
    """Absorbed attention with its projections, 32 sequences of 4,096 tokens."""
    chip = load_accelerator("h100_sxm5_80g")
    algorithm = get_chip_algorithm("mla.seq")
    work = load_workload("deepseek-v3").with_(phase="decode", batch=32, q_len=1, kv_len=4096)
    parameters = algorithm.parameters()
    profile = unfitted_for(algorithm.resolved(work, parameters, chip))
    return {"milliseconds_per_point": _milliseconds(lambda: algorithm.plan(work, parameters, chip), chip, profile)}


@benchmark(
    "long-prefill",
    "a design point: causal prefill of 256 K tokens, a Llama-3-8B layer on an H100",
    milliseconds_per_point=2_000,
)
def long_prefill() -> Figures:
    """Hundreds of items of up to thousands of steps on every core; the firings of the cores that stand for all."""
    chip = load_accelerator("h100_sxm5_80g")
    work = load_workload("llama3-8b").with_(q_len=PROMPT, kv_len=PROMPT)

    def plan() -> TilePlan:
        return get_chip_algorithm("flash.q_outer").plan(work, TileParameters(), chip)

    milliseconds = _milliseconds(plan, chip)
    (result,) = time_plan(plan(), chip).results  # remembered
    return {
        "milliseconds_per_point": milliseconds,
        "firings": float(result.firings),
        "skipped_firings": float(result.skipped.firings),
    }


@benchmark("million-prefill", "a design point: causal prefill of 1 M tokens, a Llama-3-8B layer on an H100", seconds=10)
def million_prefill() -> Figures:
    """As the prefill of 256 K tokens, once."""
    chip, algorithm = load_accelerator("h100_sxm5_80g"), get_chip_algorithm("flash.q_outer")
    return {"seconds": _seconds(algorithm, load_workload("llama3-8b").with_(q_len=MILLION, kv_len=MILLION), chip)}


@benchmark("long-sequences", "design points: decode, chunks and training over long sequences on an H100", slowest_s=2)
def long_sequences() -> Figures:
    """One of each, planned and simulated once."""
    chip = load_accelerator("h100_sxm5_80g")
    found = {
        f"{name}.{q_len}x{kv_len}_s": _seconds(
            get_chip_algorithm(name), load_workload(preset).with_(phase=phase, q_len=q_len, kv_len=kv_len), chip
        )
        for name, preset, phase, q_len, kv_len in LONG
    }
    return {"slowest_s": max(found.values()), **found}


def _seconds(algorithm: TiledAlgorithm[Parameters], work: Workload, chip: Accelerator) -> float:
    """Wall time to plan and simulate a point once, after a small one that loads what is compiled."""
    parameters = algorithm.parameters()
    time_plan(algorithm.plan(work.with_(q_len=64, kv_len=64), parameters, chip), chip)
    forget_launches()
    begin = time.perf_counter()
    time_plan(algorithm.plan(work, parameters, chip), chip)
    return time.perf_counter() - begin
