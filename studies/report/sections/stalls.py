"""Where the cycles of each unit go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from studies.families.graph.evaluation import GraphDetail
from studies.report.blocks import Bar, Block, breakdown
from studies.report.points import Points
from studies.report.registry import section

LEAD = (
    "Each bar is one unit and all cycles of the run: busy, waiting for data (its input FIFO is empty), waiting "
    "for space (its output FIFO is full), waiting for a shared server, or idle after its last firing. Parts "
    "name the FIFO or server."
)
KINDS = {
    "busy": "busy",
    "input": "waits for data",
    "output": "waits for space",
    "server": "waits for a server",
    "other": "waits otherwise",
    "idle": "idle, all done",
}


@section("stalls", "Where the cycles go", order=50, lead=LEAD, family="graph")
def stalls(points: Points) -> Iterable[Block]:
    """Busy, stalled by cause and idle, by unit, for the selected points."""
    parts = points.per_point(GraphDetail, unit_bars)
    if any(parts):
        used = {bar.kind for bars in parts for bar in bars}
        kinds = {kind: label for kind, label in KINDS.items() if kind in used}
        yield breakdown(kinds, "cycle", "cycles", parts)


def unit_bars(detail: GraphDetail) -> Iterator[Bar]:
    """The parts of every unit's bar, the longest stall first."""
    for unit in detail.result.units:
        if unit.busy_cycles:
            yield Bar(unit.name, "busy", "busy", unit.busy_cycles)
        for cause, cycles in sorted(unit.stalled_cycles.items(), key=lambda item: -item[1]):
            kind, _, name = cause.partition(" ")
            known = kind in ("input", "output", "server")
            yield Bar(unit.name, name if known else cause, kind if known else "other", cycles)
        if unit.idle_cycles:
            yield Bar(unit.name, "idle", "idle", unit.idle_cycles)
