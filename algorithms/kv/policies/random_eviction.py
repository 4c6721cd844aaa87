"""Random eviction: the lower reference of every comparison."""

from __future__ import annotations

import numpy as np

from algorithms.kv import (
    Array,
    KVCache,
    KVPolicy,
    LayerContext,
    ScoreState,
    Step,
    at_least,
    kv_policy,
    problems_to_error,
)


@kv_policy("random")
class RandomEviction(KVPolicy):
    """Keep a uniformly random subset of the tokens seen so far.

    Every token draws one number when it arrives and the largest stay (reservoir sampling by random keys,
    Efraimidis and Spirakis 2006), so at any time each subset is equally likely. Draws are tied to the
    head's label.

    Parameters
    ----------
    tokens
        Tokens kept; the budget when None.
    """

    tokens: int | None = None

    def __post_init__(self) -> None:
        problems_to_error(at_least(self, tokens=1))

    def fixed_tokens(self) -> int | None:
        return self.tokens

    def start(self, layer: LayerContext) -> ScoreState:
        return _RandomState(self, layer)


class _RandomState(ScoreState):
    def __init__(self, policy: KVPolicy, layer: LayerContext) -> None:
        super().__init__(policy, layer)
        self._generators = [layer.generator(head) for head in layer.heads]

    def append(self, step: Step, cache: KVCache) -> None:
        drawn = self.column(cache, "draw")
        for row, generator in enumerate(self._generators):
            length = cache.lengths[row]
            drawn[row, length - step.tokens : length] = generator.random(step.tokens)

    def score(self, step: Step, cache: KVCache) -> Array:
        return np.asarray(self.column(cache, "draw"))
