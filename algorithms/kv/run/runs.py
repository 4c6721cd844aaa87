"""Runs of neighbouring slots: what a gather reads, in the order it is issued, and at which addresses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from algorithms.compiled import compiled

IntArray = NDArray[np.int64]


@compiled
def _count_runs(slots: IntArray, lengths: IntArray) -> int:
    total = 0
    for row in range(slots.shape[0]):
        for ii in range(lengths[row]):
            if ii == 0 or slots[row, ii] != slots[row, ii - 1] + 1:
                total += 1
    return total


@compiled
def _fill_runs(slots: IntArray, lengths: IntArray, head: IntArray, start: IntArray, length: IntArray) -> None:
    at = -1
    for row in range(slots.shape[0]):
        for ii in range(lengths[row]):
            if ii == 0 or slots[row, ii] != slots[row, ii - 1] + 1:
                at += 1
                head[at] = row
                start[at] = slots[row, ii]
                length[at] = 0
            length[at] += 1


@dataclass(frozen=True, eq=False)
class Runs:
    """Slots read or written, run-length coded, in issue order.

    Parameters
    ----------
    head, start, length
        KV head, first slot and slots of each run: `(runs,)`.
    """

    head: IntArray
    start: IntArray
    length: IntArray

    @classmethod
    def of_slots(cls, slots: IntArray, lengths: IntArray) -> Runs:
        """Runs of the first `lengths[h]` slots of each row; every row must ascend."""
        slots = np.ascontiguousarray(slots, dtype=np.int64)
        lengths = np.ascontiguousarray(lengths, dtype=np.int64)
        count = _count_runs(slots, lengths)
        head, start, length = (np.empty(count, np.int64) for _ in range(3))
        _fill_runs(slots, lengths, head, start, length)
        return cls(head, start, length)

    @classmethod
    def contiguous(cls, lengths: IntArray, start: int = 0) -> Runs:
        """One run per head that has any slot."""
        head = np.flatnonzero(lengths)
        return cls(head, np.full(head.size, start, np.int64), np.asarray(lengths, np.int64)[head])

    @property
    def tokens(self) -> int:
        """Slots in all runs."""
        return int(self.length.sum())

    @property
    def count(self) -> int:
        """Number of runs."""
        return int(self.length.size)
