"""The register of algorithms: one file and one decorator each, found by importing the package or an entry point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from typing import TYPE_CHECKING, ClassVar, Generic, Literal, Protocol, TypeAlias, TypeVar

from algorithms.register import Register
from hwmodels.reading.errors import InputError, Problem

if TYPE_CHECKING:
    from algorithms.chip.algorithm import ChipAlgorithm
    from algorithms.memory.algorithm import TierAlgorithm
    from algorithms.workload.shape import FloatArray, Workload
    from simulator import Graph

    AnyAlgorithm: TypeAlias = "Algorithm | ChipAlgorithm | TierAlgorithm"

Given = Literal["workload", "tensors", "timing_only", "chip", "kernel", "mapping", "memory", "engine", "clock", "skip"]
"""What can be said about a simulation besides the parameters of its algorithm."""

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
    has_values
        Whether its units compute; one without is always about timing only, and is given no tensors.
    """

    what: ClassVar[str] = "is a graph of FIFOs"
    takes: ClassVar[frozenset[Given]] = frozenset({"workload", "tensors", "timing_only", "engine", "clock", "skip"})
    keyed: ClassVar[frozenset[Given]] = takes

    name: str
    summary: str
    parameters: type[Parameters]
    builder: Build[Parameters]
    source: str
    has_values: bool = True

    def build(self, workload: Workload, parameters: Parameters, tensors: Tensors | None = None) -> Graph:
        """The graph of ``workload``, with values if ``tensors`` (q, k, v) are given.

        Raises
        ------
        InputError, GraphError
            If workload and parameters do not fit this algorithm.
        """
        return self.builder(workload, parameters, tensors)


ALGORITHMS: Register[AnyAlgorithm] = Register("algorithm", "algorithms", ENTRY_POINT_GROUP, field="algorithm")
"""Algorithms of all kinds: graphs, those that run on a chip, and traffic on a memory tier; they share their names."""


def first_line(documented: object, name: str) -> str:
    """The first line of a docstring, which is what lists say of an algorithm; its name if it has none."""
    return (documented.__doc__ or name).strip().splitlines()[0]


def check_parameters(name: str, parameters: type[object], module: str) -> None:
    """Raise InputError, naming the module, if the parameters of an algorithm are no dataclass or its name is taken."""
    ALGORITHMS.refuse_taken(name, module)
    if not is_dataclass(parameters):
        raise InputError(Problem(f"algorithm {name!r}: its parameters must be a dataclass", file=module))


def algorithm(
    name: str, parameters: type[Parameters], *, has_values: bool = True
) -> Callable[[Build[Parameters]], Build[Parameters]]:
    """Register the decorated builder; the first line of its docstring is its summary.

    Raises
    ------
    InputError
        If the name is taken; the message names both modules.
    """

    def register(builder: Build[Parameters]) -> Build[Parameters]:
        module = getattr(builder, "__module__", "?")
        check_parameters(name, parameters, module)
        ALGORITHMS.add(name, Algorithm(name, first_line(builder, name), parameters, builder, module, has_values))
        return builder

    return register


def algorithm_names() -> tuple[str, ...]:
    """Names of all algorithms that are graphs, sorted; `algorithms.chip.algorithm` has those that run on a chip."""
    return ALGORITHMS.names(Algorithm)


def get_algorithm(name: str) -> Algorithm:
    """The algorithm called ``name``.

    Raises
    ------
    InputError
        If there is none, with the nearest name.
    """
    return ALGORITHMS.get_kind(name, Algorithm, "algorithm")
