"""A table of measured kernels in memory: columns side by side, and where each row stands in its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from studies.validate.measured.tables.layout import GROUP_COLUMNS, TableLayout

Column = NDArray[np.int64] | NDArray[np.float64] | NDArray[np.str_]
Mask = NDArray[np.bool_]
Words = NDArray[np.str_]
Numbers = NDArray[np.int64]
Times = NDArray[np.float64]


@dataclass(frozen=True)
class MeasuredTable:
    """Rows of one table, of one or more files.

    Parameters
    ----------
    layout
        What its columns are.
    words, numbers
        Columns by name, `(rows,)` each.
    time_us
        Measured, `(rows,)`.
    split
        ``calibrate`` or anything else, which is scored, `(rows,)`.
    files
        Where the rows come from, in order, each with the number of its first row in this table.
    """

    layout: TableLayout
    words: Mapping[str, Words]
    numbers: Mapping[str, Numbers]
    time_us: Times
    split: Words
    files: tuple[tuple[str, int], ...]

    def __len__(self) -> int:
        return len(self.time_us)

    @property
    def name(self) -> str:
        """Of the table."""
        return self.layout.name

    def rows(self, chosen: Mask | NDArray[np.int64]) -> MeasuredTable:
        """The rows chosen, in order; `files` then only says what they were taken from."""
        return MeasuredTable(
            self.layout,
            {name: column[chosen] for name, column in self.words.items()},
            {name: column[chosen] for name, column in self.numbers.items()},
            self.time_us[chosen],
            self.split[chosen],
            self.files,
        )

    def groups(self) -> tuple[list[tuple[str, ...]], Numbers]:
        """The different values of GPU, stack, version and kernel, sorted, and which of them each row has."""
        keys = list(zip(*(self.words[name].tolist() for name in GROUP_COLUMNS), strict=True))
        known = sorted(set(keys))
        place = {key: number for number, key in enumerate(known)}
        return known, np.array([place[key] for key in keys], dtype=np.int64)


def joined(tables: list[MeasuredTable]) -> MeasuredTable:
    """Tables of one layout one behind the other."""
    first = tables[0]
    files: list[tuple[str, int]] = []
    start = 0
    for table in tables:
        files += [(name, start + offset) for name, offset in table.files]
        start += len(table)
    return MeasuredTable(
        first.layout,
        {name: np.concatenate([table.words[name] for table in tables]) for name in first.words},
        {name: np.concatenate([table.numbers[name] for table in tables]) for name in first.numbers},
        np.concatenate([table.time_us for table in tables]),
        np.concatenate([table.split for table in tables]),
        tuple(files),
    )
