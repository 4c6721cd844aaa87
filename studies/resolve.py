"""From the text of a study to its design points: all names looked up, all values read, all faults listed."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from algorithms.shape import Workload
from hwmodels.documents import Document, FieldPath, in_order, read_document
from hwmodels.errors import InputError, Problem, did_you_mean
from studies.axes import Axis, Choice, Space
from studies.chips import find_kernel, kernel_parameters, refuse_kernel
from studies.goals import Constraint, Objective, read_constraint, read_objective
from studies.origins import Origins, StudyAxis, Target
from studies.parameters import CHIP_KNOBS, RUN_KNOBS, WORKLOAD_KNOBS, complete_parameters, parameter_knobs, read_knob
from studies.parts import (
    ONE_HEAD,
    ONE_HEAD_ON_CHIP,
    Tensors,
    find_algorithm,
    find_chip,
    find_tensors,
    find_workload,
    runs_on_chip,
    shaped_workload,
)
from studies.space import ChipSetting, DesignPoint, Scalar
from studies.spec import StudyText
from studies.study import Study
from studies.study_chips import FIELD_PREFIX, StudyChips, refuse_mismatch

if TYPE_CHECKING:
    from algorithms.tiled.kernels import Kernel
    from studies.parts import AnyAlgorithm

_MOST_CHECKED = 200_000
_MOST_PROBLEMS = 50

T = TypeVar("T")
Parameters = tuple[tuple[str, Scalar], ...]


def read_study(path: Path | str) -> Study:
    """The study in the YAML file at `path`.

    Raises
    ------
    InputError
        With all problems of the file and of what it refers to.
    """
    return resolve(read_document(path), Path(path).parent)


def resolve(document: Document, folder: Path) -> Study:
    """The study in `document`; relative paths in it start at `folder`.

    Raises
    ------
    InputError
        With all problems of the document and of what it refers to.
    """
    text, problems = document.validate_partly(StudyText)
    if text is None:
        raise InputError(in_order(problems))
    return _Resolver(document, folder, text, problems).study()


class _Resolver:
    """Looks everything up and collects problems; nothing is raised until all has been looked at."""

    def __init__(self, document: Document, folder: Path, text: StudyText, problems: list[Problem]) -> None:
        self.document = document
        self.folder = folder
        self.text = text
        self.problems = problems
        self.algorithms: dict[str, AnyAlgorithm] = {}
        self.workloads: dict[str, Workload] = {}
        self.chips = StudyChips()
        self.kernel: Kernel | None = None
        self.tensors: Tensors | None = None
        self.fixed: dict[Target, dict[str, Scalar]] = {"parameter": {}, "knob": {}}
        self.axes: dict[str, StudyAxis] = {}
        self.conditions = text.conditions()
        self.parameter_sets: dict[tuple[object, ...], Parameters] = {}
        self.shapes: dict[tuple[object, ...], Workload] = {}

    def study(self) -> Study:
        """Everything resolved, or every problem raised."""
        written = self.text.axis_values()
        self._look_up(written)
        self._read_fixed()
        for name, values in written.items():
            self._read_axis(name, values)
        self._check_grid()
        objectives, constraints = tuple(self._objectives()), tuple(self._constraints())
        if self.problems:
            raise InputError(in_order(self.problems)[:_MOST_PROBLEMS])
        return Study(
            name=self.text.name or Path(self.document.name).stem,
            title=self.text.title,
            space=self.space,
            point=self._point,
            settings=tuple(Origins(self.document, self.axes).settings(self._point(next(self.space.choices())))),
            objectives=objectives,
            constraints=constraints,
        )

    # --- problems ---------------------------------------------------------------------------------------

    def _complain(self, path: FieldPath, message: str, hint: str | None = None) -> None:
        self.problems.append(self.document.problem(path, message, hint))

    def _attempt(self, path: FieldPath, action: Callable[[], T]) -> list[T]:
        """Result of `action` in a list; an empty one, and problems at `path`, when it refuses."""
        try:
            return [action()]
        except InputError as error:
            for problem in error.problems:
                if problem.file is None:
                    self._complain(path, problem.message, problem.hint)
                else:
                    self.problems.append(problem)
            return []

    # --- names ------------------------------------------------------------------------------------------

    def _look_up(self, written: Mapping[str, list[Scalar]]) -> None:
        """Find tensors, algorithms and workloads."""
        if self.text.tensors is not None:
            file = self.text.tensors
            for tensors in self._attempt(("tensors",), lambda: find_tensors(file, self.folder)):
                self.tensors = tensors
        if self.text.algorithm is None and not {"algorithm", "axes"} & self._faulty and "algorithm" not in written:
            self._complain(("algorithm",), "required key is missing (here or as an axis)")
        for path, name in self._names("algorithm", self.text.algorithm, written):
            for algorithm in self._attempt(path, partial(find_algorithm, name)):
                self.algorithms[name] = algorithm
        self._look_up_chips(written)
        named = list(self._names("workload", self._preset("workload"), written))
        for path, name in named:
            for workload in self._attempt(path, partial(find_workload, name, self.folder)):
                self.workloads[name] = workload
        if not named and "workload" not in written:
            on_chips = self.algorithms and all(map(runs_on_chip, self.algorithms.values()))
            self.workloads[ONE_HEAD.name] = ONE_HEAD_ON_CHIP if on_chips else ONE_HEAD

    def _look_up_chips(self, written: Mapping[str, list[Scalar]]) -> None:
        """Find chips, and see that algorithms that need one have it."""
        for path, name in self._names("chip", self._preset("chip"), written):
            for chip in self._attempt(path, partial(find_chip, name, self.folder)):
                self.chips.named[name] = chip
        if self.text.kernel is not None:
            named = self.text.kernel
            for kernel in self._attempt(("kernel",), lambda: find_kernel(named, self.folder)):
                self.kernel = kernel
                for algorithm, chip in itertools.product(self.algorithms, self.chips.named.values()):
                    self._attempt(("kernel",), partial(refuse_kernel, kernel, algorithm, chip))
        if not {"chip", "axes"} & self._faulty:
            needs = {name: runs_on_chip(algorithm) for name, algorithm in self.algorithms.items()}
            given = self.text.chip is not None or any(axis.split(".")[0] == "chip" for axis in written)
            path: FieldPath = ("chip",) if ("chip",) in self.document.lines or not given else ("axes",)
            self._attempt(path, partial(refuse_mismatch, needs, given))
        if ("clock",) in self.document.lines and self.algorithms and all(map(runs_on_chip, self.algorithms.values())):
            self._complain(("clock",), "a chip has its own clock: change chip.clock_hz")

    def _preset(self, key: Literal["workload", "chip"]) -> Scalar:
        """What the entry ``workload`` or ``chip`` names, if anything."""
        section = self.text.workload if key == "workload" else self.text.chip
        return section.get("preset") if isinstance(section, dict) else section

    @property
    def _faulty(self) -> set[str]:
        """Entries with problems that are listed already."""
        return {re.split(r"[.\[]", problem.field)[0] for problem in self.problems if problem.field}

    def _names(self, key: str, fixed: Scalar, written: Mapping[str, list[Scalar]]) -> Iterator[tuple[FieldPath, str]]:
        """Places and texts of everything that `key` names, as an axis or as a plain entry."""
        if key in written:
            for i, value in enumerate(written[key]):
                if isinstance(value, str):
                    yield self._place(key, i), value
                else:
                    self._complain(self._place(key, i), f"must be a name (got {value!r})")
        elif fixed is not None:
            yield (key, "preset") if (key, "preset") in self.document.lines else (key,), str(fixed)

    # --- values -----------------------------------------------------------------------------------------

    @cached_property
    def _parameter_names(self) -> list[str]:
        names = [name for algorithm in self.algorithms.values() for name in parameter_knobs(algorithm)]
        return list(dict.fromkeys(names))

    def _read_fixed(self) -> None:
        """Values of the sections ``parameters`` and ``workload``."""
        for name, value in self.text.parameters.items():
            for read in self._read("parameter", name, value, ("parameters", name)):
                self.fixed["parameter"][name] = read
        section = self.text.workload
        for name, value in section.items() if isinstance(section, dict) else ():
            if name != "preset":
                for read in self._read("knob", name, value, ("workload", name)):
                    self.fixed["knob"][name] = read
        chip = self.text.chip
        for name, value in chip.items() if isinstance(chip, dict) else ():
            if name != "preset":
                for read in self._read("field", name, value, ("chip", name)):
                    self.chips.fixed[name] = read

    def _read(self, target: Target, name: str, value: Scalar, path: FieldPath) -> list[Scalar]:
        """The value of a knob, in a list; empty when it is bad. All algorithms concerned must know a parameter."""
        if target == "knob":
            owner = "knob of a workload"
            return self._attempt(path, lambda: read_knob(WORKLOAD_KNOBS, name, value, owner))
        if target == "parameter":
            read: list[Scalar] = []
            for algorithm in self._concerned(path):
                knobs, owner = parameter_knobs(algorithm), f"parameter of {algorithm.name}"
                read = self._attempt(path, partial(read_knob, knobs, name, value, owner))
                if not read:
                    break
            return read
        if target == "run":
            return self._attempt(path, lambda: read_knob(RUN_KNOBS, name, value, ""))
        if target == "mapping":
            return self._attempt(path, lambda: read_knob(CHIP_KNOBS, name, value, ""))
        if target == "field":
            return self._attempt(path, lambda: self.chips.check(name, value))
        named: dict[Target, Mapping[str, object]] = {
            "algorithm": self.algorithms,
            "workload": self.workloads,
            "chip": self.chips.named,
        }
        return [value] if value in named[target] else []

    def _concerned(self, path: FieldPath) -> list[AnyAlgorithm]:
        """Algorithms that a parameter is for: all, unless it is an axis that holds for some of them only."""
        names: set[Scalar] = set(self.algorithms)
        waiting, seen = [str(path[1])] if path[0] == "axes" else [], set[str]()
        while waiting:
            axis = waiting.pop()
            condition = self.conditions.get(axis, {}) if axis not in seen else {}
            seen.add(axis)
            names &= set(condition.get("algorithm", names))
            waiting += condition
        return [algorithm for name, algorithm in self.algorithms.items() if name in names]

    # --- axes -------------------------------------------------------------------------------------------

    def _place(self, axis: str, position: int) -> FieldPath:
        """Where the document writes value number `position` of an axis."""
        if axis == "workload.seed" and self.text.seeds is not None:
            return ("seeds", position)
        paths: list[FieldPath] = [("axes", axis, position), ("axes", axis, "values", position)]
        return next((path for path in paths if path in self.document.lines), ("axes", axis))

    def _read_axis(self, axis: str, values: Iterable[Scalar]) -> None:
        target = self._target(axis)
        if target is None:
            return
        name = axis.removeprefix(FIELD_PREFIX) if target == "field" else axis.rpartition(".")[2]
        places: dict[Scalar, FieldPath] = {}
        for i, value in enumerate(values):
            path = self._place(axis, i)
            for read in self._read(target, name, value, path):
                if read in places:
                    self._complain(path, f"value {value!r} is there twice")
                places[read] = path
        self.axes[axis] = StudyAxis(target, name, places, self._read_condition(axis))

    def _read_condition(self, axis: str) -> dict[str, list[Scalar]]:
        """Under which values of earlier axes an axis holds."""
        read: dict[str, list[Scalar]] = {}
        for other, values in self.conditions.get(axis, {}).items():
            path: FieldPath = ("axes", axis, "when", other)
            if other not in self.axes:
                if not self._faulty & {"axes"}:
                    self._complain(path, "must be an axis that comes before", did_you_mean(other, self.axes))
                continue
            earlier = self.axes[other]
            for value in values:
                named = earlier.target in ("algorithm", "workload", "chip")
                for meant in [value] if named else self._read(earlier.target, earlier.name, value, path):
                    if meant in earlier.places:
                        read.setdefault(other, []).append(meant)
                    else:
                        hint = did_you_mean(str(meant), list(map(str, earlier.places)))
                        self._complain(path, f"axis {other!r} does not have the value {value!r}", hint)
        return read

    def _target(self, axis: str) -> Target | None:
        """What an axis changes; an unknown name becomes a problem."""
        if axis == "algorithm":
            return "algorithm"
        if axis == "workload":
            return "workload"
        if axis == "chip":
            return "chip"
        if axis.startswith(FIELD_PREFIX):
            return "field"
        if axis in CHIP_KNOBS:
            return "mapping"
        if axis in RUN_KNOBS:
            return "run"
        owner, _, name = axis.rpartition(".")
        if owner in ("", "parameters") and name in self._parameter_names:
            return "parameter"
        if owner in ("", "workload") and name in WORKLOAD_KNOBS:
            return "knob"
        if self.algorithms:
            known = ["algorithm", "workload", "chip", *CHIP_KNOBS, *RUN_KNOBS, *self._parameter_names, *WORKLOAD_KNOBS]
            self._complain(("axes", axis), "unknown axis", did_you_mean(name, known))
        return None

    # --- the grid ---------------------------------------------------------------------------------------

    @cached_property
    def space(self) -> Space:
        """The sound axes."""
        return Space(
            tuple(
                Axis(name, tuple(axis.places), tuple((other, tuple(values)) for other, values in axis.when.items()))
                for name, axis in self.axes.items()
            )
        )

    def _check_grid(self) -> None:
        """Complain about combinations that do not fit together.

        Parameters and workloads do not depend on each other, so each side is checked on its own axes, which
        is possible even when the other side has faults.
        """
        for algorithm in self.algorithms.values():
            for chosen in self._choices("parameter", algorithm.name):
                self._check(chosen, "parameters", partial(complete_parameters, algorithm, chosen))
        if self.tensors is None and self.text.tensors is not None:
            return
        for base in self.workloads.values():
            for chosen in self._choices("knob"):
                self._check(chosen, "workload", partial(shaped_workload, base, chosen, self.tensors))

    def _choices(self, target: Target, algorithm: str | None = None) -> Iterator[dict[str, Scalar]]:
        """Every combination of the axes that change `target`, over the fixed values, for one algorithm or for all.

        Of a space too large to be swept only the first combinations: the others say at their turn if they do not fit.
        """
        concerned = frozenset(name for name, axis in self.axes.items() if axis.target == target)
        for choice in islice(self.space.restricted(concerned).choices(), _MOST_CHECKED):
            if algorithm is None or choice.get("algorithm", algorithm) == algorithm:
                own = {self.axes[name].name: value for name, value in choice.items() if name in concerned}
                yield self.fixed[target] | own

    def _check(self, chosen: Mapping[str, Scalar], section: str, action: Callable[[], object]) -> None:
        if len(self.problems) >= _MOST_PROBLEMS:
            return
        try:
            action()
        except InputError as error:
            for problem in error.problems:
                path: FieldPath = (section, problem.field) if problem.field else ("axes",)
                for axis in self.axes.values():
                    if axis.name == problem.field:
                        path = axis.places[chosen[axis.name]]
                self._complain(path, problem.message, problem.hint)

    def _point(self, choice: Choice) -> DesignPoint:
        """The point of a combination of the axes."""
        chosen: dict[Target, dict[str, Scalar]] = {
            "parameter": dict(self.fixed["parameter"]),
            "knob": dict(self.fixed["knob"]),
        }
        for name, value in choice.items():
            chosen.setdefault(self.axes[name].target, {})[self.axes[name].name] = value
        algorithm = self.algorithms[str(choice.get("algorithm", self.text.algorithm))]
        named = str(choice.get("workload") or self._preset("workload") or ONE_HEAD.name)
        shape_key = (named, *chosen["knob"].items())
        if shape_key not in self.shapes:
            self.shapes[shape_key] = shaped_workload(self.workloads[named], chosen["knob"], self.tensors)
        simpy = choice.get("engine", self.text.engine) == "simpy"
        chip: ChipSetting | None = None
        if runs_on_chip(algorithm):
            name = str(choice.get("chip") or self._preset("chip"))
            manner = {knob: choice.get(knob, getattr(self.text, knob)) for knob in CHIP_KNOBS}
            chip, simpy = self.chips.setting(name, chosen.get("field", {}), manner, self.kernel), False
        if chip is not None and self.kernel is not None:
            own = kernel_parameters(self.kernel, algorithm.name, self.shapes[shape_key], chip.accelerator)
            chosen["parameter"] = own | chosen["parameter"]
        key = (algorithm.name, *chosen["parameter"].items())
        if key not in self.parameter_sets:
            self.parameter_sets[key] = complete_parameters(algorithm, chosen["parameter"])
        return DesignPoint(
            algorithm=algorithm.name,
            workload=self.shapes[shape_key],
            parameters=self.parameter_sets[key],
            engine="simpy" if simpy else "compiled",
            clock_hz=chip.accelerator.clock_hz if chip else float(choice.get("clock") or self.text.clock),
            chip=chip,
            timing_only=self.text.timing_only,
            skip=self.text.skip,
            tensors=self.tensors.file if self.tensors else None,
        )

    # --- goals ------------------------------------------------------------------------------------------

    def _objectives(self) -> Iterator[Objective]:
        """What the study wants, each metric once."""
        written = self.text.objectives
        wanted = list(written.items()) if isinstance(written, dict) else [(name, None) for name in written]
        seen: set[str] = set()
        for i, (name, goal) in enumerate(wanted):
            path: FieldPath = ("objectives", name if isinstance(written, dict) else i)
            if name in seen:
                self._complain(path, f"objective {name!r} is there twice")
            seen.add(name)
            yield from self._attempt(path, partial(read_objective, name, goal))

    def _constraints(self) -> Iterator[Constraint]:
        for i, text in enumerate(self.text.constraints):
            yield from self._attempt(("constraints", i), partial(read_constraint, text))
