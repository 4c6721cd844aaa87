"""Products with ternary weights by look-up: sums of a few activations are made once, weights say which of them count.

A group of G weights out of {-1, 0, 1} is an index into the 3^G sums of G activations with those weights; five bits hold
an index of three (TeLLMe v2, arXiv:2510.15926). The sums live beside the logic, the indices are what is streamed.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from algorithms.lookup.layer import Array, LookupLayer, RowReads
from algorithms.rounding import ceil_div
from hwmodels.reading.errors import InputError, Problem


@dataclass(frozen=True, eq=False)
class TernaryLookup(LookupLayer):
    """A layer whose weights are indices of groups.

    Parameters
    ----------
    indices
        `(groups, outputs)`, each from 0 to ``3**group - 1``; digit i, least first, is weight i plus one.
    group
        Weights of an index.

    Raises
    ------
    InputError
        For a group without weights, or an index beyond its sums.
    """

    indices: NDArray[np.int64]
    group: int = 3

    def __post_init__(self) -> None:
        if self.group < 1:
            raise InputError(Problem(f"must be at least 1 weight (got {self.group})", field="group"))
        if self.indices.size and not 0 <= self.indices.min() <= self.indices.max() < self.sums:
            raise InputError(Problem(f"must be from 0 to {self.sums - 1}", field="indices"))

    @classmethod
    def of(cls, weights: Array, group: int = 3) -> TernaryLookup:
        """The indices of weights `(inputs, outputs)` out of -1, 0 and 1; inputs are filled up with zeros.

        Raises
        ------
        InputError
            For any other weight.
        """
        if not np.isin(weights, (-1, 0, 1)).all():
            raise InputError(Problem("must be -1, 0 or 1", field="weights"))
        missing = -len(weights) % group
        digits = np.pad(weights, [(0, missing), (0, 0)]).astype(np.int64).reshape(-1, group, weights.shape[1]) + 1
        return cls((digits * 3 ** np.arange(group)[:, None]).sum(axis=1), group)

    @property
    def sums(self) -> int:
        """Sums of a group: all combinations of weights."""
        return int(3**self.group)

    @property
    def index_bits(self) -> int:
        """Bits that hold an index."""
        return math.ceil(math.log2(self.sums))

    @property
    def outputs(self) -> int:
        """Numbers of an output."""
        return int(self.indices.shape[1])

    def forward(self, x: Array) -> Array:
        missing = len(self.indices) * self.group - x.shape[-1]
        if x.ndim != 2 or not 0 <= missing < self.group:
            raise InputError(
                Problem(f"must have {len(self.indices)} groups of {self.group} (got {x.shape})", field="x")
            )
        pieces = np.pad(x, [(0, 0), (0, missing)]).reshape(len(x), -1, self.group)
        signs = np.array([digits[::-1] for digits in itertools.product((-1.0, 0.0, 1.0), repeat=self.group)])
        tables = pieces @ signs.T
        out: Array = tables[:, np.arange(len(self.indices))[:, None], self.indices].sum(axis=1)
        return out

    @property
    def table_elements(self) -> int:
        """Sums of all groups of one token: what is made anew for each."""
        return len(self.indices) * self.sums

    @property
    def index_bytes(self) -> int:
        """Bytes of all indices, which are read once for all tokens that go through together."""
        return ceil_div(int(self.indices.size) * self.index_bits, 8)

    def reads(self, tokens: int, dtype_bytes: float) -> RowReads:
        """Sums, one per group and output; rows of one number, from memory beside the logic."""
        return RowReads(tokens * int(self.indices.size), round(dtype_bytes))

    def macs(self, tokens: int) -> float:
        """Additions: all sums of a group, half of which are the others' negatives, and one per group and output."""
        making = len(self.indices) * (self.sums - 1) / 2 * (self.group - 1)
        return tokens * (making + self.indices.size)
