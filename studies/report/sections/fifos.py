"""Depth, use and size of each FIFO."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from studies.families.graph.evaluation import GraphDetail
from studies.points.point import Json
from studies.report.blocks import Block, View
from studies.report.points import Points
from studies.report.registry import section

LEAD = (
    "Depth is what the design has, peak is the most it ever used, in tokens, tokens in flight included; the bar "
    "is peak over depth. A FIFO that is never full could be as shallow as its peak without any change in "
    "timing."
)


@section("fifos", "FIFOs", order=60, lead=LEAD, family="graph")
def fifos(points: Points) -> Iterable[Block]:
    """Every FIFO of the selected points."""
    labels: dict[str, int] = {}
    parts = points.per_point(GraphDetail, partial(_packed, labels))
    if any(parts):
        yield View("fifos", {"labels": list(labels)}, parts)


def _packed(labels: dict[str, int], detail: GraphDetail) -> list[Json]:
    """Flat list of name, producer, consumer (as label numbers), depth, peak and capacity in bytes."""
    flat: list[Json] = []
    for fifo in detail.result.channels:
        flat += [labels.setdefault(name, len(labels)) for name in (fifo.name, fifo.producer, fifo.consumer)]
        flat += [fifo.depth, fifo.peak_occupancy, fifo.capacity_bytes]
    return flat
