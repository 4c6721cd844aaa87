"""A key memory with counters, and queries that wait for keys still to come."""

from __future__ import annotations

from typing import Literal

import numpy as np

from algorithms.kv import (
    SCORE_BYTES,
    Array,
    IntArray,
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
    ranking_work,
    top_mask,
)


@kv_policy("attendre_like")
class AttendreLike(KVPolicy):
    """Modelled after Attendre (Yang and Hua 2024, arXiv:2401.04881): eviction by attention.

    From the abstract: a key/value memory with such a rule, and a query memory in which queries wait, so that
    they can attend to keys that come after them. Assumed here, because the insert rule was not found: a key
    counts as attended when it is among the `top` of a step (by probability summed over the step's queries,
    mean over a group); a new key counts as attended when it arrives; the keys of the last step and those
    that waiting queries came with are not evicted.

    Parameters
    ----------
    tokens
        Keys kept; the budget when None.
    rule
        ``fifo``, ``lra`` or ``lfa``.
    top
        Keys of a step that count as attended.
    query_memory
        Queries that wait; 0 answers every query at once.
    """

    example = "attendre_like(top=4)"
    ties = True
    needs = frozenset({"col_sums"})
    unites = False
    tokens: int | None = None
    rule: Literal["fifo", "lra", "lfa"] = "lra"
    top: int = 32
    query_memory: int = 0

    def __post_init__(self) -> None:
        problems_to_error(at_least(self, tokens=self.query_memory + 1, top=1, query_memory=0))

    def fixed_tokens(self) -> int | None:
        return self.tokens

    def least_tokens(self) -> int:
        return self.query_memory + 1

    def start(self, layer: LayerContext) -> ScoreState:
        return _AttendreState(self, layer)


class _AttendreState(ScoreState):
    policy: AttendreLike

    def __init__(self, policy: AttendreLike, layer: LayerContext) -> None:
        super().__init__(policy, layer)
        self._waiting: Array | None = None
        self._positions: IntArray = np.empty(0, np.int64)

    def append(self, step: Step, cache: KVCache) -> None:
        start = cache.count - step.tokens
        self.column(cache, "stamp")[:, start:] = step.index
        self.column(cache, "uses")[:, start:] = 1

    def queries(self, step: Step) -> tuple[Array, IntArray]:
        waiting = step.q if self._waiting is None else np.concatenate([self._waiting, step.q], 1)
        positions = np.concatenate([self._positions, step.positions])
        stay = 0 if step.final else min(self.policy.query_memory, len(positions))
        leave = len(positions) - stay
        self._waiting, self._positions = waiting[:, leave:], positions[leave:]
        return waiting[:, :leave], positions[:leave]

    def observe(self, step: Step, cache: KVCache, seen: Seen) -> None:
        chosen = top_mask(seen.column_sums(cache.count), self.policy.top)
        self.column(cache, "stamp")[chosen] = step.index
        self.column(cache, "uses")[chosen] += 1
        heads, top = self.layer.shape.kv_heads, self.policy.top
        self.spend(ranking_work("attended keys", heads, cache.count, top, "after", "none"))

    def score(self, step: Step, cache: KVCache) -> Array:
        if self.policy.rule == "fifo":
            return cache.positions.astype(np.float64)
        return np.asarray(self.column(cache, "stamp" if self.policy.rule == "lra" else "uses"))

    def protected(self, step: Step, cache: KVCache) -> Mask:
        return newest(cache, max(step.tokens, self.policy.query_memory))

    def state_bytes(self, cache: KVCache) -> float:
        shape = self.layer.shape
        waiting = len(self._positions) * shape.query_heads * shape.head_dim * shape.element_bytes
        return waiting + float(cache.lengths.sum()) * SCORE_BYTES
