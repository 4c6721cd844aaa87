"""``attnflow report``: one HTML page from a store."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Annotated

import typer

from hwmodels.reading.errors import InputError, Problem
from studies.cli.output import JsonFlag, QuietFlag, emit, note
from studies.cli.verb import verb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from studies.points.point import Json


LOOK_EVERY_S = 1.0
"""Between two looks at a store that is watched."""
REFRESH_S = 5
"""Seconds after which a browser asks for a page again that is written again."""


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
    watch: Annotated[
        bool, typer.Option("--watch", help="Write the page again while a sweep goes on; a browser shows it anew.")
    ] = False,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Write a self-contained HTML report that opens offline, or export the points as a table.

    Example: attnflow report out/lanes.sqlite -o lanes.html
    """
    checks = [_read_validation(path) for path in validation or ()]
    asked = _Asked(store, output, study, tolerance, title, checks)
    if watch and not asked.is_page:
        raise InputError(Problem("only pages are written again", str(output), field="--watch"))
    points, pending = _write(asked, refresh=watch)
    while watch and pending:
        note(f"{output}: {points - pending:,} of {points:,} points; goes on while points come", quiet=quiet)
        points, pending = _changed(asked, pending)
    document: Json = {"report": str(output), "points": points, "bytes": output.stat().st_size}
    emit(document, lambda: f"{output}: {points} points", as_json=as_json)


@dataclasses.dataclass(frozen=True)
class _Asked:
    """What is to be written, where, and of what."""

    store: Path
    output: Path
    study: str | None
    tolerance: float | None
    title: str | None
    checks: list[dict[str, Json]]

    @property
    def is_page(self) -> bool:
        return self.output.suffix in (".html", ".htm")


def _changed(asked: _Asked, pending: int) -> tuple[int, int]:
    """Wait until fewer points are pending, and write the page again; how many points there are, and pending."""
    from studies.store.store import Store

    while True:
        sleep(LOOK_EVERY_S)
        with Store(asked.store) as opened:
            studies = [asked.study] if asked.study is not None else opened.studies()
            now = sum(opened.tally(name)["pending"] for name in studies)
        if now < pending:
            return _write(asked, refresh=now > 0)


def _write(asked: _Asked, *, refresh: bool) -> tuple[int, int]:
    """Write the page or the table; how many points it has, and how many of them are pending."""
    from studies.store.store import Store
    from studies.study.goals import Goals

    with Store(asked.store) as opened:
        studies = opened.studies() if asked.study is None else [asked.study]
        told = {name: opened.description(name) for name in studies}
        goals = Goals.of(told)
        if asked.tolerance is not None:
            goals = dataclasses.replace(goals, tolerance=asked.tolerance)
        total = sum(map(opened.size, studies))
        pending = sum(opened.tally(name)["pending"] for name in studies)
        if asked.is_page:
            from studies.report import read_points

            points = read_points(opened, asked.study, goals, asked.checks)
        else:
            from studies.report.points import Points

            points = Points.of(opened.rows(asked.study), goals)
    if not points.rows:
        raise InputError(Problem("holds no points", str(asked.store)))
    try:
        if asked.is_page:
            from studies.report import write_points

            refresh_s = REFRESH_S if refresh else None
            write_points(points, asked.output, asked.title or ", ".join(_titles(told)), refresh_s)
        else:
            from studies.report.frame import frame_of, write_frame

            write_frame(frame_of(points), asked.output)
    except OSError as error:
        raise InputError(Problem(f"cannot be written: {error.strerror}", str(asked.output))) from None
    return total, pending


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
