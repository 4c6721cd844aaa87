"""From the text of a study to its design points: all names looked up, all values read, all faults listed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import get_args

from algorithms.registry import AnyAlgorithm
from algorithms.workload.shape import Workload
from hwmodels.reading.documents import Document, FieldPath, in_order, read_document
from hwmodels.reading.errors import InputError, did_you_mean
from studies.points.build import Inputs, PointBuilder
from studies.points.chips import change_chip
from studies.points.knobs import USE_KNOBS
from studies.points.point import DesignPoint, Scalar
from studies.points.vocabulary import SECTIONS, Target, Thing, Vocabulary
from studies.study.axes import Axis, Choice, Space
from studies.study.file import SECTIONED, StudyFile
from studies.study.goals import Constraint, Objective, PacedBlock, read_constraint, read_objective
from studies.study.named import look_up
from studies.study.origins import Origins, StudyAxis
from studies.study.question import Question
from studies.study.text import StudyText

_MOST_CHECKED = 200_000
_MOST_PROBLEMS = 50


def read_study(path: Path | str) -> Question:
    """The study in the YAML file at `path`.

    Raises
    ------
    InputError
        With all problems of the file and of what it refers to.
    """
    return resolve(read_document(path), Path(path).parent)


def resolve(document: Document, folder: Path) -> Question:
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
        self.words = self.named.words
        self.builder = PointBuilder(file.folder, self.named.tensors, self.named.kernel)
        use: dict[str, Scalar] = {name: getattr(file.text, name) for name in USE_KNOBS}
        self.fixed: dict[Target, dict[str, Scalar]] = {"use": use, "parameter": {}, "knob": {}, "field": {}}
        self.axes: dict[str, StudyAxis] = {}

    def study(self) -> Question:
        """Everything resolved, or every problem raised."""
        self._read_fixed()
        for name, values in self.written.items():
            self._read_axis(name, values)
        self._check_grid()
        objectives, constraints, blocks = tuple(self._objectives()), tuple(self._constraints()), tuple(self._blocks())
        if self.file.problems:
            raise InputError(in_order(self.file.problems)[:_MOST_PROBLEMS])
        return Question(
            name=self.text.name or Path(self.file.document.name).stem,
            title=self.text.title,
            space=self.space,
            point=self._point,
            settings=tuple(Origins(self.file.document, self.axes).settings(self._point(next(self.space.choices())))),
            objectives=objectives,
            constraints=constraints,
            blocks=blocks,
            tolerance=self.text.tolerance,
        )

    # --- values -----------------------------------------------------------------------------------------

    def _read_fixed(self) -> None:
        """Values of the sections ``parameters``, ``workload`` and ``chip``."""
        sections = {"parameters": self.text.parameters}
        for key in SECTIONED:
            sections[key] = self.file.settings(key)
        for target, section in SECTIONS.items():
            for name, value in sections[section].items():
                for read in self._read(target, name, value, (section, name)):
                    self.fixed[target][name] = read

    def _read(self, target: Target | Thing, name: str, value: Scalar, path: FieldPath) -> list[Scalar]:
        """The value of a knob, in a list; empty when it is bad. All algorithms concerned must know a parameter."""
        if target == "algorithm" or target == "workload" or target == "chip":
            return [value] if value in self._things[target] else []
        if target == "field":
            return self.file.attempt(path, partial(self._check_field, name, value))
        words = Vocabulary(tuple(self._concerned(path))) if target == "parameter" else self.words
        return self.file.attempt(path, partial(words.read, target, name, value)) if words.applies(target) else []

    @property
    def _things(self) -> dict[Thing, Mapping[str, object]]:
        """All that axes can name."""
        return {"algorithm": self.named.algorithms, "workload": self.named.workloads, "chip": self.named.chips}

    def _check_field(self, path: str, value: Scalar) -> Scalar:
        """`value` if the field at `path` of every chip can take it; said once for all chips."""
        for accelerator in self.named.chips.values():
            change_chip(accelerator, {path: value})
        return value

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
        meaning = self._meaning(axis)
        if meaning is None:
            return
        target, name = meaning
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
                named = earlier.target in get_args(Thing)
                for meant in [value] if named else self._read(earlier.target, earlier.name, value, path):
                    if meant in earlier.places:
                        read.setdefault(other, []).append(meant)
                    else:
                        hint = did_you_mean(str(meant), list(map(str, earlier.places)))
                        self.file.complain(path, f"axis {other!r} does not have the value {value!r}", hint)
        return read

    def _meaning(self, axis: str) -> tuple[Target | Thing, str] | None:
        """What an axis changes, and what it is called there; an unknown name becomes a problem."""
        for thing in self._axes_of_things:
            if axis == thing:
                return thing, axis
        meaning = self.words.meaning(axis)
        if meaning is None and self.named.algorithms and self.file.writes("axes", axis):  # seeds are no axis there
            known = [*self._axes_of_things, *(name for names in self.words.knobs.values() for name in names)]
            self.file.complain(("axes", axis), "unknown axis", did_you_mean(axis.rpartition(".")[2], known))
        return meaning

    @property
    def _axes_of_things(self) -> tuple[Thing, ...]:
        """Things that axes can name; that there is no chip to be had is said elsewhere."""
        return ("algorithm", "workload", "chip") if self.words.has("workload") else ("algorithm", "chip")

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
                self._check(chosen, "parameters", partial(self.builder.parameters, algorithm, chosen))
        if self.named.tensors is None and self.text.tensors is not None:
            return
        for base in self._bases():
            for chosen in self._choices("knob"):
                self._check(chosen, "workload", partial(self.builder.workload, base, chosen))

    def _bases(self) -> list[Workload]:
        """Workloads of the study without changes: those that it names, else what its algorithms have of their own."""
        own = [algorithm.default_workload for algorithm in self.named.algorithms.values()]
        if self.named.workloads or self.file.preset("workload") or "workload" in self.written:
            return list(self.named.workloads.values())
        return list(dict.fromkeys(workload for workload in own if workload))

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
                field = None if problem.field == section else problem.field
                path, within = self._place(chosen, section, field and field.removeprefix(f"{section}."))
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
        knobs = {target: dict(fixed) for target, fixed in self.fixed.items()}
        things: dict[Thing, Scalar] = {
            "algorithm": self.text.algorithm,
            "workload": self.file.preset("workload"),
            "chip": self.file.preset("chip"),
        }
        for name, value in choice.items():
            axis = self.axes[name]
            if axis.target == "algorithm" or axis.target == "workload" or axis.target == "chip":
                things[axis.target] = value
            else:
                knobs[axis.target][axis.name] = value
        named = self.named
        inputs = Inputs(
            algorithm=named.algorithms[str(things["algorithm"])],
            workload=named.workloads.get(str(things["workload"])),
            chip=named.chips.get(str(things["chip"])),
            knobs=knobs,
            timing_only=self.text.timing_only,
            skip=self.text.skip,
        )
        return self.builder.point(inputs)

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
            yield from self.file.attempt(path, partial(read_objective, name, goal, self.named.algorithms))

    def _constraints(self) -> Iterator[Constraint]:
        for i, text in enumerate(self.text.constraints):
            yield from self.file.attempt(("constraints", i), partial(read_constraint, text, self.named.algorithms))

    def _blocks(self) -> Iterator[PacedBlock]:
        for i, text in enumerate(self.text.blocks):
            read = partial(read_objective, text.metric, "min", self.named.algorithms)
            for metric in self.file.attempt(("blocks", i, "metric"), read):
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
