"""Small loops over arrays, compiled by Numba and cached beside their source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """Compile a function when it is first called; its types stay those that it is written with.

    Numba ships no types, so its decorator would leave the function without any.
    """
    njit: Any = numba.njit
    made: F = njit(cache=True)(function)
    return made
