"""``attnflow reproduce``: published results beside ours, each marked as reproduced or quoted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer

from studies.cli.output import EXIT_OK, JsonFlag, QuietFlag, emit, note, table
from studies.cli.verb import verb

if TYPE_CHECKING:
    from studies.points.point import Json
    from studies.reproductions.register import Reproduction, Row

Name = Annotated[str | None, typer.Argument(metavar="NAME", help="What to reproduce; all names if not given.")]


@verb("reproduce", order=90)
def reproduce(name: Name = None, as_json: JsonFlag = False, quiet: QuietFlag = False) -> int:
    """Published results beside this project's, each row reproduced from mechanism or quoted."""
    from studies.reproductions.register import get_reproduction, reproductions
    from studies.running.warm_up import announce_compilation

    if name is None:
        known = reproductions()
        listed: list[Json] = [{"name": entry.name, "title": entry.title, "summary": entry.summary} for entry in known]
        emit(
            {"reproductions": listed},
            lambda: table(("name", "what"), [(entry.name, entry.title) for entry in known]),
            as_json=as_json,
        )
        return EXIT_OK
    found = get_reproduction(name)
    announce_compilation("compiled", quiet=quiet)
    note(f"{found.title} ...", quiet=quiet)
    rows = found.rows()
    emit(_document(found, rows), lambda: _text(found, rows), as_json=as_json)
    return EXIT_OK


def _document(found: Reproduction, rows: tuple[Row, ...]) -> dict[str, Json]:
    return {
        "name": found.name,
        "title": found.title,
        "summary": found.summary,
        "reproduced": sum(row.mark == "reproduced" for row in rows),
        "quoted": sum(row.mark == "quoted" for row in rows),
        "missed": sum(row.agrees is False for row in rows),
        "rows": [_row(row) for row in rows],
    }


def _row(row: Row) -> Json:
    error = row.error_pct
    return {
        "quantity": row.quantity,
        "unit": row.unit,
        "published": list(row.published) if isinstance(row.published, tuple) else row.published,
        "ours": list(row.ours) if isinstance(row.ours, tuple) else row.ours,
        "error_pct": error if error is None or math.isfinite(error) else None,
        "mark": row.mark,
        "within_pct": row.within_pct,
        "agrees": row.agrees,
        "source": row.source,
        "note": row.note,
    }


def _text(found: Reproduction, rows: tuple[Row, ...]) -> str:
    lines = [
        (
            row.quantity,
            row.unit,
            "-" if row.published is None else _number(row.published),
            "-" if row.ours is None else _number(row.ours),
            "-" if row.error_pct is None else f"{row.error_pct:+.1f}%",
            _verdict(row),
            row.mark,
            row.source,
        )
        for row in rows
    ]
    header = ("quantity", "unit", "published", "ours", "error", "", "mark", "source")
    notes = [f"{row.quantity}: {row.note}" for row in rows if row.note]
    totals = _document(found, rows)
    counts = f"{totals['reproduced']} reproduced, {totals['quoted']} quoted, {totals['missed']} miss their limit"
    parts = [found.title, found.summary, table(header, lines), *(["\n".join(notes)] if notes else []), counts]
    return "\n\n".join(parts)


def _verdict(row: Row) -> str:
    if row.agrees is None:
        return "-"
    agrees = "overlaps" if isinstance(row.ours, tuple) else "agrees"
    return agrees if row.agrees else "misses"


def _number(value: float | tuple[float, float]) -> str:
    if isinstance(value, tuple):
        return f"{_number(value[0])} to {_number(value[1])}"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
