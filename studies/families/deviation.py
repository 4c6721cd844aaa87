"""Tensors of a design point, the float64 oracle on them, and how far computed attention is from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from algorithms.registry import Tensors
from algorithms.workload.shape import FloatArray, Workload
from algorithms.workload.tensors import draw_tensors
from hwmodels.reading.errors import InputError, Problem
from reference.truth.metrics import max_abs, relative_l2
from reference.truth.oracle import attention
from studies.points.find import open_tensors
from studies.points.point import Json, TensorFile


@dataclass(frozen=True)
class Deviation:
    """Distance between computed attention and the float64 oracle.

    Parameters
    ----------
    rel_l2
        Norm of the difference over the norm of the oracle's output.
    max_abs
        Largest absolute difference of one element.
    """

    rel_l2: float
    max_abs: float

    def describe(self) -> dict[str, Json]:
        """Plain JSON values."""
        return {"rel_l2": self.rel_l2, "max_abs": self.max_abs}


def deviation_of(computed: FloatArray, expected: FloatArray) -> Deviation:
    """The distance of two arrays with the same elements in the same order.

    Raises
    ------
    InputError
        An element of either that is not finite: there is no distance then, and no result worth keeping.
    """
    shaped = computed.reshape(expected.shape)
    _refuse_not_finite(expected, "the exact output", "q, k or v are too large for float64")
    why = "an exponential or a product overflows float64, as that of large scores does without a row maximum"
    _refuse_not_finite(shaped, "the output", why)
    # squares of elements may overflow where the elements do not
    scale = float(np.max(np.abs(expected), initial=0.0))
    with np.errstate(over="ignore", invalid="ignore"):
        distance = relative_l2(shaped, expected)
    if not math.isfinite(distance) and scale > 0:
        distance = relative_l2(shaped / scale, expected / scale)
    return Deviation(distance, max_abs(shaped, expected))


def _refuse_not_finite(values: FloatArray, what: str, why: str) -> None:
    wrong = values.size - int(np.count_nonzero(np.isfinite(values)))
    if wrong:
        message = f"{wrong:,} of {values.size:,} elements of {what} are not finite: {why}"
        raise InputError(Problem(message, hint="time alone needs no values: set timing_only"))


@lru_cache(maxsize=2)
def tensors_of(workload: Workload, file: TensorFile | None) -> Tensors:
    """q, k and v, read from `file` or drawn from the seed of `workload`; neighbours in a grid share them."""
    if file is None:
        return draw_tensors(workload)
    tensors = open_tensors(file)
    return tensors.q, tensors.k, tensors.v


def oracle_on(workload: Workload, tensors: Tensors) -> FloatArray:
    """Exact attention in float64, `(batch, heads, q_len, v_head_dim)`.

    One KV head at a time, because the scores of all heads of a real layer together fill the memory.
    """
    q, k, v = tensors
    out = np.empty((*q.shape[:3], v.shape[3]))
    size = workload.group_size
    for batch in range(q.shape[0]):
        for head in range(k.shape[1]):
            queries = slice(head * size, (head + 1) * size)
            keys = slice(head, head + 1)
            # what overflows is not finite, and told as such
            with np.errstate(over="ignore", invalid="ignore"):
                out[batch, queries], _ = attention(
                    q[batch, queries], k[batch, keys], v[batch, keys], mask=workload.mask
                )
    return out
