"""What the cycles of selected points went to, one after the other."""

from __future__ import annotations

from collections.abc import Iterable

from studies.report.blocks import Bar, Block, breakdown
from studies.report.points import Points
from studies.report.registry import section

LEAD = (
    "From the last cycle back to the first: what each start waited for. The parts follow each other, so they add up to "
    "all cycles, and only shortening them makes a design faster. A wait for data is no part of its own: the path goes "
    "on in the unit that made the data. On a chip the path runs through the cores that stand for all, and the gaps "
    "between launches."
)
KINDS = {
    "compute": "units at work",
    "latency": "results under way in a unit",
    "slot": "a full FIFO gives space back",
    "bandwidth": "memory moves bytes",
    "memory_latency": "memory latency",
    "memory": "memory answers: queue, rows, transfer",
    "gap": "gap before a launch",
    "transfer": "waits for other tiers",
    "idle": "not attributed",
}
MISSING = (
    "Paths are followed when the page is written, for the points it shows first. This command follows that of this one:"
)


@section("critical-path", "Critical path", order=48, lead=LEAD)
def critical_path(points: Points) -> Iterable[Block]:
    """One stacked bar, and the largest shares in words, for each point that is selected at first."""
    paths = points.paths
    if not paths:
        return
    parts: list[list[Bar]] = [[] for _ in points.rows]
    for point, path in paths.items():
        parts[point] = [Bar("path", part.name, part.kind, part.cycles) for part in path.parts]
    used = {bar.kind for bars in parts for bar in bars}
    kinds = {kind: label for kind, label in KINDS.items() if kind in used}
    words = {point: path.sentence for point, path in paths.items()}
    yield breakdown(kinds, "cycle", "cycles", parts, words, MISSING)
