"""One reader of a named value as a person writes it: typed by a Python type, with a unit or without."""

from __future__ import annotations

from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError

from hwmodels.reading.complaints import complaint_about
from hwmodels.reading.errors import InputError, Problem
from hwmodels.reading.places import Scalar
from hwmodels.reading.quantity import UNIT_NAMES, parse_quantity

_IN_WORDS = {int: "a whole number", float: "a number", str: "a text"}


def read_value(given: object, kind: object, unit: str | None = None, *, absent: str | None = None) -> Scalar:
    """The value `given`, a text or a plain value, with the type `kind`.

    Parameters
    ----------
    kind
        Any type that a scalar can have: ``int``, ``float | None``, ``Literal["gpu", "tpu"]``, an annotated one.
    unit
        Base unit of the value; text such as ``"1 GHz"`` is read with it. Units that `hwmodels.reading.quantity` does
        not know are for people only.
    absent
        Text that stands for the absence of a value, where `kind` has None.

    Raises
    ------
    InputError
        One problem, without a field: not of that type, another unit, true or false where a number is expected.
    """
    allowed = _members(kind)
    if given is None or (absent is not None and given == absent):
        if NoneType not in allowed:
            raise InputError(Problem("must have a value (got nothing)"))
        return None
    if isinstance(given, bool) and bool not in allowed:
        expected = next((words for member, words in _IN_WORDS.items() if member in allowed), "something else")
        raise InputError(Problem(f"must be {expected} (got {str(given).lower()})"))
    try:
        if unit in UNIT_NAMES and isinstance(given, str | int | float):
            given = _exact(parse_quantity(given, unit), given)
        value: Scalar = _adapter(kind).validate_python(_whole(given) if int in allowed else given)
    except ValidationError as error:
        message, hint = complaint_about(error, given)
        raise InputError(Problem(message, hint=hint)) from None
    except ValueError as error:
        raise InputError(Problem(str(error))) from None
    return value


def _members(kind: object) -> tuple[object, ...]:
    """Types of a union, or the one type, without annotations."""
    if get_origin(kind) is Annotated:
        return _members(get_args(kind)[0])
    if isinstance(kind, UnionType) or get_origin(kind) is Union:
        return tuple(member for each in get_args(kind) for member in _members(each))
    return (kind,)


def _exact(quantity: float, given: object) -> object:
    """A whole number as it was given, not as the float it was read to."""
    return given if isinstance(given, int) else quantity


def _whole(given: object) -> object:
    """Text such as ``"1e3"`` as the whole number that it stands for; anything else as it is."""
    if not isinstance(given, str):
        return given
    try:
        number = float(given)
    except ValueError:
        return given
    return int(number) if number.is_integer() and not given.strip().lstrip("+-").isdigit() else given


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind, config=ConfigDict(allow_inf_nan=False))
