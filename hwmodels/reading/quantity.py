"""Quantities with units, read from text such as ``"3.35 TB/s"``, ``"64 KiB"`` or ``"1.755 GHz"``.

The set of units is closed: what is not listed here is an error, so that ``Gb/s`` is never taken for something
it is not. Decimal prefixes are SI (k = 1000), binary ones IEC 80000-13 (Ki = 1024); ``KB`` is refused because
it is read both ways. A bare number is already in the base unit.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Annotated

from pydantic import BeforeValidator, Field

from hwmodels.reading.errors import nearest

_DECIMAL_PREFIXES = {
    "p": Decimal("1e-12"),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    "k": Decimal("1e3"),
    "M": Decimal("1e6"),
    "G": Decimal("1e9"),
    "T": Decimal("1e12"),
    "P": Decimal("1e15"),
}
_BINARY_PREFIXES = {prefix: Decimal(1024) ** (i + 1) for i, prefix in enumerate(("Ki", "Mi", "Gi", "Ti"))}
_EIGHTH = Decimal("0.125")


@dataclass(frozen=True)
class _Unit:
    """Spellings of a unit with the factor to its base, and which prefixes it takes."""

    spellings: dict[str, Decimal]
    decimal: bool = True
    binary: bool = False
    example: str = ""

    def factors(self) -> dict[str, Decimal]:
        """Every accepted spelling, prefix included, with its factor to the base unit."""
        prefixes = dict(_DECIMAL_PREFIXES) if self.decimal else {"": Decimal(1)}
        if self.binary:
            prefixes |= _BINARY_PREFIXES
        return {
            prefix + name: scale * factor
            for name, factor in self.spellings.items()
            for prefix, scale in prefixes.items()
        }


_UNITS = {
    "B": _Unit({"B": Decimal(1), "bit": _EIGHTH}, binary=True, example="64 KiB"),
    "bit": _Unit({"bit": Decimal(1), "B": Decimal(8)}, binary=True, example="512 bit"),
    "B/s": _Unit({"B/s": Decimal(1), "bit/s": _EIGHTH}, binary=True, example="3.35 TB/s"),
    "Hz": _Unit({"Hz": Decimal(1)}, example="1.755 GHz"),
    "s": _Unit({"s": Decimal(1)}, example="30 ns"),
    "J": _Unit({"J": Decimal(1)}, example="12 pJ"),
    "J/bit": _Unit({"J/bit": Decimal(1), "J/B": _EIGHTH}, example="3.9 pJ/bit"),
    "W": _Unit({"W": Decimal(1)}, example="700 W"),
    "mm2": _Unit({"mm2": Decimal(1), "um2": Decimal("1e-6")}, decimal=False, example="814 mm2"),
    "FLOP/s": _Unit({"FLOP/s": Decimal(1), "FLOPS": Decimal(1)}, example="989 TFLOP/s"),
}
UNIT_NAMES = frozenset(_UNITS)
"""Base units that `parse_quantity` knows."""

_FACTORS = {name: unit.factors() for name, unit in _UNITS.items()}
_QUANTITY = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?)\s*(.*?)\s*", re.ASCII)
_LONGEST_TEXT = 80


def parse_quantity(text: str | int | float, unit: str) -> float:
    """Value of `text` in the base unit `unit`.

    Parameters
    ----------
    text
        ``"3.35 TB/s"``; a bare number (or a text without unit) is in the base unit already.
    unit
        One of B, bit, B/s, Hz, s, J, J/bit, W, mm2, FLOP/s.

    Returns
    -------
    float
        The correctly rounded value, e.g. ``3.35e12`` for ``"3.35 TB/s"``.

    Raises
    ------
    ValueError
        With one clear line: not a number, not finite, or another unit than the one asked for.
    KeyError
        If `unit` itself is not one of the base units (a programming error).

    Examples
    --------
    >>> parse_quantity("64 KiB", "B")
    65536.0
    >>> parse_quantity("1.755 GHz", "Hz")
    1755000000.0
    """
    factors = _FACTORS[unit]
    expected = f"a quantity in {unit} such as '{_UNITS[unit].example}'"
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        raise ValueError(f"must be {expected} (got {type(text).__name__})")
    if not isinstance(text, str):
        return _finite(_to_float(text), repr(text))
    match = _QUANTITY.fullmatch(text) if len(text) <= _LONGEST_TEXT else None
    if match is None:
        raise ValueError(f"must be {expected} (got '{text[:_LONGEST_TEXT]}')")
    number, suffix = match.groups()
    factor = factors.get(_plain(suffix)) if suffix else Decimal(1)
    if factor is None:
        raise ValueError(f"must be {expected} (got '{text}'){_unit_hint(number, _plain(suffix), factors)}")
    with localcontext(prec=_LONGEST_TEXT + 40):
        # decimal arithmetic: the result is rounded once, so 1.755 GHz is exactly 1755000000.0
        return _finite(float(Decimal(number) * factor), text)


def format_quantity(value: float, unit: str, digits: int = 6) -> str:
    """Text that `parse_quantity` reads back, to so many digits; bytes in powers of 1000 or 1024, whichever is plainer.

    Raises
    ------
    KeyError
        If `unit` is not one of the base units.

    Examples
    --------
    >>> format_quantity(3.352e12, "B/s"), format_quantity(233472, "B"), format_quantity(1.83e9, "Hz")
    ('3.352 TB/s', '228 KiB', '1.83 GHz')
    """
    prefixes = _DECIMAL_PREFIXES if _UNITS[unit].decimal else {"": Decimal(1)}
    texts = [_scaled(value, prefixes, digits) + unit]
    if unit == "B" and abs(value) >= 1024:
        texts.append(_scaled(value, _BINARY_PREFIXES, digits) + unit)
    return min(texts, key=lambda text: (parse_quantity(text, unit) != value, len(text)))


def _scaled(value: float, prefixes: dict[str, Decimal], digits: int) -> str:
    """The number and the largest prefix that leaves it at least 1 (the smallest where none does)."""
    fitting = {prefix: scale for prefix, scale in prefixes.items() if abs(value) >= scale}
    if not value:
        fitting = {"": Decimal(1)}
    pairs = fitting.items() or [min(prefixes.items(), key=lambda item: item[1])]
    prefix, scale = max(pairs, key=lambda item: item[1])
    return f"{value / float(scale):.{digits}g} {prefix}"


def _to_float(number: int | float) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf


def _finite(value: float, text: str) -> float:
    if not math.isfinite(value):
        raise ValueError(f"must be finite (got {text[:_LONGEST_TEXT]})")
    return value


def _plain(suffix: str) -> str:
    """One spelling for typographic variants."""
    return suffix.replace("µ", "u").replace("μ", "u").replace("²", "2").replace("^2", "2")


def _unit_hint(number: str, suffix: str, factors: dict[str, Decimal]) -> str:
    """The unit that was probably meant; both readings where there are two."""
    if re.fullmatch(r"K(B|bit)(/s)?", suffix):
        return f"; write '{number} k{suffix[1:]}' (1000) or '{number} Ki{suffix[1:]}' (1024)"
    bits = re.fullmatch(r"([kMGTP]?|[KMGT]i)b(ps|/s)?", suffix)
    if bits:
        rate = "/s" if bits[2] else ""
        return f"; write '{number} {bits[1]}bit{rate}' for bits or '{number} {bits[1]}B{rate}' for bytes"
    # what goes on as it was begun: 'm' is 'ms', not 'Ms'
    begun = [name for name in factors if name.startswith(suffix)]
    match = min(begun, key=len) if begun else nearest(suffix, factors)
    return f"; did you mean '{number} {match}'?" if match else ""


def _reader(unit: str) -> Callable[[str | int | float], float]:
    def read(text: str | int | float) -> float:
        return parse_quantity(text, unit)

    return read


Bytes = Annotated[float, BeforeValidator(_reader("B")), Field(ge=0)]
"""Bytes, from text such as ``"64 KiB"``; not negative, like all quantities below."""
BytesPerSecond = Annotated[float, BeforeValidator(_reader("B/s")), Field(ge=0)]
Hertz = Annotated[float, BeforeValidator(_reader("Hz")), Field(ge=0)]
Seconds = Annotated[float, BeforeValidator(_reader("s")), Field(ge=0)]
Joules = Annotated[float, BeforeValidator(_reader("J")), Field(ge=0)]
JoulesPerBit = Annotated[float, BeforeValidator(_reader("J/bit")), Field(ge=0)]
Watts = Annotated[float, BeforeValidator(_reader("W")), Field(ge=0)]
SquareMillimetres = Annotated[float, BeforeValidator(_reader("mm2")), Field(ge=0)]
