"""States of constant size that stand for any number of tokens: `update` takes in, `read` answers."""

from __future__ import annotations

import numpy as np

from algorithms.kv.cache import Array

EPSILON = 1e-9
"""Keeps the read of an empty memory at zero."""


def feature(rows: Array) -> Array:
    """`elu(x) + 1`, positive everywhere (Katharopoulos et al. 2020, arXiv:2006.16236)."""
    return np.where(rows > 0, rows + 1.0, np.exp(np.minimum(rows, 0.0)))


class AssociativeMemory:
    """`M = sum phi(k)^T v` and `z = sum phi(k)` per KV head.

    Parameters
    ----------
    delta
        Whether an update subtracts what the memory already returns for its keys, all at once for a segment.
    """

    def __init__(self, delta: bool = False) -> None:
        self.delta = delta
        self.matrix: Array | None = None
        self.normaliser: Array | None = None

    def update(self, keys: Array, values: Array) -> None:
        """Take in keys `(kv_heads, n, head_dim)` and values `(kv_heads, n, value_dim)`."""
        mapped = feature(keys)
        if self.matrix is None or self.normaliser is None:
            self.matrix = np.zeros((keys.shape[0], keys.shape[2], values.shape[2]))
            self.normaliser = np.zeros((keys.shape[0], keys.shape[2]))
        if self.delta:
            values = values - _recall(mapped, self.matrix, self.normaliser)
        self.matrix = self.matrix + mapped.swapaxes(1, 2) @ values
        self.normaliser = self.normaliser + mapped.sum(1)

    def read(self, q: Array, value_dim: int) -> Array:
        """`(query_heads, m, value_dim)` for queries `(query_heads, m, head_dim)`; zeros while empty."""
        if self.matrix is None or self.normaliser is None:
            return np.zeros((*q.shape[:2], value_dim))
        heads = self.matrix.shape[0]
        grouped = feature(q).reshape(heads, -1, q.shape[2])
        return _recall(grouped, self.matrix, self.normaliser).reshape(*q.shape[:2], value_dim)


def _recall(mapped: Array, matrix: Array, normaliser: Array) -> Array:
    """Values that a memory returns for queries behind their feature map."""
    recalled: Array = (mapped @ matrix) / (mapped @ normaliser[:, :, None] + EPSILON)
    return recalled
