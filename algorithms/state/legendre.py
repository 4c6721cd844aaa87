"""The Legendre memory unit: a sliding window of a signal in coefficients of Legendre polynomials.

    m_t = A m_(t-1) + B u_t,    A = exp(A_c / window), B = A_c^-1 (A - 1) B_c
    A_c[i, j] = (2 i + 1) (-1 if i < j else (-1)^(i - j + 1)),   B_c[i] = (2 i + 1) (-1)^i

(Voelker et al. 2019; in parallel, Chilkuri and Eliasmith 2021, arXiv:2102.11417; LMUFormer, arXiv:2402.04882). Every
value column is a signal; the query of a token weighs the coefficients, keys play no part.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import ClassVar

import numpy as np

from algorithms.state.rule import (
    Array,
    Memory,
    Parameter,
    Product,
    Shape,
    StateRule,
    Tokens,
    Work,
    at_least,
    state_rule,
)


@lru_cache(maxsize=32)
def transition(order: int, window: float) -> tuple[Array, Array]:
    """`A` `(order, order)` and `B` `(order,)` for a step of one token, by zero-order hold.

    Both come out of one exponential: the upper rows of `exp([[A_c, B_c], [0, 0]] / window)`.
    """
    rows, columns = np.mgrid[0:order, 0:order]
    factors = 2.0 * np.arange(order) + 1.0
    continuous = factors[:, None] * np.where(rows < columns, -1.0, (-1.0) ** (rows - columns + 1))
    joined = np.zeros((order + 1, order + 1))
    joined[:order, :order] = continuous / window
    joined[:order, order] = factors * (-1.0) ** np.arange(order) / window
    held = _exponential(joined)
    return held[:order, :order], held[:order, order]


def _exponential(matrix: Array) -> Array:
    """`exp(matrix)` by scaling and squaring of its Taylor series, which ends below the rounding of its first term."""
    norm = float(np.abs(matrix).sum(axis=1).max())
    halvings = max(0, int(np.ceil(np.log2(max(norm, 1e-300)))) + 3)
    scaled = matrix / 2.0**halvings
    total = term = np.eye(len(matrix))
    for power in range(1, 20):
        term = term @ scaled / power
        total = total + term
    for _ in range(halvings):
        total = total @ total
    return total


@state_rule("legendre")
class LegendreMemory(StateRule):
    """Legendre memory unit (Voelker et al. 2019; LMUFormer, arXiv:2402.04882): a window as polynomial coefficients.

    Parameters
    ----------
    window
        Tokens that the coefficients describe. Their number is the width of the queries.
    """

    examples: ClassVar[tuple[Mapping[str, Parameter], ...]] = ({"window": 6.0},)
    window: float = 128.0

    def __post_init__(self) -> None:
        at_least(self, window=1.0)

    def start(self, streams: int, key_dim: int, value_dim: int) -> Memory:
        return {"coefficients": np.zeros((streams, key_dim, value_dim))}

    def write(self, memory: Memory, token: Tokens) -> Memory:
        before = memory["coefficients"]
        keep, enter = transition(before.shape[1], self.window)
        return {"coefficients": keep @ before + enter[:, None] * token.v[:, 0, None, :]}

    def read(self, memory: Memory, q: Array) -> Array:
        return q @ memory["coefficients"][:, None]

    def chunk(self, memory: Memory, tokens: Tokens) -> tuple[Memory, Array]:
        before = memory["coefficients"]
        impulse, powers = self._responses(before.shape[1], tokens.count)
        # answer[i, j]: what the query of token i reads of a one that token j brought, i - j tokens ago
        ages = np.arange(tokens.count)[:, None] - np.arange(tokens.count)
        reach = tokens.q @ impulse.T
        index = np.broadcast_to(np.maximum(ages, 0), reach.shape)
        answer = np.where(ages >= 0, np.take_along_axis(reach, index, axis=-1), 0.0)
        start = np.einsum("sgnd,nde,sev->sgnv", tokens.q, powers, before)
        last = impulse[::-1].T @ tokens.v
        return {"coefficients": powers[-1] @ before + last}, start + answer @ tokens.v[:, None]

    def _responses(self, order: int, count: int) -> tuple[Array, Array]:
        """`A^i B` for `i = 0 ... count - 1`, and `A^(i + 1)`."""
        keep, enter = transition(order, self.window)
        impulse, powers = np.empty((count, order)), np.empty((count, order, order))
        powers[0], impulse[0] = keep, enter
        for i in range(1, count):
            powers[i], impulse[i] = keep @ powers[i - 1], keep @ impulse[i - 1]
        return impulse, powers

    def step_work(self, shape: Shape) -> Work:
        order, values = shape.key_dim, shape.value_dim
        per_head = 2.0 * order * order * values + 2.0 * order * values * (1 + shape.group)
        return Work(vector_flops=shape.kv_heads * per_head)

    def chunk_products(self, shape: Shape, tokens: int) -> tuple[Product, ...]:
        order, values, queries = shape.key_dim, shape.value_dim, shape.group * tokens
        return (
            Product(queries, tokens, order),
            Product(queries, values, tokens),
            Product(shape.group, order, order, times=tokens),
            Product(queries, values, order),
            Product(order, values, order),
            Product(order, values, tokens),
        )

    def chunk_work(self, shape: Shape, tokens: int) -> Work:
        """Products with responses that are made once: queries by impulses and powers, their answers by values."""
        order, values, queries = shape.key_dim, shape.value_dim, shape.group * tokens
        pairs = shape.group * tokens * (tokens + 1) / 2
        inside = 2.0 * pairs * (order + values)
        passing = 2.0 * queries * order * (order + values) + 2.0 * order * values * (order + tokens)
        return Work(matrix_flops=shape.kv_heads * (inside + passing))
