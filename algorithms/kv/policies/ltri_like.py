"""Spans found by local correlation, retrieved by a vote of the heads."""

from __future__ import annotations

import numpy as np

from algorithms.kv import (
    Array,
    IntArray,
    KVCache,
    KVPolicy,
    LayerContext,
    Placement,
    PolicyState,
    Selection,
    Sizes,
    Step,
    Work,
    at_least,
    kv_policy,
    problems_to_error,
    ranking_work,
)
from algorithms.kv.parts.blocks import BlockMemory


@kv_policy("ltri_like")
class LtriLike(KVPolicy):
    """Modelled after Ltri-LLM (Tang et al. 2024, arXiv:2412.04757): semantic spans as the unit of retrieval.

    From the abstract: spans are triangular blobs of the attention map, found by local correlation with
    non-maximum suppression; each has index vectors; heads vote for the spans a query needs. Assumed here,
    because parameters were not found: correlation is the cosine of neighbouring keys averaged over heads; a
    span ends at the smallest cosines that lie at least half a mean span apart; the index is the mean key of
    each KV head; every query head votes for its best spans, ties by summed score; initial and newest tokens
    are always attended.

    Parameters
    ----------
    init, local
        First and newest tokens.
    span
        Mean tokens per span.
    spans
        Spans attended; as many as fit in the budget when None.
    chunk
        Tokens cut into spans at a time, once they have left the window.
    cached
        Spans in the fast tier.
    """

    example = "ltri_like(init=2,local=2,span=2,chunk=2,spans=none,cached=4)"
    needs = frozenset({"keys"})
    heads = "layer"
    action = "place"
    granularity = 32
    requires_budget = False
    init: int = 128
    local: int = 4096
    span: int = 32
    spans: int | None = 64
    chunk: int = 512
    cached: int = 128

    def __post_init__(self) -> None:
        problems_to_error(at_least(self, init=0, local=1, span=2, spans=1, chunk=self.span, cached=1))

    def least_tokens(self) -> int:
        return self.init + self.local + self.chunk + 2 * self.span

    @classmethod
    def sized(cls, sizes: Sizes) -> str:
        block = sizes.block
        of_block = f"init={block},local={sizes.budget // 4},span={max(2, block // 4)}"
        return f"{cls.name}({of_block},spans=none,chunk={block})"

    def start(self, layer: LayerContext) -> PolicyState:
        return _LtriState(self, layer)


class _LtriState(PolicyState):
    policy: LtriLike

    def __init__(self, policy: LtriLike, layer: LayerContext) -> None:
        super().__init__(policy, layer)
        self.bounds: list[int] = [policy.init]
        self._means: list[Array] = []
        self._memory = BlockMemory(layer, layer.placement or Placement(), policy.cached, policy.span)

    def append(self, step: Step, cache: KVCache) -> None:
        chunk = self.policy.chunk
        while cache.count - self.policy.local - self.bounds[-1] >= chunk:
            start = self.bounds[-1]
            keys = np.asarray(cache.keys[:, start : start + chunk], np.float64)
            ends = _span_ends(keys, self.policy.span)
            for first, last in zip([0, *ends], ends, strict=False):
                self._means.append(keys[:, first:last].mean(1))
            self.bounds += [start + end for end in ends]
            elements = chunk * self.layer.shape.kv_heads * self.layer.shape.head_dim
            self.spend(Work("find spans", macs=2 * elements, compares=chunk, barrier="layer"))
            self._memory.write_back(self, len(ends))

    def select(self, step: Step, cache: KVCache) -> Selection | None:
        if step.phase == "prefill" or not self._means:
            return None
        order = self._vote(step)
        chosen = self._fitting(order)
        if len(chosen) == len(self._means):
            return None
        self._memory.fetch(self, [chosen], step)
        mask = np.zeros(cache.count, bool)
        mask[: self.policy.init] = True
        mask[self.bounds[-1] :] = True
        for number in chosen:
            mask[self.bounds[number] : self.bounds[number + 1]] = True
        return Selection.of_mask(mask[None], cache.heads)

    def _vote(self, step: Step) -> IntArray:
        """Spans by votes, then by summed score."""
        shape, known = self.layer.shape, len(self._means)
        means = np.stack(self._means, 1)
        query = step.q.mean(1).reshape(shape.kv_heads, -1, step.q.shape[-1])
        scores = (query @ means.swapaxes(1, 2)).reshape(-1, known)
        each = min(known, self.policy.spans or max(1, known // 4))
        ballots = np.argpartition(-scores, each - 1, axis=1)[:, :each]
        votes = np.bincount(ballots.ravel(), minlength=known)
        self.spend(
            Work(
                "span scores",
                macs=known * shape.query_heads * shape.head_dim,
                read_bytes=known * shape.kv_heads * shape.key_bytes,
                moment="before",
                barrier="layer",
            )
        )
        self.spend(ranking_work("vote", shape.query_heads, known, each, "before", "layer"))
        return np.lexsort((-scores.sum(0), -votes))

    def _fitting(self, order: IntArray) -> list[int]:
        if self.policy.spans is not None:
            return [int(number) for number in order[: self.policy.spans]]
        budget = self.layer.budget
        if budget is None or budget.tokens is None:
            return [int(number) for number in order]
        # between two cuts the open part grows by one chunk
        room = budget.tokens - self.policy.init - self.policy.local - self.policy.chunk
        sizes = np.diff(self.bounds)[order]
        return [int(number) for number in order[: np.searchsorted(np.cumsum(sizes), room, side="right")]]

    def fast_tokens(self, cache: KVCache) -> IntArray:
        held = self.policy.init + cache.count - self.bounds[-1] + self._memory.held() * self.policy.span
        return np.minimum(cache.lengths, held)

    def state_bytes(self, cache: KVCache) -> float:
        return len(self._means) * self.layer.shape.kv_heads * self.layer.shape.key_bytes


def _span_ends(keys: Array, span: int) -> list[int]:
    """Ends of the spans of a chunk `(heads, n, dim)`: the weakest links that are far enough apart, and `n`."""
    n = keys.shape[1]
    unit = keys / np.maximum(np.linalg.norm(keys, axis=-1, keepdims=True), 1e-12)
    link = (unit[:, 1:] * unit[:, :-1]).sum(-1).mean(0)
    ends: list[int] = []
    for at in np.argsort(link, kind="stable") + 1:
        if len(ends) == n // span - 1:
            break
        if min(at, n - at) >= span // 2 and all(abs(at - other) >= span // 2 for other in ends):
            ends.append(int(at))
    return [*sorted(ends), n]
