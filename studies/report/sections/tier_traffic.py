"""Where the peak of measured memory tiers goes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from studies.families.tier.evaluation import TierDetail
from studies.report.blocks import Bar, Block, breakdown
from studies.report.points import Points
from studies.report.registry import section
from studies.report.sections import memory

LEAD = (
    "Each bar is the peak rate of a memory tier: what moved, and what was lost, by what it was lost to. Refresh cannot "
    "be avoided; rows, spacing and turnaround depend on the pattern and the mapping of addresses; no request means "
    "that nothing was asked for."
)
NO_REQUEST = "idle"
"""The kind that is drawn in grey."""
KINDS = {name: label for name, label in memory.KINDS.items() if name != "source"}
KINDS |= {"overhead": "protocol, rest of the last unit", NO_REQUEST: memory.KINDS["source"]}


@section("tier-traffic", "Where the peak of the memory goes", order=49, lead=LEAD, family="tier")
def tier_traffic(points: Points) -> Iterable[Block]:
    """Achieved and lost rates of every measured tier of the selected points."""
    parts = points.per_point(TierDetail, _bars)
    if any(parts):
        yield breakdown(KINDS, "B/s", "peak", parts)


def _bars(detail: TierDetail) -> Iterator[Bar]:
    report = detail.report
    yield Bar(report.tier, KINDS["data"], "data", report.achieved_bytes_per_second)
    for cause, rate in report.lost_bytes_per_second.items():
        kind = NO_REQUEST if cause == "source" else cause
        if rate:
            yield Bar(report.tier, KINDS[kind], kind, rate)
