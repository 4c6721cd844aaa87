"""``attnflow calibrate``: the few free numbers of served kernels, fitted to rows marked for it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hwmodels.reading.errors import InputError, Problem
from studies.cli.output import EXIT_OK, JsonFlag, QuietFlag, emit, note, table
from studies.cli.verb import verb

if TYPE_CHECKING:
    from studies.points.point import Json
    from studies.validate.measured.calibrate import Fit


@verb("calibrate", order=175)
def calibrate(
    tables: Annotated[
        Path | None, typer.Option("--tables", metavar="FOLDER_OR_FILE", help="CSV or Parquet: fits served kernels.")
    ] = None,
    record: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Of `measure --device`: makes a chip file of that computer.")
    ] = None,
    kernel: Annotated[list[str] | None, typer.Option(help="Profile to fit; all that have rows if not given.")] = None,
    source: Annotated[str, typer.Option(help="Collection and commit of the tables, for the files.")] = "not given",
    output: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Write the fitted profiles there.")] = None,
    rows: Annotated[int, typer.Option(min=1, help="About how many of a table are fitted to.")] = 300,
    seed: Annotated[int, typer.Option(min=0, help="Of the rows that are taken where there are many.")] = 0,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> int:
    """Fit profiles of served kernels to rows whose split is calibrate, or make a chip file from measured ceilings.

    Example: attnflow calibrate --record host.json
    """
    if record is not None:
        return _chip_of(record, output, as_json=as_json, quiet=quiet)
    if tables is None:
        raise InputError(Problem("give --tables, or --record", "calibrate"))
    from studies.validate.measured.calibrate import fit_all, write_fit

    note(f"reading {tables} ...", quiet=quiet)
    fits: list[Fit] = []
    for fit in fit_all(tables, kernel or [], seed, rows):
        note(f"{fit.kernel.name}: {fit.rows} rows, {fit.before_pct:.1f} % -> {fit.after_pct:.1f} %", quiet=quiet)
        if output is not None:
            note(str(write_fit(fit, output, source)), quiet=quiet)
        fits.append(fit)
    emit({"kind": "calibrate", "fits": [_document(fit) for fit in fits]}, lambda: _text(fits), as_json=as_json)
    return EXIT_OK


def _chip_of(record: Path, output: Path | None, *, as_json: bool, quiet: bool) -> int:
    """A chip file from a record, and what of it was measured."""
    from studies.validate.host.chip import ceilings_of, chip_text, host_name, write_chip
    from studies.validate.host.record import read_host_record

    read = read_host_record(record)
    source = f"measured, {record.name} of {read.machine.date}"
    if output is not None:
        note(str(write_chip(read, output, source)), quiet=quiet)
    document: dict[str, Json] = {"kind": "chip", "name": host_name(read), "ceilings": asdict(ceilings_of(read))}
    emit(document, lambda: chip_text(read, source), as_json=as_json)
    return EXIT_OK


def _document(fit: Fit) -> dict[str, Json]:
    return {
        "kernel": fit.kernel.name,
        "rows": fit.rows,
        "groups": list(fit.groups),
        "numbers": fit.numbers,
        "mean_abs_error_before_pct": round(fit.before_pct, 3),
        "mean_abs_error_after_pct": round(fit.after_pct, 3),
    }


def _text(fits: list[Fit]) -> str:
    rows = [
        (
            fit.kernel.name,
            fit.rows,
            round(fit.before_pct, 1),
            round(fit.after_pct, 1),
            ", ".join(f"{name} {value:g}" for name, value in fit.numbers.items()),
        )
        for fit in fits
    ]
    return table(("kernel", "rows", "before %", "after %", "numbers"), rows)
