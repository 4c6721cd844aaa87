"""Builds design points from what is said of them, for the command line and for study files alike.

Callers look names up and read values (`studies.points.vocabulary`), each at its own place; here everything becomes one
point. Fields of problems are as there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from algorithms.chip.plan.kernels import Kernel
from algorithms.registry import AnyAlgorithm
from algorithms.workload.shape import Workload
from hwmodels.chips.chip import Accelerator
from hwmodels.reading.errors import InputError, Problem
from hwmodels.reading.shipped import is_path
from studies.points.chips import chip_setting, kernel_parameters
from studies.points.find import Tensors, shaped_workload
from studies.points.knobs import CHIP_KNOBS, RUN_KNOBS, complete_parameters, parameter_knobs
from studies.points.point import ChipSetting, DesignPoint, Scalar, sha256_of
from studies.points.vocabulary import Target, missing

T = TypeVar("T")
Values = Mapping[str, Scalar]
Pairs = tuple[tuple[str, Scalar], ...]
Contents = tuple[tuple[str, str], ...]

_FILES = (".json",)
"""Endings of files beside those that `is_path` knows."""


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
    _brought: dict[tuple[str, str], Accelerator | None] = field(default_factory=dict, repr=False)
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
            found = given.chip or self.brought_chip(algorithm, given.of("parameter"))
            chip = self.chip(_named(given, found, "chip"), given.of("field"), given.of("use"))
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

    def brought_chip(self, algorithm: AnyAlgorithm, values: Values) -> Accelerator | None:
        """The chip that a parameter brings, None if none does; raises InputError for a value that cannot."""
        name = algorithm.chip_parameter
        value = str(values.get(name) or (parameter_knobs(algorithm)[name].default if name else ""))
        if not value:
            return None
        key = (algorithm.name, value)
        if key not in self._brought:
            text = str(self.folder / value) if _is_file(value) else value
            self._brought[key] = _placed(lambda _: f"parameters.{name}", lambda: algorithm.chip_of(text))
        return self._brought[key]

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
        said = {**chosen, **placed}
        pairs = complete_parameters(algorithm, {**algorithm.implied(said), **said})
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
        raise InputError(missing(given.algorithm, what))
    return found


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
