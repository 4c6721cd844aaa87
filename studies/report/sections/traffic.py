"""Bytes that each tier of a chip moves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from studies.points.point import DesignPoint
from studies.report.blocks import Bar, Block, breakdown
from studies.report.points import Points
from studies.report.registry import section
from studies.store.store import Outcome

LEAD = (
    "Bytes between the cores and each tier. What has to be moved at least, every operand once, is set apart: the rest "
    "is reading again and writing down in between."
)


@section("traffic", "Traffic by tier", order=55, lead=LEAD)
def traffic(points: Points) -> Iterable[Block]:
    """Compulsory and further bytes of the selected points, one bar per tier."""
    parts = [list(_bars(row.point, row.outcome)) for row in points.rows]
    if any(parts):
        yield breakdown({"compulsory": "has to be moved", "again": "moved again"}, "B", "bytes", parts)


def _bars(point: DesignPoint, outcome: Outcome) -> Iterator[Bar]:
    moved, bounds = outcome.detail.get("tier_bytes"), outcome.detail.get("bounds")
    if point.chip is None or not isinstance(moved, Mapping) or not isinstance(bounds, Mapping):
        return
    seconds = bounds.get("compulsory_s")
    least = seconds * point.chip.accelerator.memory.bytes_per_second if isinstance(seconds, int | float) else 0.0
    for tier, count in moved.items():
        if isinstance(count, int | float) and count > 0:
            needed = min(round(least), count)
            yield Bar(tier, "has to be moved", "compulsory", needed)
            yield Bar(tier, "moved again", "again", count - needed)
