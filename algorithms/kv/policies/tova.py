"""Keep what the newest query attends, one list for all heads."""

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
    Step,
    at_least,
    kv_policy,
    newest,
    problems_to_error,
)


@kv_policy("tova")
class Tova(KVPolicy):
    """Token omission via attention (Oren et al. 2024, arXiv:2401.06104; schwartz-lab-NLP/TOVA 9c7d09b).

    After every pass the keys with the highest probability for the last query stay, averaged over all query
    heads of the layer; the newest key may leave.

    Parameters
    ----------
    tokens
        Keys kept; the budget when None.
    force_last
        Keep the newest key whatever its probability, as kvpress does.
    """

    needs = frozenset({"last_probs"})
    heads = "layer"
    tokens: int | None = None
    force_last: bool = False

    def __post_init__(self) -> None:
        problems_to_error(at_least(self, tokens=1))

    def fixed_tokens(self) -> int | None:
        return self.tokens

    def start(self, layer: LayerContext) -> ScoreState:
        return _TovaState(self, layer)


class _TovaState(ScoreState):
    policy: Tova
    _mean: Array

    def observe(self, step: Step, cache: KVCache, seen: Seen) -> None:
        self._mean = seen.last_probabilities(cache.count).mean(0, keepdims=True)

    def score(self, step: Step, cache: KVCache) -> Array:
        return np.asarray(self._mean)

    def protected(self, step: Step, cache: KVCache) -> Mask | None:
        return newest(cache, 1) if self.policy.force_last else None
