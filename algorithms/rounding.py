"""Whole numbers in whole parts."""

from __future__ import annotations


def ceil_div(total: int, part: int) -> int:
    """How many parts it takes to hold ``total``."""
    return -(-total // part)


def round_up(value: int, multiple: int) -> int:
    """The next multiple."""
    return ceil_div(value, multiple) * multiple


def spans(start: int, stop: int, size: int) -> list[range]:
    """``range(start, stop)`` cut into ranges of ``size``, the last one possibly shorter.

    >>> spans(0, 7, 3)
    [range(0, 3), range(3, 6), range(6, 7)]
    """
    return [range(first, min(first + size, stop)) for first in range(start, stop, size)]
