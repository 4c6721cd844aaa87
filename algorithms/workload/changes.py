"""Copies of dataclasses with other values of fields that only their names are known of."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, TypeVar


class Fields(Protocol):
    """A dataclass."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]


D = TypeVar("D", bound=Fields)


def changed(thing: D, changes: Mapping[str, object]) -> D:
    """A copy of ``thing`` with some fields replaced; whatever its class raises for values that do not fit."""
    return dataclasses.replace(thing, **changes)
