"""Every point as a line across its settings and objectives."""

from __future__ import annotations

from collections.abc import Iterable

from studies.report.blocks import Block, View
from studies.report.points import Points
from studies.report.registry import section

LEAD = (
    "One line per point, from its settings on the left to what came out on the right; the colour is the first "
    "objective, as the scale says; lines of selected points carry their letter. Lines of the Pareto front are thick. "
    "Drag along an axis to keep only what passes there, everywhere on the page; click on the axis to let go."
)
MOST_AXES = 10
MOST_WORDS = 12
"""Most different words on an axis; more could not be read."""


@section("parallel", "All settings at once", order=35, lead=LEAD)
def parallel(points: Points) -> Iterable[Block]:
    """Parallel coordinates of the axes of the study and its objectives."""
    axes = [axis.name for axis in points.axes if axis.numeric or len(axis.distinct) <= MOST_WORDS]
    objectives = [objective.name for objective in points.objectives]
    if len(points.done) > 1 and len(axes) > 1 and objectives:
        shown = [*axes[: MOST_AXES - min(len(objectives), 4)], *objectives[:4]]
        yield View("parallel", {"axes": list(shown), "colour": objectives[0]})
