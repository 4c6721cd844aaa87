"""A sweep: pending points of a study, evaluated and stored; the same call continues after a stop."""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from math import ceil
from pathlib import Path

from hwmodels.reading.errors import InputError
from studies.families.attempt import attempt_to_store
from studies.families.family import family_of
from studies.points.outcome import Outcome, Status
from studies.points.point import DesignPoint, Json
from studies.running.limits import Limits
from studies.running.progress import Progress
from studies.running.runner import Evaluate, OpenExecutor, Runner, open_processes
from studies.search.idle_axes import MOST_POINTS, idle_axes
from studies.store.provenance import provenance
from studies.store.store import Store
from studies.study.question import SECTION, Question


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
        work = _Work(study, store, ("pending", "failed") if retry_failed else ("pending",))
        sections = work.sections()
        pending = next(sections, [])
        run = store.begin_run(provenance(study.describe()))

        told: dict[str, str] = {}

        def record(outcomes: Sequence[Outcome]) -> None:
            store.record(run, outcomes)
            if study.space.size <= MOST_POINTS:
                told.update({each.key: each.written.told for each in outcomes if each.written})

        with (
            Progress(work.expected, quiet=quiet) as progress,
            Runner(evaluate, workers=workers, open_executor=open_executor, limits=limits) as runner,
        ):

            def points() -> Iterator[DesignPoint]:
                for section in chain([pending], sections):
                    progress.expect(work.expected)
                    yield from section

            runner.run(points(), record, progress)
        counts = store.tally(study.name)
        code = store.commits(study.name)
        idle = _idle_axes(study, store, told) if counts["done"] == counts.total() else {}
    wall_s = time.monotonic() - started
    return SweepSummary(
        study=study.name,
        store=str(store_path),
        points=counts.total(),
        evaluated=progress.done,
        skipped=counts.total() - progress.done,
        done=counts["done"],
        failed=counts["failed"],
        wall_s=wall_s,
        points_per_s=progress.points_per_s,
        value_passes_reused=progress.value_passes_reused,
        code=code,
        idle_axes=idle,
    )


class _Work:
    """The points that a sweep has to evaluate, made and entered into the store a section of the grid at a time.

    Sections that an earlier call has finished are not made again: a study that is described alike, and has the same
    point wherever a value of an axis comes first, has the same grid.

    Parameters
    ----------
    wanted
        States of points that are evaluated.
    """

    def __init__(self, study: Question, store: Store, wanted: tuple[Status, ...]) -> None:
        self._study, self._store, self._wanted = study, store, wanted
        size = study.space.size
        several = size > SECTION
        entered = store.entered(study.name, study.describe(), study.samples()) if several else 0
        lacking = store.lacking(study.name, wanted, SECTION) if entered else {}
        lengths = {i: min(SECTION, size - i * SECTION) for i in range(ceil(size / SECTION))}
        self._left = {
            i: lacking.get(i, 0) if i * SECTION + length <= entered else length for i, length in lengths.items()
        }
        self._kept = size if entered or not several else 0

    @property
    def expected(self) -> int:
        """Points to evaluate in all, as far as is known: some may turn out to be in several places of the grid."""
        return sum(self._left.values())

    def sections(self) -> Iterator[list[DesignPoint]]:
        """Points to evaluate, section by section."""
        name, described = self._study.name, False
        for place, points in self._study.sections({i for i, left in self._left.items() if not left}):
            if not described:  # a study without a single point that can be made leaves nothing behind
                self._store.describe_study(name, self._study.describe(), self._kept)
                described = True
            self._store.extend_grid(name, place, points)
            states = self._store.statuses(name, place, len(points))
            found = {point.key: point for point in points}
            pending = in_structures(found[key] for key, status in states.items() if status in self._wanted)
            self._left[place // SECTION] = len(pending)
            yield pending


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
