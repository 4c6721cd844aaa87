"""KV policies: what follows from bytes alone, unfitted, in settings as far as papers and repositories state them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from algorithms.kv.cost import CacheShape, StackCost
from algorithms.kv.parts.quantize import compression_ratio
from algorithms.kv.run.timing import TimingOptions, TimingRun, decode_cost
from algorithms.kv.text import parse_policy
from algorithms.memory.experts import dense_parameters
from algorithms.workload.shape import Workload
from algorithms.workload.text import load_workload
from studies.reproductions.register import Row, quoted, reproduced, reproduction

DUO = "mit-han-lab/duo-attention README (arXiv:2410.10819)"
SPECACHE = "SpeCache, arXiv:2503.16163"
RETROINFER = "RetroInfer, arXiv:2505.02922"
STREAMING = "StreamingLLM, arXiv:2309.17453, figure 10"
EVICT3R = "Evict3R, arXiv:2509.17650"

BYTES = 2
"""Of weights and keys: 16 bit."""
ONE_LAYER = TimingOptions(sampled_layers=1)


@dataclass(frozen=True)
class Model:
    """A transformer with its weights.

    Parameters
    ----------
    workload
        Shape of its attention.
    feed_forward, vocabulary
        Widths that the weights depend on.
    """

    workload: Workload
    feed_forward: int
    vocabulary: int

    @property
    def parameters(self) -> int:
        """Weights."""
        return dense_parameters(self.workload, feed_forward=self.feed_forward, vocabulary=self.vocabulary)

    @property
    def shape(self) -> CacheShape:
        """Cache of one sequence."""
        return CacheShape.of(self.workload)


def llama2_7b() -> Model:
    """MHA, 32 heads."""
    return Model(load_workload("llama2-7b"), 11008, 32000)


def llama3_8b() -> Model:
    """GQA, 8 KV heads."""
    return Model(load_workload("llama3-8b"), 14336, 128256)


def llama2_13b() -> Model:
    """Llama 2, table 1 and its configuration: 40 layers of 40 heads, width 5120."""
    work = load_workload("llama2-7b").with_(name="llama2-13b", heads=40, kv_heads=40, layers=40, hidden=5120)
    return Model(work, 13824, 32000)


@reproduction("kv", "KV policies: memory ratios, bytes per step and per frame, recomputation")
def kv() -> Iterable[Row]:
    """Bytes that the policies' own accounting records on a surrogate stream, beside published ratios. No number is
    fitted; where a paper does not state its context, ours is a band over the range of its figures."""
    yield from duo_rows()
    yield from specache_rows()
    yield from retroinfer_rows()
    yield from recomputation_rows()
    yield from evict3r_rows()


# DuoAttention

DUO_CURVES = {"Llama-2-7B": (100_000, 110_000, 200_000), "Llama-3-8B": (245_000, 320_000, 500_000, 1_000_000)}
"""Contexts of the curve; the README's sweeps end at the last ones."""


def duo_memory_ratio(model: Model, retrieval: float, context_tokens: int) -> float:
    """Weights and full cache over weights and the cache under DuoAttention (sink 64, recent 256, as deployed)."""
    weights = model.parameters * BYTES
    kept = [
        decode_cost(parse_policy(policy), model.shape, context_tokens, options=ONE_LAYER).held("HBM").logical_bytes
        for policy in ("full", f"duo_attention(retrieval={retrieval},sink=64,recent=256)")
    ]
    return (weights + kept[0]) / (weights + kept[1])


def duo_rows() -> Iterator[Row]:
    """The curve over contexts, and the published points against the band it spans."""
    for name, model, retrieval, published, sweep in (
        ("Llama-2-7B", llama2_7b(), 0.25, 2.55, 2.45),
        ("Llama-3-8B", llama3_8b(), 0.5, 1.67, 1.65),
    ):
        curve = [duo_memory_ratio(model, retrieval, context) for context in DUO_CURVES[name]]
        for context, ratio in zip(DUO_CURVES[name], curve, strict=True):
            yield reproduced(f"DuoAttention memory, {name}, {context // 1000} K", "x", None, ratio, DUO)
        last = DUO_CURVES[name][-1] // 1000
        note = f"the fixed context is not stated: band over {DUO_CURVES[name][0] // 1000} to {last} K"
        yield reproduced(f"DuoAttention memory, {name}", "x", published, (min(curve), max(curve)), DUO, note=note)
        note = "weights and cache alone; the sweep was measured, with activations and what else takes memory"
        yield reproduced(
            f"DuoAttention memory, {name}, end of the sweep, {last} K", "x", sweep, curve[-1], DUO, 10.0, note
        )
    yield quoted("DuoAttention decode speed-up, MHA", "x", 2.18, DUO, "lies below the ratio of bytes")
    yield quoted("DuoAttention decode speed-up, GQA", "x", 1.50, DUO, "lies below the ratio of bytes")


# SpeCache


def specache_rows() -> Iterator[Row]:
    """Full bytes over low-bit bytes, by the formula and as recorded, and what is fetched per step."""
    for bits, published in ((1, 10.0), (2, None)):
        note = "16 / (bits + 32 / 64): a scale and a zero in 16 bits for 64 numbers; '10x' in the paper"
        yield reproduced(
            f"SpeCache compression, {bits} bit in groups of 64", "x", published, compression_ratio(bits, 64), SPECACHE,
            within_pct=10.0 if published else None, note=note,
        )  # fmt: skip
    shape = llama3_8b().shape
    cost = decode_cost(parse_policy("specache"), shape, 32_768, options=ONE_LAYER)
    held = cost.held("HBM")
    coded = 32_768 + 2 - _in_full(cost)
    recorded = coded * shape.token_bytes * shape.kv_heads * shape.layers / held.state_bytes
    yield reproduced("SpeCache compression of the coded tokens, as recorded", "x", compression_ratio(1, 64), recorded,
                     "the formula above", within_pct=0.1)  # fmt: skip
    fetched = 64 * shape.token_bytes * shape.kv_heads * shape.layers
    yield reproduced("SpeCache fetch per step, Llama-3-8B, at most", "MB", 8.4, fetched / 1e6, "64 keys per KV head",
                     within_pct=1.0)  # fmt: skip


def _in_full(cost: StackCost) -> int:
    """Tokens of SpeCache that are not in the low-bit copy: the residual and what a group still lacks."""
    shape = llama3_8b().shape
    low = shape.token_bytes / compression_ratio(1, 64)
    total = cost.layers[0].resident[0]
    return total - round(cost.layers[0].held("HBM").state_bytes / (low * shape.kv_heads))


# RetroInfer

RETRO_CONTEXT = 120_000


def retroinfer_bytes(context_tokens: int = RETRO_CONTEXT) -> dict[str, float]:
    """Bytes that a step of Llama-3-8B reads, by zone, and ``full`` for full attention.

    ``retrieval`` counts retrieved clusters at their mean size, ``recorded retrieval`` the keys that were in them: on
    the surrogate stream those a query likes are larger than others. One iteration of k-means instead of ten, because
    how many clusters there are does not depend on how good they are.
    """
    shape = llama3_8b().shape
    cost = decode_cost(parse_policy("retroinfer(iterations=1)"), shape, context_tokens, options=ONE_LAYER)
    work: dict[str, float] = {}
    for layer in cost.layers:
        for task in layer.work:
            work[task.what] = work.get(task.what, 0.0) + task.read_bytes
    clusters = sum(layer.hits + layer.misses for layer in cost.layers)
    keys = sum(sum(layer.attended) for layer in cost.layers) * shape.token_bytes
    steady = (4 + 64) * shape.token_bytes * shape.kv_heads * shape.layers
    full = decode_cost(parse_policy("full"), shape, context_tokens, options=ONE_LAYER)
    return {
        "centroids": work["centroid scores"],
        "estimation": work["estimation zone"],
        "retrieval": clusters * 16 * shape.token_bytes,
        "steady": steady,
        "recorded retrieval": keys - steady,
        "full": full.read_bytes,
    }


def retroinfer_rows() -> Iterator[Row]:
    """Bytes of a step at 120 K by zone."""
    found = retroinfer_bytes()
    for zone in found:
        yield reproduced(f"RetroInfer, {zone}, 120 K, Llama-3-8B", "MB", None, found[zone] / 1e6, RETROINFER)
    scanned = found["centroids"] + found["estimation"] + found["steady"]
    for which, published, note in (
        ("retrieval", 15.5, "16 keys per centroid, 1.8 % of them retrieved, 23.2 % estimated"),
        ("recorded retrieval", None, "the clusters that queries of the surrogate stream like are larger than others"),
    ):
        yield reproduced(
            f"RetroInfer, bytes of full attention over its own, {which}",
            "x",
            published,
            found["full"] / (scanned + found[which]),
            "arithmetic of its defaults",
            within_pct=5.0 if published else None,
            note=note,
        )
    yield quoted("RetroInfer speed-up, 120 K, A100", "x", 4.5, RETROINFER, "PCIe misses set it; batch is not stated")
    yield quoted("RetroInfer speed-up with CPU memory, 1 M", "x", 10.5, RETROINFER)


# StreamingLLM

A6000_FLOPS_PER_SECOND = 154.8e12
"""Dense FP16 tensor peak of the RTX A6000 (NVIDIA data sheet: 309.7 TFLOP/s with sparsity)."""
A6000_BYTES_PER_SECOND = 768e9
"""Ibidem."""


def recomputation_ratio(model: Model, cache_tokens: int) -> float:
    """Time per token of a recomputed window over that of StreamingLLM, both at the peak of an RTX A6000.

    Recomputing runs a prefill of the window for every token; StreamingLLM reads weights and its cache.
    """
    work = model.workload
    layers = work.layers or 1
    prefill = 2.0 * model.parameters * cache_tokens
    prefill += 2.0 * layers * work.heads * (work.head_dim + work.v_head_dim) * cache_tokens * (cache_tokens + 1) / 2
    recent = cache_tokens - 4
    run = TimingRun(parse_policy(f"streaming_llm(sink=4,recent={recent})"), model.shape, cache_tokens + 8,
                    more_tokens=2, options=ONE_LAYER)  # fmt: skip
    *_, step = run.decode(2)
    moved = model.parameters * BYTES + step.read_bytes
    decode_flops = 2.0 * model.parameters
    recompute_s = max(prefill / A6000_FLOPS_PER_SECOND, model.parameters * BYTES / A6000_BYTES_PER_SECOND)
    return recompute_s / max(moved / A6000_BYTES_PER_SECOND, decode_flops / A6000_FLOPS_PER_SECOND)


def recomputation_rows() -> Iterator[Row]:
    """The ratio as a function of the cache size."""
    for name, model in (("7B", llama2_7b()), ("13B", llama2_13b())):
        for cache in (256, 512, 1024, 2048, 4096):
            last = name == "13B" and cache == 4096
            yield reproduced(
                f"StreamingLLM over recomputation, Llama-2-{name}, cache {cache}",
                "x",
                22.2 if last else None,
                recomputation_ratio(model, cache),
                STREAMING,
                within_pct=25.0 if last else None,
                note="peak rates on both sides, nothing fitted; published as 'up to 22.2x', model and cache recalled"
                if last
                else "",
            )


# Evict3R

EVICT3R_SHAPE = CacheShape(16, 16, 64, layers=24)
"""StreamVGGT: 24 layers of width 1024."""
FRAME_TOKENS = 1041
"""5 special tokens and 28 x 37 patches of a 518 x 392 frame."""


def evict3r_frame_bytes() -> float:
    """Bytes by which the full cache grows with a frame."""
    run = TimingRun(parse_policy("full"), EVICT3R_SHAPE, FRAME_TOKENS, None, 2 * FRAME_TOKENS, ONE_LAYER)
    first, second = (step.held("HBM").logical_bytes for step in run.steps(2, FRAME_TOKENS, "frame"))
    return second - first


def evict3r_rows() -> Iterator[Row]:
    """Bytes per frame, and the published saving in frames."""
    frame = evict3r_frame_bytes()
    yield reproduced("Evict3R, bytes per frame of 518 x 392", "MB", None, frame / 1e6, EVICT3R)
    saved = (18.63e9 - 9.39e9) / frame
    yield reproduced("Evict3R, frames' worth of cache that is saved", "frame", None, saved, EVICT3R,
                     note="18.63 - 9.39 GB over bytes per frame; the number of frames is not stated")  # fmt: skip
    yield quoted("Evict3R memory on 7-Scenes", "GB", (9.39, 18.63), EVICT3R)
