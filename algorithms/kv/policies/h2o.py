"""Heavy hitters by accumulated attention, and a recent window."""

from __future__ import annotations

import numpy as np

from algorithms.kv import (
    SCORE_BYTES,
    Array,
    KVCache,
    KVPolicy,
    LayerContext,
    Mask,
    ScoreState,
    Seen,
    Step,
    Work,
    at_least,
    kv_policy,
    newest,
    problems_to_error,
)
from hwmodels.reading.errors import InputError, Problem


@kv_policy("h2o", aliases=("h2o_real_drop",))
class H2O(KVPolicy):
    """Heavy-hitter oracle with real eviction (Zhang et al. 2023, arXiv:2306.14048; FMInference/H2O ac75c2a).

    Every pass adds its probability columns (summed over queries, mean over the query heads of a group) to
    the score of each resident key. The newest keys stay, and of the older ones those with the highest
    score; a dropped key loses its score.

    Parameters
    ----------
    heavy, recent
        Keys of either kind; halves of the budget when both are None, the rest of it when one is.
    """

    needs = frozenset({"col_sums"})
    heavy: int | None = None
    recent: int | None = None

    def __post_init__(self) -> None:
        problems_to_error(at_least(self, heavy=0, recent=0))
        if self.heavy == 0 and self.recent == 0:
            raise InputError(Problem("heavy and recent cannot both be 0", field="policy.h2o"))

    def fixed_tokens(self) -> int | None:
        return None if self.heavy is None or self.recent is None else self.heavy + self.recent

    def least_tokens(self) -> int:
        return max(1, (self.recent or 0) + (self.heavy or 0))

    def window(self, capacity: int) -> int:
        """Recent keys when `capacity` keys fit."""
        if self.recent is not None:
            return self.recent
        return capacity - (capacity // 2 if self.heavy is None else self.heavy)

    def start(self, layer: LayerContext) -> ScoreState:
        return _H2OState(self, layer)


class _H2OState(ScoreState):
    policy: H2O

    def observe(self, step: Step, cache: KVCache, seen: Seen) -> None:
        seen.add_column_sums(self.column(cache, "score"))
        keys = int(cache.lengths.sum())
        self.spend(
            Work(
                "accumulate scores",
                adds=keys * self.layer.shape.group * step.tokens,
                read_bytes=keys * SCORE_BYTES,
                write_bytes=keys * SCORE_BYTES,
                serial_depth=1,
                barrier="group" if self.layer.shape.group > 1 else "none",
            )
        )

    def score(self, step: Step, cache: KVCache) -> Array:
        return np.asarray(self.column(cache, "score"))

    def protected(self, step: Step, cache: KVCache) -> Mask | None:
        return newest(cache, self.policy.window(self.capacity(cache)))

    def state_bytes(self, cache: KVCache) -> float:
        return float(cache.lengths.sum()) * SCORE_BYTES
