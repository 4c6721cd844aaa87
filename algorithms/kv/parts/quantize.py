"""Low-bit copies of keys and values: group-wise asymmetric quantisation and its bytes."""

from __future__ import annotations

from typing import Literal

import numpy as np

from algorithms.kv.cache import Array

SCALE_BITS = 32
"""A scale and a zero point in 16 bits each, per group."""


def quantize_rows(rows: Array, bits: int, group: int, along: Literal["channel", "token"]) -> Array:
    """`rows` as they come back from `bits` bits.

    Each group's range from minimum to maximum is cut in `2**bits` equal bins, and a number comes back as the
    middle of its bin; levels at the ends of the range would double the spread of a one-bit copy.

    Parameters
    ----------
    rows
        `(heads, tokens, dim)`.
    group
        Numbers that share a scale: `group` tokens of one channel (``channel``, for keys), or `group` channels
        of one token (``token``, for values); the last group may be shorter.
    """
    axis = 1 if along == "channel" else 2
    parts = [
        _round_trip(part, bits, axis) for part in np.array_split(rows, range(group, rows.shape[axis], group), axis)
    ]
    return np.concatenate(parts, axis)


def _round_trip(rows: Array, bits: int, axis: int) -> Array:
    low = rows.min(axis, keepdims=True)
    width = (rows.max(axis, keepdims=True) - low) / 2**bits
    codes = np.floor((rows - low) / np.where(width > 0, width, 1))
    restored: Array = (np.minimum(codes, 2**bits - 1) * width + width / 2 + low).astype(rows.dtype)
    return restored


def low_bit_bytes(elements: int, bits: int, group: int) -> float:
    """Bytes of `elements` numbers in `bits` bits with their share of the scales."""
    return elements * (bits + SCALE_BITS / group) / 8


def compression_ratio(bits: int, group: int, full_bits: int = 16) -> float:
    """Full size over low-bit size: 10.67 for one bit in groups of 64."""
    return full_bits / (bits + SCALE_BITS / group)
