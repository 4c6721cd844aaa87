"""Turns the text of a table's cells into numbers; everything that is wrong has file, row and column."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from hwmodels.chips.accelerator import accelerator_aliases, accelerator_names
from hwmodels.reading.errors import InputError, Problem, did_you_mean
from studies.validate.measured.tables.layout import SPLIT_COLUMN, UNITS, Kind, TableLayout
from studies.validate.measured.tables.table import MeasuredTable, Numbers, Times, Words

MOST_PROBLEMS = 8
"""That are told of one file; a wrong unit would else be told once a row."""
LARGEST_COUNT = 1 << 40

Cells = Mapping[str, Sequence[object]]
"""Columns by name, as read: text, or what a Parquet file holds."""


class FileOfRows:
    """Cells of one file, and what is wrong with them.

    Parameters
    ----------
    file
        Name, for messages.
    first_line
        Line of the first row: 2 behind a heading, 1 where rows are counted instead of lines.
    """

    def __init__(self, file: str, layout: TableLayout, cells: Cells, first_line: int) -> None:
        self._file, self._layout, self._cells, self._first_line = file, layout, cells, first_line
        self._problems: list[Problem] = []

    def table(self) -> MeasuredTable:
        """The table.

        Raises
        ------
        InputError
            A column that is missing, a cell that is no number or one that cannot be, a GPU without a chip; one line
            each, a few at most.
        """
        self._check_columns()
        words = {name: self._words(name) for name, kind in self._layout.columns if kind == "text"}
        numbers = {name: self._counts(name, kind) for name, kind in self._layout.columns if kind != "text"}
        time_us = self._times(self._layout.timed)
        self._check_gpus(words["gpu"])
        if self._problems:
            raise InputError(self._problems[:MOST_PROBLEMS])
        split = self._words(SPLIT_COLUMN) if SPLIT_COLUMN in self._cells else np.full(len(time_us), "unknown")
        return MeasuredTable(self._layout, words, numbers, time_us, split, ((self._file, 0),))

    def _check_columns(self) -> None:
        wanted = [*(name for name, _ in self._layout.columns), self._layout.timed]
        missing = [name for name in wanted if name not in self._cells]
        if missing:
            raise InputError([self._missing(name) for name in missing])

    def _missing(self, name: str) -> Problem:
        other = next((column for column in self._cells if column in UNITS), None)
        if name == self._layout.timed and other:
            hint = f"times are in microseconds here, {other!r} has {UNITS[other]}"
        else:
            hint = did_you_mean(name, list(self._cells)) or f"it has {', '.join(self._cells)}"
        return Problem(f"table {self._layout.name} needs this column", self._file, 1, name, hint)

    def _wrong(self, row: int, column: str, message: str, hint: str | None = None) -> None:
        self._problems.append(Problem(message, self._file, self._first_line + row, column, hint))

    def _words(self, name: str) -> Words:
        return np.array([str(cell).strip() for cell in self._cells[name]], dtype=np.str_)

    def _numbers(self, name: str) -> Times:
        """Cells as numbers; NaN where one is none, which is told."""
        cells = self._cells[name]
        try:
            return np.array([float(cell) for cell in cells], dtype=np.float64)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            pass
        found = np.full(len(cells), math.nan)
        for row, cell in enumerate(cells):
            try:
                found[row] = float(cell)  # type: ignore[arg-type]
            except (TypeError, ValueError):
                self._wrong(row, name, f"must be a number (got {cell!r})")
        return found

    def _counts(self, name: str, kind: Kind) -> Numbers:
        found = self._numbers(name)
        lowest = 1 if kind == "count" else 0
        bad = ~((found >= lowest) & (found <= LARGEST_COUNT) & (found == np.floor(found)))
        for row in np.flatnonzero(bad & ~np.isnan(found))[:MOST_PROBLEMS]:
            self._wrong(int(row), name, f"must be a whole number of at least {lowest} (got {found[row]:g})")
        return np.where(bad, 1, found).astype(np.int64)

    def _times(self, name: str) -> Times:
        found = self._numbers(name)
        for row in np.flatnonzero(~((found > 0) & np.isfinite(found)) & ~np.isnan(found))[:MOST_PROBLEMS]:
            self._wrong(int(row), name, f"a time must be greater than 0 (got {found[row]:g})")
        if np.isnan(found).any() and not self._problems:
            row = int(np.flatnonzero(np.isnan(found))[0])
            self._wrong(row, name, "a time must be greater than 0 (got nan)")
        return found

    def _check_gpus(self, gpus: Words) -> None:
        known = {*accelerator_names(), *accelerator_aliases()}
        for gpu in sorted(set(gpus.tolist())):
            if gpu.casefold() not in known:
                row = int(np.flatnonzero(gpus == gpu)[0])
                hint = did_you_mean(gpu, known) or "see `attnflow list chips`"
                self._wrong(row, "gpu", f"there is no chip {gpu!r}", hint)
