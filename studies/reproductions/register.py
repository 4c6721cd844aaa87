"""Published results beside what this project computes: a register of named reproductions.

A reproduction is a function in a module of `studies.reproductions` (or anywhere, named by an entry point of the group
``attnflow.reproductions``)::

    @reproduction("sn40l", "SN40L: three memory tiers and a composition of experts")
    def sn40l() -> Iterable[Row]:
        \"\"\"What is compared and from which mechanism.\"\"\"
        yield reproduced("switch of a model", "ms", 10.0, seconds * 1e3, "slide 16", within_pct=1)
        yield quoted("overall speed-up over a DGX H100", "x", 3.7, "abstract")

A row is either *reproduced*, computed from a mechanism of this project, or *quoted*, and says which. Rows that miss
stay in the table with their error. A claim whose setting is unknown is held against a band of ours over plausible
settings, never against a setting chosen to meet it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from algorithms.register import Register

ENTRY_POINT_GROUP = "attnflow.reproductions"
PACKAGE = "studies.reproductions"
Mark = Literal["reproduced", "quoted"]
Band = tuple[float, float]


@dataclass(frozen=True)
class Row:
    """One published number, or range of numbers, and ours.

    Parameters
    ----------
    quantity, unit
        What it is.
    published
        A number, a range (low, high) where a claim is one, or None where nothing is published and ours stands alone.
    ours
        A number, a band (low, high) over settings, or None when it is only quoted.
    mark
        ``reproduced`` or ``quoted``.
    source
        Where the published value is from.
    within_pct
        How far off counts as agreement; None where no limit makes sense. Ranges and bands have to meet without it.
    note
        By which mechanism, or why a miss is one.
    """

    quantity: str
    unit: str
    published: float | Band | None
    ours: float | Band | None
    mark: Mark
    source: str
    within_pct: float | None = None
    note: str = ""

    @property
    def error_pct(self) -> float | None:
        """Ours against the published value, nearest ends of ranges against each other; None without both."""
        if self.ours is None or self.published is None:
            return None
        (low, high), (least, most) = _band(self.ours), _band(self.published)
        if low <= most and least <= high:
            return 0.0
        got, wanted = (low, most) if low > most else (high, least)
        return 100 * (got - wanted) / abs(wanted) if wanted else math.copysign(math.inf, got)

    @property
    def agrees(self) -> bool | None:
        """Whether the error is within its limit; None where there is no limit or nothing to compare."""
        error = self.error_pct
        single = not isinstance(self.published, tuple) and not isinstance(self.ours, tuple)
        if error is None or (self.within_pct is None and single):
            return None
        return abs(error) <= (self.within_pct or 0.0)


def _band(value: float | Band) -> Band:
    return value if isinstance(value, tuple) else (value, value)


@dataclass(frozen=True)
class Reproduction:
    """A set of rows with a name.

    Parameters
    ----------
    name, title
        As on the command line, and for people.
    summary
        What is compared, and how.
    compute
        Makes the rows.
    source
        Module that registered it.
    """

    name: str
    title: str
    summary: str
    compute: Callable[[], Iterable[Row]]
    source: str

    def rows(self) -> tuple[Row, ...]:
        """All rows, computed now."""
        return tuple(self.compute())


_REPRODUCTIONS: Register[Reproduction] = Register("reproduction", PACKAGE, ENTRY_POINT_GROUP)


def reproduced(
    quantity: str,
    unit: str,
    published: float | Band | None,
    ours: float | Band,
    source: str,
    within_pct: float | None = None,
    note: str = "",
) -> Row:
    """A row whose number comes from a mechanism of this project; arguments as in `Row`."""
    return Row(quantity, unit, published, ours, "reproduced", source, within_pct, note)


def quoted(quantity: str, unit: str, published: float | Band, source: str, note: str = "") -> Row:
    """A row that is only cited; arguments as in `Row`."""
    return Row(quantity, unit, published, None, "quoted", source, note=note)


def reproduction(name: str, title: str) -> Callable[[Callable[[], Iterable[Row]]], Callable[[], Iterable[Row]]]:
    """Register the decorated function; its docstring says what is compared, and how.

    Raises
    ------
    InputError
        If the name is taken; the message names both modules.
    """

    def register(compute: Callable[[], Iterable[Row]]) -> Callable[[], Iterable[Row]]:
        summary = " ".join((compute.__doc__ or title).split())
        _REPRODUCTIONS.add(name, Reproduction(name, title, summary, compute, compute.__module__))
        return compute

    return register


def reproductions() -> tuple[Reproduction, ...]:
    """All, by name."""
    return tuple(map(_REPRODUCTIONS.get, _REPRODUCTIONS.names()))


def get_reproduction(name: str) -> Reproduction:
    """The reproduction called `name`.

    Raises
    ------
    InputError
        If there is none, with the nearest name.
    """
    return _REPRODUCTIONS.get(name)
