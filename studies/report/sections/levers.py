"""What binds each selected design, and what was tried to make it faster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hwmodels.reading.errors import InputError
from simulator.errors import SimulatorError
from studies.families.explanation import Explanation, Lever
from studies.report.blocks import Block, html
from studies.report.points import Points
from studies.report.registry import section
from studies.words import quantity

LEAD = (
    "Each lever was simulated: one resource of the chip or one parameter changed, all else as it is. What saves most "
    "comes first. Points that are selected later, and those that take long, are explained by the command shown."
)
MOST_LEVERS = 4
LEAST_GAIN = 0.0005
"""Share of the cost from which a lever is worth a line: what is not 0.0 %."""
MOST_WALL_S = 0.4
"""Seconds that the point itself took, beyond which the page leaves trying some twenty of its kind to the command."""


@dataclass(frozen=True)
class Explained:
    """A selected point, what binds it, and the levers that help."""

    point: int
    sentence: str
    levers: tuple[tuple[str, str, str, str, str], ...]
    command: str
    chosen: str = ""


@section("levers", "What would make them faster", order=47, lead=LEAD)
def levers(points: Points) -> Iterable[Block]:
    """A table of levers for each point that is selected at first."""
    explained = list(_explained(points))
    if explained:
        yield html("levers.html", explained=explained)


def _explained(points: Points) -> Iterator[Explained]:
    for point in points.selected_first:
        if points.states[point] not in ("done", "infeasible"):
            continue
        command = points.commands[point].replace("attnflow run", "attnflow explain", 1)
        found = _explanation(points, point)
        if found is None:
            if points.explainable(point):
                yield Explained(point, "", (), command)
            continue
        helping = [lever for lever in found.levers if lever.gain >= LEAST_GAIN][:MOST_LEVERS]
        shown = tuple(_row(lever, found) for lever in helping)
        yield Explained(point, found.sentence, shown, command, found.chosen)


def _explanation(points: Points, point: int) -> Explanation | None:
    """What the family of a point says of it; None where that would take long, or the models have moved on."""
    wall = points.rows[point].outcome.metrics.get("wall_s")
    if not isinstance(wall, int | float) or wall > MOST_WALL_S:
        return None
    try:
        return points.explain(point)
    except (InputError, SimulatorError, OSError, ValueError, LookupError):
        return None  # stores outlive files and models; their pages come all the same


def _row(lever: Lever, explanation: Explanation) -> tuple[str, str, str, str, str]:
    before, after = lever.shown
    cost = quantity(lever.cost_after, explanation.cost_unit)
    then = getattr(lever, "then", "")
    return lever.name, f"{before} → {after}", cost, f"{100 * lever.gain:.1f} %", str(then)
