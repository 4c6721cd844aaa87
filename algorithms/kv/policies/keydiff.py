"""Keep keys that differ most from the average key."""

from __future__ import annotations

import numpy as np

from algorithms.kv import Array, KVCache, KVPolicy, LayerContext, Step, Work, at_least, kv_policy, problems_to_error
from algorithms.kv.parts.rowscore import RowScoreState


@kv_policy("keydiff")
class KeyDiff(KVPolicy):
    """Lowest cosine to the mean of the unit keys (Park et al. 2025, arXiv:2504.15364; kvpress 0.5.5).

    The paper compresses block by block: ``keydiff | block(128)``.

    Parameters
    ----------
    tokens
        Keys kept; the budget when None.
    """

    needs = frozenset({"keys"})
    schedule = "prefill"
    synthetic_evaluable = False
    tokens: int | None = None

    def __post_init__(self) -> None:
        problems_to_error(at_least(self, tokens=1))

    def fixed_tokens(self) -> int | None:
        return self.tokens

    def start(self, layer: LayerContext) -> RowScoreState:
        return _KeyDiffState(self, layer)


class _KeyDiffState(RowScoreState):
    def score_rows(self, keys: Array, values: Array) -> Array:
        keys = keys.astype(np.float64)
        unit = keys / np.maximum(np.linalg.norm(keys, axis=-1, keepdims=True), 1e-12)
        anchor = unit.mean(1, keepdims=True)
        anchor /= np.maximum(np.linalg.norm(anchor, axis=-1, keepdims=True), 1e-12)
        score: Array = -(unit * anchor).sum(-1)
        return score

    def score(self, step: Step, cache: KVCache) -> Array:
        shape, keys = self.layer.shape, int(cache.lengths.sum())
        # mean of the unit keys, then one dot product per key; both pass over the keys once
        self.spend(Work("key similarity", macs=2 * keys * shape.head_dim, read_bytes=keys * shape.key_bytes))
        return super().score(step, cache)
