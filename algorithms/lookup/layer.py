"""What look-up layers cost: rows of tables at places that inputs decide, and few operations on them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from algorithms.memory.probe import probe
from algorithms.memory.probe_parameters import ProbeParameters
from algorithms.memory.tier_report import Fidelity
from algorithms.rounding import ceil_div
from hwmodels.reading.errors import InputError, Problem
from hwmodels.tiers.dram import DramTier
from hwmodels.tiers.text import load_tier

Array = NDArray[np.float64]


@dataclass(frozen=True)
class RowReads:
    """Rows that are read at places without order.

    Parameters
    ----------
    rows
        Number of rows.
    row_bytes
        Length of each, without gaps.
    """

    rows: int
    row_bytes: int

    @property
    def bytes(self) -> int:
        """Bytes that are asked for."""
        return self.rows * self.row_bytes

    def __add__(self, other: RowReads) -> RowReads:
        """Both together; rows of several lengths count with their mean."""
        rows = self.rows + other.rows
        return RowReads(rows, round((self.bytes + other.bytes) / rows)) if rows else self


@dataclass(frozen=True)
class RowPrice:
    """What a tier takes for rows at random places.

    Parameters
    ----------
    tier
        Name of the tier.
    seconds
        Time of all rows, one after the other without gaps between requests.
    efficiency
        Share of the tier's peak rate that the rows' own bytes reach: the rest is lost to the shortness of rows.
    """

    tier: str
    seconds: float
    efficiency: float


PROBED = 20_000
"""Transactions that a price is measured on."""


def priced(reads: RowReads, tier: str, count: int = 0, fidelity: Fidelity = "cycle") -> RowPrice:
    """The price of rows in a tier, from traffic of rows of this length at random places.

    Parameters
    ----------
    tier, count
        Tier by preset or file, and its stacks or channels (0: as in the preset).
    fidelity
        Bank by bank, or in closed form.

    Raises
    ------
    InputError
        Unknown tier, or rows without bytes.
    """
    if reads.row_bytes < 1:
        raise InputError(Problem(f"must be at least 1 byte (got {reads.row_bytes})", field="row_bytes"))
    loaded = load_tier(tier, count or None)
    unit = loaded.organisation.transaction_bytes if isinstance(loaded, DramTier) else 1
    # whole transactions are moved: what lies beside a row in them is no use to anybody
    moved = ceil_div(reads.row_bytes, unit) * unit
    report = probe(
        ProbeParameters(
            tier=tier, count=count, pattern="gather", run_bytes=moved, transactions=PROBED, fidelity=fidelity
        )
    )
    seconds = reads.rows * moved / report.achieved_bytes_per_second
    peak = report.peak_bytes_per_second
    return RowPrice(report.tier, seconds, reads.bytes / seconds / peak if seconds else 0.0)


class LookupLayer(ABC):
    """A layer that reads rows of tables in place of weights."""

    @abstractmethod
    def forward(self, x: Array) -> Array:
        """Outputs `(tokens, outputs)` of inputs `(tokens, inputs)`."""

    @property
    @abstractmethod
    def table_elements(self) -> int:
        """Numbers in all tables."""

    @abstractmethod
    def reads(self, tokens: int, dtype_bytes: float) -> RowReads:
        """Rows that so many tokens read."""

    @abstractmethod
    def macs(self, tokens: int) -> float:
        """Multiply-adds, or additions where there is nothing to multiply."""
