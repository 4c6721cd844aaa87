"""Forward passes with values, by the layers that plans are made of: products by tiles, attention by tiles of keys.

One chip computes everything; several compute their shards, and what they have is put together as the mapping says:
sums around a ring, keys of a ring merged by their log-sum-exps, stages one after the other. Latent attention is
absorbed (the queries meet the cached latent itself), keys and values of tokens seen before come from a cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from algorithms.chip.layers.formats import weight_format
from algorithms.chip.layers.gemm import Gemm, GemmTile
from algorithms.chip.layers.grouped import GroupedGemm, expected_routing
from algorithms.chip.layers.values import ACTIVATIONS, EPSILON, depthwise, layer_norm, rms_norm, rotary, routes
from algorithms.chip.plan.online import OnlineSoftmax, merged
from algorithms.models.blocks import (
    AnyBlock,
    Attention,
    Convolution,
    Experts,
    FeedForward,
    LatentAttention,
    Modulation,
    Normalise,
    StateAttention,
)
from algorithms.models.mapping import SINGLE
from algorithms.models.mapping import Mapping as Parts
from algorithms.models.model import Layer, Tower
from algorithms.models.shards import block_shard, expert_shard, ring_sum, slice_of
from algorithms.models.weights import NormKind
from algorithms.rounding import spans
from algorithms.state.delta import GatedDelta
from algorithms.state.rule import State, Tokens
from algorithms.workload.shape import FloatArray
from hwmodels.reading.errors import InputError, Problem

TILE = GemmTile(rows=4, columns=8, depth=8, splits=2)
"""Small, so that small models have ragged tiles and several parts of the depth."""
TILE_KEYS = 4
STATE_CHUNK = 4
PLAIN = weight_format("float32")
Weights = Mapping[str, FloatArray]


def draw_weights(tower: Tower, seed: int = 0) -> dict[str, FloatArray]:
    """Weights of all layers of a tower by name, ``LAYER.BLOCK.KIND.NAME``; norms are near 1, matrices keep sizes."""
    rng = np.random.default_rng(seed)
    found: dict[str, FloatArray] = {}
    number = 0
    for layer in tower.runs:
        for _ in range(layer.times):
            for weight in tower.layer_weights(layer):
                spread = weight.shape[-1] ** -0.5 if weight.role != "vector" else 0.3
                middle = 1.0 if weight.name.endswith("norm.weight") or "norm_" in weight.name else 0.0
                found[f"{number}.{weight.name}"] = middle + spread * rng.standard_normal(weight.shape)
            number += 1
    return found


@dataclass
class Cache:
    """What tokens that were seen left behind, by block: keys and values of heads, or latents and rotary keys.

    A block with a state has that state, and the last rows before its convolution; a layer that renews a share of its
    tokens has the frame that it compares with, before and behind it.
    """

    entries: dict[str, tuple[FloatArray, FloatArray]] = field(default_factory=dict)
    states: dict[str, State] = field(default_factory=dict)
    rows: dict[str, FloatArray] = field(default_factory=dict)
    places: dict[str, FloatArray] = field(default_factory=dict)
    frames: dict[int, tuple[FloatArray, FloatArray]] = field(default_factory=dict)
    tokens: int = 0

    def seen(self, name: str, positions: FloatArray) -> FloatArray:
        """Positions of all tokens of a block, the new ones behind those before."""
        self.places[name] = np.concatenate([self.places.get(name, np.zeros(0)), positions])
        return self.places[name]

    def append(self, name: str, first: FloatArray, second: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Everything of a block, the new tokens behind those before."""
        if name in self.entries:
            old = self.entries[name]
            first, second = np.concatenate([old[0], first], axis=-2), np.concatenate([old[1], second], axis=-2)
        self.entries[name] = first, second
        return first, second


@dataclass(frozen=True)
class Forward:
    """A tower with weights, on chips.

    Parameters
    ----------
    tower, weights
        Tower that is computed, and its weights.
    parts
        How it is spread.

    Raises
    ------
    InputError
        Blocks whose values are not computed here: scores of relative positions.
    """

    tower: Tower
    weights: Weights
    parts: Parts = SINGLE

    def __post_init__(self) -> None:
        for layer in self.tower.runs:
            for block in layer.blocks:
                if isinstance(block, Attention) and block.relative:
                    raise InputError(Problem("no values are computed of relative positions", field=self.tower.name))

    def run(self, tokens: FloatArray, cache: Cache | None = None, context: FloatArray | None = None) -> FloatArray:
        """The stream `(tokens, width)` behind the last layer; ``cache`` keeps what tokens leave to later ones."""
        kept = Cache() if cache is None else cache
        layers = [layer for layer in self.tower.runs for _ in range(layer.times)]
        stream, number = np.array(tokens), 0
        for count in self.parts.layers_of_stage(len(layers)):
            # a stage hands the stream to the next one
            for layer in layers[number : number + count]:
                stream = self._layer(stream, layer, number, kept, context)
                number += 1
        kept.tokens += len(tokens)
        return stream

    def _layer(
        self, stream: FloatArray, layer: Layer, number: int, cache: Cache, context: FloatArray | None
    ) -> FloatArray:
        """The stream behind a layer; where its router lets some tokens through, the others stay as they are."""
        # what is not causal sees one image or clip at a time
        positions = np.arange(len(stream), dtype=np.float64) + (cache.tokens if self.tower.causal else 0)
        if layer.share == 1:
            return self._blocks(stream, positions, layer, number, cache, context)
        if not layer.routed:
            return self._refreshed(stream, positions, layer, number, cache, context)
        scores = linear(stream, self.weights, f"{number}.router")[:, 0]
        chosen = np.sort(np.argsort(-scores, kind="stable")[: layer.through(len(stream))])
        before = stream[chosen]
        made = self._blocks(before, positions[chosen], layer, number, cache, context) - before
        out = stream.copy()
        out[chosen] = before + scores[chosen, None] * made
        return out

    def _refreshed(
        self,
        stream: FloatArray,
        positions: FloatArray,
        layer: Layer,
        number: int,
        cache: Cache,
        context: FloatArray | None,
    ) -> FloatArray:
        """A frame of which the tokens go through that are least like those of the frame in the cache.

        What the others were is what their keys are made from, so that those are the cached ones.
        """
        if (before := cache.frames.get(number)) is None:
            made = self._blocks(stream, positions, layer, number, Cache(), context)
            cache.frames[number] = np.array(stream), made
            return made
        sizes = np.linalg.norm(stream, axis=1) * np.linalg.norm(before[0], axis=1)
        likeness = np.einsum("tc,tc->t", stream, before[0]) / np.maximum(sizes, EPSILON)
        chosen = np.argsort(likeness, kind="stable")[: layer.through(len(stream))]
        mixed, out = before[0].copy(), before[1].copy()
        mixed[chosen] = stream[chosen]
        out[chosen] = self._blocks(mixed, positions, layer, number, Cache(), context)[chosen]
        return out

    def _blocks(
        self,
        stream: FloatArray,
        positions: FloatArray,
        layer: Layer,
        number: int,
        cache: Cache,
        context: FloatArray | None,
    ) -> FloatArray:
        for place, block in enumerate(layer.blocks):
            shift = self._modulation(layer, number, place)
            name = f"{number}.{place}.{block.kind}"
            stream = self._block(stream, positions, name, block, cache, context, shift)
        return stream

    def _modulation(self, layer: Layer, number: int, place: int) -> FloatArray | None:
        """Shift, scale and gate `(3, width)` of a block whose norm has no weights, where its layer modulates.

        They are the vectors of the layer alone: the part that a time step adds to all layers is 0 here.
        """
        if not isinstance(layer.blocks[0], Modulation) or layer.blocks[place].norm != "plain":
            return None
        before: int = sum(block.norm == "plain" for block in layer.blocks[:place])
        vectors: FloatArray = self.weights[f"{number}.0.modulation.modulation"]
        return vectors[3 * before : 3 * before + 3]

    def _block(
        self,
        stream: FloatArray,
        positions: FloatArray,
        name: str,
        block: AnyBlock,
        cache: Cache,
        context: FloatArray | None,
        modulation: FloatArray | None,
    ) -> FloatArray:
        kind, place = block.norm or self.tower.norm, self.tower.norm_place
        if isinstance(block, Modulation):
            return stream
        if isinstance(block, Normalise):
            return self._norm(stream, kind, f"{name}.norm")
        if modulation is not None:
            shift, scale, gate = modulation
            moved = self._norm(stream, kind, f"{name}.norm") * (1.0 + scale) + shift
            return np.asarray(stream + gate * self._made(moved, positions, name, block, cache, context))
        if place == "behind":
            return self._norm(stream + self._made(stream, positions, name, block, cache, context), kind, f"{name}.norm")
        before = self._norm(stream, kind, f"{name}.norm" if place == "before" else f"{name}.norm_before")
        made = self._made(before, positions, name, block, cache, context)
        return stream + (self._norm(made, kind, f"{name}.norm_behind") if place == "both" else made)

    def _norm(self, tokens: FloatArray, kind: NormKind, name: str) -> FloatArray:
        return normed(tokens, kind, self.weights, name)

    def _made(
        self,
        tokens: FloatArray,
        positions: FloatArray,
        name: str,
        block: AnyBlock,
        cache: Cache,
        context: FloatArray | None,
    ) -> FloatArray:
        """What a block makes of normed tokens, all chips together."""
        start = f"{name}."
        own = {key.removeprefix(start): value for key, value in self.weights.items() if key.startswith(start)}
        match block:
            case Attention() | LatentAttention():
                made = self._shared_attention(tokens, positions, name, block, own, cache, context)
            case StateAttention():
                shards = [block_shard(block, own, self.parts, rank) for rank in range(self.parts.tp)]
                states = [
                    state_attention(tokens, block, shard, f"{name}@{rank}", cache) for rank, shard in enumerate(shards)
                ]
                made = ring_sum(states)
            case FeedForward():
                shards = [block_shard(block, own, self.parts, rank) for rank in range(self.parts.tp)]
                made = ring_sum([feed_forward(tokens, block, shard) for shard in shards])
            case Experts():
                ranks = range(self.parts.tp * self.parts.dp)
                made = ring_sum([experts(tokens, block, *expert_shard(block, own, self.parts, rank)) for rank in ranks])
            case Convolution():
                made = convolution(tokens, own)
            case _:
                made = np.zeros_like(tokens)
        return made * own["scale"] if "scale" in own else made

    def _shared_attention(
        self,
        tokens: FloatArray,
        positions: FloatArray,
        name: str,
        block: Attention | LatentAttention,
        own: Weights,
        cache: Cache,
        context: FloatArray | None,
    ) -> FloatArray:
        """Heads dealt to ``tp`` chips; what each of them makes is added up."""
        made = []
        for rank in range(self.parts.tp):
            shard = block_shard(block, own, self.parts, rank)
            label = f"{name}@{rank}"
            if isinstance(block, LatentAttention):
                made.append(
                    latent_attention(tokens, positions, block, shard, label, cache, self.tower.causal, self.parts.cp)
                )
            else:
                source = context if block.context else None
                part = Heads(block, self.parts.tp, rank, self.tower.causal, self.parts.cp)
                made.append(part.run(tokens, positions, shard, label, cache, source))
        return ring_sum(made)


def normed(tokens: FloatArray, kind: NormKind, weights: Weights, name: str) -> FloatArray:
    """A norm of any kind."""
    if kind == "rms":
        return rms_norm(tokens, weights[f"{name}.weight"])
    if kind == "layer":
        return layer_norm(tokens, weights[f"{name}.weight"], weights[f"{name}.bias"])
    width = tokens.shape[-1]
    return layer_norm(tokens, np.ones(width), np.zeros(width))


def linear(tokens: FloatArray, weights: Weights, name: str) -> FloatArray:
    """A product with its bias, by tiles."""
    matrix = weights[f"{name}.weight"]
    out = Gemm(name, len(tokens), matrix.shape[0], matrix.shape[1], PLAIN).values(tokens, matrix, TILE)
    return out + weights[f"{name}.bias"] if f"{name}.bias" in weights else out


def feed_forward(tokens: FloatArray, block: FeedForward, weights: Weights, prefix: str = "") -> FloatArray:
    """A chip's share of a feed-forward block."""
    active = ACTIVATIONS[block.activation]
    up = linear(tokens, weights, f"{prefix}up")
    inner = active(linear(tokens, weights, f"{prefix}gate")) * up if block.gated else active(up)
    return linear(inner, weights, f"{prefix}down")


def experts(tokens: FloatArray, block: Experts, held: range, weights: Weights) -> FloatArray:
    """A chip's share of a mixture: rows of the experts that it holds, weighted and added to their tokens."""
    logits = linear(tokens, weights, "router")
    chosen, shares = routes(logits, block.active, block.scores, weights.get("correction"), block.scaling)
    token, place = np.nonzero((chosen >= held.start) & (chosen < held.stop))
    own = chosen[token, place] - held.start
    rows = tokens[token]
    out = np.zeros_like(tokens)

    def grouped(values: FloatArray, part: str) -> FloatArray:
        matrix = weights[f"experts.{part}.weight"]
        routing = expected_routing(len(values), matrix.shape[0], 1)
        made = GroupedGemm(part, routing, matrix.shape[1], matrix.shape[2], PLAIN).values(values, matrix, own, TILE)
        bias = weights.get(f"experts.{part}.bias")
        return made if bias is None else made + bias[own.astype(np.int64)]

    if len(rows):
        inner = ACTIVATIONS[block.activation](grouped(rows, "gate")) * grouped(rows, "up")
        np.add.at(out, token, shares[token, place][:, None] * grouped(inner, "down"))
    if block.shared_inner:
        shared = FeedForward(inner=block.shared_inner, activation=block.activation)
        everyone = feed_forward(tokens, shared, weights, "shared.")
        if block.shared_gate:
            everyone = everyone / (1.0 + np.exp(-linear(tokens, weights, "shared_gate")))
        out = out + everyone
    return out


def convolution(tokens: FloatArray, weights: Weights) -> FloatArray:
    """The convolution module of a Conformer."""
    wide = linear(tokens, weights, "expand")
    half = wide.shape[1] // 2
    gated = wide[:, :half] / (1.0 + np.exp(-wide[:, half:]))
    out = depthwise(gated, weights["depthwise.weight"]) + weights.get("depthwise.bias", np.zeros(half))
    out = out * weights["batch_norm.weight"] + weights["batch_norm.bias"]
    return linear(ACTIVATIONS["silu"](out), weights, "project")


def state_attention(
    tokens: FloatArray, block: StateAttention, weights: Weights, label: str, cache: Cache
) -> FloatArray:
    """A chip's heads of a block with a state, which goes on from where the cache has it; chunk by chunk."""
    count = len(tokens)
    keys = weights["q.weight"].shape[0] // block.key_dim
    values = weights["v.weight"].shape[0] // block.value_dim
    q, k = (
        _unit(_split(_convolved(tokens, weights, name, label, cache), keys, block.key_dim)).repeat(values // keys, 0)
        for name in ("q", "k")
    )
    v = _split(_convolved(tokens, weights, "v", label, cache), values, block.value_dim)
    strength = 1.0 / (1.0 + np.exp(-linear(tokens, weights, "strength").T))
    steps = np.logaddexp(0.0, linear(tokens, weights, "decay") + weights["decay_bias"])
    decay = np.exp(-np.exp(weights["decay_rate"]) * steps).T
    if label not in cache.states:
        cache.states[label] = State(GatedDelta(), values, block.key_dim, block.value_dim)
    new = Tokens(q[:, None] * block.key_dim**-0.5, k, v, {"strength": strength, "decay": decay})
    read = cache.states[label].advance(new, chunk=STATE_CHUNK)[:, 0]
    gate = linear(tokens, weights, "gate").reshape(count, values, block.value_dim)
    made = rms_norm(read.transpose(1, 0, 2), weights["out_norm.weight"]) * ACTIVATIONS["silu"](gate)
    return linear(made.reshape(count, -1), weights, "o")


def _convolved(tokens: FloatArray, weights: Weights, name: str, label: str, cache: Cache) -> FloatArray:
    """A projection, every channel convolved with the rows before it, and activated."""
    taps = weights[f"{name}_taps"]
    key, before = f"{label}.{name}", np.zeros((taps.shape[1] - 1, taps.shape[0]))
    rows = np.concatenate([cache.rows.get(key, before), linear(tokens, weights, name)])
    cache.rows[key] = rows[len(rows) - len(before) :]
    windows = np.lib.stride_tricks.sliding_window_view(rows, taps.shape[1], axis=0)
    return np.asarray(ACTIVATIONS["silu"](np.einsum("tck,ck->tc", windows, taps)))


def _unit(heads: FloatArray) -> FloatArray:
    """Every row with length one (`rms_norm` with the width taken out)."""
    squares = np.einsum("...i,...i->...", heads, heads)[..., None]
    return np.asarray(heads / np.sqrt(squares + EPSILON))


def latent_attention(
    tokens: FloatArray,
    positions: FloatArray,
    block: LatentAttention,
    weights: Weights,
    label: str,
    cache: Cache,
    causal: bool,
    rings: int,
) -> FloatArray:
    """Absorbed: queries are taken into the space of the latent, and what is attended there is taken back per head."""
    nope, rank = block.qk_nope_head_dim, block.kv_lora_rank
    if block.q_lora_rank is None:
        queries = linear(tokens, weights, "q")
    else:
        queries = linear(rms_norm(linear(tokens, weights, "q_down"), weights["q_norm.weight"]), weights, "q_up")
    heads = queries.shape[1] // block.head_dim
    split = queries.reshape(len(tokens), heads, block.head_dim).transpose(1, 0, 2)
    down = linear(tokens, weights, "kv_down")
    latent = rms_norm(down[:, :rank], weights["kv_norm.weight"])
    latent, key = cache.append(label, latent, rotary(down[:, rank:], positions))
    up = weights["kv_up.weight"].reshape(heads, nope + block.v_head_dim, rank)
    absorbed = np.einsum("htn,hnr->htr", split[..., :nope], up[:, :nope])
    query = np.concatenate([absorbed, rotary(split[..., nope:], positions)], axis=-1)
    joined = np.concatenate([latent, key], axis=-1)[None]
    scale = block.head_dim**-0.5
    seen = visible(positions, cache.seen(label, positions), causal)
    attended, _ = ring_attention(query[None] * scale, joined[None], latent[None, None], seen, rings)
    values = np.einsum("htr,hvr->htv", attended[0], up[:, nope:])
    return linear(values.transpose(1, 0, 2).reshape(len(tokens), -1), weights, "o")


@dataclass(frozen=True)
class Heads:
    """A chip's heads of an attention block."""

    block: Attention
    tp: int
    rank: int
    causal: bool
    rings: int

    def run(
        self,
        tokens: FloatArray,
        positions: FloatArray,
        weights: Weights,
        label: str,
        cache: Cache,
        context: FloatArray | None,
    ) -> FloatArray:
        """Their share of the result."""
        block, width = self.block, self.block.head_dim
        own = slice_of(block.heads, self.tp, self.rank)
        heads, groups = own.stop - own.start, max(block.groups // self.tp, 1)
        cross = block.context is not None
        source = tokens if context is None else context
        queries, keys = linear(tokens, weights, "q"), linear(source, weights, "k")
        if block.qk_norm == "all":
            # the norm goes over the heads of all chips, so each of them needs the others' squares
            raise_if_split(self.tp, "norms over all heads")
            queries = normed(queries, block.qk_norm_kind, weights, "q_norm")
            keys = normed(keys, block.qk_norm_kind, weights, "k_norm")
        q, k = _split(queries, heads, width), _split(keys, groups, width)
        v = _split(linear(source, weights, "v"), groups, width)
        if block.qk_norm == "head":
            q = normed(q, block.qk_norm_kind, weights, "q_norm")
            k = normed(k, block.qk_norm_kind, weights, "k_norm")
        if block.rotary and not cross:
            q, k = rotary(q, positions), rotary(k, positions)
        places = np.arange(k.shape[1], dtype=np.float64) if cross else positions
        if self.causal and not cross:
            k, v = cache.append(label, k, v)
            places = cache.seen(label, positions)
        seen = visible(positions, places, self.causal and not cross, block.window, block.block)
        rows = q.reshape(groups, heads // groups * len(tokens), width)[None] * width**-0.5
        out, lse = ring_attention(rows, k[None], v[None], np.tile(seen, (heads // groups, 1)), self.rings)
        made = out[0].reshape(heads, len(tokens), width)
        if block.sinks:
            # a score of its own with no value behind it takes its share of every sum
            sinks = weights["sinks"][:, None]
            made = made / (1.0 + np.exp(sinks - lse[0].reshape(heads, len(tokens))))[..., None]
        if block.gated:
            made = made / (1.0 + np.exp(-_split(linear(tokens, weights, "gate"), heads, width)))
        return linear(made.transpose(1, 0, 2).reshape(len(tokens), -1), weights, "o")


def raise_if_split(tp: int, what: str) -> None:
    """Refuse values of what tensor parallelism does not split here."""
    if tp > 1:
        raise InputError(Problem(f"no values are computed of {what} dealt to several chips", field="tp"))


def _split(tokens: FloatArray, heads: int, width: int) -> FloatArray:
    return tokens.reshape(len(tokens), heads, width).transpose(1, 0, 2)


def visible(
    queries: FloatArray, keys: FloatArray, causal: bool, window: int | None = None, block: int | None = None
) -> NDArray[np.bool_]:
    """Which keys queries see, `(queries, keys)`, by the positions of both."""
    query, key = queries[:, None], keys[None]
    seen = np.ones((len(queries), len(keys)), dtype=bool)
    if causal:
        seen &= key <= query
    if window is not None:
        seen &= key > query - window
    if block is not None:
        seen &= key // block == query // block
    return seen


def ring_attention(
    rows: FloatArray, keys: FloatArray, values: FloatArray, seen: NDArray[np.bool_], rings: int
) -> tuple[FloatArray, FloatArray]:
    """Attention of `(batch, groups, rows, d)` over keys that lie on ``rings`` chips in turn, merged at the end.

    Each chip's part goes tile by tile with an online softmax; parts are merged by their log-sum-exps.
    """
    parts = []
    for part in np.array_split(np.arange(keys.shape[2]), rings):
        softmax = OnlineSoftmax(rows.shape[:3], values.shape[-1])
        for tile in spans(0, len(part), TILE_KEYS):
            places = part[tile.start : tile.stop]
            softmax.update(rows @ keys[:, :, places].swapaxes(-1, -2), values[:, :, places], seen[:, places])
        parts.append((softmax.output(), softmax.log_sum_exp()))
    return merged(np.stack([part[0] for part in parts]), np.stack([part[1] for part in parts]))
