"""``attnflow report``: one HTML page from a store."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hwmodels.reading.errors import InputError, Problem
from studies.cli.output import JsonFlag, QuietFlag, emit
from studies.cli.verb import verb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from studies.points.point import Json


@verb("report", order=40)
def report(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="SQLite file of a sweep.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="File to write: .html, or the table alone as .csv, .parquet or .json."),
    ] = Path("report.html"),
    study: Annotated[
        str | None, typer.Option(help="One study; all in the store if not given.", show_default=False)
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            help="Share within which designs are equally good; 0.005, or what the study says.", min=0, max=0.5
        ),
    ] = None,
    title: Annotated[str | None, typer.Option(help="Of the page.", show_default=False)] = None,
    validation: Annotated[
        list[Path] | None,
        typer.Option(help="Output of `attnflow validate ... --json` to show beside the points; repeatable."),
    ] = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Write a self-contained HTML report that opens offline, or export the points as a table.

    Example: attnflow report out/lanes.sqlite -o lanes.html
    """
    from studies.store.store import Store

    del quiet
    with Store(store) as opened:
        rows = list(opened.rows(study))
        told = {name: opened.description(name) for name in dict.fromkeys(row.study for row in rows)}
    if not rows:
        raise InputError(Problem("holds no points", str(store)))
    from studies.study.goals import Goals

    goals = Goals.of(told)
    if tolerance is not None:
        goals = dataclasses.replace(goals, tolerance=tolerance)
    checks = [_read_validation(path) for path in validation or ()]
    try:
        if output.suffix in (".html", ".htm"):
            from studies.report import write_report

            write_report(rows, output, title or ", ".join(_titles(told)), goals, checks)
        else:
            from studies.report.frame import frame, write_frame

            write_frame(frame(rows, goals), output)
    except OSError as error:
        raise InputError(Problem(f"cannot be written: {error.strerror}", str(output))) from None
    document: Json = {"report": str(output), "points": len(rows), "bytes": output.stat().st_size}
    emit(document, lambda: f"{output}: {len(rows)} points", as_json=as_json)


def _read_validation(path: Path) -> dict[str, Json]:

    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(Problem(f"cannot be read: {error.strerror}", str(path))) from None
    except (ValueError, RecursionError) as error:
        raise InputError(Problem(f"is not JSON: {error}", str(path))) from None
    if not isinstance(document, dict) or not {"kind", "cases", "groups"} <= set(document):
        raise InputError(Problem("is no output of `attnflow validate ... --json`", str(path)))
    return document


def _titles(told: Mapping[str, Mapping[str, Json]]) -> list[str]:
    """Titles of the studies in order, or their names where nobody gave a title."""
    return [str(description.get("title") or name) for name, description in told.items()]
