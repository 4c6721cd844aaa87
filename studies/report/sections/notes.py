"""Remarks of the simulator about the designs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from studies.report.blocks import Block, html
from studies.report.detail import lints_of
from studies.report.points import Points
from studies.report.registry import section
from studies.words import count, spans

MOST_SHOWN = 40


@section("notes", "Remarks", order=80, lead="What the simulator finds suspicious about designs, although it ran them.")
def notes(points: Points) -> Iterable[Block]:
    """Every different remark with the points it is about, the most frequent first."""
    remarks: dict[str, list[int]] = defaultdict(list)
    for i, row in enumerate(points.rows):
        for lint in lints_of(row.outcome):
            remarks[lint].append(i)
    if remarks:
        ordered = sorted(remarks.items(), key=lambda item: -len(item[1]))
        shown = [(lint, count(len(numbers), "point"), spans(numbers)) for lint, numbers in ordered[:MOST_SHOWN]]
        hidden = len(ordered) - len(shown)
        yield html("notes.html", remarks=shown, hidden=count(hidden, "more remark") if hidden else "")
