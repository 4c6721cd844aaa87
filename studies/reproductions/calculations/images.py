"""Convolutional networks over frames: trained numbers and multiply-adds from their tables of layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hwmodels.reading.errors import InputError, Problem
from studies.reproductions.calculation import Figures, calculation

RESNET_18 = ((64, 2), (128, 2), (256, 2))
RESNET_50 = ((64, 3), (128, 4), (256, 6))
"""Width and blocks of the first three groups (He et al. 2016, arXiv:1512.03385, table 1)."""
KEY, VALUE, SENSORY = 64, 512, 64
"""Numbers of a place that XMem keeps (hkchengrex/XMem, model/network.py)."""


@dataclass(frozen=True)
class Layer:
    """A convolution.

    Parameters
    ----------
    stride
        Pixels of the frame between two places of its result, in each direction.
    inputs, outputs
        Channels.
    kernel
        Rows and columns that it sees.
    """

    stride: int
    inputs: int
    outputs: int
    kernel: int = 3

    @property
    def weights(self) -> int:
        """Without biases."""
        return self.inputs * self.outputs * self.kernel**2

    def macs(self, pixels: int) -> float:
        """Over a frame of as many pixels."""
        return self.weights * pixels / self.stride**2


def _stem(channels: int) -> Layer:
    return Layer(2, channels, 64, 7)


def _bottlenecks() -> Iterator[Layer]:
    """ResNet-50 up to a stride of 16; a group halves the frame in the second layer of its first block."""
    inputs, stride = 64, 4
    for number, (width, blocks) in enumerate(RESNET_50):
        for block in range(blocks):
            before = stride
            stride = stride * 2 if number and not block else stride
            yield Layer(before, inputs, width, 1)
            yield Layer(stride, width, width)
            yield Layer(stride, width, 4 * width, 1)
            if not block:
                yield Layer(stride, inputs, 4 * width, 1)
            inputs = 4 * width


def _basic_blocks() -> Iterator[Layer]:
    """ResNet-18 up to a stride of 16."""
    inputs, stride = 64, 4
    for number, (width, blocks) in enumerate(RESNET_18):
        for block in range(blocks):
            stride = stride * 2 if number and not block else stride
            yield Layer(stride, inputs, width)
            yield Layer(stride, width, width)
            if inputs != width:
                yield Layer(stride, inputs, width, 1)
            inputs = width


def _residual(stride: int, inputs: int, outputs: int) -> Iterator[Layer]:
    """Two convolutions, and one beside them where the width changes."""
    yield Layer(stride, inputs, outputs)
    yield Layer(stride, outputs, outputs)
    if inputs != outputs:
        yield Layer(stride, inputs, outputs)


def _fusion(inputs: int) -> Iterator[Layer]:
    yield from _residual(16, 1024 + inputs, 512)
    yield from _residual(16, 512, 512)


def of_frame() -> tuple[Layer, ...]:
    """What XMem does once for a frame: keys of it, and what the decoder of every object adds to its own."""
    keys = (Layer(16, 1024, 2 * KEY + 1),)
    return (_stem(3), *_bottlenecks(), *keys, Layer(8, 512, 512), Layer(4, 256, 256))


def of_object() -> tuple[Layer, ...]:
    """Decoder of an object, and the update of its sensory memory."""
    update = (Layer(16, 512 + 256 + 257, 256, 1), Layer(16, 256 + SENSORY, 3 * SENSORY))
    up = (*_residual(8, 512, 256), *_residual(4, 256, 256), Layer(4, 256, 1))
    return (*_fusion(VALUE + SENSORY), *up, *update)


def of_value() -> tuple[Layer, ...]:
    """Values of an object in a frame that is remembered; its mask and that of the others go in with the frame."""
    return (_stem(5), *_basic_blocks(), *_fusion(256), Layer(16, VALUE + SENSORY, 3 * SENSORY))


@calculation("segmentation_network")
def segmentation_network(
    rows: int = 480, columns: int = 864, objects: float = 1.0, memory_frames: float = 7.0, every: int = 5
) -> Figures:
    """XMem from its tables of layers: trained numbers, and multiply-adds of a frame.

    ``objects`` are followed in it; each ``every``-th frame is remembered. A frame's places are compared with those of
    ``memory_frames`` by keys, by their squares and by products, and read a value for each object.
    """
    if rows % 16 or columns % 16 or rows < 1 or columns < 1:
        raise InputError(Problem(f"must be a multiple of 16 (got {rows} x {columns})", field="rows"))
    if every < 1:
        raise InputError(Problem(f"must be at least 1 (got {every})", field="every"))
    pixels, places = rows * columns, rows * columns // 256
    once, each, kept = of_frame(), of_object(), of_value()
    compared = places * places * memory_frames
    frame = sum(layer.macs(pixels) for layer in once) + 2 * KEY * compared
    own = sum(layer.macs(pixels) for layer in each) + sum(layer.macs(pixels) for layer in kept) / every
    own += VALUE * compared
    return {
        "parameters": sum(layer.weights for layer in (*once, *each, *kept)),
        "shared_macs": frame,
        "object_macs": own,
        "macs": frame + objects * own,
    }
