"""Pages whose key bounds promise a high score for the present query."""

from __future__ import annotations

import numpy as np

from algorithms.kv import (
    Array,
    KVCache,
    KVPolicy,
    LayerContext,
    PolicyState,
    Selection,
    Sizes,
    Step,
    Work,
    at_least,
    kv_policy,
    newest,
    problems_to_error,
    ranking_work,
    top_mask,
)
from algorithms.kv.parts.pages import PageBounds, page_tokens_mask


@kv_policy("quest")
class Quest(KVPolicy):
    """Quest (Tang et al. 2024, arXiv:2406.10774; mit-han-lab/Quest 01c1623, KVCache-Factory c97f9d7).

    Every page keeps the elementwise minimum and maximum of its keys; `sum_c max(q_c min_c, q_c max_c)` is an
    upper bound of `q.k` in the page. The pages with the highest bound (mean over the query heads of a
    group) and the newest tokens are attended; all keys stay. Prefills are dense.

    Parameters
    ----------
    page
        Tokens per page.
    pages
        Pages attended; as many as fit in the budget when None.
    recent
        Newest tokens, always attended.
    """

    example = "quest(page=3,recent=3)"
    needs = frozenset({"keys"})
    granularity = 16
    action = "visible"
    page: int = 16
    pages: int | None = None
    recent: int = 16

    def __post_init__(self) -> None:
        problems_to_error(at_least(self, page=1, pages=1, recent=1))

    def fixed_tokens(self) -> int | None:
        return None if self.pages is None else self.pages * self.page + self.recent

    def least_tokens(self) -> int:
        return self.page + self.recent

    @classmethod
    def sized(cls, sizes: Sizes) -> str:
        part = sizes.part(4, 16)
        return f"{cls.name}(page={part},recent={part})"

    def start(self, layer: LayerContext) -> PolicyState:
        return QuestState(self, layer)


class QuestState(PolicyState):
    """State of the policy in one layer."""

    policy: Quest

    def __init__(self, policy: Quest, layer: LayerContext) -> None:
        super().__init__(policy, layer)
        self._bounds = PageBounds(policy.page)

    def append(self, step: Step, cache: KVCache) -> None:
        if cache.count > self.policy.recent:
            self._bounds.of(cache.keys[:, : cache.count - self.policy.recent])

    def page_scores(self, q: Array, cache: KVCache) -> Array:
        """`(kv_heads, pages)` upper bounds for queries `(query_heads, m, head_dim)`, summed over `m`."""
        low, high = self._bounds.of(cache.keys[:, : cache.count - self.policy.recent])
        grouped = q.reshape(cache.heads, -1, q.shape[-1])
        best = np.maximum(grouped, 0) @ high.swapaxes(1, 2)
        best += np.minimum(grouped, 0) @ low.swapaxes(1, 2)
        found: Array = best.sum(1) * (cache.heads / q.shape[0])
        return found

    def select(self, step: Step, cache: KVCache) -> Selection | None:
        page, recent = self.policy.page, self.policy.recent
        prefix = cache.count - recent
        pages = self.policy.pages or (self.capacity(cache) - recent) // page
        if step.phase == "prefill" or prefix <= pages * page:
            return None
        scores = self.page_scores(step.q, cache)
        self._charge(step, scores.shape[1], pages)
        mask = page_tokens_mask(top_mask(scores, pages), page, prefix, cache.count)
        return Selection.of_mask(mask | newest(cache, recent), cache.heads)

    def _charge(self, step: Step, pages: int, kept: int) -> None:
        shape = self.layer.shape
        rows = shape.query_heads * step.tokens
        self.spend(
            Work(
                "page bounds",
                macs=2 * pages * shape.head_dim * rows,
                read_bytes=2 * pages * shape.key_bytes * shape.kv_heads,
                serial_depth=(shape.head_dim - 1).bit_length(),
                moment="before",
                barrier="group" if shape.group > 1 else "none",
            )
        )
        self.spend(ranking_work("choose pages", shape.kv_heads, pages, kept, "before", "none"))

    def state_bytes(self, cache: KVCache) -> float:
        pages = -(-cache.lengths // self.policy.page)
        return 2 * float(pages.sum()) * self.layer.shape.key_bytes
