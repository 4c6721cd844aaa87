"""Attention over selected keys, in NumPy, with the by-products that KV policies ask for.

One softmax runs over everything a query sees: resident keys, each with an optional logit bias and value
weight, and summary entries that stand for many tokens at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from algorithms.kv.ranking import IntArray, Mask

Array = NDArray[np.floating]
_BLOCK_SCORES = 1 << 23
"""Scores held at once; longer prefills go through in blocks of queries."""


@dataclass(frozen=True, eq=False)
class Summaries:
    """Entries that stand for `size` tokens each: `exp(q.centroid / sqrt(d))` counts `size` times.

    Parameters
    ----------
    centroid
        `(kv_heads, entries, head_dim)`.
    value_sum
        Sum of the values of the tokens: `(kv_heads, entries, value_dim)`.
    size
        Tokens: `(kv_heads, entries)`; entries of size 0 are skipped.
    """

    centroid: Array
    value_sum: Array
    size: Array


@dataclass(frozen=True, eq=False)
class Visible:
    """Keys and values that queries attend to.

    Parameters
    ----------
    keys, values
        `(kv_heads, n, head_dim)` and `(kv_heads, n, value_dim)`.
    positions
        `(kv_heads or 1, n)`; a causal query sees keys at or before its own position.
    valid
        `(kv_heads, n)` of real entries, or None when all are.
    bias
        Added to the logits: `(kv_heads, n)`.
    value_weight
        Factor on the values, not on the probabilities: `(kv_heads, n)`.
    pair_bias
        Added per query and key: `(m, n)`; `-inf` hides a pair, `ln 2` counts it twice.
    pair_count
        Factor on the exported column sums per query and key: `(m, n)`.
    summaries
        Further entries every query sees.
    """

    keys: Array
    values: Array
    positions: IntArray
    valid: Mask | None = None
    bias: Array | None = None
    value_weight: Array | None = None
    pair_bias: Array | None = None
    pair_count: Array | None = None
    summaries: Summaries | None = None


@dataclass(frozen=True, eq=False)
class Attended:
    """Output of attention and what it revealed.

    Parameters
    ----------
    output
        `(query_heads, m, value_dim)`.
    column_sums
        Probability of each key summed over the queries: `(query_heads, n)`; None unless asked for.
    last_probabilities
        Probabilities of the last query: `(query_heads, n)`; None unless asked for.
    log_sum_exp
        Log of the sum of exponentials of all logits: `(query_heads, m)`.
    """

    output: Array
    column_sums: Array | None
    last_probabilities: Array | None
    log_sum_exp: Array

    @property
    def asked_sums(self) -> Array:
        """`column_sums` of those that asked for them; raises RuntimeError for others."""
        if self.column_sums is None:
            raise RuntimeError("column sums were not asked for")
        return self.column_sums


def attend(
    q: Array,
    query_positions: IntArray,
    visible: Visible,
    *,
    causal: bool = True,
    column_sums: bool = False,
    last_probabilities: bool = False,
) -> Attended:
    """Softmax attention `softmax(q.k / sqrt(d) + bias) . (weight * v)` of `q` over `visible`.

    A query that sees nothing gets zeros.

    Parameters
    ----------
    q
        `(query_heads, m, head_dim)`; query head `h` reads KV head `h // (query_heads // kv_heads)`.
    query_positions
        `(m,)`.
    causal
        Whether positions limit what a query sees.
    column_sums, last_probabilities
        By-products to return.
    """
    kv_heads, n = visible.keys.shape[:2]
    query_heads, m, head_dim = q.shape
    group = query_heads // kv_heads
    grouped = q.reshape(kv_heads, group, m, head_dim)
    keys, values, bias = _entries(visible)
    weighted = values if visible.value_weight is None else _weigh(values, visible.value_weight)
    output = np.empty((kv_heads, group, m, values.shape[-1]), values.dtype)
    log_sum_exp = np.empty((kv_heads, group, m), values.dtype)
    columns = np.zeros((kv_heads, group, n), values.dtype) if column_sums else None
    last = None
    block = max(1, _BLOCK_SCORES // max(1, query_heads * keys.shape[1]))
    for start in range(0, m, block):
        rows = slice(start, min(start + block, m))
        logits = _logits(grouped[:, :, rows], keys, bias)
        _hide(logits[..., :n], query_positions[rows], visible, rows, causal)
        peak = logits.max(-1, keepdims=True, initial=-np.inf)
        finite_peak = np.where(np.isfinite(peak), peak, 0)
        np.exp(logits - finite_peak, out=logits)
        total = logits.sum(-1, keepdims=True)
        logits /= np.where(total > 0, total, 1)
        output[:, :, rows] = _mix(logits, weighted)
        with np.errstate(divide="ignore"):
            log_sum_exp[:, :, rows] = (np.log(total) + finite_peak)[..., 0]
        if columns is not None:
            seen = logits[..., :n]
            if visible.pair_count is not None:
                seen = seen * visible.pair_count[rows]
            columns += seen.sum(2)
        if last_probabilities and rows.stop == m:
            last = logits[:, :, -1, :n]
    return Attended(
        output.reshape(query_heads, m, -1),
        None if columns is None else columns.reshape(query_heads, n),
        None if last is None else last.reshape(query_heads, n),
        log_sum_exp.reshape(query_heads, m),
    )


def _logits(q: Array, keys: Array, bias: Array | None) -> Array:
    """`(kv_heads, group, m, n)` of `q.k / sqrt(d) + bias`."""
    kv_heads, group, m, head_dim = q.shape
    flat = q.reshape(kv_heads, group * m, head_dim) / np.sqrt(head_dim).astype(q.dtype)
    logits: Array = (flat @ keys.swapaxes(1, 2)).reshape(kv_heads, group, m, -1)
    if bias is not None:
        logits += bias[:, None, None, :]
    return logits


def _mix(probabilities: Array, values: Array) -> Array:
    kv_heads, group, m, n = probabilities.shape
    return (probabilities.reshape(kv_heads, group * m, n) @ values).reshape(kv_heads, group, m, -1)


def _hide(logits: Array, query_positions: IntArray, visible: Visible, rows: slice, causal: bool) -> None:
    """Write `-inf` where a query must not look; add the pair bias."""
    if causal and (len(query_positions) > 1 or visible.positions.max(initial=0) > query_positions[0]):
        future = visible.positions[:, None, :] > query_positions[:, None]
        np.copyto(logits, -np.inf, where=future[:, None])
    if visible.valid is not None:
        np.copyto(logits, -np.inf, where=~visible.valid[:, None, None, :])
    if visible.pair_bias is not None:
        logits += visible.pair_bias[rows]


def _entries(visible: Visible) -> tuple[Array, Array, Array | None]:
    """Keys, values and biases with the summary entries behind the keys.

    A summary of `size` tokens is one entry with the mean value and the bias `ln size`.
    """
    summaries = visible.summaries
    if summaries is None:
        return visible.keys, visible.values, visible.bias
    size = summaries.size
    with np.errstate(divide="ignore"):
        extra_bias = np.log(size)
    mean = summaries.value_sum / np.maximum(size, 1)[..., None]
    bias = np.zeros(visible.keys.shape[:2]) if visible.bias is None else visible.bias
    return (
        np.concatenate([visible.keys, summaries.centroid], 1),
        np.concatenate([visible.values, mean], 1),
        np.concatenate([bias, extra_bias], 1),
    )


def _weigh(values: Array, weight: Array) -> Array:
    n = weight.shape[1]
    weighted = values.copy()
    weighted[:, :n] *= weight[..., None]
    return weighted


def merge_partials(
    first: Array, first_log_sum_exp: Array, second: Array, second_log_sum_exp: Array
) -> tuple[Array, Array]:
    """Exact attention over two disjoint key sets from their partial results.

    `alpha = 1 / (1 + exp(lse_second - lse_first))` weighs the first part (RelayAttention, Zhu et al. 2024,
    arXiv:2402.14808; split softmax as in FlashAttention).

    Parameters
    ----------
    first, second
        Partial outputs `(..., value_dim)`.
    first_log_sum_exp, second_log_sum_exp
        Natural-log sums of their logits `(...)`.

    Returns
    -------
    output : `(..., value_dim)`
    alpha : `(...)`
        Share of the first part.
    """
    alpha = 1.0 / (1.0 + np.exp(second_log_sum_exp - first_log_sum_exp))
    return alpha[..., None] * first + (1.0 - alpha)[..., None] * second, alpha
