"""H2O by masking, as its evaluation scripts do it: nothing is dropped, and one key is overlooked."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from algorithms.kv_cache import KVCache
from algorithms.kv_cost import SCORE_BYTES, Work, ranking
from algorithms.kv_policy import (
    Action,
    KVPolicy,
    LayerContext,
    Need,
    PolicyState,
    Seen,
    Selection,
    Step,
    at_least,
    newest,
    problems_to_error,
)
from algorithms.kv_ranking import top_mask
from algorithms.kv_registry import kv_policy


@kv_policy("h2o_masked")
class H2OMasked(KVPolicy):
    """Heavy hitters by a mask over the full cache (FMInference/H2O ac75c2a, `utils_hh`).

    Differs from `h2o` in more than storage: after a pass over `n` keys the next query sees the new key, the
    `recent - 1` before it, and the `heavy` best of the keys before `n - recent`. The key at `n - recent` is in
    neither part for that one step. A masked key keeps its place but loses its score.

    Parameters
    ----------
    heavy, recent
        Keys of either kind; halves of the budget when None.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"col_sums"})
    action: ClassVar[Action] = "visible"
    heavy: int | None = None
    recent: int | None = None

    def __post_init__(self) -> None:
        problems_to_error(at_least(self, heavy=0, recent=1))

    def fixed_tokens(self) -> int | None:
        return None if self.heavy is None or self.recent is None else self.heavy + self.recent

    def start(self, layer: LayerContext) -> PolicyState:
        return _MaskedState(self, layer)


class _MaskedState(PolicyState):
    policy: H2OMasked

    def select(self, step: Step, cache: KVCache) -> Selection | None:
        # keys appended since the last pass have the fill value: open
        seen = self.column(cache, "open", 1, np.int8) > 0
        return None if seen.all() else Selection.of_mask(seen, cache.heads)

    def observe(self, step: Step, cache: KVCache, seen: Seen) -> None:
        score = self.column(cache, "score")
        score += seen.column_sums(cache.count)
        n, capacity = cache.count, self.capacity(cache)
        recent = capacity - capacity // 2 if self.policy.recent is None else self.policy.recent
        heavy = capacity - recent if self.policy.heavy is None else self.policy.heavy
        keys = int(cache.lengths.sum())
        self.spend(Work("accumulate scores", adds=keys * self.layer.shape.group, read_bytes=2 * keys * SCORE_BYTES))
        if n <= heavy + recent:
            return
        self.spend(ranking("choose heavy hitters", cache.heads, n - recent, heavy, "after", "none"))
        chosen = np.zeros((cache.heads, n), bool)
        chosen[:, : n - recent] = top_mask(score[:, : n - recent], heavy)
        self.column(cache, "open", 1, np.int8)[:] = chosen | newest(cache, recent - 1)
        score[~(chosen | newest(cache, recent))] = 0.0

    def state_bytes(self, cache: KVCache) -> float:
        return float(cache.lengths.sum()) * (SCORE_BYTES + 1 / 8)
