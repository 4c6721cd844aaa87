"""Keys the last queries of the prompt attend, smoothed over neighbours."""

from __future__ import annotations

from typing import Literal

import numpy as np

from algorithms.kv import (
    Array,
    KVCache,
    KVPolicy,
    LayerContext,
    Mask,
    ScoreState,
    Sizes,
    Step,
    at_least,
    group_reduce,
    kv_policy,
    newest,
    pool,
    problems_to_error,
)
from algorithms.kv.parts.window import RecentQueries
from hwmodels.reading.errors import Problem


@kv_policy("snapkv")
class SnapKV(KVPolicy):
    """SnapKV (Li et al. 2024, arXiv:2404.14469; FasterDecoding/SnapKV e216ddc, kvpress 0.5.5).

    At the end of the prefill the last `window` queries score all earlier keys: probabilities summed over the
    window, reduced over the query heads of a group, pooled along the sequence. The best are kept together
    with the window. The published code scores every query head for itself and stores keys once per query
    head; give it as many KV heads as query heads to get that.

    Parameters
    ----------
    tokens
        Keys kept, window included; the budget when None.
    window
        Observing queries, whose keys always stay.
    kernel, pooling
        Odd width and kind of the pooling, ``avgpool`` (zero padding counts) or ``maxpool``.
    aggregate
        Reduction over the query heads of a group before pooling: ``mean``, ``max`` or ``sum``.
    """

    example = "snapkv(window=3,kernel=3)"
    needs = frozenset({"window_probs"})
    schedule = "prefill"
    tokens: int | None = None
    window: int = 32
    kernel: int = 5
    pooling: Literal["avgpool", "maxpool"] = "avgpool"
    aggregate: Literal["mean", "max", "sum"] = "mean"

    def __post_init__(self) -> None:
        problems = at_least(self, tokens=self.window + 1, window=1, kernel=1)
        if self.kernel % 2 == 0:
            problems.append(Problem(f"must be odd (got {self.kernel})", field=f"policy.{self.name}.kernel"))
        problems_to_error(problems)

    def fixed_tokens(self) -> int | None:
        return self.tokens

    def least_tokens(self) -> int:
        return self.window + 1

    @classmethod
    def sized(cls, sizes: Sizes) -> str:
        return f"{cls.name}(window={sizes.window})"

    def start(self, layer: LayerContext) -> ScoreState:
        return SnapKVState(self, layer)


class SnapKVState(ScoreState):
    """State of `SnapKV` and of the policies that share its score."""

    policy: SnapKV

    def __init__(self, policy: SnapKV, layer: LayerContext) -> None:
        super().__init__(policy, layer)
        self._recent = RecentQueries(policy.window)

    def append(self, step: Step, cache: KVCache) -> None:
        self._recent.add(step)

    def score(self, step: Step, cache: KVCache) -> Array:
        self.spend(self._recent.work(self.layer, cache))
        per_query_head = self._recent.probabilities(cache)
        per_kv_head = group_reduce(per_query_head, cache.heads, self.policy.aggregate)
        past = cache.count - self.policy.window
        scores = np.zeros((cache.heads, cache.count))
        if past > 0:
            scores[:, :past] = pool(per_kv_head[:, :past], self.policy.kernel, self.policy.pooling)
        return scores

    def protected(self, step: Step, cache: KVCache) -> Mask | None:
        return newest(cache, self.policy.window)

    def state_bytes(self, cache: KVCache) -> float:
        shape = self.layer.shape
        return len(self._recent.positions) * shape.query_heads * shape.head_dim * shape.element_bytes
