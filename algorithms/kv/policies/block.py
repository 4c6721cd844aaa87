"""Compress block by block instead of once: the schedule of KeyDiff's paper around any key score."""

from __future__ import annotations

import numpy as np

from algorithms.kv import (
    KVCache,
    LayerContext,
    Mask,
    PolicyState,
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
from algorithms.kv.parts.rowscore import RowScoreState
from hwmodels.reading.errors import InputError, Problem


@kv_policy("block")
class Block(Wrapper):
    """Block-wise iterative compression (kvpress 0.5.5 `BlockPress`; arXiv:2504.15364).

    The first `capacity` keys are held; every further block of `tokens` keys joins them and the best
    `capacity` of both stay. Unlike the published wrapper, candidates are scored in order of position.

    Parameters
    ----------
    base
        Policy whose score is used; it must depend on keys and values alone.
    tokens
        Block length.
    """

    example = "keydiff | block(4)"
    tokens: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        problems_to_error(at_least(self, tokens=1))

    @classmethod
    def sized(cls, sizes: Sizes) -> str:
        return f"keydiff | {cls.name}({sizes.block})"

    def start(self, layer: LayerContext) -> PolicyState:
        base = self.base.start(layer)
        if not isinstance(base, RowScoreState):
            raise InputError(
                Problem(f"block needs a score of keys and values alone, which {self.base.name} does not have")
            )
        return _BlockState(self, layer, base)


class _BlockState(WrapperState):
    policy: Block
    base: RowScoreState

    def keep(self, step: Step, cache: KVCache) -> Mask | None:
        capacity = self.capacity(cache)
        if cache.count <= capacity:
            return None
        mask = np.zeros((cache.heads, cache.count), bool)
        for row, length in enumerate(cache.lengths):
            mask[row, self._survivors(cache, row, int(length), capacity)] = True
        return mask

    def _survivors(self, cache: KVCache, row: int, length: int, capacity: int) -> np.ndarray:
        kept = np.arange(min(capacity, length))
        for start in range(capacity, length, self.policy.tokens):
            block = np.arange(start, min(start + self.policy.tokens, length))
            candidates = np.concatenate([kept, block])
            keys, values = cache.keys[row, candidates], cache.values[row, candidates]
            scores = self.base.score_rows(keys[None], values[None])
            kept = candidates[top_mask(scores, capacity)[0]]
            self._charge(len(candidates), capacity)
        return kept

    def _charge(self, candidates: int, capacity: int) -> None:
        shape = self.layer.shape
        read = candidates * shape.key_bytes
        self.spend(Work("block scores", macs=2 * candidates * shape.head_dim, read_bytes=read))
        self.spend(ranking_work("choose keys", 1, candidates, capacity, "after", "none"))
