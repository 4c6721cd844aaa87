"""Heavy hitters of the prompt, chosen once at its end."""

from __future__ import annotations

import numpy as np

from algorithms.kv import (
    Array,
    KVCache,
    KVPolicy,
    LayerContext,
    Mask,
    ScoreState,
    Seen,
    Sizes,
    Step,
    at_least,
    kv_policy,
    newest,
    problems_to_error,
)


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

    example = "h2o_oneshot(window=3)"
    needs = frozenset({"col_sums"})
    schedule = "prefill"
    tokens: int | None = None
    window: int = 32

    def __post_init__(self) -> None:
        problems_to_error(at_least(self, tokens=self.window + 1, window=0))

    def fixed_tokens(self) -> int | None:
        return self.tokens

    def least_tokens(self) -> int:
        return self.window + 1

    @classmethod
    def sized(cls, sizes: Sizes) -> str:
        return f"{cls.name}(window={sizes.window})"

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
