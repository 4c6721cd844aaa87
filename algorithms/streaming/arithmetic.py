"""The mathematics of the streaming pipelines, vectorised over rows; shapes are ``(rows, width, ...)``.

Where queries share a pass, a row is a pass and a score token has one score per query.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def row_dot(q: Array, k: Array, scale: float) -> Array:
    """Dot products of row tokens, shape ``(rows, width)``.

    A query row that is one token repeated against keys that all rows share is a matrix product.
    """
    if q.strides[1] == 0 and k.strides[0] == 0:
        found: Array = q[:, 0] @ k[0].T * scale
        return found
    result: Array = np.einsum("rnd,rnd->rn", q, k) * scale
    return result


def block_dot(q: Array, k: Array, scale: float) -> Array:
    """Dot products of the queries of a pass, ``(rows, 1 or width, queries, head_dim)``, with its keys, ``(rows, width,
    head_dim)``; shape ``(rows, width, queries)``."""
    return (q[:, 0] @ k.swapaxes(1, 2) * scale).swapaxes(1, 2)


def row_sum(values: Array, *, valid: Mask) -> Array:
    """Sum over the real tokens of each row."""
    result: Array = np.where(_as_wide(valid, values), values, 0.0).sum(axis=1)
    return result


def row_max(values: Array, *, valid: Mask) -> Array:
    """Maximum over the real tokens of each row."""
    result: Array = np.where(_as_wide(valid, values), values, -np.inf).max(axis=1)
    return result


def _as_wide(valid: Mask, values: Array) -> Mask:
    """The mask widened to every element of a token."""
    return valid.reshape(valid.shape + (1,) * (values.ndim - valid.ndim))


def weighted_blocks(weights: Array, v: Array, *, valid: Mask) -> Array:
    """Sum of value rows by the weights of every query of a pass, shape ``(rows, queries, v_head_dim)``."""
    return np.where(_as_wide(valid, weights), weights, 0.0).swapaxes(1, 2) @ v


def weighted_rows(weights: Array, v: Array, *, valid: Mask) -> Array:
    """Sum of value rows by weight, shape ``(rows, v_head_dim)``."""
    weights = np.where(valid, weights, 0.0)
    if v.strides[0] == 0:
        found: Array = weights @ v[0]
        return found
    result: Array = np.einsum("rn,rnd->rd", weights, v)
    return result


def weighted_scalars(weights: Array, v: Array, *, valid: Mask, elements: int) -> Array:
    """Weighted sums from scalar tokens, ``(rows, width * elements)`` each; shape ``(rows, elements)``."""
    products = np.where(valid, weights * v, 0.0)
    result: Array = products.reshape(len(products), -1, elements).sum(axis=1)
    return result


def online_softmax(scores: Array, *, valid: Mask) -> Array:
    """Running maximum as pairs (weight, rescale), shape ``(rows, width, 2)``.

    For score s with running maximum m: weight = exp(s - m), rescale = exp(m_before - m), which is 0 for the first
    (Milakov and Gimelshein 2018, arXiv:1805.02867). What a row sums up so far is multiplied by the rescale factor.
    """
    scores = np.where(valid, scores, -np.inf)
    running = np.maximum.accumulate(scores, axis=1)
    before = np.concatenate([np.full((len(scores), 1), -np.inf), running[:, :-1]], axis=1)
    return np.stack([np.exp(scores - running), np.exp(before - running)], axis=-1)


def rescaled_weights(pairs: Array, valid: Mask) -> Array:
    """Weights after all later rescale factors of the row: what an accumulator with rescaling adds up."""
    rescale = np.where(valid, pairs[..., 1], 1.0)
    later = np.cumprod(rescale[:, :0:-1], axis=1)[:, ::-1]
    last = np.ones((len(rescale), 1))
    result: Array = np.where(valid, pairs[..., 0], 0.0) * np.concatenate([later, last], axis=1)
    return result


def rescaled_sum(pairs: Array, *, valid: Mask) -> Array:
    """Row sum of the weights with rescaling."""
    result: Array = rescaled_weights(pairs, valid).sum(axis=1)
    return result


def rescaled_rows(pairs: Array, v: Array, *, valid: Mask) -> Array:
    """Sum of value rows with rescaling, shape ``(rows, v_head_dim)``."""
    return weighted_rows(rescaled_weights(pairs, valid), v, valid=valid)


def rescaled_scalars(pairs: Array, v: Array, *, valid: Mask, elements: int) -> Array:
    """Rescaled sums from scalar tokens, every pair repeated ``elements`` times; shape ``(rows, elements)``."""
    weights = rescaled_weights(pairs[:, ::elements], valid[:, ::elements])
    values = np.where(valid, v, 0.0).reshape(len(v), -1, elements)
    result: Array = (weights[..., None] * values).sum(axis=1)
    return result
