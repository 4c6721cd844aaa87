"""A study file under examination: where its entries are written, and all that is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar, get_args

from hwmodels.reading.documents import Document, FieldPath
from hwmodels.reading.errors import InputError, Problem
from studies.points.point import Scalar
from studies.study.text import StudyText

T = TypeVar("T")
Sectioned = Literal["workload", "chip"]
SECTIONED: tuple[Sectioned, ...] = get_args(Sectioned)
"""Entries that name a thing and set knobs of it."""


@dataclass
class StudyFile:
    """The text of a study and its problems; nothing is raised until all has been looked at.

    Parameters
    ----------
    document
        The file, with the line of every entry.
    folder
        Where relative paths in it start.
    text
        What it says.
    problems
        What is wrong with it so far.
    """

    document: Document
    folder: Path
    text: StudyText
    problems: list[Problem]

    def complain(self, path: FieldPath, message: str, hint: str | None = None) -> None:
        """Note a problem at `path`, once."""
        problem = self.document.problem(path, message, hint)
        if problem not in self.problems:
            self.problems.append(problem)

    def attempt(self, path: FieldPath, action: Callable[[], T]) -> list[T]:
        """Result of `action` in a list; an empty one, and problems at `path`, when it refuses."""
        try:
            return [action()]
        except InputError as error:
            for problem in error.problems:
                if problem.file is None:
                    self.complain(path, problem.message, problem.hint)
                else:
                    self.problems.append(problem)
            return []

    @property
    def faulty(self) -> set[str]:
        """Entries with problems that are listed already."""
        return {re.split(r"[.\[]", problem.field)[0] for problem in self.problems if problem.field}

    def writes(self, *path: str) -> bool:
        """Whether there is an entry at `path`."""
        return path in self.document.lines

    def preset(self, key: Sectioned) -> Scalar:
        """What the entry ``workload`` or ``chip`` names, if anything."""
        section = self._section(key)
        return section.get("preset") if isinstance(section, dict) else section

    def settings(self, key: Sectioned) -> dict[str, Scalar]:
        """What the entry sets besides."""
        section = self._section(key)
        items = section.items() if isinstance(section, dict) else ()
        return {name: value for name, value in items if name != "preset"}

    def _section(self, key: Sectioned) -> str | dict[str, Scalar] | None:
        return self.text.workload if key == "workload" else self.text.chip

    def place(self, axis: str, position: int) -> FieldPath:
        """Where the document writes value number `position` of an axis."""
        if axis == "workload.seed" and self.text.seeds is not None:
            return ("seeds", position)
        paths: list[FieldPath] = [("axes", axis, position), ("axes", axis, "values", position)]
        return next((path for path in paths if path in self.document.lines), ("axes", axis))
