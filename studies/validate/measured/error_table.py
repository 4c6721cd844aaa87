"""The table of errors by group as a file, which the project keeps; the rows it was made from are not part of it."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from hwmodels.reading.errors import InputError, Problem
from studies.validate.measured.rows.prediction import GroupKey
from studies.validate.measured.score import GROUP_COLUMNS_OF_TABLE, GroupScore
from studies.validate.measured.seen import is_blind, seen_choices
from studies.validate.measured.validate import MeasuredReport

HEADING = (*GroupKey.__annotations__, *GROUP_COLUMNS_OF_TABLE, "blind", "profiles")


def error_table(report: MeasuredReport, source: str) -> str:
    """Errors by group as CSV, behind lines that say what was scored."""
    text = io.StringIO()
    text.write(f"# Errors of predictions in percent, {report.rows} rows of split {report.asked.split}")
    text.write(f", sample {report.asked.sample} of seed {report.asked.seed}" if report.asked.sample else "")
    text.write(f".\n# Tables: {source}\n")
    text.write("# Groups that are not blind: structure was chosen after rows that are scored had been looked at.\n")
    for line in seen_choices():
        text.write(f"# - {', '.join(line.gpus)}, {', '.join(line.profiles)}: {line.what}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADING)
    for group in report.groups:
        writer.writerow(_line(group))
    return text.getvalue()


def _line(group: GroupScore) -> list[object]:
    numbers = ["" if value is None else value for value in group.row()]
    blind = "yes" if is_blind(group.key.gpu, group.kernels) else "no"
    return [*vars(group.key).values(), *numbers, blind, " ".join(group.kernels)]


def write_error_table(report: MeasuredReport, path: Path, source: str) -> None:
    """Write `error_table` to a file; raises InputError if it cannot be."""
    try:
        path.write_text(error_table(report, source), encoding="utf-8")
    except OSError as error:
        raise InputError(Problem(error.strerror or "cannot be written", str(path))) from None
