"""Attention of some queries to all keys up to them, forward and backward: rectangles of the triangle of scores.

A chunk of queries that begins at row `first` sees the keys before its end. Gradients of keys and values are those that
this rectangle adds; over all chunks they are those of the whole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from algorithms.state.rule import Product
from algorithms.training.linear import Array


@dataclass(frozen=True)
class Rectangle:
    """Queries `first` to `last` (exclusive) and the keys before `last`.

    Parameters
    ----------
    first, last
        Rows of queries.
    heads, kv_heads
        Query heads, and heads of keys and values that groups of them share.
    """

    first: int
    last: int
    heads: int
    kv_heads: int

    @property
    def pairs(self) -> int:
        """Scores of one head as a matrix array makes them: the whole rectangle."""
        return (self.last - self.first) * self.last

    def forward(self, q: Array, k: Array, v: Array) -> Array:
        """Outputs `(rows, heads * dim)` of queries `(rows, heads * dim)`; keys and values `(last, kv_heads * dim)`."""
        weights = self._weights(q, k)
        return self._joined(weights @ self._by_head(v, self.kv_heads))

    def backward(self, q: Array, k: Array, v: Array, gradient: Array) -> tuple[Array, Array, Array]:
        """Gradients of the queries, and what this rectangle adds to those of the keys and values before `last`."""
        weights = self._weights(q, k)
        queries, keys, values = (
            self._by_head(q, self.heads),
            self._by_head(k, self.kv_heads),
            self._by_head(v, self.kv_heads),
        )
        back = self._by_head(gradient, self.heads)
        of_weights = back @ values.swapaxes(-1, -2)
        of_scores = weights * (of_weights - (of_weights * weights).sum(axis=-1, keepdims=True)) * self._scale(q)
        of_keys = self._shared(of_scores.swapaxes(-1, -2) @ queries)
        of_values = self._shared(weights.swapaxes(-1, -2) @ back)
        return self._joined(of_scores @ keys), of_keys, of_values

    def backward_products(self, dim: int) -> tuple[Product, ...]:
        """Products of a backward pass: scores again, gradients of weights, queries, keys and values."""
        rows, keys = self.last - self.first, self.last
        return (
            Product(rows, keys, dim, self.heads),
            Product(rows, keys, dim, self.heads),
            Product(rows, dim, keys, self.heads),
            Product(keys, dim, rows, self.heads),
            Product(keys, dim, rows, self.heads),
        )

    def _scale(self, q: Array) -> float:
        return 1.0 / math.sqrt(q.shape[1] // self.heads)

    def _weights(self, q: Array, k: Array) -> Array:
        """Softmax of the scores, `(heads, rows, last)`."""
        scores = self._by_head(q, self.heads) @ self._by_head(k, self.kv_heads).swapaxes(-1, -2) * self._scale(q)
        seen = np.arange(self.last) <= np.arange(self.first, self.last)[:, None]
        scores = np.where(seen, scores, -np.inf)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        found: Array = weights / weights.sum(axis=-1, keepdims=True)
        return found

    def _by_head(self, rows: Array, heads: int) -> Array:
        """`(heads, rows, dim)`, KV heads repeated for their queries."""
        split = rows.reshape(len(rows), heads, -1).swapaxes(0, 1)
        return split if heads == self.heads else np.repeat(split, self.heads // heads, axis=0)

    def _joined(self, by_head: Array) -> Array:
        return by_head.swapaxes(0, 1).reshape(by_head.shape[1], -1)

    def _shared(self, by_head: Array) -> Array:
        """Sums over the query heads of each KV head, heads side by side."""
        grouped = by_head.reshape(self.kv_heads, -1, *by_head.shape[1:]).sum(axis=1)
        return self._joined(grouped)


def score_pairs(tokens: int, chunks: int) -> float:
    """Pairs of a causal sequence in equal chunks of queries: `(1 + 1 / chunks) / 2` of the square."""
    return tokens**2 * (1.0 + 1.0 / chunks) / 2.0
