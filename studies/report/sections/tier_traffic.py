"""Where the peak of measured memory tiers goes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from studies.report.blocks import Bar, Block, breakdown
from studies.report.points import Points
from studies.report.registry import section
from studies.report.sections import memory
from studies.store.store import Outcome

LEAD = (
    "Each bar is the peak rate of a memory tier: what moved, and what was lost, by what it was lost to. Refresh cannot "
    "be avoided; rows, spacing and turnaround depend on the pattern and the mapping of addresses; no request means "
    "that nothing was asked for."
)
NO_REQUEST = "idle"
"""The kind that is drawn in grey."""
KINDS = {name: label for name, label in memory.KINDS.items() if name != "source"}
KINDS |= {"overhead": "protocol, rest of the last unit", NO_REQUEST: memory.KINDS["source"]}


@section("tier-traffic", "Where the peak of the memory goes", order=49, lead=LEAD)
def tier_traffic(points: Points) -> Iterable[Block]:
    """Achieved and lost rates of every measured tier of the selected points."""
    parts = [list(_bars(row.outcome)) for row in points.rows]
    if any(parts):
        yield breakdown(KINDS, "B/s", "peak", parts)


def _bars(outcome: Outcome) -> Iterator[Bar]:
    lost = outcome.detail.get("lost_bytes_per_second")
    if not isinstance(lost, Mapping):
        return
    tier = str(outcome.detail["tier"])
    yield Bar(tier, KINDS["data"], "data", _rate(outcome.detail["achieved_bytes_per_second"]))
    for cause, rate in lost.items():
        kind = NO_REQUEST if cause == "source" else str(cause)
        if rate:
            yield Bar(tier, KINDS[kind], kind, _rate(rate))


def _rate(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
