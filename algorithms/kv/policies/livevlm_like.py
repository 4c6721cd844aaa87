"""A short memory in full, a long one cut evenly over time, pages of it per question."""

from __future__ import annotations

import numpy as np

from algorithms.kv import (
    SCORE_BYTES,
    KVCache,
    KVPolicy,
    LayerContext,
    Mask,
    PolicyState,
    Seen,
    Selection,
    Step,
    Work,
    at_least,
    kv_policy,
    newest,
    problems_to_error,
    ranking_work,
    top_mask,
)


@kv_policy("livevlm_like")
class LiveVLMLike(KVPolicy):
    """Modelled after LiveVLM (Ning et al. 2025, arXiv:2505.15269): vision-sink bucketing and page retrieval.

    From the abstract: recent keys stay in full; older ones are kept per time bucket by attention among
    vision tokens; a question retrieves pages of the long memory, with positions taken off the keys. Assumed
    here, because bucket and page sizes were not found: the share of the short memory, buckets of equal
    length in tokens, attention received from all queries as the metric, equally many keys per bucket, the
    mean key as a page's index, and one list of pages per KV head.

    Parameters
    ----------
    tokens
        Keys kept; the budget when None.
    short_share
        Share of them that is the newest keys.
    buckets
        Time buckets of the long memory.
    page, pages
        Keys per page, and pages attended per question; all when None.
    """

    example = "livevlm_like(buckets=3,page=2)"
    needs = frozenset({"col_sums", "keys"})
    granularity = 16
    tokens: int | None = None
    short_share: float = 0.5
    buckets: int = 8
    page: int = 16
    pages: int | None = None

    def __post_init__(self) -> None:
        problems_to_error(at_least(self, tokens=2, short_share=0, buckets=1, page=1, pages=1))

    def fixed_tokens(self) -> int | None:
        return self.tokens

    def least_tokens(self) -> int:
        return 2

    def start(self, layer: LayerContext) -> PolicyState:
        return _LiveVLMState(self, layer)


class _LiveVLMState(PolicyState):
    policy: LiveVLMLike

    def _short(self, cache: KVCache) -> int:
        return max(1, int(min(1.0, self.policy.short_share) * self.capacity(cache)))

    def select(self, step: Step, cache: KVCache) -> Selection | None:
        p = self.policy
        long_keys = (cache.count - self._short(cache)) // p.page * p.page
        if p.pages is None or step.phase != "decode" or long_keys <= p.pages * p.page:
            return None
        means = np.asarray(cache.keys[:, :long_keys]).reshape(cache.heads, -1, p.page, step.q.shape[-1]).mean(2)
        query = step.q.reshape(cache.heads, -1, step.q.shape[-1]).mean(1)
        chosen = top_mask(np.einsum("hpd,hd->hp", means, query), p.pages)
        mask = np.ones((cache.heads, cache.count), bool)
        mask[:, :long_keys] = np.repeat(chosen, p.page, 1)
        shape, pages = self.layer.shape, long_keys // p.page
        self.spend(
            Work(
                "page scores",
                macs=pages * shape.kv_heads * shape.head_dim,
                read_bytes=pages * shape.kv_heads * shape.key_bytes,
                moment="before",
                barrier="group",
            )
        )
        self.spend(ranking_work("choose pages", shape.kv_heads, pages, p.pages, "before", "none"))
        return Selection.of_mask(mask, cache.heads)

    def observe(self, step: Step, cache: KVCache, seen: Seen) -> None:
        seen.add_column_sums(self.column(cache, "mass"))

    def keep(self, step: Step, cache: KVCache) -> Mask | None:
        capacity = self.capacity(cache)
        if cache.count <= capacity:
            return None
        short = self._short(cache)
        mask = np.broadcast_to(newest(cache, short), (cache.heads, cache.count)).copy()
        room, old = capacity - short, cache.count - short
        mass = self.column(cache, "mass") / np.maximum(cache.tokens_seen - cache.positions, 1)
        # buckets are equal spans of time, wherever their tokens now are
        span = cache.positions[:, old - 1 : old] + 1
        bucket = np.minimum(cache.positions[:, :old] * self.policy.buckets // span, self.policy.buckets - 1)
        best = np.zeros((cache.heads, old), bool)
        share = room // self.policy.buckets
        for number in range(self.policy.buckets):
            best |= top_mask(np.where(bucket == number, mass[:, :old], -np.inf), share)
        rest = np.where(best, -np.inf, mass[:, :old])
        mask[:, :old] = best | top_mask(rest, room - best.sum(1))
        self.spend(ranking_work("choose keys", cache.heads, old, room, "after", "none"))
        return mask

    def state_bytes(self, cache: KVCache) -> float:
        return float(cache.lengths.sum()) * SCORE_BYTES
