"""Oracles beyond plain attention, float64 NumPy from the definitions: latent attention and compressive memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from reference.truth.oracle import FloatArray, Mask, attention


def latent_attention(
    q_nope: ArrayLike,
    q_rope: ArrayLike,
    latent: ArrayLike,
    rope_key: ArrayLike,
    w_uk: ArrayLike,
    w_uv: ArrayLike,
    *,
    mask: Mask = "causal",
) -> tuple[FloatArray, FloatArray]:
    """Multi-head latent attention as defined: keys and values of every head made in full (arXiv:2405.04434, 2.1.2).

    Parameters
    ----------
    q_nope, q_rope
        `(batch, heads, q_len, d_nope)` and `(batch, heads, q_len, d_rope)`, rotated already.
    latent, rope_key
        `(batch, kv_len, latent)` and `(batch, kv_len, d_rope)`; the rotary key is shared by all heads.
    w_uk, w_uv
        `(heads, latent, d_nope)` and `(heads, latent, d_v)`.
    mask
        As in `reference.truth.oracle.attention`.

    Returns
    -------
    out, lse
        `(batch, heads, q_len, d_v)` and `(batch, heads, q_len)`; scores are scaled by `1/sqrt(d_nope + d_rope)`.
    """
    q_nope, q_rope, latent, rope_key, w_uk, w_uv = (
        np.asarray(x, dtype=np.float64) for x in (q_nope, q_rope, latent, rope_key, w_uk, w_uv)
    )
    heads = q_nope.shape[1]
    keys = np.einsum("blc,hcd->bhld", latent, w_uk)
    values = np.einsum("blc,hcd->bhld", latent, w_uv)
    rotary = np.repeat(rope_key[:, None], heads, axis=1)
    q, k = np.concatenate([q_nope, q_rope], axis=-1), np.concatenate([keys, rotary], axis=-1)
    return attention(q, k, values, mask=mask)


def compressive_attention(
    q: ArrayLike, k: ArrayLike, v: ArrayLike, *, segment: int, gate: ArrayLike, delta: bool = False
) -> FloatArray:
    """Infini-attention (arXiv:2404.07143): causal attention inside a segment, memory of the segments before it.

    The linear rule is computed in its quadratic form, every query against every earlier key, without any memory; the
    delta rule has no such form and is computed token by token.

    Parameters
    ----------
    q, k, v
        `(batch, heads, length, d)`, `(batch, heads, length, d)`, `(batch, heads, length, d_v)`.
    segment
        Tokens per segment; the last one may be shorter.
    gate
        `(heads,)`: `sigmoid(gate)` is the share of the memory in the output.
    delta
        Write only what reading the keys does not return yet.

    Returns
    -------
    out
        `(batch, heads, length, d_v)`.

    Raises
    ------
    ValueError
        A segment below 1.
    """
    if segment < 1:
        raise ValueError(f"segment must be at least 1 (got {segment})")
    q, k, v = (np.asarray(x, dtype=np.float64) for x in (q, k, v))
    # The sigmoid through tanh, which cannot overflow.
    share = 0.5 * (1.0 + np.tanh(0.5 * np.asarray(gate, dtype=np.float64)))[:, None, None]
    length = q.shape[-2]
    local = np.zeros((*q.shape[:-1], v.shape[-1]))
    for start in range(0, length, segment):
        tokens = slice(start, start + segment)
        local[..., tokens, :] = attention(q[..., tokens, :], k[..., tokens, :], v[..., tokens, :], mask="causal")[0]
    recall = _delta_recall if delta else _linear_recall
    out: FloatArray = share * recall(_positive(q), _positive(k), v, segment) + (1.0 - share) * local
    return out


def _linear_recall(phi_q: FloatArray, phi_k: FloatArray, v: FloatArray, segment: int) -> FloatArray:
    """Average of all values of earlier segments, weighted by the products of features."""
    part = np.arange(phi_q.shape[-2]) // segment
    weights = np.where(part[None, :] < part[:, None], phi_q @ np.swapaxes(phi_k, -1, -2), 0.0)
    total = weights.sum(axis=-1, keepdims=True)
    weighted = weights @ v
    recalled: FloatArray = np.divide(weighted, total, out=np.zeros_like(weighted), where=total > 0)
    return recalled


def _delta_recall(phi_q: FloatArray, phi_k: FloatArray, v: FloatArray, segment: int) -> FloatArray:
    """The delta rule for one head and one token after the other."""
    recalled = np.zeros((*phi_q.shape[:-1], v.shape[-1]))
    for batch, head in np.ndindex(*phi_q.shape[:2]):
        queries, keys, values = phi_q[batch, head], phi_k[batch, head], v[batch, head]
        matrix, normaliser = np.zeros((keys.shape[1], values.shape[1])), np.zeros(keys.shape[1])
        for start in range(0, len(queries), segment):
            tokens = range(start, min(start + segment, len(queries)))
            for i in tokens:
                recalled[batch, head, i] = _read(queries[i], matrix, normaliser)
            written = [np.outer(keys[i], values[i] - _read(keys[i], matrix, normaliser)) for i in tokens]
            matrix = matrix + np.sum(written, axis=0)
            normaliser = normaliser + keys[list(tokens)].sum(axis=0)
    return recalled


def _read(phi: FloatArray, matrix: FloatArray, normaliser: FloatArray) -> FloatArray:
    weight = phi @ normaliser
    return np.asarray(phi @ matrix / weight) if weight > 0 else np.zeros(matrix.shape[1])


def _positive(x: FloatArray) -> FloatArray:
    """The feature map `elu(x) + 1`."""
    return np.where(x > 0, x + 1.0, np.exp(np.minimum(x, 0.0)))
