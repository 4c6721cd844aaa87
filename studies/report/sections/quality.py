"""What accuracy costs."""

from __future__ import annotations

from collections.abc import Iterable

from studies.report.blocks import Block, View
from studies.report.points import Points
from studies.report.registry import section

LEAD = (
    "Error of the computed attention against the float64 oracle over the first objective: designs that drop or round "
    "something trade one for the other. Errors of floating-point order are exact for this purpose."
)
EXACT = 1e-9
"""Relative error up to which a design counts as exact: double precision, with room for long sums."""


@section("quality", "Quality against cost", order=25, lead=LEAD)
def quality(points: Points) -> Iterable[Block]:
    """A scatter of the error over the first objective, where designs differ in more than rounding."""
    error = points.column("error.rel_l2")
    if error is None or not error.numeric or not points.objectives:
        return
    known = [value for i in points.done if isinstance(value := error.values[i], int | float)]
    if known and max(known) > EXACT and len(set(known)) > 1:
        yield View("scatter", {"x": points.objectives[0].name, "y": error.name})
