"""Online softmax over tiles of keys, and the merge of parts: the mathematics of all tiled attention, in float64.

Milakov and Gimelshein 2018 (arXiv:1805.02867); the update per tile is that of FlashAttention-2 (arXiv:2307.08691,
algorithm 1), which divides once at the end.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from algorithms.workload.shape import FloatArray


class OnlineSoftmax:
    """Running maximum, sum and weighted values of rows, `(..., rows)`, `(..., rows)` and `(..., rows, d_v)`."""

    def __init__(self, shape: tuple[int, ...], width: int) -> None:
        self.maximum = np.full(shape, -np.inf)
        self.total = np.zeros(shape)
        self.weighted = np.zeros((*shape, width))

    def update(self, scores: FloatArray, values: FloatArray, visible: NDArray[np.bool_] | None = None) -> None:
        """Add keys with ``scores`` `(..., rows, keys)` and ``values`` `(..., keys, d_v)`; hidden ones count nothing."""
        if visible is not None:
            scores = np.where(visible, scores, -np.inf)
        maximum = np.maximum(self.maximum, scores.max(axis=-1, initial=-np.inf))
        base = finite(maximum)
        weights = np.exp(scores - base[..., None])
        rescale = np.exp(self.maximum - base)
        self.total = rescale * self.total + weights.sum(axis=-1)
        self.weighted = rescale[..., None] * self.weighted + weights @ values
        self.maximum = maximum

    def output(self) -> FloatArray:
        """Attention over all keys so far; 0 for a row that has seen none."""
        return divided(self.weighted, self.total)

    def log_sum_exp(self) -> FloatArray:
        """Logarithm of the sum of all exponentials; -inf for a row that has seen no key."""
        with np.errstate(divide="ignore"):
            return finite(self.maximum) + np.log(self.total)


def merged(outputs: FloatArray, log_sum_exps: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Attention over the union of disjoint sets of keys.

    Parameters
    ----------
    outputs
        Outputs of each part, `(parts, ..., rows, d_v)`.
    log_sum_exps
        Log-sum-exps of each part, `(parts, ..., rows)`.

    Returns
    -------
    output, log_sum_exp
        `(..., rows, d_v)` and `(..., rows)`.
    """
    top = finite(log_sum_exps.max(axis=0))
    weights = np.exp(log_sum_exps - top)
    total = weights.sum(axis=0)
    with np.errstate(divide="ignore"):
        return divided((weights[..., None] * outputs).sum(axis=0), total), top + np.log(total)


def divided(rows: FloatArray, totals: FloatArray) -> FloatArray:
    """Rows over one number each; 0 where that is 0."""
    totals = totals[..., None]
    return np.divide(rows, totals, out=np.zeros_like(rows), where=totals > 0)


def finite(maximum: FloatArray) -> FloatArray:
    """The maximum, or 0 where there is none, which keeps exp() away from inf - inf."""
    return np.where(np.isneginf(maximum), 0.0, maximum)
