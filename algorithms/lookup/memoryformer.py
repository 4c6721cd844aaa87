"""MemoryFormer's block in numbers: multiply-adds, tables and rows beside those of a block of dense layers.

(Ding et al. 2024, arXiv:2411.12992, table 1 and section 3.3.) Queries, keys and values are look-ups; there is no output
projection; the feed-forward block is two look-ups, the second of which has tables of ``bits + 2`` bits. The paper's
count, `2 s^2 d + 6 K s d`, is of other layers: one for each of the six dense ones, none wider than a token.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from algorithms.lookup.layer import RowReads
from algorithms.lookup.signs import SignLookup
from hwmodels.reading.errors import InputError, Problem


@dataclass(frozen=True)
class MemoryFormerBlock:
    """Sizes of a block.

    Parameters
    ----------
    width
        Numbers of a token, pieces times bits.
    bits
        Numbers of a piece, which index a table.
    wider
        Further bits of the second layer of the feed-forward block.

    Raises
    ------
    InputError
        If the width is no whole number of pieces.
    """

    width: int
    bits: int = 8
    wider: int = 2

    def __post_init__(self) -> None:
        if self.bits < 1 or self.width < 1 or self.width % self.bits:
            raise InputError(Problem(f"must be pieces of {self.bits} numbers (got {self.width})", field="width"))

    @property
    def pieces(self) -> int:
        """Pieces of a token."""
        return self.width // self.bits

    @property
    def layers(self) -> tuple[SignLookup, ...]:
        """Queries, keys, values and two layers behind them, as they are built."""
        hidden = (self.bits + self.wider) * self.pieces
        first, second = self._empty(self.bits, hidden), self._empty(self.bits + self.wider, self.width)
        return (*(self._empty(self.bits, self.width) for _ in range(3)), first, second)

    @property
    def counted_layers(self) -> tuple[SignLookup, ...]:
        """One for each dense layer of a block: queries, keys, values, outputs, and two of as many numbers as a token.

        Those that the paper's formula and table of FLOP count: with an output projection, which is not built, and
        without the further bits of the last layer, for which the one before it has to be wider.
        """
        return tuple(self._empty(self.bits, self.width) for _ in range(6))

    def _empty(self, bits: int, outputs: int) -> SignLookup:
        """A layer whose tables are zeros, as only sizes are asked for."""
        return SignLookup(np.broadcast_to(np.zeros(()), (self.pieces, 1 << bits, outputs)))

    def attention_macs(self, tokens: int) -> float:
        """Scores and sums of a prompt, without a mask, as the paper counts."""
        return 2.0 * tokens**2 * self.width

    def published_macs(self, tokens: int) -> float:
        """The paper's formula, `2 s^2 d + 6 K s d`: it leaves out what the weights of rows take."""
        return self.attention_macs(tokens) + 6.0 * self.pieces * tokens * self.width

    def counted_macs(self, tokens: int) -> float:
        """Those of `counted_layers`, with the weights of their rows."""
        return self.attention_macs(tokens) + sum(layer.macs(tokens) for layer in self.counted_layers)

    def macs(self, tokens: int) -> float:
        """Those of the layers as they are built: one less than the formula counts, and the first of two a bit wider."""
        return self.attention_macs(tokens) + sum(layer.macs(tokens) for layer in self.layers)

    def dense_macs(self, tokens: int) -> float:
        """A block of dense layers with four times the width inside, `2 s^2 d + 12 s d^2`."""
        return self.attention_macs(tokens) + 12.0 * tokens * self.width**2

    def table_bytes(self, dtype_bytes: float = 2.0) -> float:
        """All tables."""
        return dtype_bytes * sum(layer.table_elements for layer in self.layers)

    def dense_bytes(self, dtype_bytes: float = 2.0) -> float:
        """Weights of the block of dense layers."""
        return dtype_bytes * 12.0 * self.width**2

    def reads(self, tokens: int, dtype_bytes: float = 2.0) -> tuple[RowReads, ...]:
        """Rows that tokens read in each layer."""
        return tuple(layer.reads(tokens, dtype_bytes) for layer in self.layers)


PYTHIA = {"70m": 512, "160m": 768, "410m": 1024}
"""Widths of the models that the paper replaces blocks of, by name."""
