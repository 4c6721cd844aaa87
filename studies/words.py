"""Numbers and lists as people read them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

Scalar = str | int | float | bool | None
"""A value of a setting or of a metric."""

_SI = {-12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T", 15: "P"}
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB")
_LISTED = 4
_UNITS_SHOWN = ("Hz", "B/s", "B", "s", "W", "mm2")


def count(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun.

    >>> count(1, "point"), count(1200, "point"), count(2, "axis", "axes")
    ('1 point', '1,200 points', '2 axes')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def span(seconds: float) -> str:
    """A duration for people.

    >>> span(42), span(180), span(5400)
    ('42 s', '3 min', '90 min')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def quantity(value: float, unit: str) -> str:
    """A value with its unit, in bytes, cycles or with an SI prefix.

    >>> quantity(16591, "cycle"), quantity(1.6591e-05, "s"), quantity(2560, "B"), quantity(0.25, "")
    ('16,591 cycles', '16.6 µs', '2.5 KiB', '0.25')
    >>> quantity(9.999e11, "FLOP/s"), quantity(1.19e15, "FLOP/s"), quantity(442.64, "mm2")
    ('1 TFLOP/s', '1.19 PFLOP/s', '442.6 mm²')
    """
    if unit == "cycle":
        return count(round(value), "cycle")
    if unit == "B":
        return _bytes(value)
    if unit == "mm2":
        return f"{number(value)} mm²"
    if not unit:
        return number(value)
    exponent = 0 if value == 0 else 3 * math.floor(math.log10(abs(value)) / 3)
    exponent = min(max(exponent, min(_SI)), max(_SI))
    if abs(float(f"{value / 10.0**exponent:.3g}")) >= 1000 and exponent < max(_SI):
        exponent += 3  # 999.9 rounds up to the next prefix
    return f"{value / 10.0**exponent:.3g} {_SI[exponent]}{unit}"


def _bytes(value: float) -> str:
    power = 0 if abs(value) < 1 else min(int(math.log2(abs(value)) // 10), len(_BINARY) - 1)
    shown = f"{value:,.0f}" if power == 0 else f"{value / 1024**power:.3g}"
    return f"{shown} {_BINARY[power]}"


def number(value: Scalar) -> str:
    """A plain value: whole numbers with separators, others with four digits.

    >>> number(4096), number(0.123456), number(51234.5), number(True), number(None), number("row")
    ('4,096', '0.1235', '51,230', 'true', 'none', 'row')
    """
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer() and abs(value) < 1e15):
        return f"{int(value):,}"
    if not isinstance(value, float):
        return str(value)
    return f"{float(f'{value:.4g}'):,.0f}" if 1e3 <= abs(value) < 1e15 else f"{value:.4g}"


def percent(fraction: float) -> str:
    """A share; never rounded up to all, nor down to nothing.

    >>> percent(0.9961), percent(0.99999), percent(1), percent(0.0004)
    ('99.6 %', '99.9 %', '100 %', '<0.1 %')
    """
    if fraction >= 1:
        return "100 %"
    if 0 < fraction < 0.001:
        return "<0.1 %"
    return f"{math.floor(fraction * 1000) / 10:.1f} %"


def listing(items: Sequence[str], most: int = _LISTED) -> str:
    """Items in a sentence; the tail of a long list is counted only.

    >>> listing(["a"]), listing(["a", "b", "c"]), listing(["a", "b", "c", "d", "e"], most=3)
    ('a', 'a, b and c', 'a, b and 3 more')
    """
    shown = list(items)
    if len(shown) > most:
        shown = [*shown[: most - 1], f"{len(shown) - most + 1} more"]
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1]))) if shown else ""


def setting(value: Scalar, unit: str = "") -> str:
    """A value of a setting, with its unit where a prefix makes it short.

    >>> setting(3.35e12, "B/s"), setting(65536, "B"), setting(8, "token"), setting("row")
    ('3.35 TB/s', '64 KiB', '8', 'row')
    """
    if unit in _UNITS_SHOWN and isinstance(value, int | float) and not isinstance(value, bool):
        return quantity(value, unit)
    return number(value)


def spread(values: Iterable[Scalar], unit: str = "") -> str:
    """What a setting ranges over: one value, a few (numbers by size), or from the least to the most.

    >>> spread([8]), spread(["full", "causal"]), spread([64, 128, 256, 512, 1024]), spread([1e9, 2e9], "Hz")
    ('8', 'full and causal', '64 to 1,024', '1 GHz and 2 GHz')
    >>> spread([8, 2, 4]), spread([None, 16, 2])
    ('2, 4 and 8', '2, 16 and none')
    """
    different = list(dict.fromkeys(values))
    numbers = [value for value in different if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) == len(different) > _LISTED:
        return f"{setting(min(numbers), unit)} to {setting(max(numbers), unit)}"
    words = [value for value in different if isinstance(value, bool) or not isinstance(value, int | float)]
    return listing([setting(value, unit) for value in (*sorted(numbers), *words)])


def spans(positions: Sequence[int], most: int = 12) -> str:
    """Ascending whole numbers, runs contracted, the tail of a long list counted only.

    >>> spans([0, 1, 2, 5, 7, 8]), spans([0, 2, 4, 6, 7], most=2)
    ('#0–#2, #5, #7–#8', '#0, #2 and 3 more')
    """
    runs: list[list[int]] = []
    for position in positions:
        if runs and position == runs[-1][1] + 1:
            runs[-1][1] = position
        else:
            runs.append([position, position])
    text = ", ".join(f"#{first}" if first == last else f"#{first}–#{last}" for first, last in runs[:most])
    hidden = sum(last - first + 1 for first, last in runs[most:])
    return f"{text} and {hidden:,} more" if hidden else text
