"""Linear attention: sums of outer products of features and values, read by a query's features.

Recurrent, ``S += phi(k)^T v`` and ``z += phi(k)``; read, ``phi(q) S / (phi(q) z)`` (Katharopoulos et al. 2020,
arXiv:2006.16236). Chunked, every query reads the sums before its chunk and the keys of the chunk up to its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np

from algorithms.kv.parts.memory import feature
from algorithms.state.rule import Array, Memory, Parameter, Product, Shape, StateRule, Tokens, Work, state_rule
from hwmodels.reading.errors import InputError, Problem

Features = Literal["elu", "taylor", "identity"]
EPSILON = 1e-12
"""Share of a weight below which the read of an empty memory is zero."""


def elu_features(rows: Array) -> Array:
    """`elu(x) + 1`, positive everywhere, elementwise in float64; see `algorithms.kv.parts.memory.feature`."""
    return np.asarray(feature(rows), dtype=np.float64)


def taylor_features(rows: Array) -> Array:
    """Features whose dot products are the second-order Taylor expansion of `exp(x . y / sqrt(d))`.

    `(..., d)` becomes `(..., 1 + d + d^2)` (Based, Arora et al. 2024, arXiv:2402.18668, section 4.2).
    """
    width = rows.shape[-1]
    squares = (rows[..., :, None] * rows[..., None, :]).reshape(*rows.shape[:-1], width * width)
    parts = [np.ones((*rows.shape[:-1], 1)), rows / width**0.25, squares / (np.sqrt(2.0) * np.sqrt(width))]
    return np.concatenate(parts, axis=-1)


def _identity(rows: Array) -> Array:
    return rows


_MAPS = {"elu": elu_features, "taylor": taylor_features, "identity": _identity}


def divided(total: Array, weight: Array) -> Array:
    """Weighted sums `(..., d)` over their weights `(...)`; zero where nothing has been written."""
    safe = np.where(np.abs(weight) > EPSILON, weight, 1.0)
    return np.where(np.abs(weight)[..., None] > EPSILON, total / safe[..., None], 0.0)


def passing_products(queries: int, tokens: int, width: int, values: int) -> tuple[Product, ...]:
    """Products of queries with the keys of their chunk and with a memory, of weights with values, and what is added."""
    return (
        Product(queries, tokens, width),
        Product(queries, values, tokens),
        Product(queries, values, width),
        Product(width, values, tokens),
    )


@state_rule("linear")
class LinearAttention(StateRule):
    """Linear attention: sums of feature-value products, normalised by the sum of features.

    Parameters
    ----------
    features
        ``elu`` (elu + 1), ``taylor`` (Based and JRT-RNN: second order, 16 wide keys become 273), or ``identity``.
    normalised
        Whether reads are divided by their weights.
    """

    examples: ClassVar[tuple[Mapping[str, Parameter], ...]] = (
        {"features": "taylor"},
        {"features": "identity", "normalised": False},
    )
    features: Features = "elu"
    normalised: bool = True

    def __post_init__(self) -> None:
        if self.features not in _MAPS:
            raise InputError(Problem(f"must be elu, taylor or identity (got {self.features!r})", field="features"))

    def feature_dim(self, key_dim: int) -> int:
        """Width of the features of keys."""
        return 1 + key_dim + key_dim**2 if self.features == "taylor" else key_dim

    def start(self, streams: int, key_dim: int, value_dim: int) -> Memory:
        width = self.feature_dim(key_dim)
        memory = {"matrix": np.zeros((streams, width, value_dim))}
        return memory | ({"weight": np.zeros((streams, width))} if self.normalised else {})

    def write(self, memory: Memory, token: Tokens) -> Memory:
        features = _MAPS[self.features](token.k)[:, 0]
        after = {"matrix": memory["matrix"] + features[:, :, None] * token.v[:, 0, None, :]}
        return after | ({"weight": memory["weight"] + features} if self.normalised else {})

    def read(self, memory: Memory, q: Array) -> Array:
        features = _MAPS[self.features](q)
        total = features @ memory["matrix"][:, None]
        if not self.normalised:
            return total
        return divided(total, (features @ memory["weight"][:, None, :, None])[..., 0])

    def chunk(self, memory: Memory, tokens: Tokens) -> tuple[Memory, Array]:
        keys, queries = _MAPS[self.features](tokens.k), _MAPS[self.features](tokens.q)
        inside = np.tril(queries @ keys[:, None].swapaxes(-1, -2))
        total = queries @ memory["matrix"][:, None] + inside @ tokens.v[:, None]
        after = {"matrix": memory["matrix"] + keys.swapaxes(1, 2) @ tokens.v}
        if not self.normalised:
            return after, total
        weight = (queries @ memory["weight"][:, None, :, None])[..., 0] + inside.sum(axis=-1)
        return after | {"weight": memory["weight"] + keys.sum(axis=1)}, divided(total, weight)

    def step_work(self, shape: Shape) -> Work:
        return self._work(shape, 1)

    def chunk_work(self, shape: Shape, tokens: int) -> Work:
        width, values = self.feature_dim(shape.key_dim), shape.value_dim + self.normalised
        pairs = tokens * (tokens + 1) / 2
        inside = 2.0 * shape.kv_heads * shape.group * pairs * (width + values)
        passing = 2.0 * shape.kv_heads * (1 + shape.group) * tokens * width * values
        own = self._work(shape, tokens)
        return Work(inside + passing, own.vector_flops - passing, own.exps)

    def chunk_products(self, shape: Shape, tokens: int) -> tuple[Product, ...]:
        width, values = self.feature_dim(shape.key_dim), shape.value_dim + self.normalised
        return passing_products(shape.group * tokens, tokens, width, values)

    def _work(self, shape: Shape, tokens: int) -> Work:
        """All of it on vectors, as one token at a time has no product of matrices."""
        width, values = self.feature_dim(shape.key_dim), shape.value_dim + self.normalised
        rows = tokens * shape.kv_heads * (1 + shape.group)
        mapped = {"elu": shape.key_dim, "taylor": 2 * width, "identity": 0}[self.features]
        division = tokens * shape.kv_heads * shape.group * shape.value_dim * self.normalised
        return Work(
            vector_flops=2.0 * rows * width * values + rows * mapped + division,
            exps=float(rows * shape.key_dim) if self.features == "elu" else 0.0,
        )


@state_rule("based")
class Based(LinearAttention):
    """Based (Arora et al. 2024, arXiv:2402.18668): linear attention whose features are a second-order Taylor series."""

    examples: ClassVar[tuple[Mapping[str, Parameter], ...]] = ({"normalised": False},)
    features: Features = "taylor"


@state_rule("prefix_linear")
class PrefixLinear(LinearAttention):
    """Prefix-linear attention (JRT-RNN, Arora et al. 2024, arXiv:2407.05483): a prefix is read in both directions.

    The first tokens enter before any query is answered; those after them enter one by one. In the paper the prefix
    has projections of its own, whose keys and values are the tokens given to `begin`.
    """

    def begin(self, memory: Memory, keys: Array, values: Array) -> Memory:
        """The memory with a prefix without order: keys `(streams, n, key_dim)`, values `(streams, n, value_dim)`."""
        features = _MAPS[self.features](keys)
        after = {"matrix": memory["matrix"] + features.swapaxes(1, 2) @ values}
        return after | ({"weight": memory["weight"] + features.sum(axis=1)} if self.normalised else {})
