"""Errors of replayed runs: for people, and as a table that the project keeps beside the fitted numbers."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from hwmodels.reading.errors import InputError, Problem
from studies.tables import table
from studies.validate.served.replay import MEAN_LIMIT_PCT, Replayed, ServedReport
from studies.words import percent, quantity

FIGURES = ("mean", "median", "p99")
HEADINGS = ("run", "requests", "kv_blocks", "kv_blocks_from", "preemptions", "table_error_pct")


def served_text(report: ServedReport) -> str:
    """A table per run, and whether it passes."""
    return "\n\n".join(map(_run_text, report.runs))


def _run_text(run: Replayed) -> str:
    version = run.run.text.vllm_version or "of unknown version"
    title = f"{run.run.name}: {len(run.run.requests)} requests, vLLM {version}"
    if not run.simulated:
        return f"{title}\nnot replayed: {run.why}"
    rows = [
        (
            what.removesuffix("_s"),
            figure,
            quantity(getattr(run.measured[what], figure), "s"),
            quantity(getattr(run.simulated[what], figure), "s"),
            f"{run.error_pct(what, figure):+.1f} %",
            f"{MEAN_LIMIT_PCT[what]:g} %" if figure == "mean" else "",
        )
        for what in run.simulated
        for figure in FIGURES
    ]
    off = percent(run.table.mean) if run.table else "0"
    return (
        f"{title}; {run.blocks:,} KV blocks from {run.blocks_from}; {run.preemptions:,} preemptions; step times read "
        f"from the table are off by {off}\n"
        + table(("what", "figure", "measured", "simulated", "off by", "may be"), rows)
        + f"\n{'passes' if run.passed else 'fails'}"
    )


def error_rows(report: ServedReport) -> Iterator[tuple[str, ...]]:
    """Heading, and a row per run that was replayed: errors alone, nothing of what was measured."""
    figures = [(what, figure) for what in MEAN_LIMIT_PCT for figure in FIGURES]
    yield (*HEADINGS, *(f"{what.removesuffix('_s')}_{figure}_error_pct" for what, figure in figures))
    for run in report.runs:
        if run.simulated:
            off = f"{100 * run.table.mean:.2f}" if run.table else ""
            own = (run.run.name, len(run.run.requests), run.blocks, run.blocks_from, run.preemptions, off)
            errors = [f"{run.error_pct(what, figure):.1f}" if what in run.simulated else "" for what, figure in figures]
            yield (*map(str, own), *errors)


def error_table(report: ServedReport) -> str:
    """The rows as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(error_rows(report))
    return text.getvalue()


def write_errors(report: ServedReport, path: Path) -> None:
    """Write the table; raises InputError where that cannot be."""
    try:
        path.write_text(error_table(report), encoding="utf-8")
    except OSError as error:
        raise InputError(Problem(error.strerror or "cannot be written", str(path))) from None
