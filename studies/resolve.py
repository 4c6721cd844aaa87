"""From the text of a study to its design points: all names looked up, all values read, all faults listed."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from algorithms.shape import Workload
from hwmodels.documents import Document, FieldPath, in_order, read_document
from hwmodels.errors import InputError, Problem, did_you_mean
from studies.parameters import RUN_KNOBS, WORKLOAD_KNOBS, complete_parameters, parameter_knobs, read_knob
from studies.parts import ONE_HEAD, Tensors, find_algorithm, find_tensors, find_workload, shaped_workload
from studies.space import DesignPoint, Json, Scalar, grid
from studies.spec import StudyText

if TYPE_CHECKING:
    from algorithms.registry import Algorithm

LARGEST_GRID = 200_000
_MOST_PROBLEMS = 50

T = TypeVar("T")
Target = Literal["algorithm", "workload", "run", "parameter", "knob"]
Parameters = tuple[tuple[str, Scalar], ...]


@dataclass(frozen=True)
class Setting:
    """One resolved value of a study and where it comes from."""

    name: str
    value: Json
    origin: str


@dataclass(frozen=True)
class Study:
    """A resolved study.

    Parameters
    ----------
    name, title
        What stores and reports call it.
    points
        Its grid, the last axis changing fastest.
    axes
        Values of every axis by name.
    settings
        Every resolved value with its origin.
    """

    name: str
    title: str
    points: tuple[DesignPoint, ...]
    axes: dict[str, tuple[Scalar, ...]]
    settings: tuple[Setting, ...]

    def describe(self) -> dict[str, Json]:
        """The study as plain JSON values, for provenance and ``config show``."""
        return {
            "name": self.name,
            "title": self.title,
            "points": len(self.points),
            "axes": {name: list(values) for name, values in self.axes.items()},
            "settings": {setting.name: {"value": setting.value, "origin": setting.origin} for setting in self.settings},
        }


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


@dataclass
class _Axis:
    """An axis as far as it is sound: what it changes and the good values, each with its place."""

    target: Target
    name: str
    places: dict[Scalar, FieldPath]


class _Resolver:
    """Looks everything up and collects problems; nothing is raised until all has been looked at."""

    def __init__(self, document: Document, folder: Path, text: StudyText, problems: list[Problem]) -> None:
        self.document = document
        self.folder = folder
        self.text = text
        self.problems = problems
        self.algorithms: dict[str, Algorithm] = {}
        self.workloads: dict[str, Workload] = {}
        self.tensors: Tensors | None = None
        self.fixed: dict[Target, dict[str, Scalar]] = {"parameter": {}, "knob": {}}
        self.axes: dict[str, _Axis] = {}

    def study(self) -> Study:
        """Everything resolved, or every problem raised."""
        written = self.text.axis_values()
        self._look_up(written)
        self._read_fixed()
        for name, values in written.items():
            self._read_axis(name, values)
        self._check_grid()
        if self.problems:
            raise InputError(in_order(self.problems)[:_MOST_PROBLEMS])
        points = tuple(self._points())
        return Study(
            name=self.text.name or Path(self.document.name).stem,
            title=self.text.title,
            points=points,
            axes={name: tuple(axis.places) for name, axis in self.axes.items()},
            settings=tuple(self._settings(points[0])),
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
        named = list(self._names("workload", self._preset, written))
        for path, name in named:
            for workload in self._attempt(path, partial(find_workload, name, self.folder)):
                self.workloads[name] = workload
        if not named and "workload" not in written:
            self.workloads[ONE_HEAD.name] = ONE_HEAD

    @property
    def _preset(self) -> Scalar:
        """What the entry ``workload`` names, if anything."""
        section = self.text.workload
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

    def _read(self, target: Target, name: str, value: Scalar, path: FieldPath) -> list[Scalar]:
        """The value of a knob, in a list; empty when it is bad. All algorithms must know a parameter."""
        if target == "knob":
            owner = "knob of a workload"
            return self._attempt(path, lambda: read_knob(WORKLOAD_KNOBS, name, value, owner))
        if target == "parameter":
            read: list[Scalar] = []
            for algorithm in self.algorithms.values():
                knobs, owner = parameter_knobs(algorithm), f"parameter of {algorithm.name}"
                read = self._attempt(path, partial(read_knob, knobs, name, value, owner))
                if not read:
                    break
            return read
        if target == "run":
            return self._attempt(path, lambda: read_knob(RUN_KNOBS, name, value, ""))
        found: Mapping[str, object] = self.algorithms if target == "algorithm" else self.workloads
        return [value] if value in found else []

    # --- axes -------------------------------------------------------------------------------------------

    def _place(self, axis: str, position: int) -> FieldPath:
        """Where the document writes value number `position` of an axis."""
        if axis == "workload.seed" and self.text.seeds is not None:
            return ("seeds", position)
        path: FieldPath = ("axes", axis, position)
        return path if path in self.document.lines else path[:-1]

    def _read_axis(self, axis: str, values: Iterable[Scalar]) -> None:
        target = self._target(axis)
        if target is None:
            return
        name = axis.rpartition(".")[2]
        places: dict[Scalar, FieldPath] = {}
        for i, value in enumerate(values):
            path = self._place(axis, i)
            for read in self._read(target, name, value, path):
                if read in places:
                    self._complain(path, f"value {value!r} is there twice")
                places[read] = path
        self.axes[axis] = _Axis(target, name, places)

    def _target(self, axis: str) -> Target | None:
        """What an axis changes; an unknown name becomes a problem."""
        if axis == "algorithm":
            return "algorithm"
        if axis == "workload":
            return "workload"
        if axis in RUN_KNOBS:
            return "run"
        owner, _, name = axis.rpartition(".")
        if owner in ("", "parameters") and name in self._parameter_names:
            return "parameter"
        if owner in ("", "workload") and name in WORKLOAD_KNOBS:
            return "knob"
        if self.algorithms:
            known = ["algorithm", "workload", *RUN_KNOBS, *self._parameter_names, *WORKLOAD_KNOBS]
            self._complain(("axes", axis), "unknown axis", did_you_mean(name, known))
        return None

    # --- the grid ---------------------------------------------------------------------------------------

    def _check_grid(self) -> None:
        """Complain about combinations that do not fit together.

        Parameters and workloads do not depend on each other, so each side is checked on its own axes, which
        is possible even when the other side has faults.
        """
        size = math.prod(len(axis.places) for axis in self.axes.values())
        if size > LARGEST_GRID:
            self._complain(("axes",), f"the grid has {size} points, more than {LARGEST_GRID}")
            return
        for algorithm in self.algorithms.values():
            for chosen in self._choices("parameter"):
                self._check(chosen, "parameters", partial(complete_parameters, algorithm, chosen))
        if self.tensors is None and self.text.tensors is not None:
            return
        for base in self.workloads.values():
            for chosen in self._choices("knob"):
                self._check(chosen, "workload", partial(shaped_workload, base, chosen, self.tensors))

    def _choices(self, target: Target) -> Iterator[dict[str, Scalar]]:
        """Every combination of the axes that change `target`, over the fixed values."""
        axes = {axis.name: list(axis.places) for axis in self.axes.values() if axis.target == target}
        for combination in grid(axes):
            yield self.fixed[target] | combination

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

    def _points(self) -> Iterator[DesignPoint]:
        """Every point of the grid."""
        parameter_sets: dict[tuple[object, ...], Parameters] = {}
        shapes: dict[tuple[object, ...], Workload] = {}
        for combination in grid({name: list(axis.places) for name, axis in self.axes.items()}):
            chosen = {"parameter": dict(self.fixed["parameter"]), "knob": dict(self.fixed["knob"])}
            for name, value in combination.items():
                chosen.setdefault(self.axes[name].target, {})[self.axes[name].name] = value
            algorithm = self.algorithms[str(combination.get("algorithm", self.text.algorithm))]
            named = str(combination.get("workload") or self._preset or ONE_HEAD.name)
            key = (algorithm.name, *chosen["parameter"].items())
            if key not in parameter_sets:
                parameter_sets[key] = complete_parameters(algorithm, chosen["parameter"])
            shape_key = (named, *chosen["knob"].items())
            if shape_key not in shapes:
                shapes[shape_key] = shaped_workload(self.workloads[named], chosen["knob"], self.tensors)
            yield DesignPoint(
                algorithm=algorithm.name,
                workload=shapes[shape_key],
                parameters=parameter_sets[key],
                engine="simpy" if combination.get("engine", self.text.engine) == "simpy" else "compiled",
                clock_hz=float(combination.get("clock") or self.text.clock),
                timing_only=self.text.timing_only,
                skip=self.text.skip,
                tensors=self.tensors.file if self.tensors else None,
            )

    # --- origins ----------------------------------------------------------------------------------------

    def _settings(self, first: DesignPoint) -> Iterator[Setting]:
        """Every resolved value with its origin; an axis shows all its values."""
        by_target = {(axis.target, axis.name): axis for axis in self.axes.values()}
        base = f"workload {first.workload.name}"
        shape_origin = f"tensors {first.tensors.path}" if first.tensors else base
        rows: list[tuple[Target, str, Json, str, list[FieldPath]]] = [
            ("algorithm", "algorithm", first.algorithm, "default", [("algorithm",)])
        ]
        rows += [
            ("parameter", name, value, f"default of {first.algorithm}", [("parameters", name)])
            for name, value in first.parameters
        ]
        places: list[FieldPath] = [("workload", "preset"), ("workload",)]
        rows.append(("workload", "workload", first.workload.name, "default", places))
        for name in WORKLOAD_KNOBS:
            if hasattr(first.workload, name):
                paths: list[FieldPath] = [("workload", name)]
                if name in ("q_len", "kv_len"):
                    paths += [("workload", "seq_len"), ("axes", "seq_len"), ("axes", "workload.seq_len")]
                rows.append(("knob", name, getattr(first.workload, name), shape_origin, paths))
        rows.append(("run", "engine", first.engine, "default", [("engine",)]))
        rows.append(("run", "clock", first.clock_hz, "default", [("clock",)]))
        for target, name, value, default, paths in rows:
            full = {"parameter": f"parameters.{name}", "knob": f"workload.{name}"}.get(target, name)
            axis = by_target.get((target, name))
            if axis is not None:
                place = next(iter(axis.places.values()))
                yield Setting(full, list(axis.places), f"axis, {self._line(place)}")
            else:
                found = [self._line(path) for path in paths if path in self.document.lines]
                yield Setting(full, value, found[0] if found else default)
        for name in ("timing_only", "skip", "tensors"):
            found = [self._line((name,))] if (name,) in self.document.lines else ["default"]
            yield Setting(name, first.describe()[name], found[0])

    def _line(self, path: FieldPath) -> str:
        return f"{self.document.name}:{self.document.lines[path]}"
