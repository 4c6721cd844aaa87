"""Scores that depend on keys and values alone, so they can be taken of any subset."""

from __future__ import annotations

import numpy as np

from algorithms.kv.cache import Array, KVCache
from algorithms.kv.score import ScoreState
from algorithms.kv.step import Step


class RowScoreState(ScoreState):
    """A score computed from rows of keys and values."""

    def score_rows(self, keys: Array, values: Array) -> Array:
        """`(heads, n)` from keys `(heads, n, head_dim)` and values `(heads, n, value_dim)`."""
        raise NotImplementedError

    def score(self, step: Step, cache: KVCache) -> Array:
        if cache.uniform:
            return self.score_rows(cache.keys, cache.values)
        scores = np.full((cache.heads, cache.count), -np.inf)
        for row, length in enumerate(cache.lengths):
            one = slice(row, row + 1)
            scores[row, :length] = self.score_rows(cache.keys[one, :length], cache.values[one, :length])[0]
        return scores
