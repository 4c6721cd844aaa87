"""``attnflow sweep``: evaluate all points of a study; the same command continues after a stop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hwmodels.reading.errors import InputError, Problem
from studies.cli.execution import (
    JobsOption,
    MemoryLimitOption,
    SchedulerOption,
    SlurmOption,
    TimeLimitOption,
    execution,
    read_limits,
)
from studies.cli.front_table import front_of, front_table
from studies.cli.output import EXIT_CHECK_FAILED, EXIT_OK, JsonFlag, QuietFlag, emit, note
from studies.cli.verb import verb
from studies.study.places import store_of

if TYPE_CHECKING:
    from studies.points.outcome import Row
    from studies.search.sweep import SweepSummary
    from studies.store.store import Store
    from studies.study.question import Question

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="Study file.")]
StoreOption = Annotated[
    Path | None, typer.Option("--store", help="SQLite file; out/NAME.sqlite if not given.", show_default=False)
]


def store_path(store: Path | None, name: str) -> Path:
    """The store that was asked for, or the usual one of a study, its folder made if need be."""
    if store is not None:
        return store
    path = store_of(name)
    try:
        path.parent.mkdir(exist_ok=True)
    except OSError as error:
        message = f"the folder cannot be made ({error.strerror}); name another place with --store"
        raise InputError(Problem(message, str(path.parent))) from None
    return path


MOST_SHOWN = 10
"""Designs of the front that are shown after a sweep."""
MOST_JUDGED = 20_000
"""Points beyond which the front is left to the report."""


@verb("sweep", order=20)
def sweep(
    study_file: StudyFile,
    store: StoreOption = None,
    jobs: JobsOption = None,
    scheduler: SchedulerOption = None,
    slurm: SlurmOption = None,
    time_limit: TimeLimitOption = None,
    memory_limit: MemoryLimitOption = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Evaluate failed points again.")] = False,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> int:
    """Evaluate every design point of a study and store it; the same command continues after a stop.

    A point that fails is stored with its reason. The exit code is 1 only if every point failed.

    Example: attnflow sweep studies/configs/lanes.yaml
    """
    from studies.running.warm_up import compile_engine
    from studies.search.sweep import run_sweep
    from studies.study.resolve import read_study

    limits = read_limits(time_limit, memory_limit)
    study = read_study(study_file)
    needs_engine = any(point.engine == "compiled" for point in study.samples().values())
    path = store_path(store, study.name)
    if needs_engine:
        compile_engine(quiet=quiet)
    try:
        with execution(jobs, scheduler, slurm, quiet=quiet) as where:
            summary = run_sweep(
                study,
                path,
                workers=where.workers,
                retry_failed=retry_failed,
                quiet=quiet,
                open_executor=where.open_executor,
                limits=limits,
            )
    except KeyboardInterrupt:
        note(f"stopped; finished points are in {path}, the same command continues", quiet=False)
        raise
    rate = f" at {summary.points_per_s:.3g} points/s" if summary.evaluated else ""
    emit(
        summary.describe(),
        lambda: (
            f"{summary.study}: {summary.done} of {summary.points} points done, {summary.failed} failed"
            f" ({summary.evaluated} evaluated now{rate},"
            f" {summary.skipped} there already{_reuse(summary)})\n"
            f"stored in {summary.store}{_front(path, study, summary)}"
        ),
        as_json=as_json,
    )
    if len(summary.code) > 1:
        states = ", ".join(f"{count} by {state}" for state, count in summary.code.items())
        note(f"points come from different states of the code: {states}", quiet=quiet)
    for axis, compared in summary.idle_axes.items():
        note(f"axis {axis} changed nothing in {compared} points: no metric depends on it here", quiet=quiet)
    if summary.failed and not quiet:
        note(f"the first that failed: {first_reason(path, summary.study)}", quiet=quiet)
        note("see all reasons in the report, or repeat with --retry-failed", quiet=quiet)
    return EXIT_CHECK_FAILED if summary.points and summary.failed == summary.points else EXIT_OK


def _front(path: Path, study: Question, summary: SweepSummary) -> str:
    """The best designs below the counts; nothing where there is none to choose, or too many points to look at.

    The points are those of the study, and of the store comes what the front is about: whole rows take longer to read
    than they took to simulate.
    """
    if not summary.done or summary.points > MOST_JUDGED:
        return ""
    from studies.families.metrics import metrics_of
    from studies.report.points import Points
    from studies.store.store import Store
    from studies.study.goals import Goals

    with Store(path) as store:
        goals = Goals.of({study.name: store.description(study.name)})
        wanted = [each.metric for each in goals.objectives]
        named = [*wanted, *(each.metric for each in goals.constraints.get(study.name, ()))]
        points = Points.of(_rows(store, study, [*named, "deadlock", "layers"]), goals)
        if not wanted or [each.name for each in points.objectives] != wanted:
            known = metrics_of(point.algorithm for point in study.points)
            named += [metric.name for metric in known if metric.goal]
            points = Points.of(_rows(store, study, [*named, "deadlock", "layers"]), goals)
    front = front_of(points)
    return f"\n\n{front_table(points, front, MOST_SHOWN)}" if front and len(points) > 1 else ""


def _rows(store: Store, study: Question, metrics: Sequence[str]) -> Iterator[Row]:
    """The points of a study with some of their metrics."""
    from studies.points.outcome import Outcome, Row

    measured = store.measured(study.name, list(dict.fromkeys(metrics)))
    for place, (point, (key, status, values)) in enumerate(zip(study.points, measured, strict=True)):
        outcome = Outcome(key, status, {name: value for name, value in values.items() if value is not None})
        yield Row(study.name, place, point, outcome, attempt=0, time_utc=None, provenance={})


def first_reason(path: Path, study: str) -> str:
    """Why the first point of a study that has no result has none; empty if all have one."""
    from studies.store.store import Store

    with Store(path) as store:
        errors = (row.outcome.error for row in store.rows(study) if row.outcome.status != "done")
        return next((" ".join(error.split()) for error in errors if error), "")


def _reuse(summary: SweepSummary) -> str:
    """How much of the computing of values was shared by points."""
    share = summary.value_passes_reused
    return "" if share is None else f"; {100 * share:.0f} % of the value passes shared"
