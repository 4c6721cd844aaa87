"""Small HTML tables for notebooks.

`hwmodels.reading.cards` draws its own: the two packages know nothing of each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape


def html_table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A table with a row of headings; every text is escaped."""
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{cells}</tr>{body}</table>"
