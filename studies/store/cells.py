"""What the cells of a store have to hold, read through their types: files get damaged, and others write them, too."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection
from typing import NoReturn, TypeVar

from pydantic import ValidationError

from hwmodels.reading.complaints import problems_of
from hwmodels.reading.documents import Document
from hwmodels.reading.errors import InputError
from studies.families.metrics import metrics
from studies.finite import not_finite_in
from studies.points.point import DesignPoint, Json, Scalar

T = TypeVar("T")
_MAY_OVERFLOW = re.compile(r"[\s\[,:]-?\d+(?:\.\d+)?[eE]\+?\d{3}|\d{200}")
"""What a text has to have for a number that is beyond all floats; without it there is nothing to look for.

A digest in hexadecimal has an e before three digits, too, but is no number.
"""


class DamagedError(Exception):
    """A cell of a store does not hold what it has to; its text says which, and what is wrong."""


def read_object(text: object, what: str) -> dict[str, Json]:
    """The JSON object of a cell; an empty one where the cell is empty.

    Raises
    ------
    DamagedError
        No JSON, no object, a number that is not finite, or nesting without end.
    """
    if text is None or text == "":
        return {}
    if not isinstance(text, str | bytes):
        raise DamagedError(f"{what} is no text")
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        why = "is nested too deeply" if isinstance(error, RecursionError) else f"is not JSON ({error})"
        raise DamagedError(f"{what} {why}") from None
    if not isinstance(value, dict):
        raise DamagedError(f"{what} is not an object")
    if isinstance(text, str) and not _MAY_OVERFLOW.search(text):
        return value
    wrong = _checked(what, lambda: not_finite_in(value))
    if wrong:
        raise DamagedError(f"{what} has a number that is not finite: {wrong}")
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


def read_metrics(text: object) -> dict[str, Scalar]:
    """The metrics of a point; those that are better in one direction are numbers.

    Raises
    ------
    DamagedError
        As `read_object`, or for a value that no metric can have.
    """
    found: dict[str, Scalar] = {}
    for name, value in read_object(text, "metrics").items():
        if not (value is None or isinstance(value, str | int | float)):
            raise DamagedError(f"metric {name} is no single value")
        if isinstance(value, int) and abs(value) > _LARGEST:
            raise DamagedError(f"metric {name} is too large")
        found[name] = value
    texts = sorted(name for name, value in found.items() if isinstance(value, str))
    for name in _ranked(texts) if texts else ():
        raise DamagedError(f"metric {name} is no number (it is {found[name]!r})")
    return found


def _ranked(names: Collection[str]) -> list[str]:
    """Those metrics of ``names`` that are better in one direction."""
    return [metric.name for metric in metrics() if metric.goal is not None and metric.name in names]


_LARGEST = 10**300
"""Whole numbers up to here have a float beside them."""


def read_point(text: object) -> DesignPoint:
    """The design point of a cell; raises DamagedError if it is none."""
    document = read_object(text, "the point")
    try:
        return DesignPoint.from_description(document)
    except ValidationError as invalid:
        place = problems_of(invalid, None, Document("", json.loads(json.dumps(document)), {}))[0]
        why = f"{place.field or ''}: {place.message}".removeprefix(": ")
    except KeyError as missing:
        why = f"{missing.args[0]} is missing"
    except (TypeError, ValueError, InputError, RecursionError) as error:
        why = str(error)
    raise DamagedError(f"the point is none: {why}")


def read_seconds(value: object) -> float:
    """The wall time of a point, 0 where there is none; raises DamagedError for what is no time."""
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise DamagedError(f"wall_s is no time (it is {value!r})")
    return float(value)


def read_count(value: object, what: str) -> int:
    """A whole number from 0 on; raises DamagedError for anything else."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise DamagedError(f"{what} is no count (it is {value!r})")


def read_text(value: object, what: str) -> str | None:
    """A text, or nothing; raises DamagedError for anything else."""
    if value is None or isinstance(value, str):
        return value
    raise DamagedError(f"{what} is no text")


def _checked(what: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except RecursionError:
        raise DamagedError(f"{what} is nested too deeply") from None
