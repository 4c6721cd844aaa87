"""Which slice of every weight a chip holds, and how partial results of chips are put together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from algorithms.models.blocks import AnyBlock, Attention, Experts, FeedForward, LatentAttention, StateAttention
from algorithms.models.mapping import Mapping as Parts
from algorithms.workload.shape import FloatArray

Weights = Mapping[str, FloatArray]


def slice_of(total: int, parts: int, part: int) -> slice:
    """Part number ``part`` of ``total`` in equal parts; where there are fewer than parts, several share one."""
    if total < parts:
        return slice(part * total // parts, part * total // parts + 1)
    size = total // parts
    return slice(part * size, (part + 1) * size)


def block_shard(block: AnyBlock, weights: Weights, parts: Parts, rank: int) -> dict[str, FloatArray]:
    """Weights of a block that tensor-parallel rank ``rank`` holds; biases of shared sums belong to the first."""
    match block:
        case Attention():
            return dict(_attention(block, weights, parts.tp, rank))
        case LatentAttention():
            return dict(_latent(block, weights, parts.tp, rank))
        case StateAttention():
            return dict(_state(block, weights, parts.tp, rank))
        case FeedForward():
            return dict(_dense("", weights, parts.tp, rank))
        case _:
            return dict(weights)


def _attention(block: Attention, weights: Weights, tp: int, rank: int) -> Iterator[tuple[str, FloatArray]]:
    heads, groups = slice_of(block.heads, tp, rank), slice_of(block.groups, tp, rank)
    width = block.head_dim
    rows = {"q": heads, "k": groups, "v": groups, "gate": heads}
    for name, value in weights.items():
        start = name.split(".")[0]
        if start in rows:
            yield name, value[rows[start].start * width : rows[start].stop * width]
        elif name == "o.weight":
            yield name, value[:, heads.start * width : heads.stop * width]
        elif name == "sinks":
            yield name, value[heads]
        elif name != "o.bias" or rank == 0:
            yield name, value


def _latent(block: LatentAttention, weights: Weights, tp: int, rank: int) -> Iterator[tuple[str, FloatArray]]:
    heads = slice_of(block.heads, tp, rank)
    made = block.qk_nope_head_dim + block.v_head_dim
    rows = {"q": block.head_dim, "q_up": block.head_dim, "kv_up": made}
    for name, value in weights.items():
        start = name.split(".")[0]
        if start in rows:
            yield name, value[heads.start * rows[start] : heads.stop * rows[start]]
        elif name == "o.weight":
            yield name, value[:, heads.start * block.v_head_dim : heads.stop * block.v_head_dim]
        else:
            yield name, value


def _state(block: StateAttention, weights: Weights, tp: int, rank: int) -> Iterator[tuple[str, FloatArray]]:
    keys, values = slice_of(block.key_heads, tp, rank), slice_of(block.value_heads, tp, rank)
    rows = {
        **dict.fromkeys(("q", "k", "q_taps", "k_taps"), (keys, block.key_dim)),
        **dict.fromkeys(("v", "gate", "v_taps"), (values, block.value_dim)),
        **dict.fromkeys(("strength", "decay", "decay_rate", "decay_bias"), (values, 1)),
    }
    for name, value in weights.items():
        start = name.split(".")[0]
        if start in rows:
            heads, width = rows[start]
            yield name, value[heads.start * width : heads.stop * width]
        elif name == "o.weight":
            yield name, value[:, values.start * block.value_dim : values.stop * block.value_dim]
        else:
            yield name, value


def _dense(prefix: str, weights: Weights, tp: int, rank: int) -> Iterator[tuple[str, FloatArray]]:
    inner = len(weights[f"{prefix}up.weight"])
    own = slice_of(inner, tp, rank)
    for name, value in weights.items():
        start = name.removeprefix(prefix).split(".")[0]
        if start in ("gate", "up"):
            yield name, value[own]
        elif name == f"{prefix}down.weight":
            yield name, value[:, own]
        elif name != f"{prefix}down.bias" or rank == 0:
            yield name, value


def expert_shard(block: Experts, weights: Weights, parts: Parts, rank: int) -> tuple[range, dict[str, FloatArray]]:
    """The experts that rank ``rank`` of a stage holds, and their weights with its share of the shared expert."""
    whole, inside = divmod(rank, parts.expert_tp)
    own = slice_of(block.experts, parts.experts_parts, whole)
    inner = slice_of(block.inner, parts.expert_tp, inside)
    found: dict[str, FloatArray] = {}
    for name, value in weights.items():
        if name.startswith("experts."):
            part, kind = name.split(".")[1:]
            if part in ("gate", "up"):
                found[name] = value[own, inner]
            elif kind == "weight":
                found[name] = value[own][:, :, inner]
            else:
                found[name] = value[own] * (inside == 0)
        elif not name.startswith("shared."):
            found[name] = value
    if block.shared_inner:
        shared = {name: value for name, value in weights.items() if name.startswith("shared.")}
        found |= dict(_dense("shared.", shared, parts.tp * parts.dp, rank))
    return range(own.start, own.stop), found


def ring_sum(pieces: Sequence[FloatArray]) -> FloatArray:
    """The sum of what all ranks have, each segment added up in the order in which a ring passes it on.

    With `n` ranks, segment `s` begins at rank `s + 1` and goes once around (reduce-scatter, then all-gather).
    """
    count = len(pieces)
    flat = [piece.ravel() for piece in pieces]
    out = np.empty_like(flat[0])
    for segment, places in enumerate(np.array_split(np.arange(out.size), count)):
        total = flat[(segment + 1) % count][places]
        for step in range(2, count + 1):
            total = total + flat[(segment + step) % count][places]
        out[places] = total
    return out.reshape(pieces[0].shape)
