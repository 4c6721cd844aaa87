"""All judged systems on one page: published against ours, and every claim by group."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from studies.points.command import command_of
from studies.points.point import DesignPoint
from studies.report.blocks import Block, View, html, plain, plot
from studies.report.page import render, write_page
from studies.report.points import Points
from studies.report.registry import Section
from studies.reproductions.judging import JudgedSystem
from studies.reproductions.system import System
from studies.reproductions.table import claim_cells, counts, verdict_words

LEAD = (
    "Every claim with a figure of ours, over the published value: at one they are equal. A click on a verdict in the "
    "legend hides or shows it. Bands reach from one end to the other; hollow is what only says how something grows."
)
COLOURS = {"reproduced": "#009e73", "in band": "#56b4e9", "not judged": "#999999", "missed": "#d55e00"}
"""Okabe and Ito's, which colour-blind readers can tell apart."""
FEW = 3
"""Systems up to which a page shows all claims at once."""


def write_reproductions(systems: Sequence[JudgedSystem], path: Path | str) -> None:
    """Write systems to one HTML file that opens offline.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    sections = [Section("published", "Published against ours", 0, LEAD, partial(_overview, systems))]
    for number, family in enumerate(dict.fromkeys(each.system.family for each in systems), 1):
        own = [each for each in systems if each.system.family == family]
        title = family[:1].upper() + family[1:]
        lead = "Claims of each system with the tolerance they were held to; what is quoted says what is missing."
        choices = list(counts(systems))
        sections.append(Section(f"group-{number}", title, number, lead, partial(_group, own, choices)))
    write_page(render(Points.of([]), "Published systems", sections), path)


def _overview(systems: Sequence[JudgedSystem], points: Points) -> Iterable[Block]:
    """Boxes that hide systems by verdict, and the figure."""
    yield html("reproductions_filter.html", choices=list(enumerate(counts(systems).items())))
    yield from _figure(systems, points)


def _group(systems: Sequence[JudgedSystem], choices: Sequence[str], points: Points) -> Iterable[Block]:
    """Systems of a group; ``choices`` are the verdicts of all groups, in the order of the boxes that hide them."""
    del points
    described = [
        {
            "name": each.system.name,
            "title": each.system.title,
            "paper": each.system.paper,
            "mechanism": each.system.mechanism,
            "link": _link(each.system.paper),
            "verdict": verdict_words(each),
            "choice": choices.index(verdict_words(each)),
            "claims": [(*claim_cells(claim), claim.why) for claim in each.claims],
            "commands": list(_commands(each.system)),
        }
        for each in systems
    ]
    yield html(
        "reproductions_page.html", counts=list(counts(systems).items()), systems=described, open=len(systems) <= FEW
    )


def _link(paper: str) -> str:
    """Address of a paper that names its number on arXiv, else nothing."""
    found = re.search(r"arXiv:(\d{4}\.\d{5})", paper)
    return f"https://arxiv.org/abs/{found[1]}" if found else ""


def _commands(system: System) -> Iterator[tuple[str, str]]:
    """How to run each design of a system by itself."""
    for name, run in system.runs.items():
        if isinstance(run, DesignPoint):
            yield name, command_of(run)


def _figure(systems: Sequence[JudgedSystem], points: Points) -> Iterable[View]:
    """Ours over published, one line per claim that has both."""
    import plotly.graph_objects as go

    del points
    figure = go.Figure()
    placed = [
        (each, claim)
        for each in systems
        for claim in each.claims
        if claim.ours is not None and min(*claim.ours, *claim.claim.published) > 0
    ]
    if not placed:
        return
    rows, symbols = [plain(each.system.name) for each, _ in placed], ("circle", "circle-open")
    lines = list(dict.fromkeys(rows))
    for verdict, colour in COLOURS.items():
        own = [(row, *pair) for row, pair in zip(rows, placed, strict=True) if pair[1].verdict == verdict]
        if not own:
            continue
        ratios = []
        for _, _, claim in own:
            ours, published = claim.ours or (1.0, 1.0), sum(claim.claim.published) / 2
            ratios.append((ours[0] / published, ours[1] / published))
        middle = [(low * high) ** 0.5 for low, high in ratios]
        figure.add_scatter(
            x=middle,
            y=[row for row, _, _ in own],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [high - at for (_, high), at in zip(ratios, middle, strict=True)],
                "arrayminus": [at - low for (low, _), at in zip(ratios, middle, strict=True)],
            },
            mode="markers",
            marker={"color": colour, "symbol": [symbols[claim.claim.text.growth] for _, _, claim in own]},
            text=[plain(claim.claim.text.metric) for _, _, claim in own],
            hovertemplate="%{y}: %{text}<br>%{x:.3g} times the published<extra></extra>",
            name=verdict,
        )
    figure.add_vline(x=1, line_dash="dot", line_color="#808890", layer="below")  # seen in either theme
    figure.update_layout(
        height=120 + 17 * len(lines), legend={"orientation": "h", "y": 1, "yanchor": "bottom"}, margin={"l": 130}
    )
    figure.update_xaxes(type="log", title_text="ours over published")
    figure.update_yaxes(
        categoryorder="array", categoryarray=lines[::-1], tickfont={"size": 10}, range=[-0.7, len(lines) - 0.3]
    )
    yield plot(figure, caption="Ours over published; on the dotted line they are equal.")
