"""Published systems, read from their files: what runs, what was claimed, and what the figures hang on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from hwmodels.reading.documents import Document, FieldPath, Value, in_order
from hwmodels.reading.errors import InputError, Problem, did_you_mean
from hwmodels.reading.shipped import Shipped
from studies.points.point import DesignPoint, Scalar
from studies.reproductions.calculation import Calculation, get_calculation
from studies.reproductions.formulas import Formula, read_formula
from studies.reproductions.text import ClaimText, Group, PerturbText, SettingText, SystemText
from studies.study.resolve import resolve

ENTRY_POINT_GROUP = "attnflow.systems"
"""Entry points whose values are folders of further files, as text."""


@dataclass(frozen=True)
class Calculated:
    """A calculation with its parameters."""

    calculation: Calculation
    parameters: tuple[tuple[str, Scalar], ...]

    @property
    def key(self) -> str:
        """The same for the same calculation with the same parameters."""
        return json.dumps([self.calculation.name, *self.parameters])


Run = DesignPoint | Calculated


@dataclass(frozen=True)
class Claim:
    """A published value and the formulas of ours.

    Parameters
    ----------
    text
        As written.
    formulas
        Of our figure; several make a range, none a quotation.
    """

    text: ClaimText
    formulas: tuple[Formula, ...]

    @property
    def published(self) -> tuple[float, float]:
        """The published range; both ends are equal for a single value."""
        found = self.text.published
        return (float(found[0]), float(found[1])) if isinstance(found, list) else (float(found), float(found))


@dataclass(frozen=True)
class Perturbation:
    """A changed run, and the claims whose figures have to move with it.

    Parameters
    ----------
    name
        Run that is changed.
    run
        The run as changed.
    moves
        Metrics of the claims.
    """

    name: str
    run: Run
    moves: tuple[str, ...]


@dataclass(frozen=True)
class System:
    """A published system.

    Parameters
    ----------
    name
        Name of its file.
    title, family, paper, mechanism
        For people.
    setting
        Numbers of the setting by name.
    runs
        Designs and calculations by name.
    claims
        Published values.
    perturbations
        What the figures hang on.
    """

    name: str
    title: str
    family: Group
    paper: str
    mechanism: str
    setting: Mapping[str, SettingText]
    runs: Mapping[str, Run]
    claims: tuple[Claim, ...]
    perturbations: tuple[Perturbation, ...]


@cache
def _shipped() -> Shipped:
    more = tuple(Path(str(point.load())) for point in entry_points(group=ENTRY_POINT_GROUP))
    return Shipped("studies.reproductions", "systems", "published system", more)


def system_names() -> tuple[str, ...]:
    """Names of all systems that are known, sorted."""
    return _shipped().names()


def load_system(name_or_path: str | Path) -> System:
    """A system by name, or from a file.

    Raises
    ------
    InputError
        An unknown name, with the nearest one, or everything that is wrong with the file.
    """
    shipped = _shipped()
    document = shipped.open(name_or_path)
    return read_system(document, Path(str(name_or_path)).stem)


def read_system(document: Document, name: str) -> System:
    """The system in a document.

    Raises
    ------
    InputError
        Everything that is wrong with it, each with its line and field.
    """
    text, problems = document.validate_partly(SystemText)
    if text is None or problems:
        raise InputError(in_order(problems))
    return _Reader(document, text).system(name)


class _Reader:
    """Gives the text of a system its meaning; collects what is wrong with it."""

    def __init__(self, document: Document, text: SystemText) -> None:
        self.document = document
        self.text = text
        self.problems: list[Problem] = []

    def system(self, name: str) -> System:
        """Everything looked up, or every problem raised."""
        text = self.text
        runs = {run: found for run in text.runs for found in self._run(("runs", run), self._merged(run))}
        claims = tuple(found for number, claim in enumerate(text.claims) for found in self._claim(number, claim))
        metrics = [claim.metric for claim in text.claims]
        for number, metric in enumerate(metrics):
            if metric in metrics[:number]:
                self._complain(("claims", number, "metric"), f"the metric {metric!r} is there twice")
        perturbations = tuple(
            found for number, each in enumerate(text.perturb) for found in self._perturbation(number, each)
        )
        if any(claim.kind == "simulated" for claim in text.claims) and not text.perturb:
            self._complain(("claims",), "simulated figures need 'perturb': what they hang on")
        if self.problems:
            raise InputError(in_order(self.problems))
        return System(
            name, text.title, text.family, text.paper, text.mechanism, text.setting, runs, claims, perturbations
        )

    def _complain(self, path: FieldPath, message: str, hint: str | None = None) -> None:
        self.problems.append(self.document.problem(path, message, hint))

    # runs

    def _merged(self, name: str) -> dict[str, Value]:
        """What a run sets, over what the run that it is like sets."""
        own = self._written(("runs", name))
        like = own.pop("like", None)
        if like is None:
            return own
        earlier = list(self.text.runs)[: list(self.text.runs).index(name)]
        if like not in earlier:
            self._complain(
                ("runs", name, "like"), f"no earlier run is called {like!r}", did_you_mean(str(like), earlier)
            )
            return own
        return _over(self._merged(str(like)), own)

    def _written(self, path: FieldPath) -> dict[str, Value]:
        found = self.document.at(path)
        return dict(found) if isinstance(found, dict) else {}

    def _run(self, path: FieldPath, said: dict[str, Value]) -> Iterator[Run]:
        """The design or calculation that is said, unless there is something wrong with it."""
        if ("algorithm" in said) == ("calculation" in said):
            self._complain(path, "a run has either an 'algorithm' or a 'calculation'")
            return
        try:
            yield self._calculated(said) if "calculation" in said else self._designed(path, said)
        except InputError as error:
            for problem in error.problems:
                inner: FieldPath = tuple((problem.field or "").split(".")) if problem.field else ()
                placed = self.document.problem((*path, *inner), problem.message, problem.hint)
                self.problems.append(placed)

    @staticmethod
    def _calculated(said: Mapping[str, Value]) -> Calculated:
        strange = [key for key in said if key not in ("calculation", "parameters")]
        if strange:
            raise InputError([Problem("does not apply to a calculation", field=key) for key in strange])
        found = get_calculation(str(said["calculation"]))
        given = said.get("parameters")
        values = (
            {key: value for key, value in given.items() if not isinstance(value, list | dict)}
            if isinstance(given, dict)
            else {}
        )
        return Calculated(found, tuple(sorted(found.read(values).items())))

    def _designed(self, path: FieldPath, said: dict[str, Value]) -> DesignPoint:
        """A design, read as the study of one point that it is."""
        depth = len(path)
        lines = {at[depth:]: line for at, line in self.document.lines.items() if at[:depth] == path}
        question = resolve(Document("", {"name": "run", **said}, lines), Path())
        return next(question.point(choice) for choice in question.space.choices())

    # claims

    def _claim(self, number: int, claim: ClaimText) -> Iterator[Claim]:
        formulas = []
        for each in claim.formulas:
            try:
                formulas.append(read_formula(each))
            except InputError as error:
                self._complain(("claims", number, "ours"), error.problems[0].message)
                return
        used = [name for formula in formulas for name in formula.names]
        runs = [name.partition(".") for name in used if "." in name]
        for run, _, _ in runs:
            if run not in self.text.runs:
                hint = did_you_mean(run, self.text.runs)
                self._complain(("claims", number, "ours"), f"no run is called {run!r}", hint)
        for name in used:
            if "." not in name and name not in self.text.setting:
                hint = did_you_mean(name, self.text.setting)
                self._complain(("claims", number, "ours"), f"the setting has no {name!r}", hint)
        if claim.kind == "simulated" and not runs:
            self._complain(("claims", number, "kind"), "no run is part of the formula: that is arithmetic")
        yield Claim(claim, tuple(formulas))

    def _perturbation(self, number: int, change: PerturbText) -> Iterator[Perturbation]:
        path: FieldPath = ("perturb", number)
        if change.run not in self.text.runs:
            self._complain((*path, "run"), f"no run is called {change.run!r}", did_you_mean(change.run, self.text.runs))
            return
        known = [claim.metric for claim in self.text.claims if claim.ours is not None]
        for place, metric in enumerate(change.moves):
            if metric not in known:
                self._complain((*path, "moves", place), f"no figure is called {metric!r}", did_you_mean(metric, known))
        said = self._written(path)
        own = {key: value for key, value in said.items() if key not in ("run", "moves")}
        for run in self._run(path, _over(self._merged(change.run), own)):
            yield Perturbation(change.run, run, tuple(change.moves))


def _over(base: dict[str, Value], own: Mapping[str, Value]) -> dict[str, Value]:
    """What is said, over a base; sections are merged entry by entry, a bare name as the preset of one."""
    merged = dict(base)
    if "algorithm" in own or "calculation" in own:
        merged.pop("algorithm", None)
        merged.pop("calculation", None)
    for key, value in own.items():
        before = merged.get(key)
        if isinstance(value, dict) and isinstance(before, str):
            before = {"preset": before}
        merged[key] = {**before, **value} if isinstance(value, dict) and isinstance(before, dict) else value
    return merged
