"""Values are read by the types of their fields, whatever these are called."""

from __future__ import annotations

import dataclasses
import typing
from typing import Annotated, Literal

import pytest
from pydantic import Field

from hwmodels.reading.errors import InputError
from hwmodels.reading.values import read_value

Sort = Literal["gpu", "custom"]
Whole = int
Perhaps = float | None


@dataclasses.dataclass
class Fields:
    """Types under other names, as a field may have them."""

    sort: Sort
    cores: Whole
    rate: Perhaps
    share: Annotated[float, Field(le=1)]


@pytest.mark.parametrize(
    ("name", "given", "unit", "value"),
    [
        ("sort", "custom", None, "custom"),
        ("cores", "64", None, 64),
        ("cores", "1e3", None, 1000),
        ("cores", 3.0, None, 3),
        ("cores", "64 KiB", "B", 65536),
        ("cores", (1 << 60) + 1, "B", (1 << 60) + 1),
        ("rate", "4 TB/s", "B/s", 4e12),
        ("rate", "none", "B/s", None),
        ("rate", None, None, None),
        ("rate", 3, "FLOP per byte", 3.0),
        ("share", "0.5", None, 0.5),
    ],
)
def test_a_value_is_read_by_its_type(name, given, unit, value):
    found = read_value(given, typing.get_type_hints(Fields, include_extras=True)[name], unit, absent="none")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("kind", "given", "unit", "line"),
    [
        (Sort, "npu", None, "must be 'gpu' or 'custom' (got 'npu'); did you mean 'gpu'?"),
        (Whole, "3.5", None, "must be a whole number (got '3.5')"),
        (Whole, True, None, "must be a whole number (got true)"),
        (Perhaps, False, None, "must be a number (got false)"),
        (float, None, None, "must have a value (got nothing)"),
        (float, "none", None, "must have a value (got nothing)"),
        (float, "inf", None, "must be a finite number (got 'inf')"),
        (float, "3 GB", "Hz", "must be a quantity in Hz such as '1.755 GHz' (got '3 GB')"),
        (Annotated[float, Field(le=1)], 2, None, "must be at most 1 (got 2)"),
    ],
)
def test_what_is_wrong_with_a_value_is_one_line(kind, given, unit, line):
    with pytest.raises(InputError) as caught:
        read_value(given, kind, unit, absent="none")
    assert str(caught.value) == line
