"""Evict frame tokens by attention mass, with the budget shared out over layers."""

from __future__ import annotations

from typing import Literal

import numpy as np

from algorithms.kv import (
    Array,
    CacheShape,
    KVCache,
    KVPolicy,
    LayerContext,
    Mask,
    PolicyState,
    Seen,
    Sizes,
    Step,
    Work,
    at_least,
    kv_policy,
    problems_to_error,
    ranking_work,
    top_mask,
)


@kv_policy("evict3r")
class Evict3R(KVPolicy):
    """Evict3R (Mahdi et al. 2025, arXiv:2509.17650; soroush-mim/evict3r 164fac4), for streaming 3-D vision.

    A frame's tokens see each other. The column sums of the head-mean probabilities, times the number of
    keys, add up in a score; a counter says how often a key was seen. Over the cap of a layer the keys with
    the lowest score per exposure go, one list for all heads. Caps follow `softmax(-variance / temperature)`
    over the layers, where the variance is that of the column sums. The first frame and the first `special`
    tokens of each frame are protected, and nothing is dropped on the first and the last frame.

    The published cap is ``P * frames_total * layers * frame * share``, which presumes that the length of the
    stream is known. In tokens per layer that is a budget of ``P * frames_total * frame``; give it as such.

    Parameters
    ----------
    tokens
        Mean budget per layer; the budget when None.
    frame, special
        Tokens per frame, and how many of them are protected.
    temperature
        Temperature of the softmax over layers.
    accumulator
        Precision of the score; the published code uses float16.
    """

    example = "evict3r(frame=4,special=1)"
    needs = frozenset({"col_sums", "grid"})
    heads = "model"
    tokens: int | None = None
    frame: int = 1041
    special: int = 5
    temperature: float = 0.5
    accumulator: Literal["float16", "float32", "float64"] = "float32"

    def __post_init__(self) -> None:
        problems_to_error(at_least(self, tokens=1, frame=1, special=0, temperature=1e-9))

    def fixed_tokens(self) -> int | None:
        return self.tokens

    def share(self, shape: CacheShape) -> object:
        return LayerShares(shape.layers, self.temperature)

    def layers_alike(self) -> bool:
        return False

    @classmethod
    def sized(cls, sizes: Sizes) -> str:
        return f"{cls.name}(frame={sizes.frame})"

    def start(self, layer: LayerContext) -> PolicyState:
        return _Evict3RState(self, layer)


class LayerShares:
    """Reports of the layers to each other in one step.

    Parameters
    ----------
    layers
        Number of layers.
    temperature
        Temperature of the softmax.
    """

    def __init__(self, layers: int, temperature: float) -> None:
        self.variances = np.zeros(layers, np.float32)
        self._temperature = temperature

    def shares(self) -> Array:
        """Share of each layer `(layers,)`, adding up to 1."""
        logits = -self.variances.astype(np.float64) / self._temperature
        weights = np.exp(logits - logits.max())
        found: Array = weights / weights.sum()
        return found


class _Evict3RState(PolicyState):
    policy: Evict3R

    def __init__(self, policy: Evict3R, layer: LayerContext) -> None:
        super().__init__(policy, layer)
        shared, layers = layer.shared, layer.shape.layers
        self._shares = shared if isinstance(shared, LayerShares) else LayerShares(layers, policy.temperature)
        self._dtype = np.dtype(policy.accumulator)

    def observe(self, step: Step, cache: KVCache, seen: Seen) -> None:
        sums = seen.column_sums(cache.count).mean(0).astype(np.float32)
        self._shares.variances[self.layer.layer] = sums.var()
        score = self.column(cache, "score", 0.0, self._dtype)
        if step.final:
            return
        score[:] += (sums * np.float32(cache.count)).astype(self._dtype)
        self.column(cache, "exposures")[:] += 1
        fresh = cache.count - step.tokens
        first = cache.tokens_seen <= self.policy.frame
        protected = step.tokens if first else min(self.policy.special, step.tokens - 1)
        score[:, fresh : fresh + protected] = np.inf
        self._charge(cache, step)

    def capacity(self, cache: KVCache) -> int:
        """The layer's share of the budget; the first frame is never cut."""
        mean = super().capacity(cache)
        layers = self.layer.shape.layers
        # the published code truncates the number of keys to drop, counted from all that ever came
        over = cache.tokens_seen - mean * layers * float(self._shares.shares()[self.layer.layer])
        return cache.tokens_seen - int(over)

    def keep(self, step: Step, cache: KVCache) -> Mask | None:
        capacity = self.capacity(cache)
        if step.final or cache.count <= capacity:
            return None
        score = self.column(cache, "score", 0.0, self._dtype)[:1].astype(np.float32)
        exposures = self.column(cache, "exposures")[:1].astype(np.float32) + np.float32(1e-6)
        self.spend(ranking_work("choose keys", 1, cache.count, capacity, "after", "model"))
        return top_mask(score / exposures, capacity)

    def _charge(self, cache: KVCache, step: Step) -> None:
        keys, shape = cache.count, self.layer.shape
        self.spend(
            Work(
                "exposure scores",
                macs=keys,
                adds=keys * (shape.query_heads * step.tokens + 2),
                read_bytes=keys * (self._dtype.itemsize + 8),
                write_bytes=keys * (self._dtype.itemsize + 8),
                barrier="layer",
            )
        )

    def state_bytes(self, cache: KVCache) -> float:
        return float(cache.count) * (self._dtype.itemsize + 8)
