"""What the units of a chip do, what its bounds allow, and where energy goes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from studies.families.chip.evaluation import ChipDetail
from studies.report.blocks import Bar, Block, breakdown
from studies.report.points import Points
from studies.report.registry import section

UNITS_LEAD = (
    "Each bar is one unit and the whole time: the work that no order of it can avoid (its lower bound), further work, "
    "and waiting that a better overlap could save. No design of the same work is faster than the longest bound. Units "
    "of a core are means over cores; the main memory and the cache are shared. A matrix array is held while it waits "
    "for a softmax with nothing else to do. What works all the time is what to widen."
)
LAUNCHES_LEAD = (
    "The same units in each launch of a design that has several: working, or not. Units without any work in a launch "
    "are left out."
)
ENERGY_LEAD = (
    "Operations and bytes by the energy table of the chip, leakage by its area, standby and refresh of memories (idle) "
    "by the time. Instructions and clocks are not in the table, so the sum is a lower estimate of what a programmable "
    "chip draws."
)

NAMES = {"exposed": "matrix held", "local": "exchange"}
"""Shares of a launch that not every kernel has, and what they are called."""
ENERGY_KINDS = {
    "matrix": "matrix arrays",
    "exp": "exp units",
    "vector": "vector lanes",
    "sram": "local memories",
    "caches": "caches",
    "memory": "main memory",
    "other": "the rest",
    "idle": "leakage, standby and refresh",
}
ENERGY_HUES = {"matrix": 0, "exp": 4, "vector": 5, "sram": 1, "caches": 6, "memory": 2, "other": 7}
"""The same colours on every page, whatever the memories of a chip are called."""


@section("chip-units", "Units and bounds", order=51, lead=UNITS_LEAD, family="chip")
def chip_units(points: Points) -> Iterable[Block]:
    """Necessary and further work and waiting of every unit, for the selected points."""
    parts = points.per_point(ChipDetail, _unit_bars)
    if any(parts):
        kinds = {"bound": "needed at least", "busy": "works longer", "idle": "does not work"}
        yield breakdown(kinds, "s", "seconds", parts)


@section("chip-launches", "Launch by launch", order=52, lead=LAUNCHES_LEAD, family="chip")
def chip_launches(points: Points) -> Iterable[Block]:
    """Working and waiting time of every unit by launch, where the selected points have several."""
    parts = points.per_point(ChipDetail, _launch_bars)
    if any(parts):
        yield breakdown({"busy": "works", "idle": "does not work"}, "s", "seconds", parts, alike=False)


@section("energy", "Energy", order=53, lead=ENERGY_LEAD, family="chip")
def energy(points: Points) -> Iterable[Block]:
    """Joules by component of the selected points."""
    parts = points.per_point(ChipDetail, _energy_bars)
    if any(parts):
        used = {bar.kind for bars in parts for bar in bars}
        kinds = {kind: label for kind, label in ENERGY_KINDS.items() if kind in used}
        yield breakdown(kinds, "J", "joules", parts, hues=ENERGY_HUES)


def _unit_bars(run: ChipDetail) -> Iterator[Bar]:
    bounds = run.bounds.by_name()
    worked: dict[str, float] = dict.fromkeys(bounds, 0.0)
    for launch in run.launches:
        for unit, share in launch.busy.items():
            worked[unit] = worked.get(unit, 0.0) + min(share, 1.0) * launch.seconds
    for unit, seconds in _descending({unit: max(worked[unit], bounds.get(unit, 0.0)) for unit in worked}):
        needed = bounds.get(unit, 0.0)
        if seconds or unit not in NAMES:
            bar = NAMES.get(unit, unit)
            yield Bar(bar, "needed at least", "bound", needed)
            yield Bar(bar, "works longer", "busy", max(seconds - needed, 0.0))
            yield Bar(bar, "does not work", "idle", max(run.seconds - seconds, 0.0))


def _launch_bars(run: ChipDetail) -> Iterator[Bar]:
    for launch in run.launches if len(run.launches) > 1 else ():
        for unit, share in launch.busy.items():
            worked = min(share, 1.0) * launch.seconds
            if share:
                bar = f"{NAMES.get(unit, unit)}: {launch.name}"
                yield Bar(bar, "works", "busy", worked)
                yield Bar(bar, "does not work", "idle", launch.seconds - worked)


def _energy_bars(run: ChipDetail) -> Iterator[Bar]:
    chip = run.point.on_chip.accelerator
    caches, memories = ({tier.name for tier in tiers} for tiers in (chip.caches, chip.tiers))
    found: dict[str, float] = dict.fromkeys(ENERGY_KINDS, 0.0)
    for name, joules in run.energy_j.items():
        if name == "static" or name.endswith(".idle"):
            kind = "idle"
        else:
            kind = name if name in found else "caches" if name in caches else "memory" if name in memories else "other"
        found[kind] += joules
    for kind, joules in found.items():
        if joules:
            yield Bar("energy", ENERGY_KINDS[kind], kind, joules)


def _descending(named: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(named.items(), key=lambda item: -item[1])
