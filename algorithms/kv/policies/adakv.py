"""Heads of a layer compete for one budget."""

from __future__ import annotations

from typing import Literal

import numpy as np

from algorithms.kv import (
    Array,
    IntArray,
    KVCache,
    LayerContext,
    Mask,
    PolicyState,
    ScoreState,
    Sizes,
    Step,
    Wrapper,
    WrapperState,
    at_least,
    kv_policy,
    problems_to_error,
    ranking_work,
    top_mask,
)
from hwmodels.reading.errors import InputError, Problem


@kv_policy("adakv")
class AdaKV(Wrapper):
    """Adaptive budgets per head (Feng et al. 2024, arXiv:2407.11550) around any score.

    ``kvpress`` (0.5.5): every head is sure of its best ``max(1, int(capacity * floor))`` keys, the rest goes
    to the highest scores of the layer; together exactly `heads * capacity` keys stay. ``original``
    (KVCache-Factory c97f9d7, after FFY0/AdaKV): outside the protected window, head capacities are
    ``round(won * (1 - floor) + int(room * floor))``, so the total is right to one key per head. `normalize`
    scales a head's scores by the share of its mass that its top keys hold.

    Parameters
    ----------
    base
        Policy whose score is used.
    floor
        Share of the budget each head is sure of.
    variant, normalize
        Variant of the rule, and whether scores are normalised, see above.
    """

    example = "snapkv(window=2,kernel=3) | adakv"
    heads = "layer"
    floor: float = 0.2
    variant: Literal["kvpress", "original"] = "kvpress"
    normalize: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        problems = at_least(self, floor=0)
        if self.floor > 1:
            problems.append(Problem(f"must be at most 1 (got {self.floor})", field="policy.adakv.floor"))
        problems_to_error(problems)

    @classmethod
    def sized(cls, sizes: Sizes) -> str:
        return f"snapkv(window={sizes.window}) | {cls.name}"

    def start(self, layer: LayerContext) -> PolicyState:
        base = self.base.start(layer)
        if not isinstance(base, ScoreState):
            raise InputError(Problem(f"adakv needs a policy with a score, and {self.base.name} has none"))
        return AdaState(self, layer, base)


class AdaState(WrapperState):
    """State of the policy in one layer."""

    policy: AdaKV
    base: ScoreState

    def keep(self, step: Step, cache: KVCache) -> Mask | None:
        capacity = self.capacity(cache)
        if cache.lengths.sum() <= capacity * cache.heads:
            return None
        keys = int(cache.lengths.sum())
        self.spend(ranking_work("choose keys of the layer", 1, keys, capacity * cache.heads, "after", "layer"))
        if self.policy.variant == "kvpress":
            return self._with_floor(self.base.lifted_score(step, cache), capacity)
        return self._shared_out(step, cache)

    def _with_floor(self, scores: Array, capacity: int) -> Mask:
        safe = int(capacity * self.policy.floor)
        if self.policy.floor > 0:
            safe = max(1, safe)
        lifted = np.where(top_mask(scores, safe), np.finfo(scores.dtype).max, scores)
        return top_mask(lifted.reshape(1, -1), scores.shape[0] * capacity).reshape(scores.shape)

    def contest(self, step: Step, cache: KVCache) -> tuple[Mask, Array, Array, int]:
        """Scores that heads compete with in the ``original`` variant.

        Returns
        -------
        window : `(heads, n)` of protected keys
        past : their scores, `-inf` for protected keys
        weighted : `past` as it enters the contest
        room : keys per head outside the window
        """
        scores = np.broadcast_to(self.base.masked_score(step, cache), (cache.heads, cache.count))
        protected = self.base.protected(step, cache)
        protected = np.zeros(scores.shape, bool) if protected is None else protected
        window = np.broadcast_to(protected, scores.shape)
        past = np.where(window, -np.inf, scores)
        room = self.capacity(cache) - int(window[0].sum())
        weight = np.ones((cache.heads, 1))
        if self.policy.normalize:
            mass = np.where(np.isfinite(past), past, 0)
            best = np.where(top_mask(past, room), mass, 0)
            weight = best.sum(1, keepdims=True) / mass.sum(1, keepdims=True)
        return window, past, np.where(np.isfinite(past), past * weight, -np.inf), room

    def sizes(self, won: IntArray, room: int) -> IntArray:
        """Keys of each head outside the window, from the places it won; rounded in single precision."""
        share = won.astype(np.float32) * np.float32(1 - self.policy.floor)
        return np.round(share + np.float32(int(room * self.policy.floor))).astype(np.int64)

    def _shared_out(self, step: Step, cache: KVCache) -> Mask:
        window, past, weighted, room = self.contest(step, cache)
        won = top_mask(weighted.reshape(1, -1), cache.heads * room).reshape(past.shape).sum(1)
        return window | top_mask(past, self.sizes(won, room))
