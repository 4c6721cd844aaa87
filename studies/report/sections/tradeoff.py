"""Every point by two of its numbers, with the Pareto front."""

from __future__ import annotations

from collections.abc import Iterable

from studies.report.blocks import Block, View
from studies.report.columns import Column, proportional
from studies.report.points import Points
from studies.report.registry import section

LEAD = (
    "One dot per point; solid dots are on the Pareto front of their workload: no other point is better in one "
    "of the two numbers without being worse in the other. Grey dots break a constraint. Hover to see a whole "
    "point, click to select it for comparison."
)


@section("tradeoff", "Trade-offs", order=20, lead=LEAD)
def tradeoff(points: Points) -> Iterable[Block]:
    """Scatter with the first two objectives, or the first against an axis, on its axes to begin with."""
    if not points.done:
        return
    objectives = [column.name for column in points.objectives]
    axes = [column.name for column in points.axes if column.numeric]
    wanted = [*objectives[1:2], *axes, *[column.name for column in _metrics(points)]]
    across = next((name for name in wanted if name not in objectives[:1]), None)
    if objectives and across:
        densities = [each.describe() for each in points.census.densities] if points.census else []
        yield View("scatter", {"x": across, "y": objectives[0]} | ({"densities": densities} if densities else {}))


def _metrics(points: Points) -> list[Column]:
    """Metrics to show against; cycles of clocks that differ say nothing about time, so seconds stand for them."""
    numeric = [column for column in points.of_role("metric") if column.numeric]
    cycles, seconds = points.column("cycles"), points.column("seconds")
    if cycles is None or seconds is None or proportional(cycles, [seconds]):
        return numeric
    return [seconds, *(column for column in numeric if column.name not in ("cycles", "seconds"))]
