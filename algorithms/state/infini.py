"""Infini-attention: softmax inside a segment, and a linear or delta memory of all segments before it.

    out = sigmoid(gate) read(q) + (1 - sigmoid(gate)) attend(q, segment)

(Munkhdalai et al. 2024, arXiv:2404.07143). The memory is read before the segment enters it; it enters as a whole when
the segment is full, the delta form all at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from algorithms.state.linear import divided, elu_features
from algorithms.state.rule import (
    Array,
    Memory,
    Parameter,
    Product,
    Shape,
    StateRule,
    Tokens,
    Work,
    at_least,
    state_rule,
)


@state_rule("infini")
class InfiniAttention(StateRule):
    """Infini-attention (Munkhdalai et al. 2024, arXiv:2404.07143): local softmax beside a compressive memory.

    Parameters
    ----------
    segment
        Tokens per segment.
    gate
        Logit of the share of the memory in the output; the paper learns one per head.
    delta
        Whether only that enters which the memory does not return yet.
    """

    examples: ClassVar[tuple[Mapping[str, Parameter], ...]] = (
        {"segment": 5},
        {"segment": 5, "delta": True, "gate": 0.7},
        {"segment": 1},
    )
    segment: int = 2048
    gate: float = 0.0
    delta: bool = False

    def __post_init__(self) -> None:
        at_least(self, segment=1)

    def start(self, streams: int, key_dim: int, value_dim: int) -> Memory:
        return {
            "matrix": np.zeros((streams, key_dim, value_dim)),
            "weight": np.zeros((streams, key_dim)),
            "keys": np.zeros((streams, 0, key_dim)),
            "values": np.zeros((streams, 0, value_dim)),
        }

    def write(self, memory: Memory, token: Tokens) -> Memory:
        return self._closed(self._grown(memory, token))

    def read(self, memory: Memory, q: Array) -> Array:
        """All queries see the whole open segment; with none open they read the memory alone, at its share."""
        everything = np.ones((q.shape[-2], memory["keys"].shape[1]), dtype=bool)
        return self._mixed(memory, q, everything)

    def step(self, memory: Memory, token: Tokens) -> tuple[Memory, Array]:
        grown = self._grown(memory, token)
        return self._closed(grown), self.read(grown, token.q)

    def chunk(self, memory: Memory, tokens: Tokens) -> tuple[Memory, Array]:
        parts, start = [], 0
        while start < tokens.count:
            room = self.segment - memory["keys"].shape[1]
            piece = tokens[start : start + room]
            held = memory["keys"].shape[1]
            grown = self._grown(memory, piece)
            visible = np.tri(piece.count, held + piece.count, held, dtype=bool)
            parts.append(self._mixed(grown, piece.q, visible))
            memory, start = self._closed(grown), start + piece.count
        return memory, np.concatenate(parts, axis=-2)

    def held_elements(self, shape: Shape) -> int:
        """The memory, and room for the keys and values of a segment."""
        widths = shape.key_dim + shape.value_dim
        return shape.kv_heads * (shape.key_dim * (shape.value_dim + 1) + self.segment * widths)

    def carried_elements(self, shape: Shape) -> int:
        """The memory alone: keys and values of the segment are loaded again for every chunk, as attention does."""
        return shape.kv_heads * shape.key_dim * (shape.value_dim + 1)

    def loaded_again(self, shape: Shape, tokens: int) -> float:
        """The tokens of the segment before a chunk: half of what a whole segment has beside it."""
        return shape.kv_heads * max(self.segment - tokens, 0) / 2 * (shape.key_dim + shape.value_dim)

    def moved_elements(self, shape: Shape) -> float:
        """Mean over a segment: the memory and half of it are read per token, the memory is written once."""
        memory = shape.key_dim * (shape.value_dim + 1)
        widths = shape.key_dim + shape.value_dim
        open_tokens = (self.segment + 1) / 2
        return shape.kv_heads * (memory + open_tokens * widths + widths + (memory + memory) / self.segment)

    def step_work(self, shape: Shape) -> Work:
        """Mean over a segment: half of it is attended, and each token enters the memory once."""
        local = self._local_work(shape, (self.segment + 1) / 2)
        return local + self._memory_work(shape, 1, on_vectors=True)

    def chunk_work(self, shape: Shape, tokens: int) -> Work:
        whole, rest = divmod(tokens, self.segment)
        pairs = whole * self.segment * (self.segment + 1) / 2 + rest * (rest + 1) / 2
        local = self._local_work(shape, pairs)
        moved = Work(local.vector_flops, 2.0 * shape.kv_heads * shape.group * pairs, local.exps)
        return moved + self._memory_work(shape, tokens, on_vectors=False)

    def chunk_products(self, shape: Shape, tokens: int) -> tuple[Product, ...]:
        """Local attention over half a segment on average, reads of the memory, and what enters it."""
        queries, reach = shape.group * tokens, min(tokens, self.segment)
        values = shape.value_dim + 1
        local = (Product(queries, reach, shape.key_dim), Product(queries, shape.value_dim, reach))
        recalled = (Product(queries, values, shape.key_dim), Product(shape.key_dim, values, tokens))
        return (*local, *recalled, *([Product(tokens, values, shape.key_dim)] if self.delta else []))

    def _grown(self, memory: Memory, tokens: Tokens) -> Memory:
        keys = np.concatenate([memory["keys"], tokens.k], axis=1)
        return {**memory, "keys": keys, "values": np.concatenate([memory["values"], tokens.v], axis=1)}

    def _closed(self, memory: Memory) -> Memory:
        """The memory with its segment taken in, if that is full."""
        if memory["keys"].shape[1] < self.segment:
            return memory
        features, values = elu_features(memory["keys"]), memory["values"]
        if self.delta:
            values = values - self._recalled(memory, features[:, None])[:, 0]
        return {
            "matrix": memory["matrix"] + features.swapaxes(1, 2) @ values,
            "weight": memory["weight"] + features.sum(axis=1),
            "keys": memory["keys"][:, :0],
            "values": memory["values"][:, :0],
        }

    def _mixed(self, memory: Memory, q: Array, visible: Array) -> Array:
        share = 1.0 / (1.0 + math.exp(-self.gate)) if self.gate > -700 else 0.0
        recalled = self._recalled(memory, elu_features(q))
        if memory["keys"].shape[1] == 0:
            return share * recalled
        scores = q @ memory["keys"][:, None].swapaxes(-1, -2) / math.sqrt(q.shape[-1])
        scores = np.where(visible, scores, -np.inf)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        local = weights @ memory["values"][:, None] / weights.sum(axis=-1, keepdims=True)
        mixed: Array = share * recalled + (1.0 - share) * local
        return mixed

    @staticmethod
    def _recalled(memory: Memory, features: Array) -> Array:
        weight = (features @ memory["weight"][:, None, :, None])[..., 0]
        return divided(features @ memory["matrix"][:, None], weight)

    @staticmethod
    def _local_work(shape: Shape, pairs: float) -> Work:
        rows = shape.kv_heads * shape.group * pairs
        return Work(vector_flops=2.0 * rows * (shape.key_dim + shape.value_dim), exps=rows)

    def _memory_work(self, shape: Shape, tokens: int, *, on_vectors: bool) -> Work:
        values = shape.value_dim + 1
        reads = shape.group + 1 + self.delta
        products = 2.0 * shape.kv_heads * tokens * reads * shape.key_dim * values
        exps = float(shape.kv_heads * (shape.group + 1) * tokens * shape.key_dim)
        mixed = 3.0 * shape.kv_heads * shape.group * tokens * shape.value_dim
        return Work(0.0, products + mixed, exps) if on_vectors else Work(products, mixed, exps)
