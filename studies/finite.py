"""Numbers that JSON has no word for: found before a result is stored or printed, and told with their place."""

from __future__ import annotations

import math
from collections.abc import Mapping


def not_finite_in(document: object, place: str = "") -> str:
    """Where the first number of a document is that is not finite, and which it is; empty if all are finite.

    >>> not_finite_in({"error": {"rel_l2": float("nan")}}), not_finite_in([1, 2.5])
    ('error.rel_l2 is nan', '')
    """
    if isinstance(document, float):
        return "" if math.isfinite(document) else f"{place or 'it'} is {document}"
    if isinstance(document, Mapping):
        parts = [(str(name), value) for name, value in document.items()]
    elif isinstance(document, list | tuple):
        parts = [(str(i), value) for i, value in enumerate(document)]
    else:
        return ""
    found = (not_finite_in(value, f"{place}.{name}" if place else name) for name, value in parts)
    return next(filter(None, found), "")
