"""Mean attention each key received from the queries that could see it."""

from __future__ import annotations

import numpy as np

from algorithms.kv import (
    Array,
    KVCache,
    KVPolicy,
    LayerContext,
    ScoreState,
    Seen,
    Step,
    at_least,
    kv_policy,
    problems_to_error,
)


@kv_policy("observed_attention")
class ObservedAttention(KVPolicy):
    """Column mean of the causal attention matrix, chosen once at the end of the prefill (kvpress 0.5.5).

    The score of key `j` among `n` tokens is its probability summed over queries, over `n - j`, mean over the
    query heads of a group.

    Parameters
    ----------
    tokens
        Keys kept; the budget when None.
    """

    needs = frozenset({"col_sums"})
    schedule = "prefill"
    tokens: int | None = None

    def __post_init__(self) -> None:
        problems_to_error(at_least(self, tokens=1))

    def fixed_tokens(self) -> int | None:
        return self.tokens

    def start(self, layer: LayerContext) -> ScoreState:
        return _ObservedState(self, layer)


class _ObservedState(ScoreState):
    def observe(self, step: Step, cache: KVCache, seen: Seen) -> None:
        seen.add_column_sums(self.column(cache, "mass"))

    def score(self, step: Step, cache: KVCache) -> Array:
        exposures = np.maximum(cache.tokens_seen - cache.positions, 1)
        return np.asarray(self.column(cache, "mass")) / exposures
