"""Figures of runs: designs through a store, which resumes, and calculations beside them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from studies.api import Study
from studies.points.outcome import Outcome
from studies.points.point import DesignPoint, Scalar
from studies.reproductions.system import Calculated, Run, System
from studies.store.store import Store

STUDY = "reproductions"
DEFAULT_STORE = Path("out") / f"{STUDY}.sqlite"
MISFIT = "does not fit"
"""Words of every error about too little memory."""


@dataclass(frozen=True)
class Ran:
    """Figures of a run.

    Parameters
    ----------
    figures
        Numbers by name; ``fits`` among them for designs: 1, or 0 for one that some memory cannot hold.
    wall_s
        Time that they took on the computer that made them.
    error
        Reason if there are none.
    """

    figures: Mapping[str, float]
    wall_s: float
    error: str = ""


@dataclass(frozen=True)
class Done:
    """Designs that have been evaluated, by key; calculations are made when they are asked for."""

    outcomes: Mapping[str, Outcome]

    def of(self, run: Run) -> Ran:
        """What came out of a run."""
        if isinstance(run, Calculated):
            return _calculated(run)
        outcome = self.outcomes[run.key]
        if outcome.status == "done":
            return Ran({"fits": 1.0, **_numbers(outcome.metrics)}, outcome.wall_s)
        error = outcome.error or "no reason is known"
        return Ran({"fits": 0.0} if MISFIT in error else {}, outcome.wall_s, error)


def evaluate_runs(
    runs: Iterable[Run], store: Path | str = DEFAULT_STORE, *, jobs: int | None = None, quiet: bool = True
) -> Done:
    """Evaluate all designs among `runs` that the store does not have yet.

    Parameters
    ----------
    store
        SQLite file; created when missing.
    jobs
        Worker processes; all processors if not given, 0 for none.
    quiet
        No progress on stderr.

    Raises
    ------
    InputError
        The store cannot be used, or another process is writing to it.
    """
    points = {run.key: run for run in runs if isinstance(run, DesignPoint)}
    if not points:
        return Done({})
    Study.of(STUDY, points.values()).sweep(store, jobs=jobs, quiet=quiet)
    with Store(store) as opened:
        return Done(opened.outcomes(list(points)))


def runs_of(systems: Iterable[System]) -> list[Run]:
    """Runs of systems, in order."""
    return [run for system in systems for run in system.runs.values()]


@cache
def _calculated(run: Calculated) -> Ran:
    started = time.perf_counter()
    figures = dict(run.calculation.compute(**dict(run.parameters)))
    return Ran(figures, time.perf_counter() - started)


def _numbers(metrics: Mapping[str, Scalar]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items() if isinstance(value, int | float)}
