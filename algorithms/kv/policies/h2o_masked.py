"""H2O by masking, as its evaluation scripts do it: nothing is dropped, and one key is overlooked."""

from __future__ import annotations

import numpy as np

from algorithms.kv import (
    SCORE_BYTES,
    Array,
    IntArray,
    KVCache,
    KVPolicy,
    LayerContext,
    Mask,
    PolicyState,
    Seen,
    Selection,
    Step,
    Work,
    at_least,
    indices_of,
    kv_policy,
    newest,
    problems_to_error,
    ranking_work,
    top_mask,
)


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

    needs = frozenset({"col_sums"})
    action = "visible"
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
        seen.add_column_sums(score)
        n, capacity = cache.count, self.capacity(cache)
        recent = capacity - capacity // 2 if self.policy.recent is None else self.policy.recent
        heavy = capacity - recent if self.policy.heavy is None else self.policy.heavy
        keys = int(cache.lengths.sum())
        self.spend(Work("accumulate scores", adds=keys * self.layer.shape.group, read_bytes=2 * keys * SCORE_BYTES))
        if n <= heavy + recent:
            return
        self.spend(ranking_work("choose heavy hitters", cache.heads, n - recent, heavy, "after", "none"))
        seen_before = self.column(cache, "open", 1, np.int8)
        chosen = _best(score, seen_before[:, : n - recent] > 0, heavy)
        rows = np.arange(cache.heads)[:, None]
        kept = score[rows, chosen]
        score[:, : n - recent] = 0.0
        score[rows, chosen] = kept
        seen_before[:] = newest(cache, recent - 1)
        seen_before[rows, chosen] = 1

    def state_bytes(self, cache: KVCache) -> float:
        return float(cache.lengths.sum()) * (SCORE_BYTES + 1 / 8)


def _best(score: Array, candidates: Mask, heavy: int) -> IntArray:
    """Columns of the `heavy` best keys of each row, ascending `(heads, heavy)`.

    Masked keys have score zero, so only unmasked ones can win as long as there are enough of them.
    """
    older = candidates.shape[1]
    if candidates.all() or candidates.sum(1).min() < heavy:
        return indices_of(top_mask(score[:, :older], heavy))[0]
    index, lengths = indices_of(candidates)
    real = np.arange(index.shape[1]) < lengths[:, None]
    scores = np.where(real, np.take_along_axis(score, index, 1), -np.inf)
    best, _ = indices_of(top_mask(scores, heavy))
    return np.take_along_axis(index, best, 1)
