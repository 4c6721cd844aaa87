"""XMem's long-term memory: prototypes by usage, and what queries read by distance (arXiv:2207.07115).

A token's first numbers are its key, the others its value. A query reads by squared distance, scaled by a shrinkage and
by channel, a softmax over the nearest keys. Usage of a token is the weight it was read with, over how long it is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from algorithms.state.features.block import Array, FeatureBlock, Held, Items


def nearest_softmax(queries: Array, keys: Array, selection: Array, shrinkage: Array, top: int) -> Array:
    """Weights `(queries, keys)` of the nearest keys: softmax of `-shrinkage sum_c selection_c (k_c - q_c)^2`.

    Parameters
    ----------
    queries, keys
        `(n, width)` and `(m, width)`.
    selection, shrinkage
        `(n, width)` per query and channel, and `(m,)` per key.
    top
        Keys that count; all others have weight zero. Of equal ones the first count.
    """
    distance = (selection[:, None] * (keys[None] - queries[:, None]) ** 2).sum(axis=-1)
    scores = -shrinkage * distance
    places = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    chosen = np.take_along_axis(scores, places, axis=1)
    weights: Array = np.zeros(scores.shape)
    exps = np.exp(chosen - chosen.max(axis=1, keepdims=True))
    np.put_along_axis(weights, places, exps / exps.sum(axis=1, keepdims=True), axis=1)
    return weights


@dataclass(frozen=True)
class Prototypes(FeatureBlock):
    """Tokens of what comes together, chosen by usage and filled from all of them; the least used go when it is full.

    The weights of items are their usage.

    Parameters
    ----------
    chosen
        Prototypes of what comes together.
    tokens
        Most prototypes.
    key
        Numbers of a token that are its key.
    """

    sized: ClassVar[tuple[str, ...]] = ("chosen", "tokens", "key")
    chosen: int
    tokens: int
    key: int

    def start(self, tokens: int, width: int) -> Held:
        return super().start(1, width)

    def push(self, held: Held, items: Items) -> tuple[Held, Items]:
        if not len(items):
            return held, items
        width = items.features.shape[-1]
        flat = items.features.reshape(-1, width)
        usage = np.repeat(items.weights, items.features.shape[1])
        order = np.sort(np.argsort(-usage, kind="stable")[: self.chosen])
        keys = flat[:, : self.key]
        ones = np.ones((len(order), self.key))
        weights = nearest_softmax(keys[order], keys, ones, np.ones(len(flat)), len(flat))
        made = np.concatenate([keys[order], weights @ flat[:, self.key :]], axis=1)
        features = np.concatenate([held["features"], made[:, None]])
        used = np.concatenate([held["weights"], usage[order]])
        best = np.sort(np.argsort(-used, kind="stable")[: self.tokens])
        return {"features": features[best], "weights": used[best]}, items[:0]

    def most_elements(self, tokens: int, width: int) -> int:
        return self.tokens * width
