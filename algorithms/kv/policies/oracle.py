"""The keys the query is about to attend most: the upper reference of every comparison."""

from __future__ import annotations

import numpy as np

from algorithms.kv import (
    KVCache,
    KVPolicy,
    LayerContext,
    PolicyState,
    Selection,
    Step,
    at_least,
    kv_policy,
    problems_to_error,
    top_mask,
)
from algorithms.kv.parts.window import query_pass
from algorithms.kv.run.attention import Visible, attend


@kv_policy("oracle", aliases=("topk",))
class Oracle(KVPolicy):
    """Selection of the keys with the highest probability for the present query, out of everything that ever came.

    Not a method but a bound: it needs the scores it is meant to save. Several queries of one step share a
    list, chosen by their summed probabilities; so do the query heads of a group.

    Parameters
    ----------
    tokens
        Keys seen; the budget when None.
    """

    action = "visible"
    tokens: int | None = None

    def __post_init__(self) -> None:
        problems_to_error(at_least(self, tokens=1))

    def fixed_tokens(self) -> int | None:
        return self.tokens

    def start(self, layer: LayerContext) -> PolicyState:
        return _OracleState(self, layer)


class _OracleState(PolicyState):
    def select(self, step: Step, cache: KVCache) -> Selection | None:
        capacity = self.capacity(cache)
        if cache.count <= capacity or step.phase == "prefill":
            return None
        self.spend(query_pass("oracle scores", self.layer.shape, step.tokens, int(cache.lengths.sum())))
        group = step.q.shape[0] // cache.heads
        if group == 1 and step.tokens == 1:
            # one query: the order of the logits is the order of the probabilities
            scores = (step.q @ cache.keys.swapaxes(1, 2))[:, 0]
        else:
            visible = Visible(cache.keys, cache.values, cache.positions, cache.valid)
            attended = attend(step.q, step.positions, visible, causal=step.causal, column_sums=True)
            scores = attended.asked_sums.reshape(cache.heads, group, -1).mean(1)
        if cache.valid is not None:
            scores = np.where(cache.valid, scores, -np.inf)
        return Selection.of_mask(top_mask(scores, capacity), cache.heads)
