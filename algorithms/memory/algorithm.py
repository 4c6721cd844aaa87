"""The register of measurements of a memory tier: traffic on a tier that nothing else uses, and what limits it.

They are found like the algorithms of `algorithms.registry` and share their names, but attend to nothing: parameters
say all there is to say::

    @tier_algorithm("tier.probe", ProbeParameters)
    def probe(parameters): ...
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from algorithms.registry import ALGORITHMS, Given, check_parameters, first_line

if TYPE_CHECKING:
    from algorithms.memory.tier_report import TierReport

Parameters = TypeVar("Parameters")
Measurement = Callable[[Parameters], "TierReport"]


@dataclass(frozen=True)
class TierAlgorithm(Generic[Parameters]):
    """A measurement of a memory tier.

    Parameters
    ----------
    name
        As on the command line, ``family.variant``.
    summary
        One line for people.
    parameters
        A frozen dataclass; its fields are what ``--set`` and study axes can change, each with ``metadata["help"]``.
    measure
        Sends the traffic.
    source
        Module that registered it.
    """

    what: ClassVar[str] = "measures a memory tier"
    takes: ClassVar[frozenset[Given]] = frozenset({"timing_only"})
    keyed: ClassVar[frozenset[Given]] = frozenset()

    name: str
    summary: str
    parameters: type[Parameters]
    measure: Measurement[Parameters]
    source: str


def tier_algorithm(
    name: str, parameters: type[Parameters]
) -> Callable[[Measurement[Parameters]], Measurement[Parameters]]:
    """Register the decorated function; the first line of its docstring is its summary.

    Raises
    ------
    InputError
        If the name is taken; the message names both modules.
    """

    def register(measure: Measurement[Parameters]) -> Measurement[Parameters]:
        module = measure.__module__
        check_parameters(name, parameters, module)
        ALGORITHMS.add(name, TierAlgorithm(name, first_line(measure, name), parameters, measure, module))
        return measure

    return register


def get_tier_algorithm(name: str) -> TierAlgorithm:
    """The measurement of a memory tier called ``name``.

    Raises
    ------
    InputError
        If there is none, with the nearest name.
    """
    return ALGORITHMS.get_kind(name, TierAlgorithm, "measurement of a memory tier")
