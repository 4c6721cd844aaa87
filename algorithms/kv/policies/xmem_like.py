"""A working memory of whole frames, and a long-term memory of potentiated prototypes."""

from __future__ import annotations

import numpy as np

from algorithms.kv import (
    SCORE_BYTES,
    Array,
    KVCache,
    KVPolicy,
    LayerContext,
    Mask,
    PolicyState,
    Seen,
    Step,
    Work,
    at_least,
    kv_policy,
    newest,
    problems_to_error,
    ranking_work,
    top_mask,
)
from hwmodels.reading.errors import Problem


@kv_policy("xmem_like")
class XMemLike(KVPolicy):
    """Modelled after XMem (Cheng and Schwing 2022, arXiv:2207.07115): consolidate by usage, forget the least used.

    Keys outside the working memory compete by usage, the probability they received per query that saw them.
    A key that wins for the first time becomes a prototype: its value is replaced by the mean of the values
    of everything outside the working memory, weighted by the softmax of key similarity (the paper's
    potentiation). The sensory memory, which is recurrent, is left out.

    Parameters
    ----------
    tokens
        Keys kept; the budget when None.
    working_share
        Share of them that is the newest keys, unchanged.
    """

    needs = frozenset({"col_sums", "keys", "values"})
    tokens: int | None = None
    working_share: float = 0.5

    def __post_init__(self) -> None:
        problems = at_least(self, tokens=2, working_share=0)
        if self.working_share > 1:
            problems.append(Problem("must be at most 1", field="policy.xmem_like.working_share"))
        problems_to_error(problems)

    def fixed_tokens(self) -> int | None:
        return self.tokens

    def least_tokens(self) -> int:
        return 2

    def start(self, layer: LayerContext) -> PolicyState:
        return _XMemState(self, layer)


class _XMemState(PolicyState):
    policy: XMemLike

    def observe(self, step: Step, cache: KVCache, seen: Seen) -> None:
        seen.add_column_sums(self.column(cache, "mass"))
        self.column(cache, "queries")[:] += step.tokens

    def keep(self, step: Step, cache: KVCache) -> Mask | None:
        capacity = self.capacity(cache)
        if cache.count <= capacity:
            return None
        working = max(1, int(self.policy.working_share * capacity))
        fresh = np.broadcast_to(newest(cache, working), (cache.heads, cache.count))
        usage = self.column(cache, "mass") / np.maximum(self.column(cache, "queries"), 1)
        chosen = top_mask(np.where(fresh, -np.inf, usage), capacity - working)
        prototype = self.column(cache, "prototype", 0, np.int8)
        first_time = chosen & (prototype == 0)
        self._potentiate(cache, first_time, ~fresh)
        prototype[first_time] = 1
        self.spend(ranking_work("choose prototypes", cache.heads, cache.count - working, capacity, "after", "none"))
        return fresh | chosen

    def _potentiate(self, cache: KVCache, first_time: Mask, candidates: Mask) -> None:
        """New values for keys that become prototypes."""
        if not first_time.any():
            return
        if self.layer.outputs:
            keys, values = (np.asarray(rows, np.float64) for rows in (cache.keys, cache.values))
            mixed = [_mix(keys[head], values[head], first_time[head], candidates[head]) for head in range(cache.heads)]
            cache.replace(first_time, keys[first_time], np.concatenate(mixed))
        shape = self.layer.shape
        pairs = int(sum(a.sum() * b.sum() for a, b in zip(first_time, candidates, strict=True)))
        self.spend(
            Work(
                "potentiate",
                macs=pairs * (shape.head_dim + shape.value_dim),
                exps=pairs,
                read_bytes=float(candidates.sum()) * shape.token_bytes,
                write_bytes=float(first_time.sum()) * shape.value_dim * shape.element_bytes,
            )
        )

    def state_bytes(self, cache: KVCache) -> float:
        return float(cache.lengths.sum()) * 2 * SCORE_BYTES


def _mix(keys: Array, values: Array, chosen: Mask, candidates: Mask) -> Array:
    logits = keys[chosen] @ keys[candidates].T / np.sqrt(keys.shape[1])
    weight = np.exp(logits - logits.max(1, keepdims=True))
    merged: Array = weight @ values[candidates] / weight.sum(1, keepdims=True)
    return merged
