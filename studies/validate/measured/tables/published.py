"""AIConfigurator's tables as its repository has them: ``data/GPU/[FAMILY/]STACK/VERSION/TABLE.parquet``.

GPU, stack and version are those of the folders; the time is ``latency`` in milliseconds; the tokens that a generation
step attends are ``isl`` new ones after ``step`` old ones (collector/vllm/collect_attn.py, sdk/operations/attention.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol, cast

from hwmodels.reading.errors import InputError, Problem
from studies.validate.measured.tables.checking import FileOfRows
from studies.validate.measured.tables.layout import TIME_COLUMN, TableLayout
from studies.validate.measured.tables.table import MeasuredTable

PARQUET = ".parquet"
DATA_FOLDER = "data"
FORMATS = {"bfloat16": "bf16", "float16": "bf16", "auto": "bf16"}
"""Number formats by other names; the collection calls 16-bit caches float16 whatever they hold."""
MICROSECONDS = 1e3
"""In a millisecond."""


@dataclass(frozen=True)
class PublishedFile:
    """A Parquet file and what its folders say of it.

    Parameters
    ----------
    path
        Of the file.
    gpu, stack, stack_version
        What its rows were measured on.
    """

    path: Path
    gpu: str
    stack: str
    stack_version: str


def published_file(path: Path) -> PublishedFile:
    """What the folders of a Parquet file say.

    Raises
    ------
    InputError
        It does not lie in folders of GPU, stack and version.
    """
    folders = path.resolve().parent.parts
    if DATA_FOLDER in folders:
        below = folders[len(folders) - folders[::-1].index(DATA_FOLDER) :]
        if len(below) in (3, 4):
            return PublishedFile(path, below[0], below[-2], below[-1])
    message = "must lie in data/GPU/STACK/VERSION or data/GPU/FAMILY/STACK/VERSION, as it is published"
    raise InputError(Problem(message, str(path)))


def read_published(file: PublishedFile, layout: TableLayout) -> MeasuredTable:
    """The table in a Parquet file.

    Raises
    ------
    InputError
        No package that reads Parquet, a file that is none, or what `FileOfRows` finds wrong.
    """
    cells = _parquet_cells(file.path)
    count = len(next(iter(cells.values()), ()))
    renamed = {
        "gpu": [file.gpu] * count,
        "stack": [file.stack] * count,
        "stack_version": [file.stack_version] * count,
        **{here: cells[there] for here, there in layout.renamed if there in cells},
    }
    for name, kind in layout.columns:
        if name not in renamed and name in cells:
            renamed[name] = cells[name]
        if kind == "text" and name.endswith("dtype") and name in renamed:
            renamed[name] = [FORMATS.get(str(cell), cell) for cell in renamed[name]]
    if "window" in dict(layout.columns) and "window" not in renamed:
        renamed["window"] = [0] * count  # older tables have no windows
    if layout.cached and {"isl", "step"} <= cells.keys():
        renamed[layout.cached] = _sums(cells["isl"], cells["step"])
    if "latency" in cells:
        renamed[TIME_COLUMN] = _scaled(cells["latency"])
    return FileOfRows(str(file.path), layout, renamed, first_line=1).table()


class _Parquet(Protocol):
    """What is used of `pyarrow.parquet`."""

    def read_table(self, source: str) -> _Columns: ...


class _Columns(Protocol):
    """What is used of a `pyarrow.Table`."""

    def to_pydict(self) -> dict[str, Sequence[object]]: ...


def _parquet_cells(path: Path) -> dict[str, Sequence[object]]:
    if find_spec("pyarrow") is None:
        hint = "pip install pyarrow, or give the tables as CSV"
        raise InputError(Problem("Parquet files are read by pyarrow, which is not installed", str(path), hint=hint))
    reader = cast(_Parquet, import_module("pyarrow.parquet"))
    try:
        return reader.read_table(str(path)).to_pydict()
    except (OSError, ValueError) as error:  # pyarrow.ArrowInvalid is a ValueError
        raise InputError(Problem(f"is no Parquet file: {str(error).splitlines()[0]}", str(path))) from None


def _sums(new: Sequence[object], old: Sequence[object]) -> list[object]:
    """New and old tokens together; cells that are no numbers stay as they are, to be told with their place."""
    return [a + b if isinstance(a, int) and isinstance(b, int) else a for a, b in zip(new, old, strict=True)]


def _scaled(milliseconds: Sequence[object]) -> list[object]:
    return [cell * MICROSECONDS if isinstance(cell, int | float) else cell for cell in milliseconds]
