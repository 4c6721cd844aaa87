"""Causal convolutions over time and up to two dimensions of space, from a ring of the last frames."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from algorithms.state.rings.ring import Array, Frame, Held, Ring, RingLayer
from hwmodels.reading.errors import InputError, Problem

_LETTERS = "xy"


@dataclass(frozen=True, eq=False)
class CausalConvolution(RingLayer):
    """A convolution whose outputs see no later frame: in one, two or three dimensions, dense or by channel.

    Space is padded with zeros to ``ceil(size / stride)`` outputs, a missing row more behind than before it.

    Parameters
    ----------
    weights
        `(time, *space, channels_in, channels_out)`; `(time, *space, channels)` by channel.
    strides
        Strides in time and in each dimension of space.
    bias
        Number that is added per output channel; zero when None.
    by_channel
        Whether each channel is a convolution of its own (depthwise).
    activation
        Elementwise function of the outputs; none when None.

    Raises
    ------
    InputError
        If strides and weights have other dimensions, or a stride in time skips frames.
    """

    weights: Array
    strides: tuple[int, ...] = (1,)
    bias: Array | None = None
    by_channel: bool = False
    activation: Callable[[Array], Array] | None = None

    def __post_init__(self) -> None:
        dimensions = self.weights.ndim - (1 if self.by_channel else 2)
        problems = []
        if not 1 <= dimensions <= 1 + len(_LETTERS):
            problems.append(
                Problem(f"must have time and up to 2 dimensions of space (got {dimensions})", field="weights")
            )
        if len(self.strides) != dimensions:
            problems.append(
                Problem(f"must be one per dimension, {dimensions} (got {len(self.strides)})", field="strides")
            )
        if problems:
            raise InputError(problems)
        _ = self.ring

    @property
    def ring(self) -> Ring:
        """Frames of one output."""
        return Ring(self.weights.shape[0], self.strides[0])

    @property
    def stride(self) -> int:  # type: ignore[override]
        """Frames that enter for each that leaves."""
        return self.strides[0]

    @property
    def channels(self) -> tuple[int, int]:
        """Channels of inputs and of outputs."""
        last = self.weights.shape[-1]
        return (last, last) if self.by_channel else (self.weights.shape[-2], last)

    def start(self, batch: int, frame: Frame) -> Held:
        if len(frame) != len(self.strides) or frame[-1] != self.channels[0]:
            expected = f"{len(self.strides) - 1} dimensions of space and {self.channels[0]} channels"
            raise InputError(Problem(f"must have {expected} (got {frame})", field="frame"))
        return {"frames": self.ring.start(batch, frame)}

    def push(self, held: Held, frames: Array) -> tuple[Held, Array]:
        kept, windows = self.ring.turn(held["frames"], frames)
        return {"frames": kept}, self.activated(self._convolved(windows))

    def activated(self, rows: Array) -> Array:
        """Outputs with bias and activation."""
        rows = rows if self.bias is None else rows + self.bias
        return rows if self.activation is None else self.activation(rows)

    def _convolved(self, windows: Array) -> Array:
        space = self.weights.shape[1 : len(self.strides)]
        padding = [
            same_padding(size, k, s) for size, k, s in zip(windows.shape[3:-1], space, self.strides[1:], strict=True)
        ]
        padded = np.pad(windows, [(0, 0)] * 3 + padding + [(0, 0)])
        axes = tuple(range(3, 3 + len(space)))
        if axes:
            padded = np.lib.stride_tricks.sliding_window_view(padded, space, axis=axes)
            steps = tuple(slice(None, None, s) for s in self.strides[1:])
            padded = padded[(slice(None),) * 3 + steps]
        outer, inner = _LETTERS[: len(space)], _LETTERS[: len(space)].upper()
        weights = f"t{inner}c" if self.by_channel else f"t{inner}cd"
        out = "c" if self.by_channel else "d"
        found: Array = np.einsum(f"bnt{outer}c{inner},{weights}->bn{outer}{out}", padded, self.weights, optimize=True)
        return found

    def out_frame(self, frame: Frame) -> Frame:
        return (*(math.ceil(size / s) for size, s in zip(frame[:-1], self.strides[1:], strict=True)), self.channels[1])

    def held_elements(self, frame: Frame) -> int:
        return self.ring.kept * math.prod(frame)

    def macs(self, frame: Frame) -> float:
        per_output = self.weights.size
        return math.prod(self.out_frame(frame)[:-1]) * per_output / self.stride


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and behind a row of so many, for `ceil(size / stride)` outputs."""
    whole = max(0, (math.ceil(size / stride) - 1) * stride + kernel - size)
    return whole // 2, whole - whole // 2
