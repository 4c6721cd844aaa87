"""Heavy hitters of the prompt, chosen once at its end."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from algorithms.kv.cache import Array, KVCache
from algorithms.kv.policy import (
    KVPolicy,
    LayerContext,
    Need,
    Schedule,
    ScoreState,
    Seen,
    Step,
    at_least,
    newest,
    problems_to_error,
)
from algorithms.kv.ranking import Mask
from algorithms.kv.registry import kv_policy


@kv_policy("h2o_oneshot")
class H2OOneShot(KVPolicy):
    """Column sums of the whole causal matrix, then the best outside a window (KVCache-Factory c97f9d7).

    Parameters
    ----------
    tokens
        Keys kept, window included; the budget when None.
    window
        Newest keys, always kept.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"col_sums"})
    schedule: ClassVar[Schedule] = "prefill"
    tokens: int | None = None
    window: int = 32

    def __post_init__(self) -> None:
        problems_to_error(at_least(self, tokens=self.window + 1, window=0))

    def fixed_tokens(self) -> int | None:
        return self.tokens

    def least_tokens(self) -> int:
        return self.window + 1

    def start(self, layer: LayerContext) -> ScoreState:
        return _OneShotState(self, layer)


class _OneShotState(ScoreState):
    policy: H2OOneShot

    def observe(self, step: Step, cache: KVCache, seen: Seen) -> None:
        seen.add_column_sums(self.column(cache, "mass"))

    def score(self, step: Step, cache: KVCache) -> Array:
        return np.asarray(self.column(cache, "mass"))

    def protected(self, step: Step, cache: KVCache) -> Mask | None:
        return newest(cache, self.policy.window)
