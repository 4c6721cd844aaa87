"""WTA-CRS: gradients of weights from a few rows, the heaviest for certain and some of the others by chance.

    dW = H^T dZ = sum of outer products of rows i,     p_i ~ |H_i| |dZ_i|

(Liu et al. 2023, arXiv:2305.15265.) Rows of the greatest p are taken as they are; from the rest so many are drawn that
k rows are kept, each weighted by the inverse of its chance, so that the mean is exact. The forward pass, and the
gradient of the rows, stay exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from algorithms.training.linear import Array
from hwmodels.reading.errors import InputError, Problem


@dataclass(frozen=True)
class Sample:
    """Rows that are kept, and their weights.

    Parameters
    ----------
    rows
        Numbers of rows; drawn ones may come more than once.
    weights
        Factor of each.
    certain
        How many of them, the first ones, are not by chance.
    """

    rows: NDArray[np.int64]
    weights: Array
    certain: int

    def product(self, h: Array, dz: Array) -> Array:
        """The estimate of `h.T @ dz` from the rows that are kept."""
        return (h[self.rows] * self.weights[:, None]).T @ dz[self.rows]


def chances(h: Array, row_norms: Array) -> Array:
    """Chances of rows: products of the norms of `h` and of the gradients (of the last step, as this one's come later).

    Rows without weight have none; equal chances if all are.
    """
    heavy = np.linalg.norm(h, axis=1) * row_norms
    total = heavy.sum()
    found: Array = heavy / total if total > 0 else np.full(len(h), 1.0 / len(h))
    return found


def certain_rows(p: Array, kept: int) -> int:
    """How many of the heaviest rows are best taken for certain: where the rest over the draws left is least.

    (Theorem 2 of the paper: the variance is bounded by this quotient.)
    """
    heaviest = np.sort(p)[::-1][:kept]
    taken = np.concatenate([[0.0], np.cumsum(heaviest)[: kept - 1]])
    rest = np.maximum(1.0 - taken, 0.0) / (kept - np.arange(kept))
    return int(np.argmin(rest))


def sample_rows(p: Array, kept: int, draws: np.random.Generator, certain: int | None = None) -> Sample:
    """Rows for chances `p`.

    Parameters
    ----------
    p
        Chance of each row; together 1.
    kept
        Rows that are kept.
    draws
        Where chance comes from.
    certain
        Rows that are taken for certain; the best number when None, and 0 for plain sampling of rows.

    Raises
    ------
    InputError
        If not from 1 to all rows are kept, or none is left to be drawn.
    """
    if not 1 <= kept <= len(p):
        raise InputError(Problem(f"must be from 1 to the {len(p):,} rows (got {kept:,})", field="kept"))
    order = np.argsort(-p, kind="stable")
    if kept == len(p) and certain is None:
        return Sample(order, np.ones(len(p)), len(p))
    sure = certain_rows(p, kept) if certain is None else certain
    if not 0 <= sure < kept:
        raise InputError(Problem(f"must be from 0 to {kept - 1:,} (got {sure:,})", field="certain"))
    rest = order[sure:]
    left = p[rest].sum()
    if left <= 0:
        return Sample(order[:sure], np.ones(sure), sure)
    share = p[rest] / left
    drawn = draws.choice(len(rest), size=kept - sure, p=share)
    weights = np.concatenate([np.ones(sure), 1.0 / ((kept - sure) * share[drawn])])
    return Sample(np.concatenate([order[:sure], rest[drawn]]), weights, sure)


def stored_share(tokens: int, kept: int, width: int, dtype_bytes: float = 2.0) -> float:
    """Bytes that a linear layer keeps of its input over those of all rows: rows, their numbers and their weights.

    Raises
    ------
    InputError
        As `sample_rows`.
    """
    if not 1 <= kept <= tokens:
        raise InputError(Problem(f"must be from 1 to the {tokens:,} rows (got {kept:,})", field="kept"))
    return kept * (width * dtype_bytes + 4.0 + 4.0) / (tokens * width * dtype_bytes)
