"""Functions compiled by Numba that keep their types for whoever calls them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """The function compiled, and kept in Numba's cache beside its source; Numba ships no types of its own."""
    return cast(F, njit(cache=True)(function))
