"""The contract of layers over time: frames enter in any number, outputs leave, and what is kept does not grow.

A layer with a receptive field of r frames and a stride of s keeps at most the last ``r - s`` frames, and those that
wait for a stride to be full. Its outputs equal those of the offline network, whatever frames came together.
Frames are `(batch, frames, *space, channels)`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwmodels.reading.errors import InputError, Problem

Array = NDArray[np.float64]
Frame = tuple[int, ...]
"""Shape of one frame of one sequence: space, then channels."""
Held = Mapping[str, Array]
"""What a layer keeps by name, batch first. Layers return a new one and leave the old one as it is."""


class RingLayer(ABC):
    """A layer over time, in the form that takes frames as they come."""

    stride: int = 1
    """Frames that enter for each that leaves."""

    @abstractmethod
    def start(self, batch: int, frame: Frame) -> Held:
        """What is kept before the first frame; raises InputError where frames of this shape do not fit."""

    @abstractmethod
    def push(self, held: Held, frames: Array) -> tuple[Held, Array]:
        """What is kept after more frames, and the outputs that they complete."""

    @abstractmethod
    def out_frame(self, frame: Frame) -> Frame:
        """Shape of an output frame."""

    @abstractmethod
    def held_elements(self, frame: Frame) -> int:
        """Most numbers of one sequence that are kept between two outputs."""

    @abstractmethod
    def macs(self, frame: Frame) -> float:
        """Multiply-adds per frame that enters."""


@dataclass(frozen=True)
class Ring:
    """The last frames, and where the next output begins; what layers of a fixed receptive field share.

    Parameters
    ----------
    field
        Frames that one output sees.
    stride
        Frames between two outputs; at most the field.

    Raises
    ------
    InputError
        For a field or stride below 1, or a stride that skips frames.
    """

    field: int
    stride: int = 1

    def __post_init__(self) -> None:
        problems = [
            Problem(f"must be at least 1 frame (got {value})", field=name)
            for name, value in vars(self).items()
            if value < 1
        ]
        if not problems and self.stride > self.field:
            problems.append(Problem(f"must be at most the field, {self.field} (got {self.stride})", field="stride"))
        if problems:
            raise InputError(problems)

    @property
    def kept(self) -> int:
        """Frames that are kept between two outputs."""
        return self.field - self.stride

    def start(self, batch: int, frame: Frame) -> Array:
        """Zeros before the first frame: the first output comes with the first whole stride."""
        return np.zeros((batch, self.kept, *frame))

    def turn(self, kept: Array, frames: Array) -> tuple[Array, Array]:
        """What is kept then, and the windows `(batch, outputs, field, *frame)` that are complete now."""
        joined = np.concatenate([kept, frames], axis=1)
        outputs = max(0, (joined.shape[1] - self.kept) // self.stride)
        windows = np.lib.stride_tricks.sliding_window_view(joined, self.field, axis=1) if outputs else None
        rest = joined[:, outputs * self.stride :]
        if windows is None:
            return rest, np.zeros((len(joined), 0, self.field, *joined.shape[2:]))
        chosen = windows[:, : outputs * self.stride : self.stride]
        return rest, np.moveaxis(chosen, -1, 2)


class Stream:
    """Layers in a row while frames pass.

    Parameters
    ----------
    layers
        First to last.
    batch, frame
        Sequences, and the shape of a frame of each.

    Raises
    ------
    InputError
        Without layers or sequences, or where a layer does not fit what the one before it emits.
    """

    def __init__(self, layers: Sequence[RingLayer], batch: int, frame: Frame) -> None:
        if not layers:
            raise InputError(Problem("must have at least 1 layer", field="layers"))
        if batch < 1:
            raise InputError(Problem(f"must be at least 1 (got {batch})", field="batch"))
        self.layers = tuple(layers)
        self._batch, self._frame = batch, frame
        self.reset()

    def reset(self) -> None:
        """Forget all frames."""
        shapes = frames_between(self.layers, self._frame)
        self.held = [layer.start(self._batch, shape) for layer, shape in zip(self.layers, shapes, strict=False)]

    @property
    def elements(self) -> int:
        """Numbers that are kept now, of all sequences."""
        return sum(array.size for held in self.held for array in held.values())

    def push(self, frames: Array) -> Array:
        """Take frames `(batch, n, *space, channels)`, and return what they complete."""
        for number, layer in enumerate(self.layers):
            self.held[number], frames = layer.push(self.held[number], frames)
        return frames


def frames_between(layers: Sequence[RingLayer], frame: Frame) -> list[Frame]:
    """Shapes of frames before the first layer, between layers, and behind the last one."""
    shapes = [frame]
    for layer in layers:
        shapes.append(layer.out_frame(shapes[-1]))
    return shapes


def held_elements(layers: Sequence[RingLayer], frame: Frame) -> int:
    """Numbers that a network keeps of one sequence, however long that is."""
    return sum(
        layer.held_elements(shape) for layer, shape in zip(layers, frames_between(layers, frame)[:-1], strict=True)
    )


def macs_per_frame(layers: Sequence[RingLayer], frame: Frame) -> float:
    """Multiply-adds of a network per frame that enters it."""
    total, rate = 0.0, 1.0
    for layer, shape in zip(layers, frames_between(layers, frame)[:-1], strict=True):
        total += rate * layer.macs(shape)
        rate /= layer.stride
    return total


def recomputing_ratio(window: int, fresh: int) -> float:
    """Work of a network that is run on overlapping windows over that of one that keeps rings: `window / fresh`.

    (StreamiNNC, arXiv:2408.03223: the speed-up is linear in the overlap.)

    Raises
    ------
    InputError
        If a window has fewer frames than are new in it.
    """
    if not 1 <= fresh <= window:
        raise InputError(Problem(f"must be from 1 to the window, {window} (got {fresh})", field="fresh"))
    return window / fresh
