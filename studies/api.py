"""Studies for scripts and notebooks: a question in a file or in Python, swept or searched, and its results."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from algorithms.kv.registry import ENTRY_POINTS, policies_of_the_script
from hwmodels.reading.calls import naming_the_nearest
from hwmodels.reading.cards import html_table
from hwmodels.reading.documents import read_text
from hwmodels.reading.errors import InputError, Problem
from studies.points.point import DesignPoint
from studies.results import Results
from studies.running.runner import OpenExecutor, available_cpus, open_inline, open_processes
from studies.search.search import run_search
from studies.search.sweep import run_sweep
from studies.study.axes import Choice, Space
from studies.study.places import store_of
from studies.study.question import Question
from studies.study.resolve import read_study, resolve
from studies.study.text import StudyText

_ASKED = dict.fromkeys(StudyText.model_fields.keys() - {"name", "title"}, "Study.ask takes it")
"""What `Study.ask` takes and other ways to a study do not."""


@dataclass(frozen=True)
class Study(Question):
    """A question and the means to answer it; see `Question` for the parameters."""

    @classmethod
    @naming_the_nearest("Study.of", _ASKED)
    def of(cls, name: str, points: Iterable[DesignPoint], title: str = "") -> Study:
        """A study of points made in Python: one axis, the number of the point."""
        listed = tuple(points)
        return cls(name, title, Space.of({"number": range(len(listed))}), lambda choice: listed[_number(choice)])

    @classmethod
    def from_yaml(cls, path: Path | str) -> Study:
        """The study in a file.

        Raises
        ------
        InputError
            With all problems of the file and of what it refers to.
        """
        return cls._of(read_study(path))

    @classmethod
    def ask(cls, name: str, **question: object) -> Study:
        """The study that a file of these fields would be; paths are relative to the present folder.

        >>> Study.ask("two", algorithm="sdpa.naive", workload={"seq_len": 8}, axes={"exp_cycles": [1, 2]}).space.size
        2

        Raises
        ------
        InputError
            With all problems of the fields and of what they refer to.
        """
        text = json.dumps({"name": name, **question})
        return cls._of(resolve(read_text(text, f"study {name}"), Path()))

    @classmethod
    def _of(cls, asked: Question) -> Study:
        return cls(
            asked.name,
            asked.title,
            asked.space,
            asked.point,
            asked.settings,
            asked.objectives,
            asked.constraints,
            asked.blocks,
            asked.tolerance,
        )

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
        chosen = Path(path) if path is not None else store_of(self.name)
        chosen.parent.mkdir(parents=True, exist_ok=True)
        return chosen

    def __repr__(self) -> str:
        return f"<Study {self.name}: {self.space.size:,} points along {', '.join(self.axes)}>"

    def _repr_html_(self) -> str:
        rows = [(name, str(list(values))[:200]) for name, values in self.axes.items()]
        rows += [
            ("objectives", ", ".join(map(str, self.objectives))),
            ("constraints", ", ".join(map(str, self.constraints))),
        ]
        title = f"Study {self.name}: {self.space.size:,} points"
        return html_table(title, ("axis", "values"), [row for row in rows if row[1]])


# after the decorator of the class, which writes it
type.__setattr__(Study, "__init__", naming_the_nearest("Study", _ASKED)(Study.__init__))


def _workers(jobs: int | None) -> tuple[int, OpenExecutor]:
    """How many workers, and what makes them."""
    return (1, open_inline) if jobs == 0 else (jobs or available_cpus(), open_processes)


def _number(choice: Choice) -> int:
    number = choice["number"]
    return number if isinstance(number, int) else 0
