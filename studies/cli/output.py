"""What commands print: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated

import typer

from hwmodels.reading.errors import InputError, Problem
from studies.cli.printing import harmless, put, tell
from studies.finite import not_finite_in
from studies.tables import table

__all__ = ["JsonFlag", "QuietFlag", "complain", "emit", "note", "table"]

EXIT_OK = 0
EXIT_CHECK_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_DESIGN_FAILS = 3

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]
QuietFlag = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes on stderr.")]


def emit(document: object, text: Callable[[], str], *, as_json: bool) -> None:
    """Print a result: the document, of values that JSON has or what makes it, or `text()` for people."""
    shown = _json_text(document() if callable(document) else document) if as_json else harmless(text())
    put(shown.rstrip("\n") + "\n")


def _json_text(document: object) -> str:
    """The document as JSON; raises InputError, naming the place, for a number that JSON has no word for."""
    try:
        return json.dumps(document, indent=2, allow_nan=False)
    except ValueError:
        why = not_finite_in(document)
        if not why:
            raise
        raise InputError(Problem(f"the result has a number that is not finite: {why}")) from None


def note(message: str, *, quiet: bool) -> None:
    """A line for people on stderr."""
    if not quiet:
        tell(f"{message}\n")


def complain(message: str) -> None:
    """What is wrong, on stderr, one line per problem."""
    tell(f"{message}\n")
