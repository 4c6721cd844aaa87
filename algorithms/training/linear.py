"""Backward of linear layers and norms, for all rows or some of them: gradients of rows add up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from algorithms.state.rule import Product

Array = NDArray[np.float64]
NORM_EPSILON = 1e-6


def linear_backward(x: Array, weights: Array, gradient: Array) -> tuple[Array, Array]:
    """Gradients of `x @ weights` with respect to `x` `(rows, inputs)` and `weights` `(inputs, outputs)`."""
    return gradient @ weights.T, x.T @ gradient


def backward_products(rows: int, inputs: int, outputs: int) -> tuple[Product, Product]:
    """The two products of `linear_backward`: the gradient of the rows, and that of the weights."""
    return Product(rows, inputs, outputs), Product(inputs, outputs, rows)


def norm(x: Array, scale: Array) -> Array:
    """Rows over their root mean square, times a scale per column (RMSNorm, arXiv:1910.07467)."""
    found: Array = x / _root(x) * scale
    return found


def norm_backward(x: Array, scale: Array, gradient: Array) -> tuple[Array, Array]:
    """Gradients of `norm` with respect to `x` and `scale`."""
    root = _root(x)
    unit, scaled = x / root, gradient * scale
    back = (scaled - unit * (scaled * unit).mean(axis=-1, keepdims=True)) / root
    return back, (gradient * unit).sum(axis=0)


def _root(x: Array) -> Array:
    root: Array = np.sqrt((x * x).mean(axis=-1, keepdims=True) + NORM_EPSILON)
    return root


def gated(gate: Array, up: Array) -> Array:
    """`silu(gate) * up`."""
    return gate * _sigmoid(gate) * up


def gated_backward(gate: Array, up: Array, gradient: Array) -> tuple[Array, Array]:
    """Gradients of `gated` with respect to `gate` and `up`."""
    share = _sigmoid(gate)
    return gradient * up * share * (1.0 + gate * (1.0 - share)), gradient * gate * share


def _sigmoid(x: Array) -> Array:
    return 0.5 * (1.0 + np.tanh(0.5 * x))
