"""What layers compute beside products and attention, in float64, on tokens `(tokens, width)`."""

from __future__ import annotations

import numpy as np

from algorithms.workload.shape import FloatArray

EPSILON = 1e-6


def rms_norm(tokens: FloatArray, weight: FloatArray, epsilon: float = EPSILON) -> FloatArray:
    """Every token over its root mean square."""
    scale = np.sqrt(np.einsum("...i,...i->...", tokens, tokens) / tokens.shape[-1] + epsilon)
    return np.asarray(tokens / scale[..., None] * weight)


def layer_norm(tokens: FloatArray, weight: FloatArray, bias: FloatArray, epsilon: float = EPSILON) -> FloatArray:
    """Every token without its mean, over its standard deviation."""
    width = tokens.shape[-1]
    total = tokens.sum(axis=-1, keepdims=True)
    squares = np.einsum("...i,...i->...", tokens, tokens)[..., None]
    variance = squares / width - (total / width) ** 2
    return np.asarray((tokens - total / width) / np.sqrt(variance + epsilon) * weight + bias)


def rotary(heads: FloatArray, positions: FloatArray, base: float = 10_000.0) -> FloatArray:
    """`(..., tokens, width)` rotated by their positions `(tokens,)`: element `i` with element `i + width / 2`.

    The layout of GPT-NeoX, which Llama and those after it have (RoFormer, arXiv:2104.09864, in another order).
    """
    half = heads.shape[-1] // 2
    turns = np.exp(1j * positions[:, None] * base ** (-np.arange(half) / half))
    turned = (heads[..., :half] + 1j * heads[..., half:]) * turns
    return np.concatenate([turned.real, turned.imag], axis=-1)


def silu(values: FloatArray) -> FloatArray:
    """`x / (1 + exp(-x))`."""
    return np.asarray(values / (1.0 + np.exp(-values)))


def gelu(values: FloatArray) -> FloatArray:
    """GELU in its approximation by a hyperbolic tangent (arXiv:1606.08415, section 2)."""
    inner = np.sqrt(2.0 / np.pi) * (values + 0.044715 * values**3)
    return np.asarray(values / (1.0 + np.exp(-2.0 * inner)))


def quick_gelu(values: FloatArray) -> FloatArray:
    """`x / (1 + exp(-1.702 x))`."""
    return np.asarray(values / (1.0 + np.exp(-1.702 * values)))


def relu(values: FloatArray) -> FloatArray:
    """Nothing below 0."""
    return np.maximum(values, 0.0)


ACTIVATIONS = {"silu": silu, "gelu": gelu, "quick_gelu": quick_gelu, "relu": relu}
"""By the names that blocks have for them."""


def routes(
    logits: FloatArray, active: int, scores: str, correction: FloatArray | None = None, scaling: float = 1.0
) -> tuple[FloatArray, FloatArray]:
    """Experts `(tokens, active)` that tokens are routed to, best first, and their weights.

    Parameters
    ----------
    logits
        `(tokens, experts)`.
    scores
        ``top_softmax``: softmax over the chosen; ``softmax``: over all; ``sigmoid``: each by itself, over their sum.
    correction
        Added to the scores for the choice alone.
    scaling
        Factor of the weights.
    """
    if scores == "sigmoid":
        given = 1.0 / (1.0 + np.exp(-logits))
    else:
        shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
        given = shifted / shifted.sum(axis=-1, keepdims=True)
    ranked = given if correction is None else given + correction
    chosen = np.argsort(-ranked, axis=-1, kind="stable")[:, :active]
    weights = np.take_along_axis(given, chosen, axis=-1)
    if scores != "softmax":
        weights = weights / weights.sum(axis=-1, keepdims=True)
    return chosen.astype(np.float64), np.asarray(weights * scaling)


def patches(image: FloatArray, side: int) -> FloatArray:
    """`(channels, height, width)` as rows of patches `(patches, channels * side * side)`, row by row of the image.

    A convolution with windows that do not overlap is a product of these rows.
    """
    channels, height, width = image.shape
    cut = image.reshape(channels, height // side, side, width // side, side)
    return cut.transpose(1, 3, 0, 2, 4).reshape(-1, channels * side * side)


def depthwise(tokens: FloatArray, kernel: FloatArray) -> FloatArray:
    """Every channel of `(tokens, width)` convolved over time with its kernel `(width, taps)`, padded evenly."""
    taps = kernel.shape[1]
    before = (taps - 1) // 2
    padded = np.pad(tokens, ((before, taps - 1 - before), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, taps, axis=0)
    return np.asarray(np.einsum("tck,ck->tc", windows, kernel))
