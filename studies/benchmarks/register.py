"""Benchmarks of the project itself, as ``attnflow bench`` runs them.

A benchmark is one function with one decorator; it returns its figures by name, with units in the names. How fast is
fast enough is said here alone, as limits of figures: a test must not fail because a machine is slow.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from algorithms.register import Register
from hwmodels.reading.errors import InputError, Problem

ENTRY_POINT_GROUP = "attnflow.benchmarks"
PACKAGE = "studies.benchmarks"

Figures = dict[str, float]
"""Figures of one benchmark, such as ``compiled_firings_per_s``."""


@dataclass(frozen=True)
class Benchmark:
    """A named measurement.

    Parameters
    ----------
    name, summary
        As on the command line, and for people.
    run
        Takes the figures, now.
    source
        Module that registered it.
    line
        Line of the module at which it begins: benchmarks are listed in the order of their declaration.
    limits
        Largest values of figures that are fine on two processors of a laptop that do nothing else, by name.
    """

    name: str
    summary: str
    run: Callable[[], Figures]
    source: str
    line: int
    limits: Mapping[str, float]

    def beyond(self, figures: Figures) -> tuple[str, ...]:
        """Names of figures that are larger than their limit."""
        return tuple(name for name, limit in self.limits.items() if figures[name] > limit)


_BENCHMARKS: Register[Benchmark] = Register(
    "benchmark", PACKAGE, ENTRY_POINT_GROUP, unknown="unknown {what} '{name}'", listed=100
)


def benchmark(name: str, summary: str, **limits: float) -> Callable[[Callable[[], Figures]], Callable[[], Figures]]:
    """Register the decorated function as the benchmark `name`, with limits of its figures.

    Raises
    ------
    InputError
        If the name is taken; the message names both modules.
    """

    def register(function: Callable[[], Figures]) -> Callable[[], Figures]:
        line = inspect.unwrap(function).__code__.co_firstlineno
        _BENCHMARKS.add(name, Benchmark(name, summary, function, function.__module__, line, limits))
        return function

    return register


def benchmarks(names: Sequence[str] = ()) -> tuple[Benchmark, ...]:
    """The benchmarks called `names`, or all of them.

    Raises
    ------
    InputError
        With the nearest name for every unknown one.
    """
    problems: list[Problem] = []
    found: list[Benchmark] = []
    for name in names or _BENCHMARKS.names():
        try:
            found.append(_BENCHMARKS.get(name))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return tuple(found if names else sorted(found, key=lambda entry: (entry.source, entry.line)))
