"""Benchmarks of the project itself, as ``attnflow bench`` runs them.

A benchmark is one function with one decorator; it returns its figures by name, with units in the names.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from hwmodels.reading.errors import InputError, Problem, did_you_mean

Figures = dict[str, float]
"""Figures of one benchmark, such as ``compiled_firings_per_s``."""


@dataclass(frozen=True)
class Benchmark:
    """A named measurement."""

    name: str
    summary: str
    run: Callable[[], Figures]


_BENCHMARKS: dict[str, Benchmark] = {}


def benchmark(name: str, summary: str) -> Callable[[Callable[[], Figures]], Callable[[], Figures]]:
    """Register the decorated function as the benchmark `name`.

    Raises
    ------
    ValueError
        If there is a benchmark of that name.
    """

    def register(function: Callable[[], Figures]) -> Callable[[], Figures]:
        if name in _BENCHMARKS:
            raise ValueError(f"two benchmarks are called {name!r}")
        _BENCHMARKS[name] = Benchmark(name, summary, function)
        return function

    return register


@cache
def _discover() -> None:
    """Import every module of `studies.benchmarks`."""
    import studies.benchmarks

    for module in pkgutil.iter_modules(studies.benchmarks.__path__):
        importlib.import_module(f"{studies.benchmarks.__name__}.{module.name}")


def benchmarks(names: Sequence[str] = ()) -> tuple[Benchmark, ...]:
    """The benchmarks called `names`, or all of them.

    Raises
    ------
    InputError
        With the nearest name for every unknown one.
    """
    _discover()
    unknown = [name for name in names if name not in _BENCHMARKS]
    if unknown:
        raise InputError(
            [Problem(f"unknown benchmark {name!r}", hint=did_you_mean(name, _BENCHMARKS)) for name in unknown]
        )
    return tuple(_BENCHMARKS[name] for name in names or _BENCHMARKS)
