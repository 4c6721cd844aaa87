"""A still picture of a study: every point by its first two objectives, and the front with its names, as SVG.

It needs neither a browser nor a script, so it stays in notebooks that are exported or looked at elsewhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape

from studies.report.columns import Column
from studies.report.points import Points

WIDTH, HEIGHT = 640, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 96, 150, 16, 46
_LOGARITHMIC_FROM = 5
_MOST_NAMED = 8
_LONGEST_NAME = 34
_STEPS = (1, 2, 5)
_INK, _PALE, _FRONT, _LINE = "#17212b", "#8fa3b5", "#0072b2", "#cfd6dd"


@dataclass(frozen=True)
class _Scale:
    """From values of a column to pixels between two ends."""

    column: Column
    least: float
    most: float
    first: float
    last: float

    @property
    def logarithmic(self) -> bool:
        return self.least > 0 and self.most / self.least >= _LOGARITHMIC_FROM

    def at(self, value: float) -> float:
        if self.most == self.least:
            return (self.first + self.last) / 2
        turn = math.log10 if self.logarithmic else float
        share = (turn(value) - turn(self.least)) / (turn(self.most) - turn(self.least))
        return self.first + (0.04 + 0.92 * share) * (self.last - self.first)

    def ticks(self) -> list[float]:
        """Round values within the ends."""
        if self.most == self.least:
            return [self.least]
        if self.logarithmic:
            decades = range(math.floor(math.log10(self.least)), math.ceil(math.log10(self.most)) + 1)
            steps = _STEPS if len(decades) <= 3 else (1,)
            found = [step * 10.0**decade for decade in decades for step in steps]
        else:
            rough = (self.most - self.least) / 4
            power = 10.0 ** math.floor(math.log10(rough))
            step = next(each * power for each in (1, 2, 5, 10) if each * power >= rough)
            found = [i * step for i in range(math.floor(self.least / step), math.ceil(self.most / step) + 1)]
        return [value for value in found if self.least <= value <= self.most] or [self.least, self.most]


def picture(points: Points) -> str:
    """The picture as an ``svg`` element; empty where fewer than two objectives or no points have values."""
    if len(points.objectives) < 2:
        return ""
    up, across = points.objectives[:2]
    placed = [
        (i, x, y) for i in points.done if (x := _number(across, i)) is not None and (y := _number(up, i)) is not None
    ]
    if not placed:
        return ""
    wide = _Scale(across, min(x for _, x, _ in placed), max(x for _, x, _ in placed), _LEFT, WIDTH - _RIGHT)
    high = _Scale(up, min(y for _, _, y in placed), max(y for _, _, y in placed), HEIGHT - _BOTTOM, _TOP)
    parts = [*_axes(wide, high), *_dots(points, placed, wide, high)]
    told = escape(f"{up.shown} over {across.shown} of {len(placed)} points; the front is blue")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img" '
        f'aria-label="{told}" font-family="sans-serif" font-size="11">'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>{"".join(parts)}</svg>'
    )


def _axes(wide: _Scale, high: _Scale) -> list[str]:
    bottom, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
    parts = []
    for value in wide.ticks():
        x = f"{wide.at(value):.1f}"
        parts.append(f'<path d="M{x} {_TOP}V{bottom}" stroke="{_LINE}"/>')
        parts.append(f'<text x="{x}" y="{bottom + 15}" text-anchor="middle" fill="{_INK}">{_text(wide, value)}</text>')
    for value in high.ticks():
        y = high.at(value)
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{right}" stroke="{_LINE}"/>')
        parts.append(
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="{_INK}">{_text(high, value)}</text>'
        )
    middle = (_LEFT + right) / 2
    title = 'font-size="12" font-weight="bold" text-anchor="middle"'
    parts.append(f'<text x="{middle}" y="{HEIGHT - 8}" {title} fill="{_INK}">{escape(wide.column.shown)}</text>')
    at = f'transform="rotate(-90 14 {HEIGHT / 2 - 15})" x="14" y="{HEIGHT / 2 - 15}"'
    parts.append(f'<text {at} {title} fill="{_INK}">{escape(high.column.shown)}</text>')
    return parts


def _dots(points: Points, placed: list[tuple[int, float, float]], wide: _Scale, high: _Scale) -> list[str]:
    parts, named, last = [], 0, -math.inf
    for i, x, y in sorted(placed, key=lambda each: (points.front[each[0]], high.at(each[2]))):
        left, top, kept = wide.at(x), high.at(y), points.front[i]
        name = points.label(i, "design", "workload")
        dot = f'cx="{left:.1f}" cy="{top:.1f}" r="{5 if kept else 3.5}" fill="{_FRONT if kept else _PALE}"'
        parts.append(f"<circle {dot}><title>{escape(name)}</title></circle>")
        if kept and named < _MOST_NAMED and top - last > 12:
            short = name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
            parts.append(f'<text x="{left + 9:.1f}" y="{top + 4:.1f}" fill="{_INK}">{escape(short)}</text>')
            named, last = named + 1, top
    return parts


def _number(column: Column, point: int) -> float | None:
    value = column.values[point]
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _text(scale: _Scale, value: float) -> str:
    return escape(scale.column.words(value))
