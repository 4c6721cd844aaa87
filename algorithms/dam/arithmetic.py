"""Arithmetic of DAM's units beyond `algorithms.streaming.arithmetic`; shapes are ``(rows, width, ...)``."""

from __future__ import annotations

import numpy as np

from algorithms.streaming.arithmetic import Array, Mask, rescaled_rows, rescaled_sum


def joined(left: Array, right: Array) -> Array:
    """Tokens side by side: vectors of both, or vectors and one number each."""
    return np.concatenate([left, right if right.ndim == left.ndim else right[..., None]], axis=-1)


def row_quotient(rows: Array, sums: Array) -> Array:
    """Rows divided by one number each."""
    return rows / sums[..., None]


def joined_rows(tokens: Array, *, valid: Mask) -> Array:
    """Sum of value rows with rescaling, from tokens (weight, rescale, row of V)."""
    return rescaled_rows(tokens[..., :2], tokens[..., 2:], valid=valid)


def separate_sum(factors: Array, weights: Array, *, valid: Mask) -> Array:
    """Row sum with rescaling, factors and weights in streams of their own."""
    return rescaled_sum(np.stack([weights, factors], axis=-1), valid=valid)


def separate_rows(factors: Array, weights: Array, v: Array, *, valid: Mask) -> Array:
    """Sum of value rows with rescaling, factors and weights in streams of their own."""
    return rescaled_rows(np.stack([weights, factors], axis=-1), v, valid=valid)
