"""A validation as a page: errors by group beside simple predictions, and measured against predicted."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from studies.report.blocks import Block, View, html, plain, plot
from studies.report.page import render, write_page
from studies.report.points import Points
from studies.report.registry import Section
from studies.validate.records import Scalar, ValidationReport, ValidationRow
from studies.words import number

LEAD = (
    "Every case of the file, by group. A group is fine if no row is beyond its limit and its mean error is within its "
    "own; cases that cannot be predicted are named, never counted as passed."
)
COLUMNS = {
    "group": "Group",
    "n": "Cases",
    "passed": "Passed",
    "mean_abs_error_pct": "Mean |error| %",
    "max_abs_error_pct": "Max |error| %",
    "mean_limit_pct": "Mean may be %",
    "roofline_mean_abs_error_pct": "Roofline %",
    "serial_sum_mean_abs_error_pct": "Serial sum %",
}
"""What the table of groups shows, where a report has it."""


def write_validation(report: ValidationReport, path: Path | str) -> None:
    """Write `report` to one HTML file that opens offline.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    section = Section("validation", "Errors by group", 0, LEAD, partial(_blocks, report))
    write_page(render(Points.of([]), f"validate {report.kind}", [section]), path)


def _blocks(report: ValidationReport, points: Points) -> Iterable[Block]:
    del points
    groups = report.groups()
    columns = [name for name in COLUMNS if any(group.get(name) is not None for group in groups)]
    yield html(
        "validation_page.html",
        ok=report.ok,
        counts=[(status, report.count(status)) for status in ("pass", "fail", "unsupported")],
        columns=[COLUMNS[name] for name in columns],
        groups=[
            ([_cell(group.get(name)) for name in columns], group.get("within_limit", True) is not False)
            for group in groups
        ],
        rest=[(row.id, row.status, _cell(row.expected), _cell(row.got), row.why) for row in _not_passed(report)],
    )
    if any(_numbers(row) for row in report.rows):
        yield _scatter(report)


def _not_passed(report: ValidationReport) -> list[ValidationRow]:
    return [row for row in report.rows if row.status != "pass"]


def _cell(value: Scalar) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else number(value)


def _numbers(row: ValidationRow) -> tuple[float, float] | None:
    """What was measured and what is predicted, if both are positive numbers."""
    pair = (row.expected, row.got)
    numeric = [float(value) for value in pair if isinstance(value, int | float) and value > 0]
    return (numeric[0], numeric[1]) if len(numeric) == len(pair) else None


def _scatter(report: ValidationReport) -> View:
    """Measured against predicted, a trace per group; on the diagonal they are equal."""
    import plotly.graph_objects as go

    figure = go.Figure()
    every: list[float] = []
    for group in dict.fromkeys(row.group for row in report.rows):
        placed = [(row, pair) for row in report.rows if row.group == group and (pair := _numbers(row))]
        if placed:
            every += [value for _, pair in placed for value in pair]
            figure.add_scatter(
                x=[pair[0] for _, pair in placed],
                y=[pair[1] for _, pair in placed],
                text=[plain(f"{row.id}: {row.error_pct or 0:+.1f} %") for row, _ in placed],
                mode="markers",
                name=plain(group),
            )
    ends = [min(every), max(every)]
    figure.add_scatter(x=ends, y=ends, mode="lines", name="equal", line={"dash": "dot"})
    figure.update_layout(height=980, legend={"orientation": "h", "y": -0.12})
    figure.update_xaxes(type="log", title_text="measured")
    figure.update_yaxes(type="log", title_text="predicted")
    return plot(figure, caption="Measured against predicted; on the dotted line they are equal.")
