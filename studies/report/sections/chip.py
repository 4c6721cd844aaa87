"""What the units of a chip do, what its bounds allow, and where energy goes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from studies.families.chip.evaluation import ChipDetail
from studies.report.blocks import Bar, Block, breakdown
from studies.report.points import Points
from studies.report.registry import section

UNITS_LEAD = (
    "Each bar is one unit and the whole time of a launch: working, or not. Units of a core are means over cores; the "
    "main memory and the cache are shared. A matrix array is held while it waits for a softmax with nothing else to "
    "do. Units without any work in one of several launches are left out. What works all the time is what to widen."
)
BOUNDS_LEAD = (
    "Each bar is the whole time of the run and, in it, what one lower bound would allow: no order of the same work is "
    "faster than the longest of them. What is left over is waiting that a better overlap could save."
)
ENERGY_LEAD = (
    "Operations and bytes by the energy table of the chip, leakage by its area, standby and refresh of memories (idle) "
    "by the time. Instructions and clocks are not in the table, so the sum is a lower estimate of what a programmable "
    "chip draws."
)

NAMES = {"exposed": "matrix held", "local": "exchange"}
"""Shares of a launch that not every kernel has, and what they are called."""
MOST_PARTS = 5
"""Components of the energy that are told apart; all points together have to do with eight colours."""


@section("chip-units", "What the units of the chip do", order=51, lead=UNITS_LEAD, family="chip")
def chip_units(points: Points) -> Iterable[Block]:
    """Working and waiting time of every unit by launch, for the selected points."""
    parts = points.per_point(ChipDetail, _unit_bars)
    if any(parts):
        yield breakdown({"busy": "works", "idle": "does not work"}, "s", "seconds", parts, alike=False)


@section("chip-bounds", "Lower bounds", order=52, lead=BOUNDS_LEAD, family="chip")
def chip_bounds(points: Points) -> Iterable[Block]:
    """Every bound of the selected points beside their time."""
    parts = points.per_point(ChipDetail, _bound_bars)
    if any(parts):
        yield breakdown({"bound": "allowed by the bound", "idle": "above it"}, "s", "seconds", parts)


@section("energy", "Energy", order=53, lead=ENERGY_LEAD, family="chip")
def energy(points: Points) -> Iterable[Block]:
    """Joules by component of the selected points."""
    parts = points.per_point(ChipDetail, _energy_bars)
    if any(parts):
        named = list(dict.fromkeys(bar.kind for bars in parts for bar in bars))
        yield breakdown({kind: kind for kind in named}, "J", "joules", parts)


def _unit_bars(run: ChipDetail) -> Iterator[Bar]:
    launches = run.launches
    for launch in launches:
        for unit, share in launch.busy.items():
            worked = min(share, 1.0) * launch.seconds
            bar = NAMES.get(unit, unit)
            if len(launches) > 1:
                bar = f"{bar}: {launch.name}"
            if share or (unit not in NAMES and len(launches) == 1):
                yield Bar(bar, "works", "busy", worked)
                yield Bar(bar, "does not work", "idle", launch.seconds - worked)


def _bound_bars(run: ChipDetail) -> Iterator[Bar]:
    for name, seconds in _descending(run.bounds.by_name()):
        yield Bar(name, "allowed by the bound", "bound", seconds)
        yield Bar(name, "above it", "idle", max(run.seconds - seconds, 0.0))


def _energy_bars(run: ChipDetail) -> Iterator[Bar]:
    parts = _descending(run.energy_j)
    for name, joules in parts[:MOST_PARTS]:
        yield Bar("energy", name, name, joules)
    if parts[MOST_PARTS:]:
        yield Bar("energy", "the rest", "the rest", sum(joules for _, joules in parts[MOST_PARTS:]))


def _descending(named: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(named.items(), key=lambda item: -item[1])
