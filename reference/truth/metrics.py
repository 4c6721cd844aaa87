"""Distances between a computed tensor and the oracle's, and how far each number format may be off.

The tolerances hold against the float64 oracle on inputs *already rounded* to the format
(`reference.truth.dtypes`): rounding first isolates the kernel from the storage format and halves the budget.
Measured with PyTorch 2.13 on a CPU (batch 2, 4 heads, length 384, d = 64, standard normal data): float32
2.6e-7 to 4.5e-7, float16 2.0e-4 to 2.8e-4, bfloat16 1.6e-3 to 2.2e-3 relative L2; the gates below leave a
factor of about two to four. Entry-wise bounds follow FlashInfer's decode tests (float16, rtol = atol =
1e-3) and FlashMLA's (log-sum-exp).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Tolerance:
    """Largest errors accepted of one number format.

    Attributes
    ----------
    relative_l2
        Of the output, see the function `relative_l2`.
    lse_abs
        Of the log-sum-exp, absolute; scores are accumulated in float32 in every format below float64.
    """

    relative_l2: float
    lse_abs: float


TOLERANCES: dict[str, Tolerance] = {
    "float64": Tolerance(relative_l2=1e-12, lse_abs=1e-11),
    "float32": Tolerance(relative_l2=2e-6, lse_abs=1e-5),
    "tf32": Tolerance(relative_l2=5e-4, lse_abs=1e-3),
    "float16": Tolerance(relative_l2=5e-4, lse_abs=1e-3),
    "bfloat16": Tolerance(relative_l2=4e-3, lse_abs=1e-3),
    "float8_e4m3": Tolerance(relative_l2=3e-2, lse_abs=1e-2),
}
"""By format of inputs and outputs; ``float8_e4m3`` is an FP8 KV cache beside wider queries and outputs."""


def relative_l2(actual: ArrayLike, expected: ArrayLike) -> float:
    """`||actual - expected|| / ||expected||` over all entries; the absolute norm when `expected` is zero."""
    got, want = _pair(actual, expected)
    distance, norm = float(np.linalg.norm(got - want)), float(np.linalg.norm(want))
    return distance / norm if norm > 0 else distance


def max_abs(actual: ArrayLike, expected: ArrayLike) -> float:
    """Largest absolute difference of one entry; equal infinities count as equal."""
    got, want = _pair(actual, expected)
    return float(np.max(_difference(got, want), initial=0.0))


def mean_abs(actual: ArrayLike, expected: ArrayLike) -> float:
    """Mean absolute difference per entry; equal infinities count as equal, no entries give 0."""
    got, want = _pair(actual, expected)
    return float(np.mean(_difference(got, want))) if got.size else 0.0


def cosine(actual: ArrayLike, expected: ArrayLike) -> float:
    """Cosine of the angle between both tensors read as vectors; 1 when both are zero, 0 when only one is."""
    got, want = _pair(actual, expected)
    norms = float(np.linalg.norm(got)), float(np.linalg.norm(want))
    if min(norms) == 0:
        return 1.0 if max(norms) == 0 else 0.0
    return float(np.vdot(got / norms[0], want / norms[1]))


def _pair(actual: ArrayLike, expected: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    got, want = np.asarray(actual, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    if got.shape != want.shape:
        raise ValueError(f"shapes differ: {got.shape} and {want.shape}")
    return got.ravel(), want.ravel()


def _difference(got: NDArray[np.float64], want: NDArray[np.float64]) -> NDArray[np.float64]:
    """Entry-wise distance in which two equal infinities are at distance 0 (log-sum-exp of masked rows)."""
    with np.errstate(invalid="ignore"):
        return np.where(got == want, 0.0, np.abs(got - want))
