"""A study: the space of designs that a question is about, and what makes one of them better than another."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from hwmodels.reading.errors import InputError, Problem
from studies.points.point import DesignPoint, Json, Scalar
from studies.study.axes import Choice, Space
from studies.study.goals import Constraint, Objective, PacedBlock

if TYPE_CHECKING:
    from studies.results import Results
    from studies.running.runner import OpenExecutor

LARGEST_GRID = 200_000


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
    space
        Its axes.
    point
        The design point of a combination of the axes; raises InputError where they do not fit together.
    settings
        Every resolved value with its origin.
    objectives, constraints
        What to look for; reports fall back on the metrics that have a direction.
    blocks
        Two that work side by side, for a search in two stages; none for most studies.
    """

    name: str
    title: str
    space: Space
    point: Callable[[Choice], DesignPoint] = field(repr=False)
    settings: tuple[Setting, ...] = ()
    objectives: tuple[Objective, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    blocks: tuple[PacedBlock, ...] = ()

    @classmethod
    def of(cls, name: str, points: Iterable[DesignPoint], title: str = "") -> Study:
        """A study of points made in Python: one axis, the number of the point."""
        listed = tuple(points)
        return cls(name, title, Space.of({"number": range(len(listed))}), lambda choice: listed[_number(choice)])

    @cached_property
    def points(self) -> tuple[DesignPoint, ...]:
        """Its whole grid, the last axis changing fastest.

        Raises
        ------
        InputError
            If the grid is too large to be swept.
        """
        if self.space.size > LARGEST_GRID:
            size, limit = f"{self.space.size:,}", f"{LARGEST_GRID:,}"
            raise InputError(
                f"the grid of {self.name} has {size} points, more than {limit}: "
                "thin its axes, or let `attnflow search` choose"
            )
        return tuple(self.point(choice) for choice in self.space.choices())

    @classmethod
    def from_yaml(cls, path: Path | str) -> Study:
        """The study in a file.

        Raises
        ------
        InputError
            With all problems of the file and of what it refers to.
        """
        from studies.study.resolve import read_study

        return read_study(path)

    def sweep(
        self,
        store: Path | str | None = None,
        *,
        jobs: int | None = None,
        quiet: bool = True,
        retry_failed: bool = False,
    ) -> Results:
        """Evaluate every point that the store does not have yet; what ``attnflow sweep`` does.

        Parameters
        ----------
        store
            SQLite file; ``out/NAME.sqlite`` if not given.
        jobs
            Worker processes; all processors if not given, 0 for none.
        quiet
            No progress on stderr.
        retry_failed
            Evaluate points again that failed before.

        Raises
        ------
        InputError
            The store cannot be used, or another process is writing to it.
        """
        from studies.results import Results
        from studies.search.sweep import run_sweep

        path = self._store(store)
        self._check_reach(jobs)
        workers, opened = _workers(jobs)
        summary = run_sweep(self, path, workers=workers, open_executor=opened, quiet=quiet, retry_failed=retry_failed)
        return Results(path, self.name, summary.describe())

    def search(
        self,
        evaluations: int,
        store: Path | str | None = None,
        *,
        sampler: str = "nsga2",
        seed: int = 0,
        jobs: int | None = None,
        quiet: bool = True,
    ) -> Results:
        """Look for the best designs by the objectives; what ``attnflow search`` does. Parameters as for `sweep`."""
        from studies.results import Results
        from studies.search.search import run_search

        path = self._store(store)
        self._check_reach(jobs)
        workers, opened = _workers(jobs)
        summary = run_search(
            self,
            path,
            sampler=sampler,
            evaluations=evaluations,
            seed=seed,
            workers=workers,
            open_executor=opened,
            quiet=quiet,
        )
        return Results(path, summary.study, summary.describe())

    def _check_reach(self, jobs: int | None) -> None:
        """Refuse worker processes for a study of policies that only this script knows."""
        from algorithms.kv.registry import ENTRY_POINTS, policies_of_the_script

        if jobs == 0:
            return
        values = [
            *(setting.value for setting in self.settings),
            *(value for axis in self.space.axes for value in axis.values),
        ]
        text = " ".join(map(str, values))
        alone = [name for name in policies_of_the_script() if re.search(rf"\b{re.escape(name)}\b", text)]
        if alone:
            message = f"worker processes do not know KV policies of this script: {', '.join(alone)}"
            raise InputError(Problem(message, field="jobs", hint=f"jobs=0, or an entry point {ENTRY_POINTS}"))

    def _store(self, path: Path | str | None) -> Path:
        chosen = Path(path) if path is not None else Path("out") / f"{self.name}.sqlite"
        chosen.parent.mkdir(parents=True, exist_ok=True)
        return chosen

    def _repr_html_(self) -> str:
        from hwmodels.reading.cards import html_table

        rows = [(name, str(list(values))[:200]) for name, values in self.axes.items()]
        rows += [
            ("objectives", ", ".join(map(str, self.objectives))),
            ("constraints", ", ".join(map(str, self.constraints))),
        ]
        title = f"Study {self.name}: {self.space.size:,} points"
        return html_table(title, ("axis", "values"), [row for row in rows if row[1]])

    @property
    def axes(self) -> dict[str, tuple[Scalar, ...]]:
        """Values of every axis by name."""
        return {axis.name: axis.values for axis in self.space.axes}

    def describe(self) -> dict[str, Json]:
        """The study as plain JSON values, for provenance and ``config show``."""
        conditions = {axis.name: {name: list(values) for name, values in axis.when} for axis in self.space.axes}
        return {
            "name": self.name,
            "title": self.title,
            "points": self.space.size,
            "axes": {name: list(values) for name, values in self.axes.items()},
            "conditions": {name: when for name, when in conditions.items() if when},
            "objectives": {objective.metric: objective.goal for objective in self.objectives},
            "constraints": [str(constraint) for constraint in self.constraints],
            "blocks": [{"metric": block.metric, "axes": list(block.axes)} for block in self.blocks],
            "settings": {setting.name: {"value": setting.value, "origin": setting.origin} for setting in self.settings},
        }


def _workers(jobs: int | None) -> tuple[int, OpenExecutor]:
    """How many workers, and what makes them."""
    from studies.running.runner import available_cpus, open_inline, open_processes

    return (1, open_inline) if jobs == 0 else (jobs or available_cpus(), open_processes)


def _number(choice: Choice) -> int:
    number = choice["number"]
    return number if isinstance(number, int) else 0
