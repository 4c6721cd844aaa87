"""Attention to a bounded left context and a chunk: what a stateful Conformer keeps of its layers.

Frames attend in chunks, each to its whole chunk (the look-ahead) and to so many frames before it (Noroozi et al. 2023,
arXiv:2312.17279, section 3: chunk-aware look-ahead, which does not grow with depth). Kept are the last inputs of the
layer, whose keys and values are made anew, or those keys and values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from algorithms.state.rings.ring import Array, Frame, Held, RingLayer
from hwmodels.reading.errors import InputError, Problem


@dataclass(frozen=True, eq=False)
class LeftContextAttention(RingLayer):
    """Attention of every chunk of frames to itself and to the frames before it, up to a bound.

    Parameters
    ----------
    projections
        `(4, width, width)`: for queries, keys, values and outputs.
    heads
        Heads that share the width.
    left
        Frames before a chunk that its frames see.
    chunk
        Frames that attend together.
    keeps
        ``inputs`` or ``keys`` (and values) of the left context.

    Raises
    ------
    InputError
        If the width is not a multiple of the heads, or for a chunk without frames.
    """

    projections: Array
    heads: int
    left: int
    chunk: int
    keeps: Literal["inputs", "keys"] = "inputs"

    def __post_init__(self) -> None:
        problems = []
        if self.projections.shape != (4, self.width, self.width):
            problems.append(Problem(f"must be 4 square matrices (got {self.projections.shape})", field="projections"))
        if self.heads < 1 or self.width % self.heads:
            problems.append(Problem(f"must divide the width {self.width} (got {self.heads})", field="heads"))
        for name, least in (("left", 0), ("chunk", 1)):
            if getattr(self, name) < least:
                problems.append(Problem(f"must be at least {least} (got {getattr(self, name)})", field=name))
        if self.keeps not in ("inputs", "keys"):
            problems.append(Problem(f"must be inputs or keys (got {self.keeps!r})", field="keeps"))
        if problems:
            raise InputError(problems)

    @property
    def width(self) -> int:
        """Numbers of a frame."""
        return int(self.projections.shape[-1])

    def start(self, batch: int, frame: Frame) -> Held:
        if frame != (self.width,):
            raise InputError(Problem(f"must be {self.width} numbers without space (got {frame})", field="frame"))
        empty = np.zeros((batch, 0, self.width))
        names = ("inputs",) if self.keeps == "inputs" else ("keys", "values")
        return {"waiting": empty, **dict.fromkeys(names, empty)}

    def push(self, held: Held, frames: Array) -> tuple[Held, Array]:
        waiting = np.concatenate([held["waiting"], frames], axis=1)
        outs = [np.zeros((len(frames), 0, self.width))]
        while waiting.shape[1] >= self.chunk:
            held, out = self._chunk(held, waiting[:, : self.chunk])
            waiting = waiting[:, self.chunk :]
            outs.append(out)
        return {**held, "waiting": waiting}, np.concatenate(outs, axis=1)

    def _chunk(self, held: Held, rows: Array) -> tuple[Held, Array]:
        if self.keeps == "inputs":
            seen = np.concatenate([held["inputs"], rows], axis=1)
            keys, values = seen @ self.projections[1], seen @ self.projections[2]
            after = {"inputs": self._last(seen)}
        else:
            keys = np.concatenate([held["keys"], rows @ self.projections[1]], axis=1)
            values = np.concatenate([held["values"], rows @ self.projections[2]], axis=1)
            after = {"keys": self._last(keys), "values": self._last(values)}
        q, k, v = (self._by_head(each) for each in (rows @ self.projections[0], keys, values))
        scores = q @ k.swapaxes(-1, -2) / math.sqrt(self.width // self.heads)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = (weights / weights.sum(axis=-1, keepdims=True)) @ v
        out: Array = mixed.swapaxes(1, 2).reshape(rows.shape) @ self.projections[3]
        return after, out

    def _last(self, rows: Array) -> Array:
        return rows[:, max(0, rows.shape[1] - self.left) :]

    def _by_head(self, rows: Array) -> Array:
        return rows.reshape(*rows.shape[:2], self.heads, -1).swapaxes(1, 2)

    def out_frame(self, frame: Frame) -> Frame:
        return frame

    def held_elements(self, frame: Frame) -> int:
        """The left context; frames that wait for their chunk are inputs of the chunk, not of the past."""
        return self.left * self.width * (1 if self.keeps == "inputs" else 2)

    def macs(self, frame: Frame) -> float:
        """Projections of the chunk, and of the keys and values of kept inputs; scores and sums of what is seen."""
        seen = self.left + self.chunk
        made = self.chunk if self.keeps == "keys" else seen
        projecting = self.width * self.width * (2.0 * self.chunk + 2.0 * made)
        return (projecting + 2.0 * self.chunk * seen * self.width) / self.chunk
