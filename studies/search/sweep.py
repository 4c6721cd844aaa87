"""A sweep: pending points of a study, evaluated and stored; the same call continues after a stop."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from hwmodels.reading.errors import InputError
from studies.families.attempt import attempt_to_store
from studies.families.family import family_of
from studies.points.outcome import Outcome
from studies.points.point import DesignPoint, Json
from studies.running.limits import Limits
from studies.running.progress import Progress
from studies.running.runner import Evaluate, OpenExecutor, open_processes, run_points
from studies.search.idle_axes import MOST_POINTS, idle_axes
from studies.store.provenance import provenance
from studies.store.store import Store
from studies.study.question import Question


@dataclass(frozen=True)
class SweepSummary:
    """What a sweep did and how the study stands now.

    Parameters
    ----------
    study, store
        Name and file.
    points
        Different points of the grid.
    evaluated
        Points evaluated by this call.
    skipped
        Points that were in the store already.
    done, failed
        State of the whole study after this call.
    wall_s, points_per_s
        Of this call.
    value_passes_reused
        Share of value passes that were taken from an earlier point of this call; None if there were none.
    code
        Finished points of the study by the state of the code that computed them.
    idle_axes
        Axes that changed no metric anywhere, with the number of points that were compared.
    """

    study: str
    store: str
    points: int
    evaluated: int
    skipped: int
    done: int
    failed: int
    wall_s: float
    points_per_s: float
    value_passes_reused: float | None
    code: dict[str, int]
    idle_axes: dict[str, int] = field(default_factory=dict)

    def describe(self) -> dict[str, Json]:
        """As plain JSON values."""
        return asdict(self)


def run_sweep(
    study: Question,
    store_path: Path | str,
    *,
    workers: int,
    retry_failed: bool = False,
    quiet: bool = False,
    evaluate: Evaluate = attempt_to_store,
    open_executor: OpenExecutor = open_processes,
    limits: Limits | None = None,
) -> SweepSummary:
    """Evaluate the points of `study` that the store does not have yet.

    Parameters
    ----------
    store_path
        SQLite file; created when missing.
    workers
        Points evaluated at the same time.
    retry_failed
        Evaluate points again that failed before.
    quiet
        No progress on stderr.
    evaluate
        Picklable function from a point to its outcome.
    open_executor
        Makes the executor that evaluates; local processes unless told otherwise.
    limits
        Of each point.

    Raises
    ------
    InputError
        The store cannot be used, or another process is writing to it.
    """
    started = time.monotonic()
    with Store(store_path, write=True) as store:
        store.enter_grid(study.name, study.points, study.describe())
        before = store.statuses(study.name)
        wanted = {"pending", "failed"} if retry_failed else {"pending"}
        by_key = {point.key: point for point in study.points}
        pending = in_structures([by_key[key] for key, status in before.items() if status in wanted])
        run = store.begin_run(provenance(study.describe()))

        told: dict[str, str] = {}

        def record(outcomes: Sequence[Outcome]) -> None:
            store.record(run, outcomes)
            if len(before) <= MOST_POINTS:
                told.update({each.key: each.written.told for each in outcomes if each.written})

        with Progress(len(pending), quiet=quiet) as progress:
            run_points(
                pending,
                evaluate,
                record,
                workers=workers,
                open_executor=open_executor,
                limits=limits,
                observer=progress,
            )
        counts = Counter(store.statuses(study.name).values())
        code = store.commits(study.name)
        idle = _idle_axes(study, store, told) if counts["done"] == len(before) else {}
    wall_s = time.monotonic() - started
    return SweepSummary(
        study=study.name,
        store=str(store_path),
        points=len(before),
        evaluated=progress.done,
        skipped=len(before) - len(pending),
        done=counts["done"],
        failed=counts["failed"],
        wall_s=wall_s,
        points_per_s=progress.points_per_s,
        value_passes_reused=progress.value_passes_reused,
        code=code,
        idle_axes=idle,
    )


def in_structures(points: Iterable[DesignPoint]) -> list[DesignPoint]:
    """Points of one structure one after the other, in the order in which structures come first."""
    found: dict[Hashable, list[DesignPoint]] = {}
    for point in points:
        found.setdefault(_structure(point), []).append(point)
    return [point for alike in found.values() for point in alike]


def _structure(point: DesignPoint) -> Hashable:
    try:
        return family_of(point).structure(point)
    except (InputError, TypeError):  # why it cannot be evaluated is said when it is tried
        return None


def _idle_axes(study: Question, store: Store, told: dict[str, str]) -> dict[str, int]:
    """Axes that changed nothing, by what this call was told of its points, or by all that is stored."""
    if study.space.size > MOST_POINTS:
        return {}
    return idle_axes(study, told if len(told) == len({point.key for point in study.points}) else store.told(study.name))
