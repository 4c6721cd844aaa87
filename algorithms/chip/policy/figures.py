"""Figures of a step under a KV policy: bytes it keeps, keys it attends, work it spends on deciding."""

from __future__ import annotations

import numpy as np

from algorithms.figures import Figure
from algorithms.kv.cost import StackCost

ORDER = 300
NEAR = Figure("kv.near_bytes", "B", "keys and values kept in the main memory, all layers", goal="min", order=ORDER)
FAR = Figure("kv.far_bytes", "B", "keys and values kept in farther tiers, all layers", order=ORDER)
ATTENDED = Figure(
    "kv.attended", "token", "keys that attention reads per KV head, mean over heads and layers", order=ORDER
)
SCORE_MACS = Figure("kv.score_macs", "", "multiply-adds that the policy spends on deciding, all layers", order=ORDER)
SCORE_BYTES = Figure(
    "kv.score_bytes", "B", "metadata, scores and exported probabilities of the policy, all layers", order=ORDER
)
HIT_RATE = Figure("kv.hit_rate", "", "share of fetched blocks that were in the main memory", order=ORDER)

POLICY_FIGURES = (NEAR, FAR, ATTENDED, SCORE_MACS, SCORE_BYTES, HIT_RATE)


def policy_figures(cost: StackCost, batch: int, memory: str) -> tuple[Figure, ...]:
    """All of them for one step, over all layers and sequences.

    Parameters
    ----------
    memory
        Name of the chip's main memory; all other tiers are farther.
    """
    kept = {tier: float(cost.held(tier).logical_bytes * batch) for tier in cost.tiers}
    exported = [layer.export.column_bytes * layer.export.rows for layer in cost.layers if layer.export is not None]
    return (
        NEAR.of(kept.get(memory, 0.0) if kept else None),
        FAR.of(sum(size for tier, size in kept.items() if tier != memory) if kept else None),
        ATTENDED.of(float(np.mean([layer.attended for layer in cost.layers]))),
        SCORE_MACS.of(float(sum(layer.policy_macs for layer in cost.layers) * batch)),
        SCORE_BYTES.of(
            float(sum(layer.metadata_bytes for layer in cost.layers) * batch) + float(sum(exported) * batch)
        ),
        HIT_RATE.of(cost.hit_rate),
    )
