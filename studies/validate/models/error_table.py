"""The table of errors of whole models that is part of the project: lines of groups, no row of a measured table."""

from __future__ import annotations

import csv
from pathlib import Path

from hwmodels.reading.errors import InputError, Problem
from studies.validate.models.score import COLUMNS, ModelsReport, table_lines


def write_errors(report: ModelsReport, path: Path) -> None:
    """Write all lines of ``report`` as CSV; raises InputError where that cannot be."""
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("group", "label", "value", *COLUMNS))
            writer.writerows(table_lines(report.lines()))
    except OSError as error:
        raise InputError(Problem(error.strerror or "cannot be written", str(path))) from None
