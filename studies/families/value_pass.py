"""Value passes: computed once, shared by every hardware point that computes the same.

Values never depend on time, so they follow from the algorithm, the workload, the tensors and those parameters that say
what is computed, not when. A parameter class names these as ``value_parameters``; for one that does not, all
parameters count. Passes are kept by that content in each worker, and counted.
"""

from __future__ import annotations

import functools
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from typing import ParamSpec, TypeVar, cast

import numpy as np

from simulator import Graph
from simulator.values import ValuePass, evaluate
from studies.points.find import find_algorithm
from studies.points.point import DesignPoint, Scalar

P = ParamSpec("P")
T = TypeVar("T")

LARGEST_MEMORY_BYTES = 256 << 20
"""Outputs that a process keeps for later points."""

_tally: Counter[str] = Counter()
_kept: OrderedDict[Hashable, ValuePass] = OrderedDict()


def tally() -> Counter[str]:
    """Value passes of this process so far: ``computed`` and ``reused``."""
    return _tally.copy()


def remembered(maxsize: int) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """`functools.lru_cache` for a function whose arguments are the content of a value pass, counted in `tally`."""

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        cached = functools.lru_cache(maxsize)(function)
        call = cast("Callable[P, T]", cached)  # its own type does not tell what its arguments are

        @functools.wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
            before = cached.cache_info().hits
            result = call(*args, **kwargs)
            _tally["reused" if cached.cache_info().hits > before else "computed"] += 1
            return result

        return wrapper

    return decorate


def values_of(point: DesignPoint, graph: Graph) -> ValuePass:
    """The value pass of the graph of `point`, from an earlier point that computes the same if there was one.

    A graph with units whose timing depends on data is computed for itself: what is recorded there has latencies in it.

    Raises
    ------
    simulator.errors.GraphError
        As `simulator.values.evaluate`.
    """
    static = all(unit.table is not None for unit in graph.units)
    key = content_of(point) if static else None
    if key is not None and key in _kept:
        _tally["reused"] += 1
        _kept.move_to_end(key)
        return _kept[key]
    # what overflows is not finite in the output, and refused there in a sentence
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        values = evaluate(graph)
    _tally["computed"] += 1
    if key is not None:
        _kept[key] = values
        while len(_kept) > 1 and sum(map(_size, _kept.values())) > LARGEST_MEMORY_BYTES:
            _kept.popitem(last=False)
    return values


def content_of(point: DesignPoint) -> Hashable:
    """Everything that decides the values of a point."""
    tensors = point.tensors.sha256 if point.tensors else None
    return point.algorithm, point.workload, value_parameters(point), tensors


def value_parameters(point: DesignPoint) -> tuple[tuple[str, Scalar], ...]:
    """Parameters of a point that decide what is computed, with their values."""
    named = getattr(find_algorithm(point.algorithm).parameters, "value_parameters", None)
    return tuple(pair for pair in point.parameters if named is None or pair[0] in named)


def _size(values: ValuePass) -> int:
    return sum(array.nbytes for array in values.outputs.values())
