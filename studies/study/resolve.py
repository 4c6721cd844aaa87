"""From the text of a study to its design points: all names looked up, all values read, all faults listed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from algorithms.workload.shape import Workload
from hwmodels.reading.documents import Document, FieldPath, in_order, read_document
from hwmodels.reading.errors import InputError, did_you_mean
from studies.api import Study
from studies.points.chips import kernel_parameters
from studies.points.find import (
    ONE_HEAD,
    has_values,
    runs_on_chip,
    shaped_workload,
)
from studies.points.knobs import CHIP_KNOBS, RUN_KNOBS, WORKLOAD_KNOBS, complete_parameters, parameter_knobs, read_knob
from studies.points.point import ChipSetting, DesignPoint, Scalar
from studies.study.axes import Axis, Choice, Space
from studies.study.chips import FIELD_PREFIX
from studies.study.file import StudyFile
from studies.study.goals import Constraint, Objective, PacedBlock, read_constraint, read_objective
from studies.study.named import look_up
from studies.study.origins import Origins, StudyAxis, Target
from studies.study.text import StudyText

if TYPE_CHECKING:
    from studies.points.find import AnyAlgorithm

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
    return _Resolver(StudyFile(document, folder, text, problems)).study()


class _Resolver:
    """Reads values, axes and goals of a study whose names have been looked up; collects problems as its file does."""

    def __init__(self, file: StudyFile) -> None:
        self.file = file
        self.text = file.text
        self.written = file.text.axis_values()
        self.conditions = file.text.conditions()
        self.named = look_up(file, self.written)
        self.fixed: dict[Target, dict[str, Scalar]] = {"parameter": {}, "knob": {}}
        self.axes: dict[str, StudyAxis] = {}
        self.parameter_sets: dict[tuple[object, ...], Parameters] = {}
        self.shapes: dict[tuple[object, ...], Workload] = {}

    def study(self) -> Study:
        """Everything resolved, or every problem raised."""
        self._read_fixed()
        for name, values in self.written.items():
            self._read_axis(name, values)
        self._check_grid()
        objectives, constraints, blocks = tuple(self._objectives()), tuple(self._constraints()), tuple(self._blocks())
        if self.file.problems:
            raise InputError(in_order(self.file.problems)[:_MOST_PROBLEMS])
        return Study(
            name=self.text.name or Path(self.file.document.name).stem,
            title=self.text.title,
            space=self.space,
            point=self._point,
            settings=tuple(Origins(self.file.document, self.axes).settings(self._point(next(self.space.choices())))),
            objectives=objectives,
            constraints=constraints,
            blocks=blocks,
        )

    # --- values -----------------------------------------------------------------------------------------

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
                    self.named.chips.fixed[name] = read

    def _read(self, target: Target, name: str, value: Scalar, path: FieldPath) -> list[Scalar]:
        """The value of a knob, in a list; empty when it is bad. All algorithms concerned must know a parameter."""
        if target == "knob":
            owner = "knob of a workload"
            return self.file.attempt(path, lambda: read_knob(WORKLOAD_KNOBS, name, value, owner))
        if target == "parameter":
            read: list[Scalar] = []
            for algorithm in self._concerned(path):
                knobs, owner = parameter_knobs(algorithm), f"parameter of {algorithm.name}"
                read = self.file.attempt(path, partial(read_knob, knobs, name, value, owner))
                if not read:
                    break
            return read
        if target == "run":
            return self.file.attempt(path, lambda: read_knob(RUN_KNOBS, name, value, ""))
        if target == "mapping":
            return self.file.attempt(path, lambda: read_knob(CHIP_KNOBS, name, value, ""))
        if target == "field":
            return self.file.attempt(path, lambda: self.named.chips.check(name, value))
        named: dict[Target, Mapping[str, object]] = {
            "algorithm": self.named.algorithms,
            "workload": self.named.workloads,
            "chip": self.named.chips.named,
        }
        return [value] if value in named[target] else []

    def _concerned(self, path: FieldPath) -> list[AnyAlgorithm]:
        """Algorithms that a parameter is for: all, unless it is an axis that holds for some of them only."""
        names: set[Scalar] = set(self.named.algorithms)
        waiting, seen = [str(path[1])] if path[0] == "axes" else [], set[str]()
        while waiting:
            axis = waiting.pop()
            condition = self.conditions.get(axis, {}) if axis not in seen else {}
            seen.add(axis)
            names &= set(condition.get("algorithm", names))
            waiting += condition
        return [algorithm for name, algorithm in self.named.algorithms.items() if name in names]

    # --- axes -------------------------------------------------------------------------------------------

    def _read_axis(self, axis: str, values: Iterable[Scalar]) -> None:
        target = self._target(axis)
        if target is None:
            return
        name = axis.removeprefix(FIELD_PREFIX) if target == "field" else axis.rpartition(".")[2]
        places: dict[Scalar, FieldPath] = {}
        for i, value in enumerate(values):
            path = self.file.place(axis, i)
            for read in self._read(target, name, value, path):
                if read in places:
                    self.file.complain(path, f"value {value!r} is there twice")
                places[read] = path
        self.axes[axis] = StudyAxis(target, name, places, self._read_condition(axis))

    def _read_condition(self, axis: str) -> dict[str, list[Scalar]]:
        """Under which values of earlier axes an axis holds."""
        read: dict[str, list[Scalar]] = {}
        for other, values in self.conditions.get(axis, {}).items():
            path: FieldPath = ("axes", axis, "when", other)
            if other not in self.axes:
                if not self.file.faulty & {"axes"}:
                    self.file.complain(path, "must be an axis that comes before", did_you_mean(other, self.axes))
                continue
            earlier = self.axes[other]
            for value in values:
                named = earlier.target in ("algorithm", "workload", "chip")
                for meant in [value] if named else self._read(earlier.target, earlier.name, value, path):
                    if meant in earlier.places:
                        read.setdefault(other, []).append(meant)
                    else:
                        hint = did_you_mean(str(meant), list(map(str, earlier.places)))
                        self.file.complain(path, f"axis {other!r} does not have the value {value!r}", hint)
        return read

    def _target(self, axis: str) -> Target | None:
        """What an axis changes; an unknown name becomes a problem."""
        owner, _, name = axis.rpartition(".")
        whole, tables = self._known
        if axis in whole:
            return whole[axis]
        if axis.startswith(FIELD_PREFIX):
            return "field"
        for target, (owners, names) in tables.items():
            if owner in owners and name in names:
                return target
        if self.named.algorithms and self.file.writes("axes", axis):  # seeds are no axis in the file
            known = [*whole, *(each for _, names in tables.values() for each in names)]
            self.file.complain(("axes", axis), "unknown axis", did_you_mean(name, known))
        return None

    @cached_property
    def _known(self) -> tuple[dict[str, Target], dict[Target, tuple[tuple[str, ...], Iterable[str]]]]:
        """Axes that are things with names, and by target the prefixes and names of all others; earlier ones win."""
        parameters = (("", "parameters"), self.named.parameter_names)
        if self.named.of_tiers:  # nothing attends, on no chip and with no engine
            return {"algorithm": "algorithm", "chip": "chip"}, {"parameter": parameters}
        return {"algorithm": "algorithm", "workload": "workload", "chip": "chip"}, {
            "mapping": (("",), CHIP_KNOBS),
            "run": (("",), RUN_KNOBS),
            "parameter": parameters,
            "knob": (("", "workload"), WORKLOAD_KNOBS),
        }

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
        for algorithm in self.named.algorithms.values():
            for chosen in self._choices("parameter", algorithm.name):
                self._check(chosen, "parameters", partial(complete_parameters, algorithm, chosen))
        if self.named.tensors is None and self.text.tensors is not None:
            return
        for base in self.named.workloads.values():
            for chosen in self._choices("knob"):
                self._check(chosen, "workload", partial(shaped_workload, base, chosen, self.named.tensors))

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
        if len(self.file.problems) >= _MOST_PROBLEMS:
            return
        try:
            action()
        except InputError as error:
            for problem in error.problems:
                path, within = self._place(chosen, section, problem.field)
                self.file.complain(path, f"{within}: {problem.message}" if within else problem.message, problem.hint)

    def _place(self, chosen: Mapping[str, Scalar], section: str, field: str | None) -> tuple[FieldPath, str]:
        """Where a value of a combination was written, and which part of it is meant: a policy has parameters itself.

        What says nothing of its field can only be blamed on one value where one alone is set.
        """
        target: Target = "parameter" if section == "parameters" else "knob"
        axes = [axis for axis in self.axes.values() if axis.target == target and axis.name in chosen]
        if field is None:
            if axes:
                return (axes[0].places[chosen[axes[0].name]] if len(axes) == 1 else ("axes",)), ""
            return ((section, *chosen) if len(chosen) == 1 else (section,)), ""
        for axis in axes:
            if field == axis.name or field.startswith(f"{axis.name}."):
                return axis.places[chosen[axis.name]], field[len(axis.name) + 1 :]
        return (section, field), ""

    def _point(self, choice: Choice) -> DesignPoint:
        """The point of a combination of the axes."""
        chosen: dict[Target, dict[str, Scalar]] = {
            "parameter": dict(self.fixed["parameter"]),
            "knob": dict(self.fixed["knob"]),
        }
        for name, value in choice.items():
            chosen.setdefault(self.axes[name].target, {})[self.axes[name].name] = value
        named, algorithm = self.named, self.named.algorithms[str(choice.get("algorithm", self.text.algorithm))]
        if named.of_tiers:
            return DesignPoint(algorithm.name, None, self._parameters(algorithm, chosen["parameter"]))
        workload = self._workload(choice, chosen["knob"])
        simpy = choice.get("engine", self.text.engine) == "simpy"
        chip: ChipSetting | None = None
        if runs_on_chip(algorithm):
            name = str(choice.get("chip") or self.file.preset("chip"))
            manner = {knob: choice.get(knob, getattr(self.text, knob)) for knob in CHIP_KNOBS}
            chip, simpy = named.chips.setting(name, chosen.get("field", {}), manner, named.kernel), False
        if chip is not None and named.kernel is not None:
            own = kernel_parameters(named.kernel, algorithm.name, workload, chip.accelerator)
            chosen["parameter"] = own | chosen["parameter"]
        return DesignPoint(
            algorithm=algorithm.name,
            workload=workload,
            parameters=self._parameters(algorithm, chosen["parameter"]),
            engine="simpy" if simpy else "compiled",
            clock_hz=chip.accelerator.clock_hz if chip else float(choice.get("clock") or self.text.clock),
            chip=chip,
            timing_only=self.text.timing_only or not has_values(algorithm),
            skip=self.text.skip,
            tensors=named.tensors.file if named.tensors else None,
        )

    def _parameters(self, algorithm: AnyAlgorithm, chosen: Mapping[str, Scalar]) -> Parameters:
        """All parameters; remembered, as most points of a grid share theirs with others."""
        key = (algorithm.name, *chosen.items())
        if key not in self.parameter_sets:
            self.parameter_sets[key] = complete_parameters(algorithm, chosen)
        return self.parameter_sets[key]

    def _workload(self, choice: Choice, knobs: Mapping[str, Scalar]) -> Workload:
        """The workload of a point; remembered likewise."""
        name = str(choice.get("workload") or self.file.preset("workload") or ONE_HEAD.name)
        key = (name, *knobs.items())
        if key not in self.shapes:
            self.shapes[key] = shaped_workload(self.named.workloads[name], knobs, self.named.tensors)
        return self.shapes[key]

    # --- goals ------------------------------------------------------------------------------------------

    def _objectives(self) -> Iterator[Objective]:
        """What the study wants, each metric once."""
        written = self.text.objectives
        wanted = list(written.items()) if isinstance(written, dict) else [(name, None) for name in written]
        seen: set[str] = set()
        for i, (name, goal) in enumerate(wanted):
            path: FieldPath = ("objectives", name if isinstance(written, dict) else i)
            if name in seen:
                self.file.complain(path, f"objective {name!r} is there twice")
            seen.add(name)
            yield from self.file.attempt(path, partial(read_objective, name, goal))

    def _constraints(self) -> Iterator[Constraint]:
        for i, text in enumerate(self.text.constraints):
            yield from self.file.attempt(("constraints", i), partial(read_constraint, text))

    def _blocks(self) -> Iterator[PacedBlock]:
        for i, text in enumerate(self.text.blocks):
            for metric in self.file.attempt(("blocks", i, "metric"), partial(read_objective, text.metric, "min")):
                yield PacedBlock(metric.metric, tuple(text.axes))
            for j, name in enumerate(text.axes):
                if name not in self.written:
                    self.file.complain(("blocks", i, "axes", j), "is no axis", did_you_mean(name, self.written))
                elif name in {other for earlier in self.text.blocks[:i] for other in earlier.axes}:
                    self.file.complain(("blocks", i, "axes", j), f"axis {name!r} belongs to the other block")
        named = {name for text in self.text.blocks for name in text.axes}
        for name, values in self.written.items():
            if self.text.blocks and name not in named and len(values) > 1:
                self.file.complain(self.file.place(name, 0), "the axis belongs to neither of the blocks")
