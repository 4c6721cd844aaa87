"""MoViNets' block: expansion, causal convolution by channel, squeeze and excitation by a running mean, projection.

(Kondratyuk et al. 2021, arXiv:2103.11511.) The ring of the convolution and the sum of the mean are all it keeps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from algorithms.state.rings.convolution import CausalConvolution, same_padding
from algorithms.state.rings.pooling import CausalAverage
from algorithms.state.rings.ring import Array, Frame, Held, RingLayer
from algorithms.state.titans import silu

SQUEEZE = 0.25
"""Share of the expanded channels that the excitation passes through, rounded to multiples of eight."""


def round_to_eight(number: float) -> int:
    """The nearest multiple of eight, one more where that loses over a tenth (Sandler et al. 2018, MobileNetV2)."""
    rounded = max(8, int(number + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * number else rounded


@dataclass(frozen=True)
class BlockShape:
    """Sizes of one block.

    Parameters
    ----------
    channels_in, expanded, channels_out
        Channels before, inside and behind it.
    kernel
        Frames, rows and columns of the convolution.
    stride
        Stride in space.
    """

    channels_in: int
    expanded: int
    channels_out: int
    kernel: tuple[int, int, int]
    stride: int = 1

    @property
    def squeezed(self) -> int:
        """Channels inside the excitation."""
        return round_to_eight(SQUEEZE * self.expanded)

    @property
    def projects_skip(self) -> bool:
        """Whether what goes around the block is pooled or projected."""
        return self.stride > 1 or self.channels_in != self.channels_out


@dataclass(frozen=True, eq=False)
class MobileBlock(RingLayer):
    """A block with weights.

    Parameters
    ----------
    shape
        Channels, kernel and stride.
    seed
        Seed of its weights, normal with the variance of one over the inputs of a sum.
    """

    shape: BlockShape
    seed: int = 0
    parts: tuple[CausalConvolution, CausalConvolution, CausalConvolution, CausalConvolution | None] = field(init=False)
    excite: tuple[Array, Array] = field(init=False)

    def __post_init__(self) -> None:
        shape, draws = self.shape, np.random.default_rng(self.seed)

        def drawn(*sizes: int, inputs: int) -> Array:
            return draws.standard_normal(sizes) / math.sqrt(inputs)

        def pointwise(a: int, b: int, active: bool) -> CausalConvolution:
            return CausalConvolution(drawn(1, 1, 1, a, b, inputs=a), (1, 1, 1), activation=silu if active else None)

        by_channel = drawn(*shape.kernel, shape.expanded, inputs=math.prod(shape.kernel))
        inner = CausalConvolution(by_channel, (1, shape.stride, shape.stride), by_channel=True, activation=silu)
        skip = pointwise(shape.channels_in, shape.channels_out, False) if shape.projects_skip else None
        parts = (
            pointwise(shape.channels_in, shape.expanded, True),
            inner,
            pointwise(shape.expanded, shape.channels_out, False),
            skip,
        )
        object.__setattr__(self, "parts", parts)
        squeezed = drawn(shape.expanded, shape.squeezed, inputs=shape.expanded)
        object.__setattr__(self, "excite", (squeezed, drawn(shape.squeezed, shape.expanded, inputs=shape.squeezed)))

    def start(self, batch: int, frame: Frame) -> Held:
        inside = self.parts[0].out_frame(frame)
        mean = CausalAverage().start(batch, self.parts[1].out_frame(inside))
        return {**self.parts[1].start(batch, inside), **mean}

    def push(self, held: Held, frames: Array) -> tuple[Held, Array]:
        expanded = pointwise(self.parts[0], frames)
        ring, inner = self.parts[1].push(held, expanded)
        mean, means = CausalAverage().push(held, inner)
        gates = 1.0 / (1.0 + np.exp(-silu(means @ self.excite[0]) @ self.excite[1]))
        out = pointwise(self.parts[2], inner * gates)
        return {**ring, **mean}, out + self._around(frames)

    def _around(self, frames: Array) -> Array:
        """What goes around the block: pooled in space with its stride, projected where channels change."""
        pooled = spatial_mean(frames, 3, self.shape.stride) if self.shape.stride > 1 else frames
        return pooled if self.parts[3] is None else pointwise(self.parts[3], pooled)

    def out_frame(self, frame: Frame) -> Frame:
        return self.parts[2].out_frame(self.parts[1].out_frame(self.parts[0].out_frame(frame)))

    def held_elements(self, frame: Frame) -> int:
        inside = self.parts[0].out_frame(frame)
        return self.parts[1].held_elements(inside) + CausalAverage().held_elements(self.parts[1].out_frame(inside))

    def macs(self, frame: Frame) -> float:
        """Convolutions, excitation, its gates and the projection around the block."""
        inside = self.parts[0].out_frame(frame)
        behind = self.parts[1].out_frame(inside)
        squeeze = 2.0 * self.excite[0].size + math.prod(behind)
        skip = 0.0 if self.parts[3] is None else self.parts[3].macs((*behind[:-1], frame[-1]))
        return self.parts[0].macs(frame) + self.parts[1].macs(inside) + self.parts[2].macs(behind) + squeeze + skip


def pointwise(layer: CausalConvolution, frames: Array) -> Array:
    """A convolution of one place and one frame, which keeps nothing."""
    return layer.activated(frames @ layer.weights[(0,) * (layer.weights.ndim - 2)])


def spatial_mean(frames: Array, kernel: int, stride: int) -> Array:
    """Mean of squares of the places that exist, with a stride, as many outputs as the convolution beside it has."""
    padding = [same_padding(size, kernel, stride) for size in frames.shape[2:4]]

    def summed(values: Array) -> Array:
        padded = np.pad(values, [(0, 0), (0, 0), *padding, (0, 0)])
        views = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(2, 3))
        total: Array = views[:, :, ::stride, ::stride].sum(axis=(-1, -2))
        return total

    return summed(frames) / summed(np.ones((1, 1, *frames.shape[2:4], 1)))
