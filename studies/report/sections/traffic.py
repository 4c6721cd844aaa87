"""Bytes that each tier of a chip moves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from studies.families.chip.evaluation import ChipDetail
from studies.report.blocks import Bar, Block, breakdown
from studies.report.points import Points
from studies.report.registry import section

LEAD = (
    "Bytes between the cores and each tier. What has to be moved at least, every operand once, is set apart: the rest "
    "is reading again and writing down in between."
)


@section("traffic", "Traffic by tier", order=55, lead=LEAD, family="chip")
def traffic(points: Points) -> Iterable[Block]:
    """Compulsory and further bytes of the selected points, one bar per tier."""
    parts = points.per_point(ChipDetail, _bars)
    if any(parts):
        yield breakdown({"compulsory": "has to be moved", "again": "moved again"}, "B", "bytes", parts)


def _bars(run: ChipDetail) -> Iterator[Bar]:
    least = round(run.bounds.compulsory_s * run.point.on_chip.accelerator.memory.bytes_per_second)
    for tier, count in run.tier_bytes.items():
        if count > 0:
            needed = min(least, count)
            yield Bar(tier, "has to be moved", "compulsory", needed)
            yield Bar(tier, "moved again", "again", count - needed)
