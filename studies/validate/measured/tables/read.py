"""Finds and reads tables of measured kernels: CSV files, packed or not, and AIConfigurator's Parquet files."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hwmodels.reading.errors import InputError, Problem
from hwmodels.reading.shipped import is_there
from studies.validate.measured.tables.checking import FileOfRows
from studies.validate.measured.tables.layout import LAYOUTS, TableLayout
from studies.validate.measured.tables.published import PARQUET, published_file, read_published
from studies.validate.measured.tables.table import MeasuredTable, joined

CSV_SUFFIXES = (".csv", ".csv.gz")


@dataclass(frozen=True)
class Found:
    """What lies at a place.

    Parameters
    ----------
    tables
        Those that are scored, files of the same table joined.
    others
        Files of rows that are not.
    """

    tables: tuple[MeasuredTable, ...]
    others: tuple[str, ...]


def read_tables(place: Path, only: Sequence[TableLayout] = LAYOUTS) -> Found:
    """All tables in a folder and those below it, or in one file.

    Raises
    ------
    InputError
        Nothing to read, a file that cannot be read, or tables that are not as they should be; one line each.
    """
    if not is_there(place):
        raise InputError(Problem("there is no such file or folder", str(place)))
    read: dict[str, list[MeasuredTable]] = {}
    others: list[str] = []
    problems: list[Problem] = []
    for path in _files(place):
        layout = layout_of(path)
        if layout is None or (place.is_dir() and _of_another_collection(path)):
            others.append(str(path))
        elif layout in only:
            try:
                read.setdefault(layout.name, []).append(_read(path, layout))
            except InputError as error:
                problems += error.problems
    if problems:
        raise InputError(problems)
    if not read:
        names = ", ".join(layout.name for layout in only)
        raise InputError(Problem(f"has no table that is scored ({names})", str(place)))
    return Found(tuple(joined(read[layout.name]) for layout in LAYOUTS if layout.name in read), tuple(others))


def layout_of(path: Path) -> TableLayout | None:
    """Which table a file holds, by its name; None for a file that is not scored."""
    stem, suffix = _split_name(path)
    for layout in LAYOUTS:
        if suffix == PARQUET and layout.published == stem:
            return layout
        if suffix in CSV_SUFFIXES and layout.name == stem:
            return layout
    return None


def _of_another_collection(path: Path) -> bool:
    """Whether a CSV file says nothing of stacks and kernels: another collection's table of the same name."""
    if path.name.endswith(PARQUET):
        return False
    try:
        opener = gzip.open if path.name.endswith(".gz") else open
        with opener(path, "rt", encoding="utf-8", newline="") as text:
            heading = next(csv.reader(text), [])
    except (OSError, EOFError, UnicodeDecodeError, csv.Error):
        return False  # which reading it tells
    return bool(heading) and not set(heading) & {"stack", "stack_version", "kernel"}


def _split_name(path: Path) -> tuple[str, str]:
    for suffix in (*CSV_SUFFIXES[::-1], PARQUET):
        if path.name.endswith(suffix):
            return path.name.removesuffix(suffix), suffix
    return path.name, ""


def _files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
        return
    for path in sorted(place.rglob("*")):
        if path.is_file() and _split_name(path)[1]:
            yield path


def _read(path: Path, layout: TableLayout) -> MeasuredTable:
    if path.name.endswith(PARQUET):
        return read_published(published_file(path), layout)
    return FileOfRows(str(path), layout, _csv_cells(path), first_line=2).table()


def _csv_cells(path: Path) -> dict[str, Sequence[object]]:
    try:
        opener = gzip.open if path.name.endswith(".gz") else open
        with opener(path, "rt", encoding="utf-8", newline="") as text:
            lines = list(csv.reader(text))
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(Problem(getattr(error, "strerror", None) or f"cannot be read: {error}", str(path))) from None
    if not lines:
        raise InputError(Problem("is empty", str(path)))
    heading, rows = lines[0], [line for line in lines[1:] if line]
    for number, row in enumerate(rows):
        if len(row) != len(heading):
            message = f"has {len(row)} cells, the heading has {len(heading)}"
            raise InputError(Problem(message, str(path), number + 2, heading[min(len(row), len(heading) - 1)]))
    columns = list(zip(*rows, strict=True)) or [()] * len(heading)
    return dict(zip(heading, columns, strict=True))
