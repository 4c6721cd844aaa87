"""Gradients by complex steps: a loss is written forward alone, and its derivative is an imaginary part.

No backward pass, no shared helper with what is checked: `Im loss(w + i h) / h` is exact to rounding for h = 1e-40.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from reference.truth.oracle import FloatArray

Complex = NDArray[np.complex128]
STEP = 1e-40


def complex_step(loss: Callable[[Complex], complex], at: FloatArray) -> FloatArray:
    """The gradient of a real function, one place after the other."""
    gradient = np.zeros(at.shape)
    for place in np.ndindex(at.shape):
        moved = at.astype(np.complex128)
        moved[place] += 1j * STEP
        gradient[place] = loss(moved).imag / STEP
    return gradient


def decoder_loss(
    x: Complex,
    layers: Sequence[Mapping[str, Complex]],
    scale: Complex,
    head: Complex,
    targets: Sequence[int],
    heads: tuple[int, int],
) -> complex:
    """Cross entropy of a decoder in the words of its definition, head by head and row by row.

    `heads` are query heads and KV heads. Norms are over root mean squares with an epsilon of 1e-6; the feed-forward
    block is `down(silu(gate) * up)`.
    """
    for weights in layers:
        normed = _norm(x, weights["norm_attention"])
        q, k, v = (normed @ weights[name] for name in "qkv")
        width = q.shape[1] // heads[0]
        out = np.zeros(q.shape, dtype=np.complex128)
        for head_number in range(heads[0]):
            own = slice(head_number * width, (head_number + 1) * width)
            kv_number = head_number * heads[1] // heads[0]
            shared = slice(kv_number * width, (kv_number + 1) * width)
            for row in range(len(x)):
                shares = np.exp(k[: row + 1, shared] @ q[row, own] / math.sqrt(width))
                out[row, own] = shares @ v[: row + 1, shared] / shares.sum()
        x = x + out @ weights["o"]
        normed = _norm(x, weights["norm_feed_forward"])
        gate = normed @ weights["gate"]
        x = x + (gate / (1.0 + np.exp(-gate)) * (normed @ weights["up"])) @ weights["down"]
    logits = _norm(x, scale) @ head
    return complex(sum(np.log(np.exp(row).sum()) - row[target] for row, target in zip(logits, targets, strict=True)))


def _norm(x: Complex, scale: Complex) -> Complex:
    found: Complex = x / np.sqrt((x * x).mean(axis=1, keepdims=True) + 1e-6) * scale
    return found
