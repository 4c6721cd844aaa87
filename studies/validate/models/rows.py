"""Rows of measured tables, as dictionaries of texts."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from pathlib import Path

from hwmodels.reading.errors import InputError, Problem


def read_rows(path: Path, *columns: str) -> list[dict[str, str]]:
    """All rows of a CSV file, plain or packed by gzip.

    Raises
    ------
    InputError
        A file that cannot be read or unpacked, or lacks one of ``columns``.
    """
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(Problem(f"cannot be read: {reason}", str(path))) from None
    reader = csv.DictReader(io.StringIO(text))
    missing = [name for name in columns if name not in (reader.fieldnames or ())]
    if missing:
        raise InputError([Problem("required column is missing", str(path), 1, name) for name in missing])
    return list(reader)
