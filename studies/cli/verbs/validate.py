"""``attnflow validate``: the project's models against files of known results."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hwmodels.reading.errors import InputError, Problem
from studies.cli.output import EXIT_CHECK_FAILED, EXIT_OK, JsonFlag, QuietFlag, emit, note, table
from studies.cli.verb import verb_group

if TYPE_CHECKING:
    from collections.abc import Callable

    from studies.validate.measured.validate import MeasuredReport
    from studies.validate.models.score import ModelsReport
    from studies.validate.records import ValidationReport

CasesOption = Annotated[Path, typer.Option("--cases", metavar="FILE", help="JSON file of cases.", show_default=False)]
PageOption = Annotated[
    Path | None,
    typer.Option("--output", metavar="FILE", help="Also write a page: errors by group, measured/predicted."),
]
EngineOption = Annotated[str, typer.Option(help="compiled, or simpy: slow, written to be read.")]

validate = verb_group(
    "validate",
    "Run the project's models on a file of known results; exit code 1 if any disagrees.",
    __name__,
    order=170,
)


@validate.command("analytic")
def analytic(as_json: JsonFlag = False, quiet: QuietFlag = False) -> int:
    """Closed forms for DRAM against the cycle-level model, all presets and patterns: where they can be trusted.

    Example: attnflow validate analytic
    """
    from studies.validate.analytic import validate_analytic

    note("all DRAM presets and patterns, simulated and estimated (the first may compile for a minute) ...", quiet=quiet)
    return show(validate_analytic(), as_json=as_json)


@validate.command("dam")
def dam(
    cases: CasesOption, engine: EngineOption = "compiled", as_json: JsonFlag = False, quiet: QuietFlag = False
) -> int:
    """Cycles and deadlocks of DAM's attention graphs, exactly.

    Example: attnflow validate dam --cases cases.json
    """
    from studies.cli.options import read_engine
    from studies.running.warm_up import announce_compilation
    from studies.validate.dam.validate import load_cases, validate_cases

    chosen, loaded = read_engine(engine), load_cases(cases)
    announce_compilation(chosen, quiet=quiet)
    return show(validate_cases(loaded, chosen), as_json=as_json)


@validate.command("dram")
def dram(cases: CasesOption, as_json: JsonFlag = False, quiet: QuietFlag = False) -> int:
    """Bandwidth, latency and activations of DRAMsim3 and Ramulator 2.1.

    Example: attnflow validate dram --cases cases.json
    """
    from studies.validate.dram.cases import load_dram_cases
    from studies.validate.dram.validate import validate_cases

    loaded = load_dram_cases(cases)
    note(f"{len(loaded.results)} runs (the first may compile for a minute) ...", quiet=quiet)
    return show(validate_cases(loaded), as_json=as_json)


@validate.command("gpu")
def gpu(cases: CasesOption, output: PageOption = None, as_json: JsonFlag = False, quiet: QuietFlag = False) -> int:
    """Times and bytes of measured GPU kernels: public collections, or records of `attnflow measure`.

    Example: attnflow validate gpu --cases cases.json
    """
    from studies.running.warm_up import announce_compilation
    from studies.validate.gpu.cases import load_points
    from studies.validate.gpu.validate import validate_points

    loaded = load_points(cases)
    announce_compilation("compiled", quiet=quiet)
    report = validate_points(loaded)
    if output is not None:
        from studies.report.validation import write_validation

        try:
            write_validation(report, output)
        except OSError as error:
            raise InputError(Problem(error.strerror or "cannot be written", str(output))) from None
        note(f"{output}: {len(report.rows)} cases", quiet=quiet)
    return show(report, as_json=as_json)


@validate.command("kv")
def kv(cases: CasesOption, as_json: JsonFlag = False, quiet: QuietFlag = False) -> int:
    """Kept sets, outputs and costs of KV policies against runs of their published code.

    Example: attnflow validate kv --cases cases.json
    """
    del quiet
    from studies.validate.kv.validate import validate_kv

    return show(validate_kv(cases), as_json=as_json)


@validate.command("measured")
def measured(
    tables: Annotated[Path, typer.Option("--tables", metavar="FOLDER_OR_FILE", help="CSV or Parquet.")],
    only: Annotated[str, typer.Option(help="Tables, with commas between; all that are scored if empty.")] = "",
    gpu: Annotated[str, typer.Option(help="As the tables call it; all if empty.")] = "",
    split: Annotated[str, typer.Option(help="validate (all but calibrate), calibrate, or all.")] = "validate",
    sample: Annotated[int | None, typer.Option(min=1, help="About so many rows, of every group its share.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the sample.")] = 0,
    output: Annotated[Path | None, typer.Option("--output", metavar="FILE", help="Also write a page.")] = None,
    errors: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write errors by group as CSV.")] = None,
    source: Annotated[str, typer.Option(help="Collection and commit of the tables, for that file.")] = "not given",
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> int:
    """Times of kernels of serving stacks, by GPU, stack, version and kernel: how far predictions are off, and where.

    Example: attnflow validate measured --tables folder --only gemm
    """
    from studies.validate.measured.command import measured_report

    note(f"reading {tables} ...", quiet=quiet)
    report = measured_report(
        tables,
        only=only,
        gpu=gpu,
        split=split,
        sample=sample,
        seed=seed,
        errors=errors,
        source=source,
    )
    if output is not None:
        from studies.report.measured import write_measured

        try:
            write_measured(report, output)
        except OSError as error:
            raise InputError(Problem(error.strerror or "cannot be written", str(output))) from None
        note(f"{output}: {report.rows:,} rows", quiet=quiet)
    emit(report.to_json(), lambda: _measured_text(report), as_json=as_json)
    return EXIT_OK


@validate.command("host")
def host(
    record: Annotated[Path, typer.Option("--record", metavar="FILE", help="Of `measure --device`.")],
    chip: Annotated[str, typer.Option(help="Chip or chip file; that of the record's ceilings if empty.")] = "",
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> int:
    """A computer's own record: kernels predicted on a chip made of its ceilings, beside the times measured.

    Example: attnflow validate host --record host.json
    """
    from hwmodels.chips.accelerator import load_accelerator
    from studies.validate.host.chip import host_chip
    from studies.validate.host.record import read_host_record
    from studies.validate.host.score import score_host, summary

    read = read_host_record(record)
    with tempfile.TemporaryDirectory() as folder:
        used = load_accelerator(chip) if chip else host_chip(read, Path(folder), f"measured, {record.name}")
    scores = score_host(read, used)
    note(f"{len(scores)} cases on {used.name}", quiet=quiet)
    document = {
        "kind": "host",
        "chip": used.name,
        "summary": summary(scores),
        "rows": [each.to_json() for each in scores],
    }
    lines = [(each.point.id, each.point.time_us, each.predicted_us, each.error_pct, each.bound) for each in scores]
    headings = ("case", "measured us", "predicted us", "error %", "longest")
    emit(document, lambda: table(headings, lines), as_json=as_json)
    return EXIT_OK if not summary(scores)["wrong_values"] else EXIT_CHECK_FAILED


def _measured_text(report: MeasuredReport) -> str:
    """A line per group, then why rows have no prediction."""
    from studies.validate.measured.score import GROUP_HEADINGS

    head = f"validate measured: {report.rows:,} rows in {report.seconds:.0f} s, split {report.asked.split}"
    lines = [(*vars(group.key).values(), *group.row()) for group in report.groups]
    parts = [head, table(("table", "gpu", "stack", "version", "kernel", *GROUP_HEADINGS), lines)]
    reasons = Counter[str]()
    for group in report.groups:
        reasons.update(group.reasons)
    if reasons:
        parts.append(table(("rows", "why they have no prediction"), [(n, why) for why, n in reasons.most_common()]))
    return "\n\n".join(parts)


@validate.command("mla")
def mla(
    cases: CasesOption,
    chip: Annotated[str, typer.Option(help="Chip that plans are made for; counters are the same on all.")] = "h100",
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> int:
    """FLOP and bytes of attention blocks, exactly, and against closed formulas.

    Example: attnflow validate mla --cases cases.json
    """
    del quiet
    from hwmodels.chips.accelerator import load_accelerator
    from studies.validate.mla.validate import validate_mla

    return show(validate_mla(cases, load_accelerator(chip)), as_json=as_json)


@validate.command("models")
def models(
    tables: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder of measured tables; published rates alone without one."),
    ] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, help="Cases of every group, at random; all if not given.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sample.")] = 1,
    errors: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the errors as CSV.")] = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> int:
    """Steps and layers of whole models against published rates and measured tables, by model, GPU, batch and chips.

    Example: attnflow validate models
    """
    from hwmodels.reading.shipped import is_folder
    from studies.validate.models.error_table import write_errors
    from studies.validate.models.validate import model_cases, validate_models

    if tables is not None and not is_folder(tables):
        raise InputError(Problem("is not a folder", str(tables)))
    cases = model_cases(tables, sample, seed)
    note(f"{len(cases)} cases ...", quiet=quiet)
    report = validate_models(cases, _told(len(cases), quiet=quiet))
    if errors is not None:
        write_errors(report, errors)
    emit(report.to_json(), lambda: _models_text(report), as_json=as_json)
    return EXIT_OK


_TOLD_EVERY_S = 5.0


def _told(total: int, *, quiet: bool) -> Callable[[int], None]:
    """Tells every five seconds how many cases are done, and how long the others will take."""
    started = last = time.monotonic()

    def tell(done: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _TOLD_EVERY_S:
            last = now
            note(f"{done} of {total} cases, {(now - started) * (total - done) / done:.0f} s to go", quiet=quiet)

    return tell


def _models_text(report: ModelsReport) -> str:
    """A line per group and label, then why cases have no prediction."""
    from studies.validate.models.score import HEADINGS, table_lines

    parts = [
        f"validate models: {len(report.scores)} cases",
        table(("group", "label", "value", *HEADINGS), list(table_lines(report.lines()))),
    ]
    reasons = [(line.group, n, why) for line in report.groups for why, n in line.reasons.items()]
    if reasons:
        parts.append(table(("group", "cases", "why they have no prediction"), reasons))
    return "\n\n".join(parts)


@validate.command("served")
def served(
    requests: Annotated[Path, typer.Option(metavar="FILE", help="CSV of logged requests with their time stamps.")],
    meta: Annotated[Path, typer.Option(metavar="FILE", help="JSON of what each run ran on.")],
    errors: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the errors as CSV.")] = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> int:
    """Logged runs of a serving engine, replayed request by request: latencies measured and simulated.

    Example: attnflow validate served --requests log.csv --meta log.json
    """
    from studies.validate.served.error_table import served_text, write_errors
    from studies.validate.served.replay import replay_all
    from studies.validate.served.runs import read_runs

    report = replay_all(read_runs(requests, meta), lambda line: note(line, quiet=quiet))
    if errors is not None:
        write_errors(report, errors)
    emit(report.to_json(), lambda: served_text(report), as_json=as_json)
    return EXIT_OK if report.ok else EXIT_CHECK_FAILED


_COLUMNS = {
    "group": "group",
    "n": "cases",
    "passed": "passed",
    "mean_abs_error_pct": "mean |error| %",
    "max_abs_error_pct": "max |error| %",
    "mean_limit_pct": "mean may be %",
    "within_limit": "within",
    "roofline_mean_abs_error_pct": "roofline %",
    "serial_sum_mean_abs_error_pct": "serial sum %",
}
"""Headings of the columns of groups."""


def show(report: ValidationReport, *, as_json: bool) -> int:
    """Print a report, for people or as one JSON document; returns the exit code."""
    emit(report.to_json(), lambda: _text(report), as_json=as_json)
    return EXIT_OK if report.ok else EXIT_CHECK_FAILED


def _text(report: ValidationReport) -> str:
    """Totals, groups, and every row that did not pass."""
    total = (
        f"validate {report.kind}: {len(report.rows)} cases, {report.count('pass')} passed, "
        f"{report.count('fail')} failed, {report.count('unsupported')} unsupported"
    )
    columns = [name for name in _COLUMNS if any(name in group for group in report.groups())]
    groups = [tuple(group.get(name) for name in columns) for group in report.groups()]
    parts = [total, table([_COLUMNS[name] for name in columns], groups)]
    rest = [(row.id, row.status, row.expected, row.got, row.why or "-") for row in report.rows if row.status != "pass"]
    if rest:
        parts.append(table(("case", "status", "expected", "got", "why"), rest))
    return "\n\n".join(parts)
