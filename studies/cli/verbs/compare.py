"""``attnflow compare``: two runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hwmodels.reading.errors import InputError, Problem
from studies.cli.output import EXIT_CHECK_FAILED, EXIT_OK, JsonFlag, QuietFlag, emit, note, table
from studies.cli.verb import verb

if TYPE_CHECKING:
    from studies.compare import Comparison, MetricDelta, Run

RUN_HELP = "JSON file of `attnflow run --json`, or STORE.sqlite:KEY."
STALL_ROWS = 20


@verb("compare", order=80)
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help=RUN_HELP)],
    b: Annotated[str, typer.Argument(metavar="B", help=RUN_HELP)],
    tolerance: Annotated[
        float, typer.Option(metavar="PCT", help="Largest difference that is fine, in percent of A.")
    ] = 0.0,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="Metric to hold to the tolerance; repeatable; cycles, or a tier's rate."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write a page about both, too: HTML.", show_default=False)
    ] = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> int:
    """Show how two runs differ: settings, metrics, stalls. Exit code 1 if they differ by more than the tolerance.

    Example: attnflow compare a.json b.json --tolerance 0.01
    """
    from studies.compare import compare as compare_runs

    first, second = _read((a, b))
    comparison = compare_runs(first, second, tolerance_pct=tolerance, compared=metric or ())
    if output is not None:
        _write_page(comparison, output)
        note(f"wrote {output}", quiet=quiet)
    emit(comparison.describe(), lambda: _text(comparison), as_json=as_json)
    return EXIT_OK if comparison.within else EXIT_CHECK_FAILED


def _write_page(comparison: Comparison, path: Path) -> None:
    from studies.report.comparison import write_comparison

    try:
        write_comparison(comparison, path)
    except OSError as error:
        raise InputError(Problem(f"cannot be written: {error.strerror}", str(path))) from None


def _read(sources: tuple[str, str]) -> list[Run]:
    from studies.run_files import read_run

    runs: list[Run] = []
    problems: list[Problem] = []
    for source in sources:
        try:
            runs.append(read_run(source))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return runs


def _text(comparison: Comparison) -> str:
    parts = [f"A  {comparison.a.source}\nB  {comparison.b.source}"]
    if comparison.changes:
        parts.append(table(("setting", "A", "B"), [(c.name, str(c.a), str(c.b)) for c in comparison.changes]))
    else:
        parts.append("The settings are the same.")
    shown = [delta for delta in comparison.deltas if delta.compared or delta.a != delta.b]
    parts.append(table(("metric", "unit", "A", "B", "B - A", "change"), [_metric_row(delta) for delta in shown]))
    if comparison.stalls:
        largest = sorted(comparison.stalls, key=lambda stall: -abs(stall.delta))[:STALL_ROWS]
        rows = [(stall.unit, stall.use, stall.a, stall.b, stall.delta) for stall in largest]
        parts.append(table(("unit", "cycles go to", "A", "B", "B - A"), rows))
        if len(comparison.stalls) > STALL_ROWS:
            parts.append(f"and {len(comparison.stalls) - STALL_ROWS} smaller changes; --json has them all")
    return "\n\n".join([*parts, _verdict(comparison)])


def _metric_row(delta: MetricDelta) -> tuple[object, ...]:
    percent = "-" if delta.delta_pct is None else f"{delta.delta_pct:+.3g}%"
    values = [value[:12] if isinstance(value, str) else value for value in (delta.a, delta.b)]
    return (delta.metric.shown, delta.metric.unit, *values, delta.delta, percent)


def _verdict(comparison: Comparison) -> str:
    limit = f"{comparison.tolerance_pct:g} %"
    beyond = [delta.metric.name for delta in comparison.deltas if delta.compared and not delta.within]
    if beyond:
        return f"DIFFERENT: {', '.join(beyond)} differ by more than {limit}"
    compared = [delta.metric.name for delta in comparison.deltas if delta.compared]
    return f"same within {limit}: {', '.join(compared)}"
