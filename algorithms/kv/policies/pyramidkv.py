"""SnapKV with more keys in low layers than in high ones."""

from __future__ import annotations

from typing import Literal

from algorithms.kv import KVCache, LayerContext, ScoreState, kv_policy
from algorithms.kv.policies.snapkv import SnapKV, SnapKVState


@kv_policy("pyramidkv")
class PyramidKV(SnapKV):
    """PyramidKV (Cai et al. 2024, arXiv:2406.02069): a budget that falls linearly from layer to layer.

    Parameters
    ----------
    beta
        Steepness: the last layer gets about the mean budget over `beta`.
    variant
        ``kvpress`` (0.5.5) counts the window inside the layer's budget and falls back to an even split when
        the pyramid does not fit; ``factory`` (KVCache-Factory c97f9d7) counts it on top for long prompts.
    """

    example = "pyramidkv(window=2,beta=4)"
    beta: int = 20
    variant: Literal["kvpress", "factory"] = "kvpress"

    def layer_tokens(self, length: int, kept: float, layer: int, layers: int) -> int:
        """Keys of `layer` when `kept` of `length` keys are to stay on average."""
        if self.variant == "factory":
            return self._factory_tokens(length, int(kept), layer, layers)
        low = kept / self.beta
        high = kept * 2 - low
        if high >= length - self.window:
            high = length - self.window
            low = kept * 2 - high
        if not length >= high >= low >= self.window:
            return max(1, round(kept))
        step = (high - low) / (layers - 1) if layers > 1 else 0.0
        return round(high - layer * step)

    def _factory_tokens(self, length: int, cap: int, layer: int, layers: int) -> int:
        past = cap - self.window
        if length < past * 2:
            return min(cap, length)
        low = past // self.beta
        high = past * 2 - low
        if high >= length - self.window:
            high = length - self.window
            low = past * 2 - high
        step = (high - low) // (layers - 1) if layers > 1 else 0
        return high - layer * step + self.window

    def layers_alike(self) -> bool:
        return False

    def start(self, layer: LayerContext) -> ScoreState:
        return _PyramidState(self, layer)


class _PyramidState(SnapKVState):
    policy: PyramidKV

    def capacity(self, cache: KVCache) -> int:
        budget, seen = self.layer.budget, cache.tokens_seen
        if budget is None:
            return super().capacity(cache)
        return self.policy.layer_tokens(seen, budget.keys(seen), self.layer.layer, self.layer.shape.layers)
