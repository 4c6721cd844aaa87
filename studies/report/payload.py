"""The data of the page: columns and views as compressed JSON, so that 10^4 points with all details stay small.

A chunk is JSON, gzipped, in base64: nothing in it can end a script element or be read as HTML.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass

from studies.points.point import Json, Scalar
from studies.report.blocks import View
from studies.report.columns import Column
from studies.report.points import Points


@dataclass(frozen=True)
class Chunk:
    """A piece of data under the id of its element in the page."""

    name: str
    text: str


def chunk(name: str, data: Json) -> Chunk:
    """`data` packed; the same data always gives the same text.

    Raises
    ------
    ValueError
        For a number that is not finite.
    """
    raw = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    return Chunk(name, base64.b64encode(gzip.compress(raw, compresslevel=6, mtime=0)).decode())


def points_chunk(points: Points) -> Chunk:
    """All columns, states, commands, and which points are shown in detail first."""
    data: dict[str, Json] = {
        "count": len(points),
        "columns": [_column(column) for column in points.columns],
        "states": list(points.states),
        "workloads": list(points.workload_labels),
        "workload": list(points.workload_of),
        "front": list(points.front),
        "commands": _front_coded(points.commands),
        "reasons": {str(i): reason for i, reason in points.reasons.items()},
        "objectives": [column.name for column in points.objectives],
        "selected": list(points.selected_first),
        "roles": {str(i): role for i, role in points.roles.items()},
        "estimates": _estimates(points),
    }
    return chunk("data-points", data)


def _estimates(points: Points) -> Json:
    """Different sets of estimated metrics, each with what it rests on, and the number of the set of each point."""
    numbers: dict[tuple[tuple[str, str], ...], int] = {}
    found = [tuple(sorted(points.estimates(i).items())) for i in range(len(points))]
    of_points: list[Json] = [numbers.setdefault(each, len(numbers)) for each in found]
    sets: list[Json] = [dict(each) for each in numbers]
    return {"sets": sets, "points": of_points}


def _column(column: Column) -> Json:
    described: dict[str, Json] = {
        "name": column.name,
        "title": column.shown,
        "share": column.share,
        "automatic": column.automatic,
        "role": column.role,
        "unit": column.unit,
        "meaning": column.meaning,
        "goal": column.goal,
        "varied": column.varied,
        "axis": column.varied and not column.implied and column.role != "metric",
        "minor": column.minor,
        "numeric": column.numeric,
    }
    if column.numeric:
        return described | {"values": list(column.values)}
    levels = {value: i for i, value in enumerate(column.distinct)}
    return described | {
        "levels": [_text(value) for value in levels],
        "codes": [None if value is None else levels[value] for value in column.values],
    }


def _text(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _front_coded(texts: Sequence[str]) -> list[Json]:
    """Flat list: for each text how many characters it shares with the one before, and the rest."""
    coded: list[Json] = []
    before = ""
    for text in texts:
        shared = 0
        for a, b in zip(before, text, strict=False):
            if a != b:
                break
            shared += 1
        coded += [shared, text[shared:]]
        before = text
    return coded


def view_chunks(name: str, view: View, first: Sequence[int] = ()) -> list[Chunk]:
    """Data of a view; apart from it those of the points shown `first`, and those of all, unpacked only if needed."""
    chunks = [chunk(f"data-{name}", dict(view.data))]
    if view.per_point is not None:
        chunks.append(chunk(f"data-{name}-first", {str(point): view.per_point[point] for point in first}))
        chunks.append(chunk(f"data-{name}-points", list(view.per_point)))
    return chunks
