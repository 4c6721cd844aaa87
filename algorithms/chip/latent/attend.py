"""The attention of a block, tile of keys by tile of keys with an online softmax, and the merge of splits; in float64.

Which keys belong to which tile and which tiles to which split is decided here, for values and for timing alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from algorithms.chip.plan.online import OnlineSoftmax, merged
from algorithms.rounding import spans
from algorithms.workload.shape import FloatArray, Mask


def split_spans(tiles: int, splits: int) -> list[range]:
    """Tiles dealt to splits in order, as evenly as it goes; splits that would get none are left out.

    Rows without any tile are one split of nothing, so that their result exists.
    """
    ends = [tiles * (i + 1) // splits for i in range(splits)]
    dealt = [range(first, last) for first, last in zip([0, *ends], ends, strict=False) if last > first]
    return dealt or [range(0)]


@dataclass(frozen=True)
class KeyCuts:
    """Keys per tile, and splits of the tiles."""

    tile_keys: int = 64
    splits: int = 1


def attend(
    pairs: Sequence[tuple[FloatArray, FloatArray]],
    values: FloatArray,
    scale: float,
    mask: Mask,
    cuts: KeyCuts,
    lengths: Sequence[int] | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Attention with scores that are sums over (query part, key part).

    Rows never see each other, so all of them go through the tiles of keys together.

    Parameters
    ----------
    pairs
        Queries `(batch, heads, q_len, width)` with keys `(batch, kv_heads, kv_len, width)`; `kv_heads` divides `heads`
        and may differ from pair to pair (one shared rotary key beside a key per head).
    values
        `(batch, kv_heads, kv_len, v_width)`.
    scale
        Factor on the scores.
    mask
        ``causal`` is aligned so that the last query sees every key of its sequence.
    cuts
        How keys are cut.
    lengths
        Attended keys of each sequence; `kv_len` each when None. What lies behind them is never read.

    Returns
    -------
    out, lse
        `(batch, heads, q_len, v_width)` and `(batch, heads, q_len)`; a row that sees no key gives 0 and ``-inf``.
    """
    batch, heads, q_len = pairs[0][0].shape[:3]
    groups, kv_len, width = values.shape[1:]
    ends = np.full(batch, kv_len) if lengths is None else np.asarray(lengths)
    seen = np.arange(q_len) + 1 + (ends[:, None] - q_len) if mask == "causal" else np.full((batch, q_len), kv_len)
    seen = np.minimum(seen, ends[:, None])[:, None, None, :, None]
    tiles = spans(0, kv_len, cuts.tile_keys)
    parts = []
    for split in split_spans(len(tiles), cuts.splits):
        softmax = OnlineSoftmax((batch, groups, heads // groups * q_len), width)
        for tile in tiles[split.start : split.stop]:
            keys = slice(tile.start, tile.stop)
            scores = scale * np.sum([_grouped(query, key[:, :, keys]) for query, key in pairs], axis=0)
            visible = np.arange(tile.start, tile.stop) < seen
            rows = (batch, groups, heads // groups, q_len, len(tile))
            visible = np.broadcast_to(visible, rows).reshape(batch, groups, -1, len(tile))
            here = np.arange(tile.start, tile.stop)[:, None] < ends[:, None, None, None]
            softmax.update(scores.reshape(visible.shape), np.where(here, values[:, :, keys], 0.0), visible)
        parts.append((softmax.output(), softmax.log_sum_exp()))
    out, lse = merged(np.stack([part[0] for part in parts]), np.stack([part[1] for part in parts]))
    return out.reshape(batch, heads, q_len, width), lse.reshape(batch, heads, q_len)


def _grouped(query: FloatArray, keys: FloatArray) -> FloatArray:
    """Scores `(batch, heads, q_len, keys)` of queries with keys that groups of heads share."""
    batch, heads, q_len, width = query.shape
    groups = keys.shape[1]
    scores = query.reshape(batch, groups, heads // groups * q_len, width) @ keys.swapaxes(-1, -2)
    return scores.reshape(batch, heads, q_len, keys.shape[2])
