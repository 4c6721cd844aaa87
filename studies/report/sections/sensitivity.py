"""How much each axis of the study matters."""

from __future__ import annotations

from collections.abc import Iterable

from studies.points.point import Json
from studies.report.blocks import Block, View
from studies.report.points import Points
from studies.report.registry import section

LEAD = (
    "For every value of an axis: the median over all points that have it (line), the best of them (dots) and "
    "the range from best to worst (shade). Axes that matter most come first."
)

MOST_WORDS = 40
"""Most values of an axis that is not numeric; a chart with more could not be read."""


@section("sensitivity", "What each axis does", order=30, lead=LEAD)
def sensitivity(points: Points) -> Iterable[Block]:
    """One small chart per axis and objective."""
    axes = [
        column.name
        for column in points.axes
        if len(column.distinct) > 1 and (column.numeric or len(column.distinct) <= MOST_WORDS)
    ]
    if points.done and axes and points.objectives:
        shown: dict[str, Json] = {"axes": list(axes), "objectives": [column.name for column in points.objectives]}
        yield View("sensitivity", shown | {"effects": points.census.effects} if points.census else shown)
