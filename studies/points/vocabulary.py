"""What can be said of a design, on a command line or in a study file: inputs, knobs, and what they apply to.

Both name an algorithm, a workload, a chip and so on, and set knobs of these. The field of a problem says where the
thing stands in a study file (``workload.kv_len``, ``parameters.tile_rows``, ``chip.cores``, ``engine``); callers put
places of their own in its stead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

from algorithms.registry import AnyAlgorithm, Given
from algorithms.workload.shape import Workload
from hwmodels.reading.errors import Problem
from studies.points.knobs import USE_KNOBS, WORKLOAD_KNOBS, Knob, parameter_knobs, read_knob
from studies.points.point import Scalar

Target = Literal["use", "parameter", "knob", "field"]
"""What a value changes: how a design is run, its algorithm, its workload, or its chip."""

Thing = Literal["algorithm", "workload", "chip"]
"""What is named as a whole, before knobs change it."""

SECTIONS: dict[Target, str] = {"parameter": "parameters", "knob": "workload", "field": "chip"}
"""Where knobs stand in a study file, by what they change; those of use are entries themselves."""

ALL_INPUTS: frozenset[Given] = frozenset(get_args(Given))
_OF_HARDWARE: frozenset[Given] = frozenset({"engine", "clock"})
"""What hardware that is described has of its own."""


def path_of(target: Target | Thing, name: str) -> str:
    """Where a study file sets the knob `name` of a target, or names a thing.

    >>> path_of("knob", "kv_len"), path_of("use", "engine")
    ('workload.kv_len', 'engine')
    """
    return f"{SECTIONS[target]}.{name}" if target in SECTIONS else name


@dataclass(frozen=True)
class Vocabulary:
    """What can be said of designs of some algorithms; everything while none is known."""

    algorithms: tuple[AnyAlgorithm, ...]

    @cached_property
    def takes(self) -> frozenset[Given]:
        """Inputs that at least one of them takes."""
        known = [algorithm.takes for algorithm in self.algorithms]
        return frozenset[Given]().union(*known) if known else ALL_INPUTS

    @cached_property
    def knobs(self) -> dict[Target, Mapping[str, object]]:
        """All knobs by what they change, where names are looked up in this order; fields of a chip have a prefix."""
        use: dict[str, Knob] = {name: knob for name, knob in USE_KNOBS.items() if name in self.takes}
        own = [name for algorithm in self.algorithms for name in parameter_knobs(algorithm)]
        return {"use": use, "parameter": dict.fromkeys(own), "knob": WORKLOAD_KNOBS if self.has("workload") else {}}

    def has(self, given: Given) -> bool:
        """Whether at least one of the algorithms takes an input."""
        return given in self.takes

    def applies(self, target: Target) -> bool:
        """Whether knobs of a target can be read: parameters are those of algorithms that are known."""
        return bool(self.algorithms) if target == "parameter" else target != "knob" or self.has("workload")

    def meaning(self, said: str) -> tuple[Target, str] | None:
        """What a name changes, and what it is called there; None if nothing is called so.

        Names of other sections come with it (``workload.kv_len``); a plain name means a knob of use, else a parameter,
        else a knob of the workload.
        """
        section, _, field = said.partition(".")
        if section == SECTIONS["field"] and field:
            return "field", field
        owner, _, name = said.rpartition(".")
        for target, known in self.knobs.items():
            if owner in ("", SECTIONS.get(target, "")) and name in known:
                return target, name
        return None

    def blamed(self, said: str) -> tuple[Target, str]:
        """What a name that means nothing was probably for: `read` then says what is known there."""
        section, _, knob = said.partition(".")
        return ("knob", knob) if section == SECTIONS["knob"] and knob else ("parameter", said.rpartition(".")[2])

    def read(self, target: Target, name: str, value: object) -> Scalar:
        """`value` as all of the algorithms take it; fields of a chip are for the chip to read.

        Raises
        ------
        InputError
            An unknown name, with the nearest one, or a bad value.
        """
        if target == "use":
            return read_knob(USE_KNOBS, name, value, "knob of a run")
        if target == "knob":
            return read_knob(WORKLOAD_KNOBS, name, value, "knob of a workload")
        read = [
            read_knob(parameter_knobs(algorithm), name, value, f"parameter of {algorithm.name}")
            for algorithm in self.algorithms
        ]
        return read[-1]

    def unfit(self, said: Iterable[str]) -> Iterator[Problem]:
        """What is said though none of the algorithms takes it, and what one of them needs that is not said.

        Parameters
        ----------
        said
            Inputs and knobs, as in a study file: ``chip``, ``workload.kv_len``.
        """
        if not self.algorithms:
            return
        named = tuple(said)
        for path in named:
            section = path.partition(".")[0]
            if section in ALL_INPUTS - self.takes:
                yield Problem(_why_not(self.algorithms[0], section), field=path)
        for needed in ("workload", "chip"):
            without = [
                each
                for each in self.algorithms
                if needed in each.takes and not _default(each, needed) and not _brought(each, needed, named)
            ]
            if without and needed not in named:
                yield missing(without[0], needed)


def _default(algorithm: AnyAlgorithm, needed: str) -> Workload | None:
    """What an algorithm has of its own when an input is not named."""
    return algorithm.default_workload if needed == "workload" else None


def _brought(algorithm: AnyAlgorithm, needed: str, named: tuple[str, ...]) -> bool:
    """Whether a parameter that is said brings what is needed."""
    name = algorithm.chip_parameter if needed == "chip" else ""
    return bool(name) and bool({name, path_of("parameter", name)} & set(named))


def _why_not(algorithm: AnyAlgorithm, given: str) -> str:
    """Why an algorithm does not take an input."""
    if given == "chip":
        return f"{algorithm.name} {algorithm.what} and runs on no chip"
    if given in _OF_HARDWARE and "chip" in algorithm.takes:
        return f"{algorithm.name} {algorithm.what}, which has its own"
    return f"does not apply to {algorithm.name}"


def missing(algorithm: AnyAlgorithm, what: str) -> Problem:
    """What an algorithm cannot do without."""
    return Problem(f"{algorithm.name} {algorithm.what}: name one", field=what)
