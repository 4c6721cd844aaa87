"""``attnflow search``: look for the best designs of a study without evaluating all of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hwmodels.reading.errors import InputError, Problem, did_you_mean
from studies.cli.execution import (
    JobsOption,
    MemoryLimitOption,
    SchedulerOption,
    SlurmOption,
    TimeLimitOption,
    execution,
    read_limits,
)
from studies.cli.front_table import front_table
from studies.cli.output import EXIT_CHECK_FAILED, EXIT_OK, JsonFlag, QuietFlag, emit, note, table
from studies.cli.verb import verb
from studies.cli.verbs.sweep import StoreOption, StudyFile, first_reason, store_path

if TYPE_CHECKING:
    from algorithms.chip.timing.fidelity import MemoryFidelity
    from studies.search.confirm import Confirmation
    from studies.search.search import SearchSummary


@verb("search", order=30)
def search(
    study_file: StudyFile,
    evaluations: Annotated[int, typer.Option("--evaluations", "-n", help="Most designs to evaluate.", min=1)],
    sampler: Annotated[
        str, typer.Option(help="nsga2, tpe, qmc, random, or two_stage for two blocks that share a budget.")
    ] = "nsga2",
    seed: Annotated[int, typer.Option(help="Of the sampler.", min=0)] = 0,
    confirm: Annotated[
        str | None,
        typer.Option(help="Evaluate the front again with this fidelity of the main memory: analytic or cycle."),
    ] = None,
    store: StoreOption = None,
    jobs: JobsOption = None,
    scheduler: SchedulerOption = None,
    slurm: SlurmOption = None,
    time_limit: TimeLimitOption = None,
    memory_limit: MemoryLimitOption = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> int:
    """Look for designs that are best by the objectives of a study and keep its constraints.

    Results go to the same store as those of a sweep, and are taken from there; the same command continues after a
    stop. The exit code is 1 if no design was found that has a result and keeps the constraints.

    Example: attnflow search studies/configs/decode-h100.yaml -n 500
    """
    from studies.running.warm_up import compile_engine
    from studies.search.search import run_search
    from studies.study.resolve import read_study

    limits = read_limits(time_limit, memory_limit)
    fidelity = _fidelity(confirm)
    study = read_study(study_file)
    path = store_path(store, study.name)
    compile_engine(quiet=quiet)
    try:
        with execution(jobs, scheduler, slurm, quiet=quiet) as where:
            summary = run_search(
                study,
                path,
                sampler=sampler,
                evaluations=evaluations,
                seed=seed,
                workers=where.workers,
                quiet=quiet,
                open_executor=where.open_executor,
                limits=limits,
            )
            confirmation = None
            if fidelity is not None and summary.front:
                from studies.search.confirm import confirm_front

                confirmation = confirm_front(
                    path,
                    summary.study,
                    fidelity,
                    workers=where.workers,
                    quiet=quiet,
                    open_executor=where.open_executor,
                )
    except KeyboardInterrupt:
        note(f"stopped; finished points are in {path}, the same command continues", quiet=False)
        raise
    document = summary.describe() | ({"confirmation": confirmation.describe()} if confirmation else {})

    def text() -> str:
        return _text(summary, evaluations) + (f"\n\n{_confirmed(confirmation)}" if confirmation else "")

    emit(document, text, as_json=as_json)
    return EXIT_OK if summary.front else EXIT_CHECK_FAILED


def _fidelity(name: str | None) -> MemoryFidelity | None:
    from algorithms.chip.timing.fidelity import MEMORY_FIDELITIES

    for fidelity in MEMORY_FIDELITIES:
        if fidelity == name:
            return fidelity
    if name is None:
        return None
    raise InputError(
        Problem(f"unknown fidelity {name!r}", field="--confirm", hint=did_you_mean(name, MEMORY_FIDELITIES))
    )


def _confirmed(confirmation: Confirmation) -> str:
    """What became of the front under the better model."""
    rows = [
        (each.metric, each.rank_correlation, each.mean_change_pct, each.largest_change_pct)
        for each in confirmation.agreements
    ]
    header = ("objective", "rank correlation", "mean change %", "largest change %")
    stay = f"{len(confirmation.kept)} of {confirmation.front} stay on the front"
    return (
        f"memory {confirmation.confirmed} instead of {confirmation.screened}, on the front and"
        f" {confirmation.sample} other designs: {stay}\n{table(header, rows)}\n"
        f'stored as study "{confirmation.study}"'
    )


def _text(summary: SearchSummary, evaluations: int) -> str:
    from studies.words import count

    rate = f" at {summary.points_per_s:.3g} points/s" if summary.evaluated else ""
    head = (
        f"{summary.title}\n{summary.points:,} of {summary.space:,} designs looked at in"
        f" {count(summary.proposals, 'proposal')}: {summary.evaluated} evaluated now{rate},"
        f" {summary.reused} there already, {summary.failed} without result, {summary.infeasible} beyond a constraint"
    )
    if summary.points < min(evaluations, summary.space):
        head += f"\nstopped before {evaluations:,}: {summary.sampler} almost only repeats itself by now"
    tail = f'stored in {summary.store}; report it with --study "{summary.study}"'
    if not summary.front:
        reason = first_reason(Path(summary.store), summary.study) if summary.failed else ""
        why = f"\nthe first without result: {reason}" if reason else ""
        return f"{head}\nno design has a result and keeps the constraints{why}\n{tail}"
    return f"{head}\n\n{_front(summary)}\n\n{tail}"


def _front(summary: SearchSummary) -> str:
    """The best designs: what was chosen, and what came out."""
    from studies.report.points import Points
    from studies.store.store import Store
    from studies.study.goals import Goals

    with Store(summary.store) as store:
        rows = list(store.rows(summary.study))
        goals = Goals.of({summary.study: store.description(summary.study)})
    numbers = {row.outcome.key: i for i, row in enumerate(rows)}
    return front_table(Points.of(rows, goals), [numbers[key] for key in summary.front])
