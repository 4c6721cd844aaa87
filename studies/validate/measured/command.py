"""What ``attnflow validate measured`` does, from its options to a report."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from hwmodels.reading.errors import InputError, Problem, did_you_mean
from studies.validate.measured.error_table import write_error_table
from studies.validate.measured.tables.layout import LAYOUTS, layout_called
from studies.validate.measured.tables.read import read_tables
from studies.validate.measured.validate import Asked, MeasuredReport, Split, validate_tables


def measured_report(
    place: Path,
    *,
    only: str = "",
    gpu: str = "",
    split: str = "validate",
    sample: int | None = None,
    seed: int = 0,
    errors: Path | None = None,
    source: str = "not given",
) -> MeasuredReport:
    """Read, predict and score; see ``attnflow validate measured --help``.

    Raises
    ------
    InputError
        Options or tables that cannot be used.
    """
    layouts = [layout_called(name.strip()) for name in only.split(",")] if only else list(LAYOUTS)
    asked = Asked(_split(split), gpu, sample, seed)
    found = read_tables(place, layouts)
    known = sorted({name for table in found.tables for name in set(table.words["gpu"].tolist())})
    if gpu and gpu not in known:
        hint = did_you_mean(gpu, known) or f"they have {', '.join(known)}"
        raise InputError(Problem(f"the tables have no GPU {gpu!r}", "--gpu", hint=hint))
    report = validate_tables(found.tables, asked, found.others)
    if not report.rows:
        raise InputError(Problem(f"has no row of split {split!r}", str(place)))
    if errors is not None:
        write_error_table(report, errors, source)
    return report


def _split(name: str) -> Split:
    known: tuple[Split, ...] = get_args(Split)
    for split in known:
        if split == name:
            return split
    raise InputError(Problem(f"must be one of {', '.join(known)} (got {name!r})", "--split"))
