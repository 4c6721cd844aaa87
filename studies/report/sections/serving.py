"""Latencies of served scenarios, and batch, queue and memory over time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from studies.families.live.evaluation import LiveDetail
from studies.report.blocks import Block, plain, plot
from studies.report.points import Points
from studies.report.registry import section

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MOST_POINTS = 4
"""Scenarios that are drawn: the selected ones."""
LATENCIES = (
    "Share of requests that took no longer, for the time to the first token and for the whole latency of the first "
    "selected points. A steep line means that requests fare alike; a long tail to the right is a queue or a preemption."
)
COURSE = (
    "Sequences that make tokens, requests that wait, and KV blocks that are owned, over the time of the first selected "
    "point, all replicas together. A queue that grows to the end means more load than the deployment can serve."
)


@section("latencies", "Latencies", order=42, lead=LATENCIES, family="live")
def latencies(points: Points) -> Iterable[Block]:
    """Distributions of the selected points."""
    drawn = list(_selected(points))
    if drawn:
        yield plot(_distributions(drawn))


@section("course", "Batch, queue and memory over time", order=43, lead=COURSE, family="live")
def course(points: Points) -> Iterable[Block]:
    """The course of the first selected point."""
    drawn = list(_selected(points))
    if drawn and drawn[0][1].course:
        yield plot(_course(drawn[0][1]))


def _selected(points: Points) -> Iterator[tuple[str, LiveDetail]]:
    """Names and details of the first selected points that were served."""
    found = 0
    for point in points.selected_first:
        detail = points.rows[point].outcome.detail
        if isinstance(detail, LiveDetail) and found < MOST_POINTS:
            found += 1
            yield points.label(point, "design") or detail.scenario, detail


def _distributions(drawn: list[tuple[str, LiveDetail]]) -> Figure:
    import plotly.graph_objects as go

    figure = go.Figure()
    for hue, (label, detail) in enumerate(drawn):
        for name, dash in (("ttft", "solid"), ("latency", "dash")):
            curve = next(each for each in detail.latencies if each.name == name)
            figure.add_scatter(
                x=curve.seconds,
                y=curve.shares,
                mode="lines",
                name=plain(f"{label}, {name}"),
                line={"dash": dash, "width": 1.5},
                meta={"hue": hue},
            )
    figure.update_layout(height=380, legend={"orientation": "h", "y": -0.2})
    figure.update_xaxes(type="log", title_text="seconds", dtick="D2")
    figure.update_yaxes(title_text="per cent of requests", range=[0, 100])
    return figure


def _course(detail: LiveDetail) -> Figure:
    import plotly.graph_objects as go

    figure = go.Figure()
    times = [(each.start_s + each.end_s) / 2 for each in detail.course]
    lines = (
        ("sequences that make tokens", [each.running for each in detail.course], "y"),
        ("requests that wait", [each.waiting for each in detail.course], "y"),
        ("KV blocks", [each.blocks for each in detail.course], "y2"),
    )
    for hue, (name, values, axis) in enumerate(lines):
        dash = "dot" if axis == "y2" else "solid"
        figure.add_scatter(
            x=times, y=values, mode="lines", name=name, yaxis=axis, line={"dash": dash, "width": 1.5}, meta={"hue": hue}
        )
    figure.update_layout(
        height=380,
        legend={"orientation": "h", "y": -0.2},
        yaxis2={"overlaying": "y", "side": "right", "title": {"text": "KV blocks"}, "rangemode": "tozero"},
    )
    figure.update_xaxes(title_text="seconds since the first arrival")
    figure.update_yaxes(title_text="sequences", rangemode="tozero", selector={"anchor": "x"})
    return figure
