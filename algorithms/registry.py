"""The register of algorithms: one file and one decorator each, found by importing the package or an entry point."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import algorithms
from hwmodels.errors import InputError, Problem, did_you_mean

if TYPE_CHECKING:
    from algorithms.shape import FloatArray, Workload
    from simulator import Graph

ENTRY_POINT_GROUP = "attnflow.algorithms"
Parameters = TypeVar("Parameters")
Tensors = tuple["FloatArray", "FloatArray", "FloatArray"]


class Build(Protocol[Parameters]):
    """Builds the graph of an algorithm; without tensors the graph has timing only."""

    def __call__(self, workload: Workload, parameters: Parameters, tensors: Tensors | None) -> Graph: ...


@dataclass(frozen=True)
class Algorithm(Generic[Parameters]):
    """An algorithm that can be simulated.

    Parameters
    ----------
    name
        As on the command line, ``family.variant``.
    summary
        One line for people.
    parameters
        A frozen dataclass; its fields are what ``--set`` and study axes can change, each with ``metadata["help"]``.
    builder
        Makes the graph.
    source
        Module that registered it.
    """

    name: str
    summary: str
    parameters: type[Parameters]
    builder: Build[Parameters]
    source: str

    def build(self, workload: Workload, parameters: Parameters, tensors: Tensors | None = None) -> Graph:
        """The graph of ``workload``, with values if ``tensors`` (q, k, v) are given.

        Raises
        ------
        InputError, GraphError
            If workload and parameters do not fit this algorithm.
        """
        return self.builder(workload, parameters, tensors)


class Named(Protocol):
    """Anything with a name in this name space."""

    @property
    def source(self) -> str:
        """Module that registered it."""


_algorithms: dict[str, Algorithm] = {}
_registers: list[Mapping[str, Named]] = [_algorithms]


def share_names(register: Mapping[str, Named]) -> None:
    """Make the names of another register and those of this one exclude each other."""
    _registers.append(register)


def refuse_taken(name: str, module: str) -> None:
    """Raise InputError, naming both modules, if any kind of algorithm is called ``name`` already."""
    for register in _registers:
        if name in register:
            raise InputError(Problem(f"algorithm {name!r} is registered by both {register[name].source} and {module}"))


def algorithm(name: str, parameters: type[Parameters]) -> Callable[[Build[Parameters]], Build[Parameters]]:
    """Register the decorated builder; the first line of its docstring is its summary.

    Raises
    ------
    InputError
        If the name is taken; the message names both modules.
    """

    def register(builder: Build[Parameters]) -> Build[Parameters]:
        module = getattr(builder, "__module__", "?")
        refuse_taken(name, module)
        if not is_dataclass(parameters):
            raise InputError(Problem(f"algorithm {name!r}: its parameters must be a dataclass", file=module))
        summary = (builder.__doc__ or name).strip().splitlines()[0]
        _algorithms[name] = Algorithm(name, summary, parameters, builder, module)
        return builder

    return register


@functools.cache
def _discover() -> None:
    """Import every module of this package and every entry point; one that fails is an error that names it."""
    names = [
        module.name
        for module in pkgutil.walk_packages(algorithms.__path__, f"{algorithms.__name__}.")
        if not module.ispkg
    ]
    for name in names:
        importlib.import_module(name)
    for point in entry_points(group=ENTRY_POINT_GROUP):
        try:
            point.load()
        except Exception as error:
            raise InputError(
                Problem(f"plug-in {point.name} ({point.value}) does not load: {error}", file=point.value)
            ) from error


def discover() -> None:
    """Import whatever registers algorithms, once.

    Raises
    ------
    InputError
        A plug-in that does not load, by name.
    """
    _discover()


def algorithm_names() -> tuple[str, ...]:
    """Names of all algorithms that are graphs, sorted; `algorithms.chip_registry` has those that run on a chip."""
    discover()
    return tuple(sorted(_algorithms))


def get_algorithm(name: str) -> Algorithm:
    """The algorithm called ``name``.

    Raises
    ------
    InputError
        If there is none, with the nearest name.
    """
    discover()
    if name not in _algorithms:
        raise InputError(
            Problem(f"no algorithm is called {name!r}", field="algorithm", hint=did_you_mean(name, _algorithms))
        )
    return _algorithms[name]
