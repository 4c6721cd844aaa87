"""The self-balancing walk of BalanceKV: halve a set of keys so that weighted attention sums stay close."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from algorithms.compiled import compiled
from algorithms.kv.cache import Array
from algorithms.kv.ranking import IntArray

VALUE_OFFSET = 0.025
"""Added to value inner products in the kernel (published constant)."""
_TINY = 1e-8
_BLOCKS_AT_ONCE = 16
"""Blocks whose kernels are held at once, so that they stay in a cache."""


class WalkParameters(Protocol):
    """Numbers of the walk; `BalanceKV` has them."""

    @property
    def block(self) -> int:
        """Keys that are walked over together."""

    @property
    def gamma(self) -> float:
        """Weight of what has been taken in the next sign."""

    @property
    def temperature(self) -> float:
        """Factor of key inner products in the kernel."""

    @property
    def beta(self) -> float:
        """Offset of key inner products in the kernel."""


def balanced_halving(
    keys: Array,
    values: Array | None,
    prior: Array | None,
    halvings: int,
    uniforms: Callable[[tuple[int, ...]], Array],
    parameters: WalkParameters,
) -> tuple[IntArray, Array]:
    """Halve `halvings` times (ksheth96/BalanceKV 4ccee30, `balanced_walk`).

    In blocks of `parameters.block`, with keys centred on the block's mean, the first key gets sign +1 and
    key `i` gets +1 when a uniform number is below `0.5 - gamma * sum_{j<i} G_ij s_j`, else -1, where
    ``G_ij = exp(temperature * k_i.k_j / sqrt(d) - beta) * (v_i.v_j + 0.025)``. Up to the place where one sign
    fills half of the set, the other sign is kept with weight 2; behind it everything is kept with weight 1.

    Parameters
    ----------
    keys, values
        `(heads, n, dim)`; without values the kernel has its first factor alone.
    prior
        Weights that values carry already `(heads, n)`, or None.
    uniforms
        Called once per halving with `(heads, blocks, block)`.

    Returns
    -------
    order : `(heads, n // 2**halvings)`
        Kept columns in the order of the published code: by falling weight, then by place.
    weights : `(heads, n // 2**halvings)`
        Product of the weights of all halvings and of `prior`.
    """
    heads, n, _ = keys.shape
    order = np.broadcast_to(np.arange(n), (heads, n))
    weights = np.ones((heads, n)) if prior is None else prior
    for _ in range(halvings):
        picked_values = None
        if values is not None:
            picked_values = np.take_along_axis(values, order[:, :, None], 1) * weights[:, :, None]
        picked_keys = np.take_along_axis(keys, order[:, :, None], 1)
        signs = _walk(picked_keys, picked_values, uniforms, parameters)
        half = order.shape[1] // 2
        weight = _half_weights(signs, half)
        best = np.argsort(-weight, axis=1, kind="stable")[:, :half]
        order = np.take_along_axis(order, best, 1)
        weights = np.take_along_axis(weights * weight, best, 1)
    return order, weights


def _walk(
    keys: Array,
    values: Array | None,
    uniforms: Callable[[tuple[int, ...]], Array],
    parameters: WalkParameters,
) -> Array:
    """Signs `(heads, n)` of +1 and -1."""
    heads, n, dim = keys.shape
    block = parameters.block
    blocks = -(-n // block)

    def cut(rows: Array) -> Array:
        padded = np.zeros((heads, blocks * block, rows.shape[2]))
        padded[:, :n] = rows
        return padded.reshape(heads * blocks, block, -1)

    centred = cut(keys)
    centred -= centred.mean(1, keepdims=True)
    weighted = None if values is None else cut(values)
    drawn = uniforms((heads, blocks, block)).reshape(heads * blocks, block)
    signs = np.empty_like(drawn)
    for start in range(0, heads * blocks, _BLOCKS_AT_ONCE):
        part = slice(start, start + _BLOCKS_AT_ONCE)
        exponent = parameters.temperature * (_gram(centred[part]) / np.sqrt(dim)) - parameters.beta
        factor = np.ones_like(exponent) if weighted is None else _TINY + _gram(weighted[part]) + VALUE_OFFSET
        _chain(exponent, factor, drawn[part], parameters.gamma, signs[part])
    return signs.reshape(heads, -1)[:, :n]


def _gram(rows: Array) -> Array:
    return rows @ rows.swapaxes(1, 2)


@compiled
def _chain(exponent: Array, factor: Array, drawn: Array, gamma: float, signs: Array) -> None:
    """The dependent steps of every block: `signs` `(blocks, block)` with the kernel `exp(exponent) * factor`."""
    blocks, block = drawn.shape
    for at in range(blocks):
        signs[at, 0] = 1.0
        for ii in range(1, block):
            pull = 0.0
            for jj in range(ii):
                pull += np.exp(exponent[at, ii, jj]) * factor[at, ii, jj] * signs[at, jj]
            signs[at, ii] = 1.0 if drawn[at, ii] < 0.5 - gamma * pull else -1.0


def _half_weights(signs: Array, half: int) -> Array:
    """2 for the kept sign and -2 for the other up to the cut, 1 behind it: `(heads, n)`."""
    filled = [(np.cumsum(signs == sign, 1) == half).argmax(1) for sign in (-1, 1)]
    cut = np.maximum(*filled)[:, None]
    before = np.arange(signs.shape[1]) <= cut
    flip = np.where(np.take_along_axis(signs, cut, 1) == 1, -1.0, 1.0)
    return np.where(before, 2 * signs * flip, 1.0)
