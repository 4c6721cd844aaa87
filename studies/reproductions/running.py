"""Figures of runs: designs through a store, which resumes, and calculations beside them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from hwmodels.reading.shipped import is_there
from simulator.engines.progress import report
from studies.api import Study
from studies.points.outcome import Outcome
from studies.points.point import DesignPoint, Json
from studies.reproductions.system import Calculated, Run, System
from studies.running.runner import available_cpus, open_processes
from studies.store.provenance import code_state, provenance
from studies.store.store import Store

STUDY = "reproductions"
DEFAULT_STORE = Path("out") / f"{STUDY}.sqlite"
CALCULATIONS = "calculations"
"""Words for how far those that need no design are."""
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
    """Runs that have been evaluated.

    Parameters
    ----------
    outcomes
        Of designs, by key.
    calculated
        What calculations made.
    """

    outcomes: Mapping[str, Outcome]
    calculated: Mapping[Calculated, Ran]

    def of(self, run: Run) -> Ran:
        """What came out of a run."""
        if isinstance(run, Calculated):
            return self.calculated[run]
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
    known = list(runs)
    calculations = list(dict.fromkeys(run for run in known if isinstance(run, Calculated)))
    calculated = _calculate(calculations, Path(store), available_cpus() if jobs is None else jobs)
    points = {run.key: run for run in known if isinstance(run, DesignPoint)}
    if not points:
        return Done({}, calculated)
    Path(store).parent.mkdir(parents=True, exist_ok=True)
    Study.of(STUDY, points.values()).sweep(store, jobs=jobs, quiet=quiet)
    with Store(store) as opened:
        return Done(opened.outcomes(list(points)), calculated)


def of_other_code(store: Path | str) -> int:
    """How many designs of the last call were evaluated by other code than this, of which a store may have results."""
    if not is_there(Path(store)):
        return 0
    with Store(store) as opened:
        made = opened.commits(STUDY)
    return sum(made.values()) - made.get(code_state(provenance(STUDY)), 0)


def runs_of(systems: Iterable[System]) -> list[Run]:
    """Runs of systems, in order."""
    return [run for system in systems for run in system.runs.values()]


def _calculate(runs: Sequence[Calculated], store: Path, workers: int) -> dict[Calculated, Ran]:
    """Results of calculations, those that this code has made before from the file beside the store."""
    beside = store.with_suffix(".calculations.json")
    code = code_state(provenance(STUDY))
    kept = _read(beside, code)
    missing = [run for run in runs if run.key not in kept]
    if workers > 1 and len(missing) > 1:
        with open_processes(min(workers, len(missing))) as pool:
            made = _counted(pool.map(calculated, missing), len(missing))
    else:
        made = _counted(map(calculated, missing), len(missing))
    kept |= {run.key: ran for run, ran in zip(missing, made, strict=True)}
    if missing:
        beside.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"code": code, "results": {key: asdict(ran) for key, ran in kept.items()}}, allow_nan=False)
        draft = beside.with_suffix(f".{os.getpid()}.tmp")
        draft.write_text(text, encoding="utf-8")
        draft.replace(beside)
    return {run: kept[run.key] for run in runs}


def _counted(results: Iterable[Ran], total: int) -> list[Ran]:
    """The results, each told of when it comes."""
    came: list[Ran] = []
    report(CALCULATIONS, 0, total)
    for result in results:
        came.append(result)
        report(CALCULATIONS, len(came), total)
    return came


def _read(path: Path, code: str) -> dict[str, Ran]:
    """Results in a file by key; none where there is no such file, or other code wrote it."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["code"] != code:
            return {}
        return {key: Ran(**ran) for key, ran in document["results"].items()}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def calculated(run: Calculated) -> Ran:
    """What a calculation makes, and how long it took."""
    started = time.perf_counter()
    figures = dict(run.calculation.compute(**dict(run.parameters)))
    return Ran({name: float(value) for name, value in figures.items()}, time.perf_counter() - started)


def _numbers(metrics: Mapping[str, Json]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items() if isinstance(value, int | float)}
