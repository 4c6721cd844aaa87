"""Helpers for caches that hold frames of a fixed number of tokens."""

from __future__ import annotations

import numpy as np

from algorithms.kv.cache import Array
from algorithms.kv.layer import LayerContext

_POOLS = ((3, 7), (2, 5), (1, 3), (0, 1))
"""Dimensions and width of the average pooling in each quarter of the layers (InfiniPot-V)."""


def adaptive_pool(scores: Array, layer: LayerContext, frame: int, rows: int) -> Array:
    """Average `scores` `(heads, frames * frame)` over neighbouring patches, less in higher layers.

    The lowest quarter of the layers pools over time and both directions of the frame (width 7), the next
    over the frame (5), the next along the token order (3), the last not at all. Zero padding counts.
    """
    quarter = min(3, layer.layer * len(_POOLS) // max(1, layer.shape.layers))
    dimensions, width = _POOLS[quarter]
    if dimensions == 0:
        return scores
    heads = scores.shape[0]
    shaped = scores if dimensions == 1 else scores.reshape(heads, -1, rows, frame // rows)
    side = width // 2
    axes = tuple(range(shaped.ndim - dimensions, shaped.ndim))
    padded = np.pad(shaped, [(side, side) if axis in axes else (0, 0) for axis in range(shaped.ndim)])
    for axis in axes:
        padded = np.lib.stride_tricks.sliding_window_view(padded, width, axis=axis).mean(-1)
    return padded.reshape(heads, -1)
