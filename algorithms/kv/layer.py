"""Words for what a policy is, and the place in a model where a state of it lives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from algorithms.kv.budget import KVBudget
from algorithms.kv.cost import CacheShape
from algorithms.kv.placement import Placement

Need = Literal["keys", "values", "last_probs", "col_sums", "window_probs", "logits", "grid", "modality"]
"""Things that a policy looks at; a fused attention kernel keeps none of the probabilities."""

HeadScope = Literal["each", "group", "layer", "model"]
"""Whose keys are decided together: each KV head alone, its query group, all heads, all layers."""

Action = Literal["visible", "evict", "place"]
"""Whether keys are hidden, dropped, or kept in a lower tier."""

Schedule = Literal["step", "prefill"]
"""Moment at which keys are dropped: whenever there are too many, or once at the end of the prefill."""

Exactness = Literal["exact", "bounded", "lossy"]


@dataclass(frozen=True)
class LayerContext:
    """Place in a model where a policy state lives.

    Parameters
    ----------
    shape
        Cache shape of the heads it decides for.
    layer
        Layer number from 0.
    budget
        Keys that may stay; None when the policy never drops.
    heads
        Labels of the KV heads; randomness is tied to them.
    seed
        Seed of everything random.
    tag
        Prefix of its per-key columns.
    placement
        Tiers, for policies that keep keys in a lower one.
    shared
        Object common to all layers of policies that decide for the whole model.
    outputs
        Whether attention outputs are computed, or only costs.
    """

    shape: CacheShape
    layer: int = 0
    budget: KVBudget | None = None
    heads: tuple[int, ...] = ()
    seed: int = 0
    tag: str = ""
    placement: Placement | None = None
    shared: object = None
    outputs: bool = True

    def generator(self, *labels: int) -> np.random.Generator:
        """A random stream that depends on the seed, the layer and `labels` alone."""
        return np.random.default_rng([self.seed, self.layer, *labels])
