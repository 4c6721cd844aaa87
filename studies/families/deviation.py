"""Tensors of a design point, the float64 oracle on them, and how far computed attention is from it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from algorithms.registry import Tensors
from algorithms.workload.shape import FloatArray, Workload
from algorithms.workload.tensors import draw_tensors
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
    """The distance of two arrays with the same elements in the same order."""
    shaped = computed.reshape(expected.shape)
    return Deviation(relative_l2(shaped, expected), max_abs(shaped, expected))


@lru_cache(maxsize=2)
def tensors_of(workload: Workload, file: TensorFile | None) -> Tensors:
    """q, k and v, read from `file` or drawn from the seed of `workload`; neighbours in a grid share them."""
    if file is None:
        return draw_tensors(workload)
    tensors = open_tensors(file)
    return tensors.q, tensors.k, tensors.v


@lru_cache(maxsize=2)
def oracle_of(workload: Workload, file: TensorFile | None) -> FloatArray:
    """Exact attention over `tensors_of`; neighbours in a grid share it."""
    return oracle_on(workload, tensors_of(workload, file))


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
            out[batch, queries], _ = attention(q[batch, queries], k[batch, keys], v[batch, keys], mask=workload.mask)
    return out
