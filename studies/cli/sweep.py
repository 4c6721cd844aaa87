"""``attnflow sweep``: evaluate all points of a study; the same command continues after a stop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from studies.cli.output import EXIT_CHECK_FAILED, EXIT_OK, JsonFlag, QuietFlag, emit, note

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="Study file.")]


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("sweep")(sweep)


def sweep(
    study_file: StudyFile,
    store: Annotated[
        Path | None, typer.Option(help="SQLite file; out/NAME.sqlite if not given.", show_default=False)
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(help="Worker processes; all processors if not given, 0 for none.", min=0, show_default=False),
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Evaluate failed points again.")] = False,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> int:
    """Evaluate every design point of a study and store it; the same command continues after a stop.

    A point that fails is stored with its reason. The exit code is 1 only if every point failed.
    """
    from studies.evaluate import attempt
    from studies.resolve import read_study
    from studies.runner import InlineExecutor, available_cpus, open_processes
    from studies.sweep import run_sweep
    from studies.warm_up import compile_engine

    study = read_study(study_file)
    needs_engine = any(point.engine == "compiled" for point in study.points)
    path = store or Path("out") / f"{study.name}.sqlite"
    if store is None:
        path.parent.mkdir(exist_ok=True)
    if needs_engine:
        compile_engine(quiet=quiet)
    try:
        summary = run_sweep(
            study,
            path,
            workers=max(jobs if jobs is not None else available_cpus(), 1),
            retry_failed=retry_failed,
            quiet=quiet,
            evaluate=attempt,
            open_executor=(lambda workers: InlineExecutor()) if jobs == 0 else open_processes,
        )
    except KeyboardInterrupt:
        note(f"stopped; finished points are in {path}, the same command continues", quiet=False)
        raise
    emit(
        summary.describe(),
        lambda: (
            f"{summary.study}: {summary.done} of {summary.points} points done, {summary.failed} failed"
            f" ({summary.evaluated} evaluated now at {summary.points_per_s:.3g} points/s,"
            f" {summary.skipped} there already)\nstored in {summary.store}"
        ),
        as_json=as_json,
    )
    if len(summary.code) > 1:
        states = ", ".join(f"{count} by {state}" for state, count in summary.code.items())
        note(f"points come from different states of the code: {states}", quiet=quiet)
    if summary.failed:
        note("see the reasons in the report, or repeat with --retry-failed", quiet=quiet)
    return EXIT_CHECK_FAILED if summary.points and summary.failed == summary.points else EXIT_OK
