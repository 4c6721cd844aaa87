"""Points under the ceilings of their chips."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hwmodels.chips.accelerator import Accelerator
from studies.families.chip.evaluation import ChipDetail
from studies.report.blocks import Block, plain, plot
from studies.report.points import Points
from studies.report.registry import section
from studies.words import number, quantity

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


LEAD = (
    "Useful work per second over useful work per byte of the main memory; nothing can be above the ceilings. Slanted "
    "lines are what a tier can deliver, flat ones what a unit can do of this work; they are drawn for the chips of the "
    "first selected points. Diamonds place a selected point by the bytes of each of its other tiers. Points that "
    "would cover each other are one dot."
)
MOST_CHIPS = 2
_DASHES = ("solid", "dash")
_FEW_DECADES = 3
_CELLS_PER_DECADE = 150
"""Points in the same cell of a grid this fine are one dot; a dot is wider."""
_RANGE = 4.0
"""The lines go on beyond the outermost points by this factor."""


@dataclass(frozen=True)
class Placed:
    """A point on a roofline: FLOP per byte of the main memory and FLOP/s, and FLOP per byte of its other tiers."""

    point: int
    intensity: float
    flops_per_second: float
    elsewhere: dict[str, float]


@dataclass(frozen=True)
class Ceiling:
    """A limit in FLOP/s: flat, or `bytes_per_second` times the intensity up to a flat one."""

    name: str
    flops_per_second: float
    bytes_per_second: float | None = None

    @property
    def resource(self) -> str:
        """What limits: the name without its rate."""
        return self.name.partition(",")[0]

    def at(self, intensity: float) -> float:
        """Its height."""
        if self.bytes_per_second is None:
            return self.flops_per_second
        return min(self.flops_per_second, self.bytes_per_second * intensity)


@section("roofline", "Roofline", order=54, lead=LEAD, family="chip")
def roofline(points: Points) -> Iterable[Block]:
    """All points with a result, and the ceilings of the chips of the first selected ones."""
    placed = list(_placed(points))
    if placed:
        yield plot(_figure(points, placed))


def _placed(points: Points) -> Iterator[Placed]:
    intensity, rate = points.column("intensity"), points.column("flops_per_second")
    if intensity is None or rate is None:
        return
    for i in (*points.done, *points.in_state("infeasible")):
        across, up = intensity.values[i], rate.values[i]
        if isinstance(across, int | float) and isinstance(up, int | float) and across > 0 and up > 0:
            yield Placed(i, float(across), float(up), _elsewhere(points, i, float(up)))


def _elsewhere(points: Points, point: int, flops_per_second: float) -> dict[str, float]:
    """FLOP per byte of every tier but the main memory."""
    run = points.rows[point].outcome.detail
    if not isinstance(run, ChipDetail):
        return {}
    flops = flops_per_second * run.seconds
    main = run.point.on_chip.accelerator.memory.name
    return {name: flops / moved for name, moved in run.tier_bytes.items() if name != main and moved}


def _figure(points: Points, placed: list[Placed]) -> Figure:
    import plotly.graph_objects as go

    places = {point: place for place, point in enumerate(points.selected_first)}
    chosen = sorted((each for each in placed if each.point in places), key=lambda each: places[each.point])
    chosen = chosen or placed[:1]
    span = [each.intensity for each in placed] + [value for each in chosen for value in each.elsewhere.values()]
    least, most = min(span) / _RANGE, max(span) * _RANGE
    figure = go.Figure()
    lines = list(_lines(points, chosen))
    for line in lines:
        ceiling = line.ceiling
        ridge = ceiling.flops_per_second / ceiling.bytes_per_second if ceiling.bytes_per_second else least
        across = sorted({least, min(max(ridge, least), most), most})
        figure.add_scatter(
            x=across,
            y=[ceiling.at(value) for value in across],
            mode="lines",
            name=plain(line.label),
            line={"dash": line.dash, "width": 1.5},
            meta={"hue": line.hue},
            hoverinfo="name",
        )
    seen = _apart([*chosen, *placed])
    ours = {each.point for each in chosen}
    figure.add_scatter(
        x=[each.intensity for each in seen],
        y=[each.flops_per_second for each in seen],
        customdata=[each.point for each in seen],
        mode="markers",
        name="points",
        marker={
            "size": [10 if each.point in ours else 6 for each in seen],
            "opacity": [1.0 if each.point in ours else 0.55 for each in seen],
        },
        textposition="top center",
        meta={"hue": 0, "named": True},
        hoverinfo="none",
    )
    _add_other_tiers(figure, chosen, {line.ceiling.resource: line.hue for line in lines})
    figure.update_layout(height=460, hovermode="closest")
    heights = [ceiling.at(x) for ceiling in (line.ceiling for line in lines) for x in (least, most)]
    heights += [each.flops_per_second for each in placed]
    across, up = _decades(least, most), _decades(min(heights), max(heights))
    figure.update_xaxes(
        type="log",
        title_text="useful FLOP per byte of the main memory",
        tickvals=across,
        ticktext=[number(tick) for tick in across],
    )
    figure.update_yaxes(
        type="log", title_text="useful FLOP/s", tickvals=up, ticktext=[quantity(tick, "FLOP/s") for tick in up]
    )
    return figure


def _decades(least: float, most: float) -> list[float]:
    """Round values of a logarithmic axis: 1, 2 and 5 of every decade where there are few, else 1."""
    first, last = math.floor(math.log10(least)), math.ceil(math.log10(most))
    steps = (1, 2, 5) if last - first <= _FEW_DECADES else (1,)
    return [step * 10.0**decade for decade in range(first, last + 1) for step in steps]


def _apart(placed: Iterable[Placed]) -> list[Placed]:
    """The first of all points that would cover each other."""
    cells: dict[tuple[int, int], Placed] = {}
    for each in placed:
        cell = tuple(round(math.log10(value) * _CELLS_PER_DECADE) for value in (each.intensity, each.flops_per_second))
        cells.setdefault((cell[0], cell[1]), each)
    return list(cells.values())


def _add_other_tiers(figure: Figure, chosen: list[Placed], hues: Mapping[str, int]) -> None:
    """Diamonds for the selected points, one trace per tier, in the hue of its ceiling."""
    for name in dict.fromkeys(name for each in chosen for name in each.elsewhere):
        there = [each for each in chosen if name in each.elsewhere]
        figure.add_scatter(
            x=[each.elsewhere[name] for each in there],
            y=[each.flops_per_second for each in there],
            customdata=[each.point for each in there],
            mode="markers",
            name=plain(f"selected, by bytes of {name}"),
            marker={"symbol": "diamond", "size": 9},
            meta={"hue": hues.get(name, 0)},
            hoverinfo="none",
        )


@dataclass(frozen=True)
class Line:
    """How a ceiling is drawn; ceilings of one resource have one hue, those of one chip one dash."""

    ceiling: Ceiling
    label: str
    dash: str
    hue: int


def _lines(points: Points, chosen: Iterable[Placed]) -> Iterator[Line]:
    """The ceilings of the chips that are drawn; what chips have in common once, without the name of a chip."""
    chips = _chips(points, chosen)
    ceilings = [list(_ceilings(points, chip, point)) for chip, point in chips.items()]
    alike = len({chip.name for chip in chips}) < len(chips)
    drawn: set[str] = set()
    hues: dict[str, int] = {}
    for dash, (chip, point), own in zip(_DASHES, chips.items(), ceilings, strict=False):
        owner = f"chip of #{point}" if alike else chip.name
        for ceiling in own:
            same = [other for others in ceilings for other in others if other.name == ceiling.name]
            highest = max(same, key=lambda other: other.flops_per_second)
            label = ceiling.name if 1 < len(chips) == len(same) else f"{owner}: {ceiling.name}"
            hue = hues.setdefault(ceiling.resource, len(hues) + 1)  # hue 0 is that of the points
            if label not in drawn:
                yield Line(highest if label == ceiling.name else ceiling, label, dash, hue)
            drawn.add(label)


def _chips(points: Points, chosen: Iterable[Placed]) -> dict[Accelerator, int]:
    """The different chips of some points with one of their points, at most `MOST_CHIPS`."""
    found: dict[Accelerator, int] = {}
    for each in chosen:
        setting = points.rows[each.point].point.chip
        if setting and len(found) < MOST_CHIPS:
            found.setdefault(setting.accelerator, each.point)
    return found


def _ceilings(points: Points, chip: Accelerator, point: int) -> Iterator[Ceiling]:
    """What tiers and units of a chip allow for the work of a point."""
    row = points.rows[point]
    peak = chip.peak_flops_per_second(row.point.attending.dtype)
    yield Ceiling(f"matrix, {quantity(peak, 'FLOP/s')}", peak)
    for tier in chip.tiers:
        yield Ceiling(f"{tier.name}, {quantity(tier.bytes_per_second, 'B/s')}", peak, tier.bytes_per_second)
    run, rate = row.outcome.detail, points.column("flops_per_second")
    useful = rate.values[point] if rate else None
    if not isinstance(run, ChipDetail) or not isinstance(useful, int | float):
        return
    for unit, seconds in (("exp", run.bounds.exp_s), ("vector", run.bounds.vector_s)):
        if seconds:
            limit = float(useful) * run.seconds / seconds
            yield Ceiling(f"{unit} unit, {quantity(limit, 'FLOP/s')}", limit)
