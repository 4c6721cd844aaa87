"""Where the silicon of a chip goes."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from hwmodels.chips.accelerator import Accelerator
from hwmodels.costs.area import area_of
from studies.report.blocks import Bar, Block, breakdown
from studies.report.points import Points
from studies.report.registry import section

LEAD = (
    "Datapaths and memory macros of all cores, and the caches, from published areas of operators and SRAM; PHYs and "
    "controllers of the memories, in whole stacks or channels. The rest of the die is wires, control, links and spare "
    "parts, by the published dies of the same family."
)

KINDS = {
    "matrix": "matrix arrays",
    "vector": "vector lanes",
    "exp": "exp units",
    "sram": "local memories",
    "registers": "registers",
    "caches": "caches",
    "memory_phy": "memory PHYs",
    "memory_controller": "memory controllers",
    "idle": "everything else",
}
HUES = {
    "matrix": 0,
    "exp": 4,
    "vector": 5,
    "sram": 1,
    "registers": 7,
    "caches": 6,
    "memory_phy": 2,
    "memory_controller": 3,
}
"""As in the section on energy, where that has them."""


@section("area", "Area", order=56, lead=LEAD, family="chip")
def area(points: Points) -> Iterable[Block]:
    """Square millimetres by component of the selected points."""
    parts = [_bars(row.point.chip.accelerator) if row.point.chip else () for row in points.rows]
    if any(parts):
        used = {bar.kind for bars in parts for bar in bars}
        yield breakdown(
            {kind: label for kind, label in KINDS.items() if kind in used}, "mm2", "the die", parts, hues=HUES
        )


@cache
def _bars(chip: Accelerator) -> tuple[Bar, ...]:
    found = area_of(chip)
    parts = sorted(found.components.items(), key=lambda item: -item[1])
    bars = [Bar("die", name, name if name in KINDS else "caches", mm2) for name, mm2 in parts if mm2 > 0]
    if found.die_mm2 is not None and found.die_mm2 > found.modelled_mm2:
        bars.append(Bar("die", "wires, control, links", "idle", found.die_mm2 - found.modelled_mm2))
    return tuple(bars)
