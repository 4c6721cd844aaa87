"""Scores of measured rows as a page: errors by group, predicted against measured, error over size, the worst rows."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from studies.report.blocks import Block, View, html, plain, plot
from studies.report.page import render, write_page
from studies.report.points import Points
from studies.report.registry import Section
from studies.words import number

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from studies.validate.measured.validate import MeasuredReport, ScoredRows

LEAD = (
    "Rows that no number was fitted to, unless the split says otherwise, predicted in closed form and compared with "
    "what was measured. Errors are predicted / measured - 1; a noise floor is what measuring twice gives."
)
MOST_DRAWN = 3000
"""Points of a scatter; of more rows every so many are drawn, in the order of their times."""
COLOURS = 8
"""Colours of a page; what comes after has another shape."""
SHAPES = ("circle", "x", "diamond", "square")
WORST = 25
HEADINGS = (
    "Table",
    "GPU",
    "Stack",
    "Version",
    "Kernel",
    "Rows",
    "Unsupported",
    "Mean |%|",
    "Median |%|",
    "p95 |%|",
    "Signed %",
    "Noise %",
)
WORST_HEADINGS = ("Group", "Row", "Measured us", "Predicted us", "Error %", "What takes the longest")


def write_measured(report: MeasuredReport, path: Path | str) -> None:
    """Write ``report`` to one HTML file that opens offline.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    section = Section("measured", "Predicted against measured", 0, LEAD, partial(_blocks, report))
    write_page(render(Points.of([]), "validate measured", [section]), path)


def _blocks(report: MeasuredReport, points: Points) -> Iterable[Block]:
    del points
    groups = [(*vars(group.key).values(), *group.row()) for group in report.groups]
    yield _table(HEADINGS, groups)
    for scored in report.tables:
        if np.isfinite(scored.predicted_us).any():
            yield _against(scored)
            yield _over_time(scored)
            yield _table(WORST_HEADINGS, worst_rows(scored, WORST))


def _table(headings: Iterable[str], rows: Iterable[Iterable[object]]) -> Block:
    return html("measured_page.html", headings=list(headings), rows=[[_cell(value) for value in row] for row in rows])


def _cell(value: object) -> str:
    if value is None:
        return ""
    return number(value) if isinstance(value, int | float) else str(value)


def worst_rows(scored: ScoredRows, count: int) -> list[tuple[object, ...]]:
    """The rows that are farthest off, whichever way, by the logarithm of predicted over measured."""
    measured = scored.table.time_us
    off = np.abs(np.log(scored.predicted_us / measured))
    found: list[tuple[object, ...]] = []
    for row in map(int, np.argsort(-np.nan_to_num(off, nan=-1.0), kind="stable")[:count]):
        if np.isnan(off[row]):
            break
        key = scored.keys[scored.group[row]]
        shape = ", ".join(f"{name} {int(column[row])}" for name, column in scored.table.numbers.items())
        error = 100 * (scored.predicted_us[row] / measured[row] - 1)
        who = f"{key.gpu} {key.stack} {key.stack_version} {key.kernel}"
        predicted = float(scored.predicted_us[row])
        found.append((who, shape, float(measured[row]), predicted, float(error), scored.dominating[row]))
    return found


def _drawn(scored: ScoredRows) -> NDArray[np.int64]:
    """Rows with a prediction in the order of their times, thinned out evenly."""
    some = np.flatnonzero(np.isfinite(scored.predicted_us))
    some = some[np.argsort(scored.table.time_us[some], kind="stable")]
    return some[:: max(1, -(-len(some) // MOST_DRAWN))]


def _against(scored: ScoredRows) -> View:
    import plotly.graph_objects as go

    figure = go.Figure()
    drawn = _drawn(scored)
    measured, predicted = scored.table.time_us, scored.predicted_us
    _add_dots(figure, scored, drawn, predicted)
    ends = [float(measured[drawn].min()), float(measured[drawn].max())]
    figure.add_scatter(x=ends, y=ends, mode="lines", name="equal", line={"dash": "dot"})
    figure.update_layout(height=760, legend={"orientation": "h", "y": -0.12})
    figure.update_xaxes(type="log", title_text="measured, us")
    figure.update_yaxes(type="log", title_text="predicted, us")
    caption = f"{scored.table.name}: measured against predicted; on the dotted line they are equal."
    return plot(figure, caption=caption)


def _add_dots(figure: go.Figure, scored: ScoredRows, drawn: NDArray[np.int64], up: NDArray[np.float64]) -> None:
    """Rows over their measured times, in a colour per GPU; what is pointed at names its stack and kernel.

    Groups are too many for colours that eyes tell apart, and those of a GPU lie together.
    """
    gpus = list(dict.fromkeys(key.gpu for key in scored.keys))
    gpu_of = np.array([gpus.index(key.gpu) for key in scored.keys], dtype=np.int64)
    said = [plain(f"{key.stack} {key.stack_version} {key.kernel}") for key in scored.keys]
    for place, gpu in enumerate(gpus):
        rows = drawn[gpu_of[scored.group[drawn]] == place]
        if len(rows):
            figure.add_scatter(
                x=scored.table.time_us[rows],
                y=up[rows],
                text=[said[group] for group in scored.group[rows]],
                mode="markers",
                marker={"size": 4, "symbol": SHAPES[place // COLOURS % len(SHAPES)]},
                name=plain(gpu),
            )


def _over_time(scored: ScoredRows) -> View:
    import plotly.graph_objects as go

    figure = go.Figure()
    drawn = _drawn(scored)
    error = 100 * (scored.predicted_us / scored.table.time_us - 1)
    _add_dots(figure, scored, drawn, error)
    figure.update_layout(height=520, legend={"orientation": "h", "y": -0.16})
    figure.update_xaxes(type="log", title_text="measured, us")
    figure.update_yaxes(title_text="error, %")
    return plot(figure, caption=f"{scored.table.name}: error over measured time.")
