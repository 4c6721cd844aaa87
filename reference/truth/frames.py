"""Networks over frames in float64, on the whole sequence at once and place by place, written to be read.

No ring, no shared helper with what is checked. One sequence: frames `(frames, *space, channels)`.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import ArrayLike

from reference.truth.oracle import FloatArray


def causal_convolution(
    frames: ArrayLike, weights: ArrayLike, strides: tuple[int, ...], *, by_channel: bool = False
) -> FloatArray:
    """Output place by output place; what lies outside is zero, and an output sees no frame after its stride.

    `weights` are `(time, *space, in, out)`, or `(time, *space, channels)` by channel. A dimension of space has
    ``ceil(size / stride)`` outputs, the first of which begins half of the missing rows before it.
    """
    frames, weights = (np.asarray(x, dtype=np.float64) for x in (frames, weights))
    kernel, sizes = weights.shape[: len(strides)], frames.shape[: len(strides)]
    counts = [sizes[0] // strides[0], *(math.ceil(n / s) for n, s in zip(sizes[1:], strides[1:], strict=True))]
    begins = [strides[0] - kernel[0]]
    for count, stride, size, width in zip(counts[1:], strides[1:], kernel[1:], sizes[1:], strict=True):
        begins.append(-(max(0, (count - 1) * stride + size - width) // 2))
    out = np.zeros((*counts, weights.shape[-1]))
    for place in itertools.product(*map(range, counts)):
        for tap in itertools.product(*map(range, kernel)):
            at = tuple(b + p * s + t for b, p, s, t in zip(begins, place, strides, tap, strict=True))
            if all(0 <= a < n for a, n in zip(at, sizes, strict=True)):
                out[place] += weights[tap] * frames[at] if by_channel else frames[at] @ weights[tap]
    return out


def causal_mean(frames: ArrayLike, *, over_space: bool) -> FloatArray:
    """Mean of all frames up to each, summed anew for each."""
    frames = np.asarray(frames, dtype=np.float64)
    axes = tuple(range(1, frames.ndim - 1)) if over_space else ()
    rows = [frames[: i + 1].mean(axis=0, keepdims=True).mean(axis=axes, keepdims=True) for i in range(len(frames))]
    return np.concatenate(rows)


def chunked_attention(x: ArrayLike, projections: ArrayLike, heads: int, left: int, chunk: int) -> FloatArray:
    """Attention of the whole sequence under a mask: each frame sees its chunk, and so many frames before that."""
    x, projections = (np.asarray(each, dtype=np.float64) for each in (x, projections))
    width = x.shape[1] // heads
    number = np.arange(len(x))
    begins = number // chunk * chunk
    seen = (number[None] < begins[:, None] + chunk) & (number[None] >= begins[:, None] - left)
    q, k, v = (x @ projections[i] for i in range(3))
    out = np.zeros_like(x)
    for head in range(heads):
        own = slice(head * width, (head + 1) * width)
        weights = np.where(seen, np.exp(q[:, own] @ k[:, own].T / math.sqrt(width)), 0.0)
        out[:, own] = weights / weights.sum(axis=1, keepdims=True) @ v[:, own]
    mixed: FloatArray = out @ projections[3]
    return mixed
