"""Small HTML tables for notebooks, and times as they show them.

`hwmodels.reading.cards` draws its own: the two packages know nothing of each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape

_PREFIXES = ("", "m", "µ", "n", "p")


def html_table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A table with a row of headings; every text is escaped."""
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{cells}</tr>{body}</table>"


def time_text(seconds: float) -> str:
    """A simulated time in s, ms, µs, ns or ps, to three digits; from 100 s on in whole seconds.

    >>> time_text(4.168e-06), time_text(9.9996e-4), time_text(86400.0), time_text(0.0)
    ('4.17 µs', '1 ms', '86,400 s', '0 s')
    """
    if seconds >= 100 or seconds <= 0:
        return f"{seconds:,.0f} s"
    # as written to three digits, so that 999.96 µs is 1 ms
    exponent = int(f"{seconds:.2e}".partition("e")[2])
    step = min(max(math.ceil(-exponent / 3), 0), len(_PREFIXES) - 1)
    return f"{float(f'{seconds:.2e}') * 1000**step:.3g} {_PREFIXES[step]}s"
