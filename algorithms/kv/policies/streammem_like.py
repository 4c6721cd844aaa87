"""Compress a video cache after every clip by a generic query, with one prototype per frame."""

from __future__ import annotations

import numpy as np

from algorithms.kv import (
    Array,
    IntArray,
    KVCache,
    KVPolicy,
    LayerContext,
    Mask,
    PolicyState,
    Sizes,
    Step,
    Work,
    at_least,
    group_reduce,
    kv_policy,
    problems_to_error,
    ranking_work,
    top_mask,
)
from algorithms.kv.parts.window import RecentQueries


@kv_policy("streammem_like")
class StreamMemLike(KVPolicy):
    """Modelled after StreamMem (Yang et al. 2025, arXiv:2508.15717): a fixed budget, cut after every clip.

    From the abstract: near-duplicate frames are dropped, keys are scored by attention from the tokens of the
    chat template as a generic query, the best stay, and each frame keeps a prototype, an attention-weighted
    merge of what it loses. Assumed here, because no code was found: the last `queries` queries stand for
    the template; a frame is a duplicate when its mean key has a cosine above `duplicate` with that of the
    frame before, and then its tokens go first; a prototype takes the place of the best token its frame
    loses; at most a quarter of the budget is prototypes, those of the newest frames; single tokens that come
    between clips gather to the length of a frame before the cache is cut again.

    Parameters
    ----------
    tokens
        Keys kept; the budget when None.
    frame
        Tokens per frame.
    queries
        Observing queries.
    duplicate
        Cosine above which a frame repeats the one before.
    """

    example = "streammem_like(frame=4,queries=3)"
    needs = frozenset({"window_probs", "keys", "values", "grid"})
    tokens: int | None = None
    frame: int = 196
    queries: int = 16
    duplicate: float = 0.95

    def __post_init__(self) -> None:
        problems_to_error(at_least(self, tokens=4, frame=1, queries=1, duplicate=-1))

    def fixed_tokens(self) -> int | None:
        return self.tokens

    def least_tokens(self) -> int:
        return 4

    @classmethod
    def sized(cls, sizes: Sizes) -> str:
        return f"{cls.name}(frame={sizes.frame})"

    def spare_tokens(self) -> int:
        return self.frame - 1

    def start(self, layer: LayerContext) -> PolicyState:
        return _StreamMemState(self, layer)


class _StreamMemState(PolicyState):
    policy: StreamMemLike

    def __init__(self, policy: StreamMemLike, layer: LayerContext) -> None:
        super().__init__(policy, layer)
        self._recent = RecentQueries(policy.queries)
        self._last_mean: Array | None = None

    def append(self, step: Step, cache: KVCache) -> None:
        self._recent.add(step)
        self.column(cache, "mass", 1.0)
        if step.phase != "frame":
            return
        mean = np.asarray(step.k, np.float64).mean(1).ravel()
        if self._last_mean is not None:
            norm = np.linalg.norm(mean) * np.linalg.norm(self._last_mean)
            if norm > 0 and mean @ self._last_mean / norm > self.policy.duplicate:
                self.column(cache, "repeats")[:, cache.count - step.tokens :] = 1
        self._last_mean = mean

    def allowance(self, cache: KVCache) -> int:
        # a clip that has not arrived whole is left alone
        return self.capacity(cache) + self.policy.frame - 1

    def keep(self, step: Step, cache: KVCache) -> Mask | None:
        capacity = self.capacity(cache)
        whole = step.phase != "decode" or cache.count >= capacity + self.policy.frame
        if cache.count <= capacity or not whole:
            return None
        scores = group_reduce(self._recent.probabilities(cache), cache.heads, "mean")
        self._charge(cache, capacity)
        # probabilities are below 2 * queries, so repeated frames rank behind all others
        ranked = scores - 2 * self.policy.queries * np.asarray(self.column(cache, "repeats"))
        frames = cache.positions // self.policy.frame
        mass = self.column(cache, "mass", 1.0)
        kept = np.zeros((cache.heads, cache.count), bool)
        merged = np.zeros_like(kept)
        new_keys, new_values = [], []
        for head in range(cache.heads):
            listed = np.unique(frames[head])[-max(1, capacity // 4) :]
            kept[head] = top_mask(ranked[head][None], capacity - listed.size)[0]
            lost = np.flatnonzero(~kept[head] & (frames[head] >= listed[0]))
            if lost.size == 0:
                continue
            weight = (scores[head, lost] + 1e-12) * mass[head, lost]
            starts = np.flatnonzero(np.diff(frames[head, lost], prepend=-1))
            places = lost[_best_of_each(ranked[head, lost], starts)]
            total = np.add.reduceat(weight, starts)[:, None]
            new_keys.append(np.add.reduceat(weight[:, None] * cache.keys[head, lost], starts) / total)
            new_values.append(np.add.reduceat(weight[:, None] * cache.values[head, lost], starts) / total)
            mass[head, places] = np.add.reduceat(mass[head, lost], starts)
            merged[head, places] = True
        if new_keys:
            cache.replace(merged, np.concatenate(new_keys), np.concatenate(new_values))
        return kept | merged

    def _charge(self, cache: KVCache, capacity: int) -> None:
        shape, keys = self.layer.shape, int(cache.lengths.sum())
        self.spend(self._recent.work(self.layer, cache))
        self.spend(ranking_work("choose keys", cache.heads, cache.count, capacity, "after", "none"))
        lost = keys - capacity * cache.heads
        width = shape.head_dim + shape.value_dim
        self.spend(Work("merge prototypes", macs=lost * width, read_bytes=lost * shape.token_bytes))


def _best_of_each(scores: Array, starts: IntArray) -> IntArray:
    """Index of the first maximum of every segment that begins at `starts`."""
    segment = np.repeat(np.arange(starts.size), np.diff(starts, append=scores.size))
    best = np.flatnonzero(scores == np.maximum.reduceat(scores, starts)[segment])
    return best[np.unique(segment[best], return_index=True)[1]]
