"""Values of tokens, iteration by iteration, and the functions of units on them.

A unit's function maps the token blocks of its inputs for some iterations to those of its outputs; iterations are
independent of each other. `simulator.values` calls these functions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator.firing import IntArray, Segment

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TokenBlock:
    """Tokens of one channel over some iterations.

    Attributes
    ----------
    values : array, shape ``(iterations, width, *token_shape)``
        Tokens of each iteration, padded to the longest. May be a broadcast view.
    lengths : int array, shape ``(iterations,)``, or None
        Tokens per iteration; None when all rows are full.
    """

    values: FloatArray
    lengths: IntArray | None = None

    def valid(self) -> npt.NDArray[np.bool_]:
        """Mask of real tokens, shape ``(iterations, width)``."""
        rows, width = self.values.shape[:2]
        if self.lengths is None:
            return np.ones((rows, width), dtype=np.bool_)
        return np.arange(width)[None, :] < self.lengths[:, None]

    def counts(self) -> IntArray:
        """Tokens per iteration, shape ``(iterations,)``."""
        if self.lengths is not None:
            return self.lengths
        return np.full(self.values.shape[0], self.values.shape[1], dtype=np.int64)

    def stream(self) -> FloatArray:
        """All tokens in order, shape ``(tokens, *token_shape)``."""
        if self.lengths is None:
            return self.values.reshape(-1, *self.values.shape[2:])
        return np.asarray(self.values[self.valid()])

    def with_values(self, values: FloatArray) -> TokenBlock:
        """Other values for the same tokens."""
        return TokenBlock(values, self.lengths)


@dataclass(frozen=True)
class UnitStep:
    """Result of a unit's function: output tokens, and for a data-dependent unit the firings it took."""

    outputs: tuple[TokenBlock, ...]
    firings: tuple[Segment, ...] | None = None


UnitFunction = Callable[[tuple[TokenBlock, ...], range], UnitStep]
