"""Plain numbers that can hardly be meant in the base unit: 100 for a latency is 100 seconds, and ns were forgotten."""

from __future__ import annotations

import math
from collections.abc import Callable

from pydantic import BeforeValidator

from hwmodels.reading.quantity import format_quantity

PLAUSIBLE = {
    "latency_s": ("s", 0.0, 1e-3, "ns"),
    "clock_hz": ("Hz", 1e5, 1e12, "GHz"),
    "bytes_per_second": ("B/s", 1e6, math.inf, "GB/s"),
    "capacity_bytes": ("B", 1024.0, math.inf, "GB"),
}
"""Base unit, smallest and largest plain value of a field, and the unit that people leave out.

A rate or a capacity without a prefix is too small, never too large. Limits lie at least a factor of thirty from every
tier, link and clock of the shipped chips.
"""


def refuse_lost_unit(name: str, given: object) -> None:
    """Raise ValueError for a number without a unit that is implausible in the base unit; with a unit it is meant.

    >>> refuse_lost_unit("latency_s", "100 s")
    >>> refuse_lost_unit("latency_s", 100)
    Traceback (most recent call last):
    ValueError: 100 without a unit is 100 s: write '100 ns', or '100 s' if that is meant
    """
    if name not in PLAUSIBLE or isinstance(given, bool):
        return
    unit, least, most, usual = PLAUSIBLE[name]
    number = _plain_number(given)
    if number is None or number <= 0 or least <= number <= most:
        return
    text = str(given).strip()
    means = format_quantity(number, unit)
    raise ValueError(f"{text} without a unit is {means}: write '{text} {usual}', or '{text} {unit}' if that is meant")


def with_plausible_unit(name: str) -> BeforeValidator:
    """For ``Annotated[Seconds, with_plausible_unit("latency_s")]``."""
    return BeforeValidator(_checked(name))


def _checked(name: str) -> Callable[[object], object]:
    def check(given: object) -> object:
        refuse_lost_unit(name, given)
        return given

    return check


def _plain_number(given: object) -> float | None:
    """The number, if there is nothing but a number."""
    if not isinstance(given, str | int | float):
        return None
    try:
        return float(given)
    except (ValueError, OverflowError):
        return None
