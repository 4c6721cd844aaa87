"""Makes typed things of values by name: the one place where types are left to the values' reader."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

T = TypeVar("T")


def made(kind: Callable[..., T], values: Mapping[str, object]) -> T:
    """A dataclass with fields of which names and values are only known at run time.

    Raises
    ------
    TypeError
        A name that is no field, or a field without default that is missing.

    >>> made(complex, {"real": 1.0, "imag": 2.0})
    (1+2j)
    """
    return kind(**values)
