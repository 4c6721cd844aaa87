"""Two runs side by side as a page: what differs first, then everything that a report says of runs."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from studies.compare import Comparison, MetricDelta, Run, StallDelta
from studies.families.naming import spoken
from studies.points.outcome import Outcome, Row
from studies.points.point import Scalar
from studies.report.blocks import Block, html, plain, plot
from studies.report.page import render, write_page
from studies.report.points import Points
from studies.report.registry import Section
from studies.words import number

LEAD = (
    "A is the first run, B the second. A metric that the verdict depends on is marked; it is fine as long as B differs "
    "by no more than the tolerance."
)
MOST_STALLS = 24
_STUDY = "comparison"


def write_comparison(comparison: Comparison, path: Path | str) -> None:
    """Write `comparison` to one HTML file that opens offline.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    section = Section("difference", "What differs", 0, LEAD, partial(_blocks, comparison))
    points = Points.of([_row(run, i) for i, run in enumerate((comparison.a, comparison.b))])
    write_page(render(points, f"{comparison.a.source} and {comparison.b.source}", [section]), path)


def _row(run: Run, position: int) -> Row:
    """A run as a report sees points."""
    return Row(_STUDY, position, run.point, Outcome(run.point.key, "done", run.metrics, run.detail), 1, None, {})


def _blocks(comparison: Comparison, points: Points) -> Iterable[Block]:
    del points
    shown = [delta for delta in comparison.deltas if delta.compared or delta.a != delta.b]
    yield html(
        "comparison.html",
        within=comparison.within,
        tolerance=f"{comparison.tolerance_pct:g} %",
        beyond=[spoken(delta.metric.shown) for delta in comparison.deltas if delta.compared and not delta.within],
        runs=(comparison.a.source, comparison.b.source),
        changes=[(change.name, str(change.a), str(change.b)) for change in comparison.changes],
        deltas=[_shown(delta) for delta in shown],
    )
    if comparison.stalls:
        yield _stalls(comparison.stalls)


def _shown(delta: MetricDelta) -> tuple[str, str, str, str, str, bool]:
    percent = "" if delta.delta_pct is None else f"{delta.delta_pct:+.3g} %"
    name = f"{delta.metric.shown} [{delta.metric.unit}]" if delta.metric.unit else delta.metric.shown
    difference = "" if delta.delta is None else number(delta.delta)
    return name, _value(delta.a), _value(delta.b), difference, percent, delta.compared


def _value(value: Scalar) -> str:
    return value[:16] if isinstance(value, str) else number(value)


def _stalls(stalls: Iterable[StallDelta]) -> Block:
    """Cycles that units spend more or less, the largest differences first."""
    import plotly.graph_objects as go

    largest = sorted(stalls, key=lambda stall: -abs(stall.delta))[:MOST_STALLS][::-1]
    figure = go.Figure(
        go.Bar(
            x=[stall.delta for stall in largest],
            y=[plain(f"{stall.unit}: {stall.use}") for stall in largest],
            orientation="h",
        )
    )
    figure.update_layout(height=90 + 22 * len(largest))
    figure.update_xaxes(title_text="cycles more in B")
    return plot(figure, caption="Where cycles went instead; at most the largest differences are shown.")
