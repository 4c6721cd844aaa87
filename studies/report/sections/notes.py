"""Remarks of the simulator about the designs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from studies.families.graph.evaluation import GraphDetail
from studies.report.blocks import Block, html
from studies.report.points import Points
from studies.report.registry import section
from studies.words import count, spans

LEAD = "What the simulator finds suspicious about designs, although it ran them."
MOST_SHOWN = 40


@section("notes", "Remarks", order=80, lead=LEAD, family="graph")
def notes(points: Points) -> Iterable[Block]:
    """Every different remark with the points it is about, the most frequent first."""
    remarks: dict[str, list[int]] = defaultdict(list)
    for i, lints in enumerate(points.per_point(GraphDetail, lambda detail: detail.result.lints)):
        for lint in lints:
            remarks[lint].append(i)
    if remarks:
        ordered = sorted(remarks.items(), key=lambda item: -len(item[1]))
        shown = [(lint, count(len(numbers), "point"), spans(numbers)) for lint, numbers in ordered[:MOST_SHOWN]]
        hidden = len(ordered) - len(shown)
        yield html("notes.html", remarks=shown, hidden=count(hidden, "more remark") if hidden else "")
