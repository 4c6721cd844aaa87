"""Attention in float64 NumPy, unfused and written to be read: what every other implementation is held to.

    out = softmax(scale * q k^T + mask) v          lse = log(sum(exp(scale * q k^T + mask)))

Conventions: causal masks are aligned to the bottom right (the last query sees every key), as in
FlashAttention 2.1 and later, so a query row with no visible key exists when ``q_len > kv_len``; such a row
gives ``out = 0`` and ``lse = -inf``, which makes it the neutral element of `merge`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Mask = Literal["full", "causal"] | BoolArray


def attention(
    q: ArrayLike,
    k: ArrayLike,
    v: ArrayLike,
    *,
    mask: Mask = "full",
    scale: float | None = None,
    window: int | None = None,
    sinks: int = 0,
) -> tuple[FloatArray, FloatArray]:
    """Exact attention of grouped query heads, with the log-sum-exp of every row.

    Parameters
    ----------
    q
        `(..., heads, q_len, d)`.
    k
        `(..., kv_heads, kv_len, d)`; `heads` is a multiple of `kv_heads`.
    v
        `(..., kv_heads, kv_len, d_v)`.
    mask
        ``"full"``, ``"causal"`` or a boolean array (True is visible) that broadcasts to
        `(..., heads, q_len, kv_len)`.
    scale
        Factor on the scores; `1/sqrt(d)` when None.
    window
        Each query sees only the newest `window` keys, its own included (see `visible_keys`).
    sinks
        The first `sinks` keys stay visible outside the window.

    Returns
    -------
    out
        float64, `(..., heads, q_len, d_v)`.
    lse
        float64, `(..., heads, q_len)`, natural logarithm.

    Raises
    ------
    ValueError
        Shapes that do not fit together, an unknown mask, a window below 1, a negative sink count.
    """
    q, k, v = (np.asarray(tensor, dtype=np.float64) for tensor in (q, k, v))
    check_shapes(q.shape, k.shape, v.shape)
    heads, q_len, head_dim = q.shape[-3:]
    group = heads // k.shape[-3]
    keys, values = np.repeat(k, group, axis=-3), np.repeat(v, group, axis=-3)
    factor = 1.0 / np.sqrt(head_dim) if scale is None else scale

    scores = factor * (q @ np.swapaxes(keys, -1, -2))
    visible = visible_keys(q_len, keys.shape[-2], mask=mask, window=window, sinks=sinks)
    scores = np.where(visible, scores, -np.inf)

    # A fully masked row has the maximum -inf; 0 in its place keeps exp() away from inf - inf.
    row_max = np.max(scores, axis=-1, keepdims=True, initial=-np.inf)
    row_max = np.where(np.isneginf(row_max), 0.0, row_max)
    weights = np.exp(scores - row_max)
    row_sum = np.sum(weights, axis=-1, keepdims=True)
    weighted = weights @ values
    out = np.divide(weighted, row_sum, out=np.zeros_like(weighted), where=row_sum > 0)
    with np.errstate(divide="ignore"):
        lse = (row_max + np.log(row_sum))[..., 0]
    return out, lse


def visible_keys(
    q_len: int, kv_len: int, *, mask: Mask = "full", window: int | None = None, sinks: int = 0
) -> BoolArray:
    """Which key each query sees: True where visible, `(q_len, kv_len)` or the shape of an array `mask`.

    Query `i` stands at position `i + kv_len - q_len` of the key sequence. A window of `w` keeps the keys at
    distance below `w` behind that position; keys ahead of it are a matter of the mask alone. Sinks never
    override the mask.

    Raises
    ------
    ValueError
        An unknown mask, a window below 1, a negative sink count.
    """
    if window is not None and window < 1:
        raise ValueError(f"window must be at least 1 (got {window})")
    if sinks < 0:
        raise ValueError(f"sinks must not be negative (got {sinks})")
    key = np.arange(kv_len)
    position = np.arange(q_len)[:, None] + (kv_len - q_len)
    if isinstance(mask, np.ndarray):
        if mask.dtype != np.bool_:
            raise ValueError(f"a mask array must be boolean (got {mask.dtype})")
        visible = mask
    elif mask == "causal":
        visible = key <= position
    elif mask == "full":
        visible = np.ones((q_len, kv_len), dtype=np.bool_)
    else:
        raise ValueError(f"mask must be 'full', 'causal' or a boolean array (got {mask!r})")
    if window is not None:
        visible = visible & ((position - key < window) | (key < sinks))
    return visible


def probabilities(q: ArrayLike, k: ArrayLike, *, mask: Mask = "full", scale: float | None = None) -> FloatArray:
    """Attention probabilities `(..., heads, q_len, kv_len)`; fully masked rows are zero.

    What H2O-like policies sum over queries, and what a fused kernel never holds.
    """
    k = np.asarray(k, dtype=np.float64)
    kv_len = k.shape[-2]
    # Attention over the identity as values returns the weights themselves.
    identity = np.broadcast_to(np.eye(kv_len), (*k.shape[:-1], kv_len))
    return attention(q, k, identity, mask=mask, scale=scale)[0]


def merge(parts: Sequence[tuple[FloatArray, FloatArray]]) -> tuple[FloatArray, FloatArray]:
    """Join attention over disjoint key sets: `(out, lse)` of each set in, `(out, lse)` of the union out.

    Each part is weighted by `exp(lse)` against the largest one (split-KV decoding, shared prefixes). The
    operation is associative and order-free; a part with `lse = -inf` changes nothing.

    Raises
    ------
    ValueError
        No part, or parts of different shapes.
    """
    if not parts:
        raise ValueError("merge needs at least one part")
    if len({(np.shape(out), np.shape(lse)) for out, lse in parts}) != 1:
        raise ValueError(f"parts differ in shape: {[np.shape(out) for out, _ in parts]}")
    outs = np.stack([np.asarray(out, dtype=np.float64) for out, _ in parts])
    lses = np.stack([np.asarray(lse, dtype=np.float64) for _, lse in parts])
    top = np.max(lses, axis=0)
    top = np.where(np.isneginf(top), 0.0, top)
    weights = np.exp(lses - top)
    total = np.sum(weights, axis=0)
    weighted = np.sum(weights[..., None] * outs, axis=0)
    merged = np.divide(weighted, total[..., None], out=np.zeros_like(weighted), where=total[..., None] > 0)
    with np.errstate(divide="ignore"):
        return merged, top + np.log(total)


def check_shapes(q: tuple[int, ...], k: tuple[int, ...], v: tuple[int, ...]) -> None:
    """Refuse shapes that are not those of grouped-query attention.

    Raises
    ------
    ValueError
        With one sentence that names the sizes in conflict.
    """
    if min(len(q), len(k), len(v)) < 3:
        raise ValueError(f"q, k and v need at least (heads, length, dim); got {q}, {k}, {v}")
    if q[-1] != k[-1]:
        raise ValueError(f"q and k differ in head dimension: {q[-1]} and {k[-1]}")
    if k[-3:-1] != v[-3:-1]:
        raise ValueError(f"k and v differ in (kv_heads, kv_len): {k[-3:-1]} and {v[-3:-1]}")
    if q[:-3] != k[:-3] or q[:-3] != v[:-3]:
        raise ValueError(f"q, k and v differ in batch: {q[:-3]}, {k[:-3]}, {v[:-3]}")
    if k[-3] < 1 or q[-3] % k[-3]:
        raise ValueError(f"{q[-3]} query heads cannot be grouped over {k[-3]} KV heads")
