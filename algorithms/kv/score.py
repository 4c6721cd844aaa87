"""Policies that give every key a score, and the keys that most of them protect."""

from __future__ import annotations

import numpy as np

from algorithms.kv.cache import Array, KVCache
from algorithms.kv.cost import Barrier, Moment, ranking_work
from algorithms.kv.policy import PolicyState
from algorithms.kv.ranking import Mask, keep_by_score
from algorithms.kv.step import Step


class ScoreState(PolicyState):
    """A policy that gives every key a score and keeps the highest."""

    score_moment: Moment = "after"

    def score(self, step: Step, cache: KVCache) -> Array:
        """`(kv_heads or 1, count)`, larger for keys worth keeping."""
        raise NotImplementedError

    def protected(self, step: Step, cache: KVCache) -> Mask | None:
        """`(kv_heads or 1, count)` of keys kept whatever their score."""
        return None

    def keep(self, step: Step, cache: KVCache) -> Mask | None:
        capacity = self.capacity(cache)
        if cache.count <= capacity:
            return None
        scores = self.masked_score(step, cache)
        barrier: Barrier = "layer" if scores.shape[0] == 1 and self.layer.shape.kv_heads > 1 else "none"
        self.spend(ranking_work("choose keys", scores.shape[0], cache.count, capacity, self.score_moment, barrier))
        return keep_by_score(scores, capacity, self.protected(step, cache))

    def masked_score(self, step: Step, cache: KVCache) -> Array:
        """`score`, with `-inf` in unused columns."""
        scores = self.score(step, cache)
        return scores if cache.valid is None else np.where(cache.valid, scores, -np.inf)

    def lifted_score(self, step: Step, cache: KVCache) -> Array:
        """`score` of every head, with protected keys one above the highest score of all, as kvpress does."""
        scores = np.broadcast_to(self.masked_score(step, cache), (cache.heads, cache.count))
        protected = self.protected(step, cache)
        if protected is None:
            return scores.copy()
        return np.where(protected & (scores > -np.inf), scores.max() + 1, scores)


def newest(cache: KVCache, tokens: int) -> Mask:
    """`(kv_heads or 1, count)` of the `tokens` newest keys of each head."""
    ranks = np.arange(cache.count)
    if cache.uniform:
        return (ranks >= cache.count - tokens)[None]
    return ranks >= cache.lengths[:, None] - tokens


def oldest(cache: KVCache, tokens: int) -> Mask:
    """`(1, count)` of the keys that came at one of the first `tokens` positions.

    The first keys of a cache that lost its sinks are not sinks, so positions decide, not ranks.
    """
    return cache.positions < tokens
