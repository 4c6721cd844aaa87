"""Forward passes of whole small models in float64 NumPy, written to be read: a token, a head, an expert at a time.

Everything is stated as its paper states it: attention over all keys that are seen, latent attention with keys and
values expanded for every token, a mixture as the weighted sum of the experts a token takes. Nothing is cached, fused,
tiled or shared out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Weights = Mapping[str, FloatArray]
Activation = Literal["silu", "gelu", "quick_gelu", "relu"]
NormKind = Literal["rms", "layer", "plain"]

EPSILON = 1e-6
ROTARY_BASE = 10_000.0


@dataclass(frozen=True)
class AttentionLayer:
    """Attention of grouped heads; see `attend`."""

    heads: int
    kv_heads: int
    head_dim: int
    rotary: bool = True
    norm_heads: bool = False
    norm_all: bool = False
    window: int | None = None
    block: int | None = None
    sinks: bool = False
    cross: bool = False
    gated: bool = False


@dataclass(frozen=True)
class StateLayer:
    """The gated delta rule behind a short convolution (arXiv:2412.06464, section 3.4)."""

    key_heads: int
    value_heads: int
    key_dim: int
    value_dim: int


@dataclass(frozen=True)
class LatentLayer:
    """Multi-head latent attention (arXiv:2405.04434, equations 9 to 19)."""

    heads: int
    nope: int
    rope: int
    value: int
    query_latent: bool


@dataclass(frozen=True)
class DenseLayer:
    """A feed-forward block."""

    gated: bool
    activation: Activation


@dataclass(frozen=True)
class MixtureLayer:
    """A mixture of gated feed-forward experts."""

    experts: int
    active: int
    scores: Literal["top_softmax", "softmax", "sigmoid"]
    activation: Activation = "silu"
    scaling: float = 1.0
    shared: bool = False
    shared_gate: bool = False


@dataclass(frozen=True)
class ConvolutionLayer:
    """The convolution module of a Conformer (arXiv:2005.08100), in inference: means and variances are 0 and 1."""


@dataclass(frozen=True)
class NormLayer:
    """A norm of the stream itself, which takes the stream's place."""


AnyLayer = AttentionLayer | LatentLayer | StateLayer | DenseLayer | MixtureLayer | ConvolutionLayer | NormLayer


@dataclass(frozen=True)
class Block:
    """A layer with its norm, and where its weights lie: all names begin with `prefix`.

    `modulation` names a weight `(n, width)` and the first of its three vectors that shift, scale and gate this block
    (DiT, arXiv:2212.09748, section 3.2).
    """

    layer: AnyLayer
    prefix: str
    norm: NormKind = "rms"
    place: Literal["before", "behind", "both"] = "before"
    modulation: tuple[str, int] | None = None


@dataclass(frozen=True)
class Routed:
    """Blocks that a router lets `share` of the tokens go through, those with the largest scores (arXiv:2404.02258)."""

    blocks: tuple[Block, ...]
    prefix: str
    share: float


def forward(
    tokens: FloatArray,
    blocks: tuple[Block | Routed, ...],
    weights: Weights,
    *,
    causal: bool,
    context: FloatArray | None = None,
    positions: tuple[int, ...] | None = None,
) -> FloatArray:
    """The residual stream `(tokens, width)` behind all ``blocks``.

    Parameters
    ----------
    tokens
        The stream before the first block, positions from 0 on.
    causal
        Whether a token sees only itself and those before it.
    context
        What cross-attention attends to, `(tokens, width)`.
    positions
        Of the tokens; from 0 on when None.
    """
    stream = np.array(tokens, dtype=np.float64)
    at = tuple(range(len(stream))) if positions is None else positions
    for block in blocks:
        if isinstance(block, Routed):
            scores = [float(score) for score in _linear(stream, weights, block.prefix)[:, 0]]
            count = math.ceil(block.share * len(stream))
            through = sorted(sorted(range(len(stream)), key=scores.__getitem__, reverse=True)[:count])
            within = forward(
                stream[through],
                block.blocks,
                weights,
                causal=causal,
                context=context,
                positions=tuple(at[i] for i in through),
            )
            for row, i in enumerate(through):
                stream[i] = stream[i] + scores[i] * (within[row] - stream[i])
            continue
        name = block.prefix
        if isinstance(block.layer, NormLayer):
            stream = _normed(stream, block.norm, weights, f"{name}.norm")
            continue
        if block.modulation is not None:
            where, first = block.modulation
            shift, scale, gate = weights[where][first], weights[where][first + 1], weights[where][first + 2]
            moved = _normed(stream, block.norm, weights, f"{name}.norm") * (1 + scale) + shift
            stream = stream + gate * apply(moved, block, weights, causal, at, context)
            continue
        if block.place == "behind":
            made = apply(stream, block, weights, causal, at, context)
            stream = _normed(stream + made, block.norm, weights, f"{name}.norm")
            continue
        before = "norm" if block.place == "before" else "norm_before"
        made = apply(_normed(stream, block.norm, weights, f"{name}.{before}"), block, weights, causal, at, context)
        if block.place == "both":
            made = _normed(made, block.norm, weights, f"{name}.norm_behind")
        stream = stream + made
    return stream


def apply(
    tokens: FloatArray,
    block: Block,
    weights: Weights,
    causal: bool,
    at: tuple[int, ...],
    context: FloatArray | None = None,
) -> FloatArray:
    """What a block makes of normed tokens, before it is added."""
    name = block.prefix
    match block.layer:
        case AttentionLayer():
            made = attend(tokens, block.layer, weights, name, causal, at, context)
        case LatentLayer():
            made = attend_latent(tokens, block.layer, weights, name, causal, at)
        case StateLayer():
            made = attend_state(tokens, block.layer, weights, name)
        case DenseLayer():
            made = feed_forward(tokens, block.layer.gated, block.layer.activation, weights, name)
        case MixtureLayer():
            made = mixture(tokens, block.layer, weights, name)
        case ConvolutionLayer():
            made = convolution(tokens, weights, name)
        case NormLayer():
            return tokens
    return made * weights[f"{name}.scale"] if f"{name}.scale" in weights else made


def attend(
    tokens: FloatArray,
    layer: AttentionLayer,
    weights: Weights,
    name: str,
    causal: bool,
    at: tuple[int, ...],
    context: FloatArray | None = None,
) -> FloatArray:
    """Attention, query by query and head by head.

    A query sees keys that are not behind it (``causal``), at most ``window`` of them, of its own ``block`` of tokens; a
    head with a sink has one more score, whose value is 0.
    """
    source = context if layer.cross and context is not None else tokens
    queries = _linear(tokens, weights, f"{name}.q")
    keys, values = _linear(source, weights, f"{name}.k"), _linear(source, weights, f"{name}.v")
    if layer.norm_all:
        queries = _normed(queries, "rms", weights, f"{name}.q_norm")
        keys = _normed(keys, "rms", weights, f"{name}.k_norm")
    width, out = layer.head_dim, np.zeros((len(tokens), layer.heads * layer.head_dim))
    for head in range(layer.heads):
        group = head // (layer.heads // layer.kv_heads)
        own, shared = slice(head * width, (head + 1) * width), slice(group * width, (group + 1) * width)
        q, k, v = queries[:, own], keys[:, shared], values[:, shared]
        if layer.norm_heads:
            q = _normed(q, "rms", weights, f"{name}.q_norm")
            k = _normed(k, "rms", weights, f"{name}.k_norm")
        if layer.rotary and not layer.cross:
            q, k = rotated(q, at), rotated(k, at)
        for i in range(len(tokens)):
            scores = {}
            for j in range(len(source)):
                behind = causal and not layer.cross and j > i
                far = layer.window is not None and at[j] <= at[i] - layer.window
                other = layer.block is not None and at[i] // layer.block != at[j] // layer.block
                if not (behind or far or other):
                    scores[j] = float(q[i] @ k[j]) / math.sqrt(width)
            most = max(scores.values())
            total = math.fsum(math.exp(score - most) for score in scores.values())
            if layer.sinks:
                total += math.exp(weights[f"{name}.sinks"][head] - most)
            for j, score in scores.items():
                out[i, own] += math.exp(score - most) / total * v[j]
    if layer.gated:
        out = out / (1.0 + np.exp(-_linear(tokens, weights, f"{name}.gate")))
    return _linear(out, weights, f"{name}.o")


def attend_latent(
    tokens: FloatArray, layer: LatentLayer, weights: Weights, name: str, causal: bool, at: tuple[int, ...]
) -> FloatArray:
    """Latent attention with every key and value expanded."""
    if layer.query_latent:
        latent_q = _normed(_linear(tokens, weights, f"{name}.q_down"), "rms", weights, f"{name}.q_norm")
        queries = _linear(latent_q, weights, f"{name}.q_up")
    else:
        queries = _linear(tokens, weights, f"{name}.q")
    down = _linear(tokens, weights, f"{name}.kv_down")
    rank = down.shape[1] - layer.rope
    latent = _normed(down[:, :rank], "rms", weights, f"{name}.kv_norm")
    shared_key = rotated(down[:, rank:], at)
    expanded = _linear(latent, weights, f"{name}.kv_up")
    width, made = layer.nope + layer.rope, layer.nope + layer.value
    out = np.zeros((len(tokens), layer.heads * layer.value))
    for head in range(layer.heads):
        q = queries[:, head * width : (head + 1) * width]
        q = np.concatenate([q[:, : layer.nope], rotated(q[:, layer.nope :], at)], axis=1)
        pair = expanded[:, head * made : (head + 1) * made]
        k, v = np.concatenate([pair[:, : layer.nope], shared_key], axis=1), pair[:, layer.nope :]
        for i in range(len(tokens)):
            seen = i + 1 if causal else len(tokens)
            scores = k[:seen] @ q[i] / math.sqrt(width)
            share = np.exp(scores - scores.max())
            out[i, head * layer.value : (head + 1) * layer.value] = share @ v[:seen] / share.sum()
    return _linear(out, weights, f"{name}.o")


def attend_state(tokens: FloatArray, layer: StateLayer, weights: Weights, name: str) -> FloatArray:
    """The gated delta rule, token by token and head by head; the state begins empty."""
    rows = {}
    for part in ("q", "k", "v"):
        made = _linear(tokens, weights, f"{name}.{part}")
        kernel = weights[f"{name}.{part}_taps"]
        taps = kernel.shape[1]
        rows[part] = np.zeros_like(made)
        for i in range(len(tokens)):
            for tap in range(taps):
                j = i + tap - (taps - 1)
                if j >= 0:
                    rows[part][i] += kernel[:, tap] * made[j]
        rows[part] = activated(rows[part], "silu")
    strengths = 1.0 / (1.0 + np.exp(-_linear(tokens, weights, f"{name}.strength")))
    raw = _linear(tokens, weights, f"{name}.decay") + weights[f"{name}.decay_bias"]
    gates = activated(_linear(tokens, weights, f"{name}.gate"), "silu")
    out = np.zeros((len(tokens), layer.value_heads * layer.value_dim))
    for head in range(layer.value_heads):
        group = head // (layer.value_heads // layer.key_heads)
        shared = slice(group * layer.key_dim, (group + 1) * layer.key_dim)
        own = slice(head * layer.value_dim, (head + 1) * layer.value_dim)
        state = np.zeros((layer.key_dim, layer.value_dim))
        for i in range(len(tokens)):
            q, k, v = rows["q"][i, shared], rows["k"][i, shared], rows["v"][i, own]
            q, k = (x / math.sqrt(float(x @ x) + EPSILON) for x in (q, k))
            kept = math.exp(-math.exp(weights[f"{name}.decay_rate"][head]) * math.log1p(math.exp(raw[i, head])))
            state = kept * state
            state = state + strengths[i, head] * np.outer(k, v - state.T @ k)
            out[i, own] = state.T @ q / math.sqrt(layer.key_dim)
        out[:, own] = _normed(out[:, own], "rms", weights, f"{name}.out_norm") * gates[:, own]
    return _linear(out, weights, f"{name}.o")


def feed_forward(tokens: FloatArray, gated: bool, activation: Activation, weights: Weights, name: str) -> FloatArray:
    """Up, activation, down; with a gate, the activation is the gate's."""
    up = _linear(tokens, weights, f"{name}.up")
    inner = activated(_linear(tokens, weights, f"{name}.gate"), activation) * up if gated else activated(up, activation)
    return _linear(inner, weights, f"{name}.down")


def mixture(tokens: FloatArray, layer: MixtureLayer, weights: Weights, name: str) -> FloatArray:
    """Token by token, expert by expert."""
    logits = _linear(tokens, weights, f"{name}.router")
    out = np.zeros_like(tokens)
    for i, token in enumerate(tokens):
        shares = _shares(logits[i], layer, weights.get(f"{name}.correction"))
        for expert, share in shares.items():
            parts = {part: weights[f"{name}.experts.{part}.weight"][expert] for part in ("gate", "up", "down")}
            bias = {
                part: weights[f"{name}.experts.{part}.bias"][expert]
                if f"{name}.experts.{part}.bias" in weights
                else 0.0
                for part in parts
            }
            gate = activated(parts["gate"] @ token + bias["gate"], layer.activation)
            inner = gate * (parts["up"] @ token + bias["up"])
            out[i] += share * (parts["down"] @ inner + bias["down"])
    if layer.shared:
        everyone = feed_forward(tokens, True, layer.activation, weights, f"{name}.shared")
        if layer.shared_gate:
            everyone = everyone / (1.0 + np.exp(-_linear(tokens, weights, f"{name}.shared_gate")))
        out += everyone
    return out


def _shares(logits: FloatArray, layer: MixtureLayer, correction: FloatArray | None) -> dict[int, float]:
    """Weights of the experts that a token takes."""
    if layer.scores == "sigmoid":
        given = [1.0 / (1.0 + math.exp(-logit)) for logit in logits]
    else:
        total = math.fsum(math.exp(logit) for logit in logits)
        given = [math.exp(logit) / total for logit in logits]
    ranks = sorted(range(layer.experts), key=lambda e: -(given[e] + (0.0 if correction is None else correction[e])))
    chosen = ranks[: layer.active]
    whole = 1.0 if layer.scores == "softmax" else math.fsum(given[e] for e in chosen)
    return {e: layer.scaling * given[e] / whole for e in chosen}


def convolution(tokens: FloatArray, weights: Weights, name: str) -> FloatArray:
    """Gate, convolve every channel over time, norm, activate, project."""
    wide = _linear(tokens, weights, f"{name}.expand")
    half = wide.shape[1] // 2
    gated = wide[:, :half] / (1.0 + np.exp(-wide[:, half:]))
    kernel = weights[f"{name}.depthwise.weight"]
    taps = kernel.shape[1]
    out = np.zeros_like(gated)
    for i in range(len(tokens)):
        for tap in range(taps):
            j = i + tap - (taps - 1) // 2
            if 0 <= j < len(tokens):
                out[i] += kernel[:, tap] * gated[j]
    if f"{name}.depthwise.bias" in weights:
        out += weights[f"{name}.depthwise.bias"]
    out = out * weights[f"{name}.batch_norm.weight"] + weights[f"{name}.batch_norm.bias"]
    return _linear(activated(out, "silu"), weights, f"{name}.project")


def activated(values: FloatArray, activation: Activation) -> FloatArray:
    """The activation of every element."""
    match activation:
        case "silu":
            return np.asarray(values / (1.0 + np.exp(-values)))
        case "gelu":
            cubed = values + 0.044715 * np.power(values, 3)
            return np.asarray(0.5 * values * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * cubed)))
        case "quick_gelu":
            return np.asarray(values / (1.0 + np.exp(-1.702 * values)))
        case "relu":
            return np.where(values > 0, values, 0.0)


def rotated(heads: FloatArray, at: tuple[int, ...]) -> FloatArray:
    """`(tokens, width)` turned by their positions, element `i` with element `i + width / 2`."""
    half = heads.shape[1] // 2
    out = np.empty_like(heads)
    for row, position in enumerate(at):
        for i in range(half):
            angle = position * ROTARY_BASE ** (-i / half)
            a, b = heads[row, i], heads[row, i + half]
            out[row, i] = a * math.cos(angle) - b * math.sin(angle)
            out[row, i + half] = a * math.sin(angle) + b * math.cos(angle)
    return out


def _normed(tokens: FloatArray, kind: NormKind, weights: Weights, name: str) -> FloatArray:
    if kind == "rms":
        return np.asarray(
            tokens / np.sqrt(np.mean(tokens**2, axis=-1, keepdims=True) + EPSILON) * weights[f"{name}.weight"]
        )
    centred = tokens - np.mean(tokens, axis=-1, keepdims=True)
    scaled = centred / np.sqrt(np.mean(centred**2, axis=-1, keepdims=True) + EPSILON)
    return np.asarray(scaled if kind == "plain" else scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"])


def _linear(tokens: FloatArray, weights: Weights, name: str) -> FloatArray:
    out = tokens @ weights[f"{name}.weight"].T
    return np.asarray(out + weights[f"{name}.bias"] if f"{name}.bias" in weights else out)
