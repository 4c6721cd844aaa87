"""What KV policies keep, read and fetch, by their own accounting, at a length or over a stream of frames."""

from __future__ import annotations

from algorithms.kv.cost import CacheShape, StackCost
from algorithms.kv.parts.quantize import compression_ratio
from algorithms.kv.placement import Placement
from algorithms.kv.run.timing import TimingOptions, TimingRun, decode_cost
from algorithms.kv.text import parse_policy
from algorithms.models.blocks import Attention
from algorithms.models.text import load_model
from hwmodels.reading.errors import InputError, Problem
from studies.reproductions.calculation import Figures, calculation

NEAR, FAR = "near", "far"
TWO_TIERS = Placement((NEAR, FAR))
WINDOW_FRAMES = 16
"""Last frames of a stream that a mean is taken over."""


def cache_shape(model: str, element_bytes: float = 2.0) -> CacheShape:
    """The cache of a model's decoder, whose layers have to be alike.

    Raises
    ------
    InputError
        An unknown model, or one whose decoder has other layers.
    """
    decoder = load_model(model).decoder
    blocks = (
        []
        if decoder is None
        else [block for layer in decoder.runs for block in layer.blocks if isinstance(block, Attention)]
    )
    if decoder is None or len({(block.heads, block.groups, block.head_dim) for block in blocks}) != 1:
        raise InputError(Problem(f"{model} has no decoder whose attention layers are all alike", field="model"))
    first = blocks[0]
    return CacheShape(first.heads, first.groups, first.head_dim, 0, decoder.depth, element_bytes)


@calculation("kv_step")
def kv_step(
    policy: str = "full",
    model: str = "llama3-8b",
    context_tokens: int = 32768,
    element_bytes: float = 2.0,
    sampled_layers: int = 1,
) -> Figures:
    """A decode step of all layers under a KV policy: bytes kept, read and fetched."""
    shape = cache_shape(model, element_bytes)
    options = TimingOptions(placement=TWO_TIERS, sampled_layers=sampled_layers)
    cost = decode_cost(parse_policy(policy), shape, context_tokens, options=options)
    return _figures(cost, shape)


@calculation("kv_stream")
def kv_stream(
    policy: str = "full",
    query_heads: int = 32,
    kv_heads: int = 8,
    head_dim: int = 128,
    layers: int = 32,
    element_bytes: float = 2.0,
    frames: int = 64,
    frame_tokens: int = 64,
    sampled_layers: int = 1,
) -> Figures:
    """A stream of frames from its first one on: bytes kept at its half and end, their most, and keys attended."""
    shape = CacheShape(query_heads, kv_heads, head_dim, 0, layers, element_bytes)
    run = TimingRun(
        parse_policy(policy),
        shape,
        0,
        None,
        frames * frame_tokens,
        TimingOptions(placement=TWO_TIERS, sampled_layers=sampled_layers),
    )
    kept, attended, moved, last = [], [], [], None
    for last in run.steps(frames, frame_tokens, "frame"):
        kept.append(last.held(NEAR).logical_bytes)
        attended.append(_attended(last))
        moved.append(last.read_bytes)
    if last is None:
        raise InputError(Problem("must be at least 1", field="frames"))
    window = min(WINDOW_FRAMES, frames)
    return _figures(last, shape) | {
        "half_near_bytes": kept[frames // 2 - 1],
        "most_near_bytes": max(kept),
        "mean_near_bytes": sum(kept[-window:]) / window,
        "mean_attended": sum(attended[-window:]) / window,
        "mean_read_bytes": sum(moved[-window:]) / window,
        "half_attended": attended[frames // 2 - 1],
    }


@calculation("low_bit_copy")
def low_bit_copy(bits: int = 1, group: int = 64) -> Figures:
    """Compression of keys and values in few bits, with a scale and a zero in 16 bits for each group."""
    return {"ratio": compression_ratio(bits, group)}


def _figures(cost: StackCost, shape: CacheShape) -> dict[str, float]:
    near, far = cost.held(NEAR), cost.held(FAR)
    fetched = [moved for layer in cost.layers for moved in layer.transfers if moved.needed_by_layer >= 0]
    found = {
        "near_bytes": near.logical_bytes,
        "near_state_bytes": near.state_bytes,
        "far_bytes": far.logical_bytes,
        "read_bytes": cost.read_bytes + sum(layer.metadata_bytes for layer in cost.layers),
        "fetched_bytes": sum(moved.bytes for moved in fetched),
        "attended": _attended(cost),
        "token_bytes": shape.token_bytes * shape.kv_heads * shape.layers,
        "score_macs": sum(layer.policy_macs for layer in cost.layers),
    }
    return found | ({"hit_rate": cost.hit_rate} if cost.hit_rate is not None else {})


def _attended(cost: StackCost) -> float:
    """Keys per KV head, mean over heads and layers."""
    counts = [count for layer in cost.layers for count in layer.attended]
    return float(sum(counts)) / len(counts)
