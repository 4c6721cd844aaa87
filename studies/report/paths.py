"""The critical path of a stored point: the point is run again with every start time kept, and its path is followed.

A store has cycles and stalls of each unit, but no start times: a path needs the whole trace. So the few points that a
page shows first are simulated once more. Their cycles must be those in the store; else the models have changed since,
and the page says so in place of the path.
"""

from __future__ import annotations

from hwmodels.reading.errors import InputError
from studies.families.evaluate import reason
from studies.families.family import family_of
from studies.families.path import StartTimes, TracedPath
from studies.points.outcome import Row
from studies.words import quantity

MOST_FIRINGS = 10_000_000
"""Firings of all points of a page together whose start times are kept: some seconds of work."""
MOST_SECONDS = 20.0
"""Time that simulating a point may have taken for it to be simulated again for a page."""


class Tracer:
    """Finds critical paths until `most_firings` start times were kept."""

    def __init__(self, most_firings: int = MOST_FIRINGS) -> None:
        self._starts = StartTimes(most_firings)

    def trace(self, row: Row) -> TracedPath | None:
        """The path of a stored point, or why there is none; whatever running it again raises is a reason, too.

        None for points of a family that has no paths.
        """
        try:
            family = family_of(row.point)
        except InputError as error:  # a store may outlive the plug-in that wrote it
            return TracedPath(note=reason(error).rstrip("."))
        if not family.traced:
            return None
        if row.outcome.metrics.get("deadlock"):
            return TracedPath(note="the design deadlocks")
        if row.outcome.wall_s > MOST_SECONDS:
            took = quantity(row.outcome.wall_s, "s")
            return TracedPath(note=f"its simulation took {took}, which is not repeated for a page")
        try:
            path = family.path(row.point, self._starts)
        except Exception as error:  # stores outlive files and models, too; their pages must come all the same
            return TracedPath(note=reason(error).rstrip("."))
        stored = row.outcome.metrics.get("cycles")
        if not isinstance(stored, int | float) or round(stored) == round(path.cycles):
            return path
        now, then = quantity(path.cycles, "cycle"), quantity(stored, "cycle")
        return TracedPath(note=f"the models have changed since the point was stored: {now} now, {then} then")
