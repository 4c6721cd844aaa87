"""Keep whole chunks of neighbouring tokens: ChunkKV around any score."""

from __future__ import annotations

import numpy as np

from algorithms.kv import (
    Array,
    KVCache,
    LayerContext,
    Mask,
    PolicyState,
    ScoreState,
    Sizes,
    Step,
    Work,
    Wrapper,
    WrapperState,
    at_least,
    kv_policy,
    problems_to_error,
    ranking_work,
    top_mask,
)
from hwmodels.reading.errors import InputError, Problem


@kv_policy("chunk", aliases=("chunkkv",))
class Chunk(Wrapper):
    """Chunk-wise selection (Liu et al. 2025, arXiv:2502.00299; kvpress 0.5.5), one list for all heads.

    A chunk's score is the mean over its tokens of the scores summed over heads. A share is counted in chunks
    (``int(chunks * share)``, as kvpress does); a budget in tokens keeps the whole chunks that fit, and the
    best tokens when not even one does. Fewer keys than one chunk are left to the base.

    Parameters
    ----------
    base
        Policy whose score is used.
    tokens
        Chunk length.
    """

    example = "h2o_oneshot(window=2) | chunk(3)"
    heads = "layer"
    tokens: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        problems_to_error(at_least(self, tokens=1))

    @classmethod
    def sized(cls, sizes: Sizes) -> str:
        return f"snapkv(window={sizes.window}) | {cls.name}(20)"

    def start(self, layer: LayerContext) -> PolicyState:
        base = self.base.start(layer)
        if not isinstance(base, ScoreState):
            raise InputError(Problem(f"chunk needs a policy with a score, and {self.base.name} has none"))
        return _ChunkState(self, layer, base)


class _ChunkState(WrapperState):
    policy: Chunk
    base: ScoreState

    def keep(self, step: Step, cache: KVCache) -> Mask | None:
        capacity = self.capacity(cache)
        if cache.count <= capacity:
            return None
        length = self.policy.tokens
        if cache.count < length:
            return self.base.keep(step, cache)
        scores = self.base.lifted_score(step, cache).sum(0)
        chunks = -(-cache.count // length)
        kept = self._chunks_kept(cache, capacity, chunks)
        self.spend(Work("chunk means", adds=cache.heads * cache.count, barrier="layer"))
        if kept == 0:
            return top_mask(scores[None], capacity)
        self.spend(ranking_work("choose chunks", 1, chunks, kept, "after", "layer"))
        chosen = top_mask(_chunk_means(scores, length)[None], kept)[0]
        return np.repeat(chosen, length)[None, : cache.count]

    def _chunks_kept(self, cache: KVCache, capacity: int, chunks: int) -> int:
        budget = self.layer.budget
        if budget is not None and budget.fraction_kept is not None:
            return max(1, int(chunks * budget.fraction_kept))
        return capacity // self.policy.tokens


def _chunk_means(scores: Array, length: int) -> Array:
    whole = len(scores) // length * length
    means = scores[:whole].reshape(-1, length).mean(1)
    return means if whole == len(scores) else np.append(means, scores[whole:].mean())
