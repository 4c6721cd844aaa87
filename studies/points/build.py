"""Builds design points from what is said of them, for the command line and for study files alike.

Both name an algorithm, a workload, a chip and so on, and set knobs of these. Here is what of it applies to which
algorithm, what a knob's name means, and how everything becomes one point. The field of a problem says where the thing
stands in a study file (``workload.kv_len``, ``parameters.tile_rows``, ``chip.cores``, ``engine``); callers put places
of their own in its stead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeVar, get_args

from algorithms.chip.plan.kernels import Kernel
from algorithms.registry import AnyAlgorithm, Given
from algorithms.workload.shape import Workload
from hwmodels.chips.chip import Accelerator
from hwmodels.reading.errors import InputError, Problem
from hwmodels.reading.shipped import is_path
from studies.points.chips import chip_setting, kernel_parameters
from studies.points.find import Tensors, shaped_workload
from studies.points.knobs import (
    CHIP_KNOBS,
    RUN_KNOBS,
    USE_KNOBS,
    WORKLOAD_KNOBS,
    Knob,
    complete_parameters,
    parameter_knobs,
    read_knob,
)
from studies.points.point import ChipSetting, DesignPoint, Scalar, sha256_of

T = TypeVar("T")
Target = Literal["use", "parameter", "knob", "field"]
"""What a value changes: how a design is run, its algorithm, its workload, or its chip."""

Thing = Literal["algorithm", "workload", "chip"]
"""What is named as a whole, before knobs change it."""

SECTIONS: dict[Target, str] = {"parameter": "parameters", "knob": "workload", "field": "chip"}
"""Where knobs stand in a study file, by what they change; those of use are entries themselves."""

ALL_INPUTS: frozenset[Given] = frozenset(get_args(Given))
_OF_HARDWARE: frozenset[Given] = frozenset({"engine", "clock"})
"""What hardware that is described has of its own."""

_FILES = (".json",)
"""Endings of files beside those that `is_path` knows."""

Values = Mapping[str, Scalar]
Pairs = tuple[tuple[str, Scalar], ...]
Contents = tuple[tuple[str, str], ...]


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
        """Whether knobs of a target can be read: an algorithm is known, and takes what they change."""
        sections: dict[Target, Given] = {"knob": "workload", "field": "chip"}
        return self.has(sections[target]) if target in sections else bool(self.algorithms)

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
            without = [each for each in self.algorithms if needed in each.takes and not _default(each, needed)]
            if without and needed not in named:
                yield _missing(without[0], needed)


def _default(algorithm: AnyAlgorithm, needed: str) -> Workload | None:
    """What an algorithm has of its own when an input is not named."""
    return algorithm.default_workload if needed == "workload" else None


def _why_not(algorithm: AnyAlgorithm, given: str) -> str:
    """Why an algorithm does not take an input."""
    if given == "chip":
        return f"{algorithm.name} {algorithm.what} and runs on no chip"
    if given in _OF_HARDWARE and "chip" in algorithm.takes:
        return f"{algorithm.name} {algorithm.what}, which has its own"
    return f"does not apply to {algorithm.name}"


@dataclass(frozen=True)
class Inputs:
    """What is given to one simulation, looked up and read; whatever is left out is as its default says.

    Parameters
    ----------
    algorithm
        What is simulated.
    workload, chip
        As named, without changes.
    knobs
        Values as `Vocabulary.read` gave them, by what they change; what does not apply is passed over.
    timing_only, skip
        As in a design point.
    """

    algorithm: AnyAlgorithm
    workload: Workload | None = None
    chip: Accelerator | None = None
    knobs: Mapping[Target, Values] = field(default_factory=dict)
    timing_only: bool = False
    skip: bool = True

    def of(self, target: Target) -> Values:
        """The knobs of a target."""
        return self.knobs.get(target, {})


@dataclass
class PointBuilder:
    """Makes points; parts are remembered, as most points of a grid share theirs with others.

    Parameters
    ----------
    folder
        Where relative paths start.
    tensors, kernel
        Real tensors and a published kernel, which all points have that can.
    """

    folder: Path = Path()
    tensors: Tensors | None = None
    kernel: Kernel | None = None
    # named things are told apart by identity, and kept so that it stays theirs
    _workloads: dict[tuple[object, ...], tuple[Workload, Workload]] = field(default_factory=dict, repr=False)
    _chips: dict[tuple[object, ...], tuple[Accelerator, ChipSetting]] = field(default_factory=dict, repr=False)
    _parameters: dict[tuple[object, ...], tuple[Pairs, Contents]] = field(default_factory=dict, repr=False)

    def point(self, given: Inputs) -> DesignPoint:
        """The point of all inputs that its algorithm takes.

        Raises
        ------
        InputError
            What does not fit together, or is missing.
        """
        algorithm, takes = given.algorithm, given.algorithm.takes
        workload, chip = None, None
        if "workload" in takes:
            base = _named(given, given.workload or algorithm.default_workload, "workload")
            workload = self.workload(base, given.of("knob"))
        if "chip" in takes:
            chip = self.chip(_named(given, given.chip, "chip"), given.of("field"), given.of("use"))
        parameters, contents = self.parameters(algorithm, given.of("parameter"), workload, chip)
        run = {name: given.of("use").get(name) or knob.default for name, knob in RUN_KNOBS.items()}
        clock_hz = float(run["clock"] or 0) if "clock" in takes else DesignPoint.clock_hz
        return DesignPoint(
            algorithm=algorithm.name,
            workload=workload,
            parameters=parameters,
            engine="simpy" if run["engine"] == "simpy" and "engine" in takes else "compiled",
            timing_only="timing_only" in algorithm.keyed and (given.timing_only or not algorithm.has_values),
            skip=given.skip or "skip" not in takes,
            tensors=self.tensors.file if self.tensors and "tensors" in takes else None,
            clock_hz=chip.accelerator.clock_hz if chip else clock_hz,
            chip=chip,
            contents=contents,
        )

    def workload(self, base: Workload, knobs: Values) -> Workload:
        """`base` with knobs set and the shape of the tensors; raises InputError where they contradict each other."""
        key = (id(base), *knobs.items())
        if key not in self._workloads:
            made = _within("workload", lambda: shaped_workload(base, knobs, self.tensors))
            self._workloads[key] = base, made
        return self._workloads[key][1]

    def chip(self, accelerator: Accelerator, fields: Values, use: Values) -> ChipSetting:
        """`accelerator` with fields changed and used as said; raises InputError for what a field cannot be."""
        own = {name: use.get(name) for name in CHIP_KNOBS}
        key = (id(accelerator), *own.items(), *fields.items())
        if key not in self._chips:
            made = _placed(
                lambda path: path if path in own else f"chip.{path}",
                lambda: chip_setting(accelerator, fields, own, self.kernel),
            )
            self._chips[key] = accelerator, made
        return self._chips[key][1]

    def parameters(
        self, algorithm: AnyAlgorithm, values: Values, workload: Workload | None = None, chip: ChipSetting | None = None
    ) -> tuple[Pairs, Contents]:
        """All parameters: what is said, over what the kernel has, over the defaults; and the contents of files.

        Raises
        ------
        InputError
            What the algorithm refuses, a file that cannot be read, or a kernel of another algorithm or chip.
        """
        own: Values = {}
        if self.kernel and workload and chip:
            kernel, accelerator = self.kernel, chip.accelerator
            own = _placed(lambda _: "kernel", lambda: kernel_parameters(kernel, algorithm.name, workload, accelerator))
        chosen = {**own, **values}
        key = (algorithm.name, *chosen.items())
        if key not in self._parameters:
            self._parameters[key] = _within("parameters", lambda: self._completed(algorithm, chosen))
        return self._parameters[key]

    def _completed(self, algorithm: AnyAlgorithm, chosen: Values) -> tuple[Pairs, Contents]:
        """All parameters, files among them as paths from here, and what these files hold."""
        files = [name for name, knob in parameter_knobs(algorithm).items() if knob.content]
        placed = {name: str(self.folder / str(chosen[name])) for name in files if _is_file(chosen.get(name))}
        pairs = complete_parameters(algorithm, {**chosen, **placed})
        return pairs, tuple((name, _content(name, value)) for name, value in pairs if name in files and _is_file(value))


def _is_file(value: Scalar) -> bool:
    return isinstance(value, str) and (is_path(value) or value.endswith(_FILES))


def _content(name: str, path: Scalar) -> str:
    try:
        return sha256_of(str(path))
    except FileNotFoundError:
        raise InputError(Problem(f"no such file: {path}", field=name)) from None
    except OSError as error:
        raise InputError(Problem(f"cannot be read: {error.strerror}", str(path), field=name)) from None


def _named(given: Inputs, found: T | None, what: str) -> T:
    """What an algorithm cannot do without."""
    if found is None:
        raise InputError(_missing(given.algorithm, what))
    return found


def _missing(algorithm: AnyAlgorithm, what: str) -> Problem:
    return Problem(f"{algorithm.name} {algorithm.what}: name one", field=what)


def _within(section: str, action: Callable[[], T]) -> T:
    """Result of `action`, the fields of its problems put into a section of a study file."""
    return _placed(lambda field: f"{section}.{field}" if field else section, action)


def _placed(place: Callable[[str | None], str], action: Callable[[], T]) -> T:
    """Result of `action`, its problems put elsewhere; those that name a file stay there."""
    try:
        return action()
    except InputError as error:
        problems = [each if each.file else replace(each, field=place(each.field)) for each in error.problems]
        raise InputError(problems) from None
