"""What commands print: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated

import typer

EXIT_OK = 0
EXIT_CHECK_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_DESIGN_FAILS = 3

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]
QuietFlag = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes on stderr.")]


def emit(document: object, text: Callable[[], str], *, as_json: bool) -> None:
    """Print a result: the document, of values that JSON has, or `text()` for people."""
    shown = json.dumps(document, indent=2, allow_nan=False) if as_json else text()
    sys.stdout.write(shown.rstrip("\n") + "\n")


def note(message: str, *, quiet: bool) -> None:
    """A line for people on stderr."""
    if not quiet:
        sys.stderr.write(f"{message}\n")


def complain(message: str) -> None:
    """What is wrong, on stderr, one line per problem."""
    sys.stderr.write(f"{message}\n")


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows in aligned columns: numbers to the right, text to the left."""
    values = [list(row) for row in rows]
    lines = [list(header), *([_cell(value) for value in row] for row in values)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
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
