"""Where the time of a step of a whole model goes, and what lies in the memory of its fullest chip."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from studies.families.model.evaluation import ModelDetail
from studies.report.blocks import Bar, Block, breakdown
from studies.report.points import Points
from studies.report.registry import section

TIME_LEAD = (
    "The whole time of a step by kind of operation, all layers together: products with weights, attention, experts, "
    "exchanges over links, norms and other passes, and the gaps between launches. Where the host cannot launch as fast "
    "as the device works, what is above the device's time is the host's."
)
MEMORY_LEAD = (
    "What the fullest chip holds: weights, cached keys and values, the most that is alive of activations, workspace; "
    "and what is left of its main memory."
)
KINDS = {
    "product": "products with weights",
    "experts": "products of experts",
    "attention": "attention",
    "exchange": "exchanges over links",
    "head": "head",
    "rest": "norms and other passes",
    "gaps": "gaps between launches",
    "host": "host, beside the device",
}
"""Kinds of the time, always in the same colours."""
PARTS = {"weights": "weights", "kv": "keys and values", "activations": "activations", "workspace": "workspace"}
FREE = "idle"
"""Parts of the memory, and the kind that is drawn in grey."""
LEAST_SHARE = 1e-9
"""Share of the time below which a part is what rounding leaves."""


@section("model-time", "Time by kind of operation", order=50, lead=TIME_LEAD, family="model")
def model_time(points: Points) -> Iterable[Block]:
    """Seconds by kind of operation of the selected points."""
    parts = points.per_point(ModelDetail, _time_bars)
    if any(parts):
        yield breakdown(KINDS, "s", "seconds", parts)


@section("model-memory", "Memory of the fullest chip", order=51, lead=MEMORY_LEAD, family="model")
def model_memory(points: Points) -> Iterable[Block]:
    """The ledger of the selected points against what may be used."""
    parts = points.per_point(ModelDetail, _memory_bars)
    if any(parts):
        yield breakdown({**PARTS, FREE: "free"}, "B", "bytes", parts)


def _time_bars(step: ModelDetail) -> Iterator[Bar]:
    seconds = dict.fromkeys(KINDS, 0.0)
    for layer in step.layers:
        for each in layer.operations:
            seconds[each.kind if each.kind in KINDS else "rest"] += layer.times * each.seconds
            seconds["gaps"] += layer.times * each.gap_s
    seconds["host"] = max(step.seconds - sum(seconds.values()), 0.0)
    for kind, label in KINDS.items():
        if seconds[kind] > LEAST_SHARE * step.seconds:
            yield Bar("step", label, kind, seconds[kind])


def _memory_bars(step: ModelDetail) -> Iterator[Bar]:
    for row in step.ledger:
        kind = row.name.partition(".")[0]
        yield Bar(row.tier, row.name, kind if kind in PARTS else "workspace", row.bytes)
    free = step.usable_bytes - sum(row.bytes for row in step.ledger)
    yield Bar(step.ledger[0].tier, "free", FREE, free)
