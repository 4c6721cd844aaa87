"""All points, to sort and to filter."""

from __future__ import annotations

from collections.abc import Iterable

from studies.report.blocks import Block, View, html
from studies.report.points import Points
from studies.report.registry import section

LEAD = (
    "A click on a heading sorts, a click on a row selects the point. Filters take a part of a text (causal), a "
    "number (8, 64 KiB), a comparison (>=8), a range (8..32), several of them with commas, and ! for anything else; "
    "they also act on the charts."
)


@section("points", "All points", order=90, lead=LEAD)
def table(points: Points) -> Iterable[Block]:
    """The table, and below it the settings that all points share."""
    yield View("table", {"told": points.census.words} if points.census else {})
    shared = [column for column in points.of_role("workload", "design", "run") if not column.varied and column.distinct]
    yield html("shared.html", columns=shared)
