"""Small keys attract attention: keep those with the lowest norm."""

from __future__ import annotations

import numpy as np

from algorithms.kv import (
    SCORE_BYTES,
    Array,
    KVCache,
    KVPolicy,
    LayerContext,
    Mask,
    Step,
    Work,
    at_least,
    kv_policy,
    problems_to_error,
)
from algorithms.kv.parts.rowscore import RowScoreState


@kv_policy("knorm", aliases=("l2norm",))
class KNorm(KVPolicy):
    """Keep the keys with the lowest L2 norm (Devoto et al. 2024, arXiv:2406.11430; kvpress 0.5.5).

    Rests on a correlation that trained models show and synthetic streams do not. The norm of a key is
    computed once and stored.

    Parameters
    ----------
    tokens
        Keys kept; the budget when None.
    skip_layers
        Layers that keep everything (KVCache-Factory's L2Norm skips the first two).
    """

    needs = frozenset({"keys"})
    schedule = "prefill"
    synthetic_evaluable = False
    tokens: int | None = None
    skip_layers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        problems_to_error(at_least(self, tokens=1))

    def fixed_tokens(self) -> int | None:
        return self.tokens

    def layers_alike(self) -> bool:
        return not self.skip_layers

    def start(self, layer: LayerContext) -> RowScoreState:
        return _KNormState(self, layer)


class _KNormState(RowScoreState):
    policy: KNorm

    def append(self, step: Step, cache: KVCache) -> None:
        norms = self.column(cache, "norm")
        new = self.score_rows(step.k, step.v)
        for row, length in enumerate(cache.lengths):
            norms[row, length - step.tokens : length] = new[row]
        shape = self.layer.shape
        rows = shape.kv_heads * step.tokens
        self.spend(Work("key norms", macs=rows * shape.head_dim, write_bytes=rows * SCORE_BYTES, moment="before"))

    def score_rows(self, keys: Array, values: Array) -> Array:
        score: Array = -np.linalg.norm(keys.astype(np.float64), axis=-1)
        return score

    def score(self, step: Step, cache: KVCache) -> Array:
        return np.asarray(self.column(cache, "norm"))

    def keep(self, step: Step, cache: KVCache) -> Mask | None:
        return None if self.layer.layer in self.policy.skip_layers else super().keep(step, cache)

    def capacity(self, cache: KVCache) -> int:
        return cache.count if self.layer.layer in self.policy.skip_layers else super().capacity(cache)

    def state_bytes(self, cache: KVCache) -> float:
        return float(cache.lengths.sum()) * SCORE_BYTES
