"""Choosing keys by score: top-k with a tie rule, pooling, unions of keep masks.

Every rule here works on rows `(heads, keys)` whose columns are ascending positions, and ties always go to
the lowest position.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from algorithms.compiled import compiled

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.int64]
Mask = NDArray[np.bool_]

_BINS = 2048
_LARGE = 1 << 15


def top_mask(scores: FloatArray, count: int | IntArray) -> Mask:
    """The `count` highest scores of each row, ties to the lowest column.

    Parameters
    ----------
    scores
        `(rows, keys)`; `-inf` marks keys that must not be chosen.
    count
        One number or one per row; rows with fewer than `count` finite scores give all of them.

    Returns
    -------
    mask : `(rows, keys)` of bool
    """
    rows, keys = scores.shape
    wanted = np.minimum(np.broadcast_to(np.asarray(count, np.int64), (rows,)), keys)
    if keys == 0 or not wanted.any():
        return np.zeros((rows, keys), bool)
    if keys >= _LARGE and scores.dtype == np.float32:
        mask = np.zeros((rows, keys), bool)
        _top_rows(np.ascontiguousarray(scores), np.ascontiguousarray(wanted), mask)
        return mask & (scores > -np.inf)
    threshold = _thresholds(scores, wanted)
    above = scores > threshold
    level = scores == threshold
    missing = wanted[:, None] - above.sum(1, keepdims=True)
    result: Mask = (above | (level & (np.cumsum(level, 1) <= missing))) & (scores > -np.inf)
    return result


def _thresholds(scores: FloatArray, wanted: IntArray) -> FloatArray:
    """Score of the last chosen key of each row `(rows, 1)`; `+inf` where none is wanted."""
    keys = scores.shape[1]
    if (wanted == wanted[0]).all():
        at = keys - int(wanted[0])
        return np.partition(scores, at, axis=1)[:, at, None]
    ordered = np.sort(scores, axis=1)
    at = np.minimum(keys - wanted, keys - 1)
    chosen = np.take_along_axis(ordered, at[:, None], 1)
    return np.where(wanted[:, None] > 0, chosen, np.inf)


@compiled
def _ordered_bits(bits: np.uint32) -> np.uint32:
    """IEEE-754 bits of a float32 as an unsigned integer of the same order; both zeros give the same."""
    if bits > np.uint32(0x80000000):
        return np.uint32(~bits)
    return np.uint32(bits | np.uint32(0x80000000))


@compiled
def _top_rows(scores: FloatArray, wanted: IntArray, mask: Mask) -> None:
    """Radix selection, exact: the threshold is found 11 bits at a time (11 + 11 + 10)."""
    for row in range(scores.shape[0]):
        bits = scores[row].view(np.uint32)
        need = wanted[row]
        if need == 0:
            continue
        prefix = np.uint32(0)
        for level in range(3):
            shift = np.uint32(21 if level == 0 else 10 if level == 1 else 0)
            width = np.uint32(2047 if level < 2 else 1023)
            counts = np.zeros(_BINS, np.int64)
            high = np.uint32(shift + (11 if level < 2 else 10))
            for ii in range(bits.size):
                code = _ordered_bits(bits[ii])
                if level == 0 or (code >> high) == prefix:
                    counts[(code >> shift) & width] += 1
            at = int(width)
            while counts[at] < need:
                need -= counts[at]
                at -= 1
            prefix = np.uint32((prefix << np.uint32(11 if level < 2 else 10)) | np.uint32(at))
        for ii in range(bits.size):
            code = _ordered_bits(bits[ii])
            if code > prefix:
                mask[row, ii] = True
            elif code == prefix and need > 0:
                mask[row, ii] = True
                need -= 1


def keep_by_score(scores: FloatArray, capacity: int | IntArray, protected: Mask | None = None) -> Mask:
    """Protected keys first, then the highest scores, up to `capacity` keys per row.

    When more keys are protected than fit, the newest of them stay.
    """
    if protected is None:
        return top_mask(scores, capacity)
    rows, keys = scores.shape
    protected = np.broadcast_to(protected, (rows, keys)) & (scores > -np.inf)
    room = np.broadcast_to(np.asarray(capacity, np.int64), (rows,))
    newest_rank = np.cumsum(protected[:, ::-1], 1)[:, ::-1]
    safe = protected & (newest_rank <= room[:, None])
    rest = np.where(protected, -np.inf, scores)
    return safe | top_mask(rest, room - safe.sum(1))


def indices_of(mask: Mask) -> tuple[IntArray, IntArray]:
    """Column indices of each row, ascending, padded with 0 to the longest row; and the row lengths."""
    lengths = np.asarray(np.count_nonzero(mask, axis=1))
    longest = int(lengths.max()) if lengths.size else 0
    index = np.zeros((mask.shape[0], longest), np.int64)
    for row, marked in enumerate(mask):
        # row by row, because numpy finds the marks of a one-dimensional mask many times faster
        index[row, : lengths[row]] = np.flatnonzero(marked)
    return index, lengths


def pool(scores: FloatArray, kernel: int, kind: str) -> FloatArray:
    """1-D pooling along the last axis with stride 1 and padding `kernel // 2`, as torch does it.

    Average pooling counts the zero padding in its mean; maximum pooling ignores padding. An even kernel
    gives one column more, as torch does.
    """
    if kernel == 1:
        return scores
    side = kernel // 2
    edge = [(0, 0)] * (scores.ndim - 1) + [(side, side)]
    padding = 0.0 if kind == "avgpool" else -np.inf
    padded = np.pad(scores, edge, constant_values=padding)
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=-1)
    result: FloatArray = windows.mean(-1) if kind == "avgpool" else windows.max(-1)
    return result


def group_reduce(per_query_head: FloatArray, kv_heads: int, how: str) -> FloatArray:
    """Reduction from `(query_heads, ...)` to `(kv_heads, ...)`: ``mean``, ``max`` or ``sum`` over each group."""
    grouped = per_query_head.reshape(kv_heads, -1, *per_query_head.shape[1:])
    if grouped.shape[1] == 1:
        return grouped[:, 0]
    if how == "mean":
        found: FloatArray = grouped.mean(1)
        return found
    result: FloatArray = grouped.max(1) if how == "max" else grouped.sum(1)
    return result
