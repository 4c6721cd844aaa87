"""Tables as people read them on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

LEAST_TEXT = 20
"""Letters that a last column keeps however narrow the terminal is."""


def table(header: Sequence[str], rows: Iterable[Sequence[object]], width: int | None = None) -> str:
    """Rows in aligned columns: numbers to the right, text to the left.

    Parameters
    ----------
    width
        Columns of a terminal in which a line is to stay a line: longer texts of the last column end in an ellipsis.
    """
    values = [list(row) for row in rows]
    lines = [list(header), *([_cell(value) for value in row] for row in values)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    if width is not None:
        widths[-1] = min(widths[-1], max(LEAST_TEXT, width - sum(each + 2 for each in widths[:-1])))
        for line in lines:
            line[-1] = line[-1] if len(line[-1]) <= widths[-1] else f"{line[-1][: widths[-1] - 1].rstrip()}…"
    numeric = [bool(values) and all(_is_number(row[i]) for row in values) for i in range(len(header))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "  ".join(
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in lines
    )


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if 1e4 <= abs(value) < 1e7 else f"{value:.4g}"
    return str(value)


def _is_number(value: object) -> bool:
    return value is None or isinstance(value, int | float) or (isinstance(value, str) and value.endswith("%"))
