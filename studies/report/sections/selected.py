"""The selected points side by side."""

from __future__ import annotations

from collections.abc import Iterable

from studies.report.blocks import Block, View
from studies.report.points import Points
from studies.report.registry import section

LEAD = (
    "To begin with, the best by each objective, the knee of the Pareto front (where one objective cannot gain much "
    "without great loss in another) and, for contrast, the slowest and a deadlocked one. A click on a dot or on a row "
    "of the table selects others. The sections below show where the cycles, bytes and joules of these points go."
)


@section("selected", "Selected points", order=40, lead=LEAD)
def selected(points: Points) -> Iterable[Block]:
    """A comparison of settings and metrics, with the command of each point."""
    if points.done or points.in_state("deadlock"):
        yield View("compare")
