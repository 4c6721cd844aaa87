"""Pooling over time: of a window of the last frames, and of all frames up to now as a running sum."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from algorithms.state.rings.ring import Array, Frame, Held, Ring, RingLayer
from hwmodels.reading.errors import InputError, Problem


@dataclass(frozen=True)
class CausalAverage(RingLayer):
    """Mean of all frames up to each, and of their space where asked for: a sum and a count, whatever the length.

    (MoViNets' cumulative global average pooling, arXiv:2103.11511, section 3.2.)

    Parameters
    ----------
    over_space
        Whether one number per channel is left.
    """

    over_space: bool = True

    def start(self, batch: int, frame: Frame) -> Held:
        return {"sum": np.zeros((batch, *self.out_frame(frame))), "count": np.zeros((batch, 1))}

    def push(self, held: Held, frames: Array) -> tuple[Held, Array]:
        if self.over_space:
            frames = frames.mean(axis=tuple(range(2, frames.ndim - 1)), keepdims=True)
        sums = held["sum"][:, None] + np.cumsum(frames, axis=1)
        counts = held["count"] + np.arange(1, frames.shape[1] + 1)
        means = sums / counts.reshape(*counts.shape, *(1,) * (sums.ndim - 2))
        last = sums[:, -1] if frames.shape[1] else held["sum"]
        return {"sum": last, "count": held["count"] + frames.shape[1]}, means

    def out_frame(self, frame: Frame) -> Frame:
        return (*(1,) * (len(frame) - 1), frame[-1]) if self.over_space else frame

    def held_elements(self, frame: Frame) -> int:
        """The sum, and the count."""
        return math.prod(self.out_frame(frame)) + 1

    def macs(self, frame: Frame) -> float:
        """An addition per number counts as a multiply-add."""
        return float(math.prod(frame))


@dataclass(frozen=True)
class WindowPool(RingLayer):
    """Mean or maximum of the last frames; before the first frame there were zeros.

    Parameters
    ----------
    field
        Frames that are pooled.
    every
        Frames between two outputs.
    what
        ``mean`` or ``max``.
    """

    field: int
    every: int = 1
    what: Literal["mean", "max"] = "mean"

    def __post_init__(self) -> None:
        if self.what not in ("mean", "max"):
            raise InputError(Problem(f"must be mean or max (got {self.what!r})", field="what"))
        _ = self.ring

    @property
    def ring(self) -> Ring:
        """Frames of one output."""
        return Ring(self.field, self.every)

    @property
    def stride(self) -> int:  # type: ignore[override]
        """Frames that enter for each that leaves."""
        return self.every

    def start(self, batch: int, frame: Frame) -> Held:
        return {"frames": self.ring.start(batch, frame)}

    def push(self, held: Held, frames: Array) -> tuple[Held, Array]:
        kept, windows = self.ring.turn(held["frames"], frames)
        pooled: Array = windows.mean(axis=2) if self.what == "mean" else windows.max(axis=2)
        return {"frames": kept}, pooled

    def out_frame(self, frame: Frame) -> Frame:
        return frame

    def held_elements(self, frame: Frame) -> int:
        return self.ring.kept * math.prod(frame)

    def macs(self, frame: Frame) -> float:
        return self.field * math.prod(frame) / self.every
