"""MemoryFormer's layer: signs of pieces of the input say which rows of tables are summed.

    y = sum over pieces of p(z) T[signs of z],    p(z) = product over a piece of 1 / (1 + exp(-2 |z| / t))

(Ding et al. 2024, arXiv:2411.12992, equations 3 to 7.) An input of K pieces of tau numbers reads K rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from algorithms.lookup.layer import Array, LookupLayer, RowReads
from hwmodels.reading.errors import InputError, Problem


@dataclass(frozen=True, eq=False)
class SignLookup(LookupLayer):
    """A layer of tables that signs index.

    Parameters
    ----------
    tables
        `(pieces, 2**bits, outputs)`.
    temperature
        Scale ``t`` of the weights of rows.

    Raises
    ------
    InputError
        If the number of rows is no power of two, or the temperature not above 0.
    """

    tables: Array
    temperature: float = 1.0

    def __post_init__(self) -> None:
        problems = []
        if self.tables.ndim != 3 or self.tables.shape[1] != 1 << self.bits:
            shape = self.tables.shape
            problems.append(Problem(f"must be (pieces, a power of two, outputs) (got {shape})", field="tables"))
        if not self.temperature > 0:
            problems.append(Problem(f"must be greater than 0 (got {self.temperature:g})", field="temperature"))
        if problems:
            raise InputError(problems)

    @classmethod
    def drawn(cls, pieces: int, bits: int, outputs: int, seed: int = 0) -> SignLookup:
        """A layer with tables of random numbers."""
        return cls(np.random.default_rng(seed).standard_normal((pieces, 1 << bits, outputs)) / np.sqrt(pieces))

    @property
    def bits(self) -> int:
        """Numbers of a piece."""
        return max(0, int(self.tables.shape[1]).bit_length() - 1)

    @property
    def inputs(self) -> int:
        """Numbers of an input."""
        return int(self.tables.shape[0]) * self.bits

    @property
    def outputs(self) -> int:
        """Numbers of an output."""
        return int(self.tables.shape[2])

    def places(self, x: Array) -> NDArray[np.int64]:
        """Row of every piece, `(tokens, pieces)`: bit i is set where number i of the piece is not negative."""
        pieces = x.reshape(len(x), -1, self.bits)
        found: NDArray[np.int64] = ((pieces >= 0) << np.arange(self.bits)).sum(axis=-1)
        return found

    def forward(self, x: Array) -> Array:
        if x.ndim != 2 or x.shape[1] != self.inputs:
            raise InputError(Problem(f"must be (tokens, {self.inputs}) (got {x.shape})", field="x"))
        pieces = np.abs(x.reshape(len(x), -1, self.bits))
        weights = (1.0 / (1.0 + np.exp(-2.0 * pieces / self.temperature))).prod(axis=-1)
        rows = self.tables[np.arange(len(self.tables)), self.places(x)]
        out: Array = np.einsum("nk,nkh->nh", weights, rows)
        return out

    @property
    def table_elements(self) -> int:
        return int(self.tables.size)

    def reads(self, tokens: int, dtype_bytes: float) -> RowReads:
        return RowReads(tokens * len(self.tables), round(self.outputs * dtype_bytes))

    def macs(self, tokens: int) -> float:
        """One per number of every row that is read, and one per number of an input for the weights of rows."""
        return float(tokens * (len(self.tables) * self.outputs + self.inputs))
