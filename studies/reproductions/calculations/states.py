"""States that do not grow: their sizes as the rules themselves make them, and what is kept while tokens pass."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping

import numpy as np

from algorithms.models.blocks import FeedForward, StateAttention
from algorithms.models.weights import Weight, matrix, norm, vector
from algorithms.state.rule import Array, Gate, Shape, State, StateRule, Tokens, rule_class
from hwmodels.reading.errors import InputError, Problem
from hwmodels.reading.made import made
from studies.reproductions.calculation import Figures, calculation

GATES: Mapping[Gate, float] = {"decay": 0.98, "strength": 0.01, "momentum": 0.9}
"""Gates of all tokens, gentle enough for a memory that learns not to diverge on noise."""


@calculation("state_size")
def state_size(
    rule: str = "infini",
    layers: int = 12,
    kv_heads: int = 8,
    key_dim: int = 128,
    value_dim: int = 128,
    memories: int = 0,
    top: int = 0,
    depth: int = 0,
) -> Figures:
    """Numbers that a rule keeps, and moves for a token, in all layers of one sequence.

    ``memories``, ``top`` and ``depth`` are parameters of rules that have them; 0 takes a rule's own.
    """
    given = {name: value for name, value in (("memories", memories), ("top", top), ("depth", depth)) if value}
    kind = rule_class(rule)
    strange = [name for name in given if name not in inspect.signature(kind).parameters]
    if strange:
        raise InputError([Problem(f"the rule {rule} has no {name}", field=name) for name in strange])
    chosen = made(kind, given)
    shape = Shape(kv_heads, 1, key_dim, value_dim)
    work = chosen.step_work(shape)
    return {
        "held": layers * chosen.held_elements(shape),
        "moved": layers * chosen.moved_elements(shape),
        "flops": layers * (work.matrix_flops + work.vector_flops),
    }


_OF_A_MEMORY = ("k.weight", "v.weight", "strength.weight", "decay.weight")
"""Projections that each memory of a mixture has for itself."""


@calculation("memory_weights")
def memory_weights(
    width: int = 1024,
    layers: int = 24,
    heads: int = 4,
    head_dim: int = 256,
    wider: int = 1,
    memories: int = 4,
    top: int = 2,
    shared: int = 1,
    inner: int = 2048,
    vocabulary: int = 32000,
) -> Figures:
    """A language model of gated delta layers with several memories: its weights, and those that a token passes.

    Queries, gates and outputs are common to all memories (Du et al. 2025, arXiv:2502.13685, and its code); ``wider``
    makes values of a head so many times as wide as keys. Embedding and head are two tables.
    """
    made = StateAttention(key_heads=heads, value_heads=heads, key_dim=head_dim, value_dim=wider * head_dim)
    weights = list(made.weights(width))
    own = _size(each for each in weights if each.name in _OF_A_MEMORY)
    common = _size(weights) - own + _size(matrix("router", memories, width)) * (memories > 1)
    common += _size(FeedForward(inner=inner).weights(width)) + 2 * _size(norm("norm", "rms", width))
    tables = 2 * vocabulary * width + _size(norm("norm", "rms", width))
    return {
        "all": layers * (common + (memories + shared) * own) + tables,
        "active": layers * (common + (top + shared) * own) + tables,
    }


@calculation("mamba_decoder")
def mamba_decoder(
    width: int = 1536,
    common: int = 6,
    own: int = 6,
    groups: int = 4,
    attending: int = 12,
    codebooks: int = 16,
    entries: int = 1024,
    state: int = 16,
    taps: int = 4,
) -> Figures:
    """A decoder of codes from Mamba layers, some of them common and some for each group of codebooks: its weights.

    A layer is that of Gu and Dao 2023 (arXiv:2312.00752, section 3.4): twice as wide inside, with steps of rank
    ``width / 16``. ``attending`` layers attend to text and speaker; codes have a table going in and a head.
    """
    inside, rank = 2 * width, -(-width // 16)
    layer = [
        *norm("norm", "rms", width),
        *matrix("in", 2 * inside, width),
        vector("taps", inside, taps),
        vector("taps.bias", inside),
        *matrix("parameters", rank + 2 * state, inside),
        *matrix("step", inside, rank, bias=True),
        vector("decay", inside, state),
        vector("around", inside),
        *matrix("out", width, inside),
    ]
    attention = [*norm("norm", "rms", width), *(each for name in "qkvo" for each in matrix(name, width, width))]
    return {
        "layers": (common + own * groups) * _size(layer),
        "attention": attending * _size(attention),
        "tables": 2 * codebooks * entries * width,
    }


def _size(weights: Iterable[Weight]) -> int:
    return sum(each.size for each in weights)


@calculation("state_stream")
def state_stream(
    rule: str = "mixture", tokens: int = 2048, chunk: int = 256, key_dim: int = 16, value_dim: int = 16
) -> Figures:
    """One KV head while tokens pass: numbers kept at the half and at the end, and those that a token moves there.

    ``cache`` as a rule keeps the keys and values of all tokens instead.
    """
    if tokens < 2 * chunk or chunk < 1:
        raise InputError(Problem(f"must be at least two chunks of {chunk} (got {tokens})", field="tokens"))
    if rule == "cache":
        pair = key_dim + value_dim
        return {"half_held": tokens // 2 * pair, "held": tokens * pair, "moved": (tokens + 1) * pair}
    kind = rule_class(rule)
    chosen = made(kind, {})
    state, draws, held = State(chosen, 1, key_dim, value_dim), np.random.default_rng(0), []
    for _ in range(tokens // chunk):
        state.update(_drawn(chosen, chunk, key_dim, value_dim, draws))
        held.append(state.elements)
    moved = chosen.moved_elements(Shape(1, 1, key_dim, value_dim))
    return {"half_held": held[len(held) // 2 - 1], "held": held[-1], "moved": moved}


def _drawn(rule: StateRule, tokens: int, key_dim: int, value_dim: int, draws: np.random.Generator) -> Tokens:
    """Tokens with keys of length one, the gates of a rule, and as many memories as it has."""
    memories: tuple[int, ...] = ()
    gates: dict[Gate, Array] = {name: np.full((1, tokens), GATES[name]) for name in rule.gates if name != "route"}
    if "route" in rule.gates:
        memories = (rule.start(1, 1, 1)["matrices"].shape[1],)
        gates["route"] = draws.standard_normal((1, tokens, memories[0] - 1))
    k = draws.standard_normal((1, *memories, tokens, key_dim))
    k /= np.linalg.norm(k, axis=-1, keepdims=True)
    v = draws.standard_normal((1, *memories, tokens, value_dim))
    return Tokens(draws.standard_normal((1, 1, tokens, key_dim)), k, v, gates)
