"""The register of measurements of a memory tier: traffic on a tier that nothing else uses, and what limits it.

They are found like the algorithms of `algorithms.registry` and share their names, but attend to nothing: parameters
say all there is to say::

    @tier_algorithm("tier.probe", ProbeParameters)
    def probe(parameters): ...
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from algorithms.memory.tier_report import TierReport
from algorithms.registry import ALGORITHMS, Entry, Given, P, Parameters, register_algorithm

Measurement = Callable[[P], TierReport]


@dataclass(frozen=True, kw_only=True)
class TierAlgorithm(Entry[P]):
    """A measurement of a memory tier.

    Parameters
    ----------
    measure
        Sends the traffic.
    """

    what: ClassVar[str] = "measures a memory tier"
    takes: ClassVar[frozenset[Given]] = frozenset({"timing_only"})
    keyed: ClassVar[frozenset[Given]] = frozenset()

    measure: Measurement[P]


def tier_algorithm(name: str, parameters: type[P]) -> Callable[[Measurement[P]], Measurement[P]]:
    """Register the decorated function; the first line of its docstring is its summary.

    Raises
    ------
    InputError
        As `algorithms.registry.register_algorithm`.
    """

    def register(measure: Measurement[P]) -> Measurement[P]:
        register_algorithm(name, parameters, measure, partial(TierAlgorithm[P], measure=measure))
        return measure

    return register


def get_tier_algorithm(name: str) -> TierAlgorithm[Parameters]:
    """The measurement of a memory tier called ``name``.

    Raises
    ------
    InputError
        If there is none, with the nearest name.
    """
    return ALGORITHMS.get_kind(name, TierAlgorithm, "measurement of a memory tier")
