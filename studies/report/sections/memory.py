"""Where the bandwidth of memories that were simulated bank by bank goes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from studies.families.graph.evaluation import GraphDetail
from studies.report.blocks import Bar, Block, breakdown
from studies.report.points import Points
from studies.report.registry import section

LEAD = (
    "Each bar is all clocks of a memory's data buses: those that moved data, and those that were lost, by what they "
    "were lost to. Refresh cannot be avoided; rows, spacing and turnaround depend on the order and the mapping of "
    "addresses; no request means that nothing was asked for."
)
KINDS = {
    "data": "moves data",
    "row_cycle": "closing and opening rows",
    "command_spacing": "distance between commands, bank groups included",
    "faw": "four-activation window",
    "turnaround": "reads to writes, ranks",
    "refresh": "refresh",
    "queue": "queues full",
    "source": "no request",
}


@section("memory-losses", "Where memory bandwidth goes", order=49, lead=LEAD, family="graph")
def memory_losses(points: Points) -> Iterable[Block]:
    """Data and losses of every memory tier of the selected points."""
    parts = points.per_point(GraphDetail, _bars)
    if any(parts):
        yield breakdown(KINDS, "clock", "bus clocks", parts)


def _bars(detail: GraphDetail) -> Iterator[Bar]:
    for server in detail.result.servers:
        if server.tier is not None:
            yield Bar(server.name, KINDS["data"], "data", float(server.tier.busy_clocks))
            for cause, clocks in server.tier.lost_clocks.items():
                if clocks:
                    yield Bar(server.name, KINDS[cause], cause, float(clocks))
