"""A fixed number of slots that attend to what comes: semantic attention, recurrent tokens, gated units."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from algorithms.state.features.block import Array, FeatureBlock, Held, Items, kept


def attended(queries: Array, keys: Array, values: Array, heads: int = 1) -> Array:
    """Softmax attention of queries `(n, width)` to keys and values `(m, width)`, by heads side by side."""
    out = np.empty((len(queries), values.shape[1]))
    for q, k, v, o in zip(*(np.split(each, heads, axis=1) for each in (queries, keys, values, out)), strict=True):
        scores = q @ k.T / math.sqrt(q.shape[1])
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        o[:] = weights @ v / weights.sum(axis=1, keepdims=True)
    return out


@dataclass(frozen=True)
class SemanticAttention(FeatureBlock):
    """Slots that move towards what they attend to, a share of the way (abstract memory, arXiv:2406.08085).

    The first tokens that come are the first slots; further ones of the same push already move them.

    Parameters
    ----------
    slots
        Number of slots, a token each.
    momentum
        Share of a slot that stays.
    """

    sized: ClassVar[tuple[str, ...]] = ("slots",)
    slots: int
    momentum: float = 0.9

    def push(self, held: Held, items: Items) -> tuple[Held, Items]:
        features = held["features"]
        width = items.features.shape[-1]
        for item in items.features:
            slots = features.reshape(-1, width)
            room = self.slots - len(slots)
            slots, rest = np.concatenate([slots, item[:room]]), item[room:]
            if len(rest):
                slots = self.momentum * slots + (1.0 - self.momentum) * attended(slots, rest, rest)
            features = slots[:, None]
        return {"features": features, "weights": np.ones(len(features))}, items[:0]

    def start(self, tokens: int, width: int) -> Held:
        return super().start(1, width)

    def most_elements(self, tokens: int, width: int) -> int:
        return self.slots * width


@dataclass(frozen=True, eq=False)
class RecurrentTokens(FeatureBlock):
    """Memory tokens that read themselves and each segment: `m + attention(m, [m; segment])` (arXiv:2409.01071).

    (Bridge layers of VideoLLaMB; with one slot reader Memformer's, arXiv:2010.06891.)

    Parameters
    ----------
    projections
        `(4, width, width)`: for queries, keys, values and outputs.
    slots
        Memory tokens.
    heads
        Heads that share the width.
    """

    sized: ClassVar[tuple[str, ...]] = ("slots", "heads")
    projections: Array
    slots: int
    heads: int = 1

    def start(self, tokens: int, width: int) -> Held:
        """Slots that differ: the sines of their number."""
        angles = np.arange(1, self.slots + 1)[:, None] * np.arange(1, width + 1) / width
        return kept(Items.of(np.sin(angles)[:, None]))

    def push(self, held: Held, items: Items) -> tuple[Held, Items]:
        slots = held["features"][:, 0]
        for segment in items.features:
            seen = np.concatenate([slots, segment])
            to_q, to_k, to_v, to_out = self.projections
            slots = slots + attended(slots @ to_q, seen @ to_k, seen @ to_v, self.heads) @ to_out
        return {"features": slots[:, None], "weights": held["weights"] + len(items)}, items

    def most_elements(self, tokens: int, width: int) -> int:
        return self.slots * width


@dataclass(frozen=True, eq=False)
class Sensory(FeatureBlock):
    """A gated recurrent unit per token: what XMem keeps of every frame (arXiv:2207.07115); frames go on unchanged.

    Parameters
    ----------
    weights
        `(3, 2 * width, width)`: for the update gate, the reset gate and the new content, of [frame, state].
    """

    weights: Array

    def start(self, tokens: int, width: int) -> Held:
        return kept(Items.of(np.zeros((1, tokens, width))))

    def push(self, held: Held, items: Items) -> tuple[Held, Items]:
        state = held["features"][0]
        for frame in items.features:
            both = np.concatenate([frame, state], axis=1)
            update, reset = (1.0 / (1.0 + np.exp(-both @ weights)) for weights in self.weights[:2])
            new = np.tanh(np.concatenate([frame, reset * state], axis=1) @ self.weights[2])
            state = (1.0 - update) * state + update * new
        return {"features": state[None], "weights": held["weights"] + len(items)}, items

    def most_elements(self, tokens: int, width: int) -> int:
        return tokens * width
