"""``attnflow policies``: all KV policies at an equal budget, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hwmodels.reading.errors import InputError, Problem
from studies.cli.output import EXIT_OK, JsonFlag, QuietFlag, emit, note, table
from studies.cli.verb import verb

if TYPE_CHECKING:
    from studies.quality.drift import DriftRow
    from studies.quality.table import Cell, Request

SHOWN: tuple[tuple[str, str, float], ...] = (
    ("attended", "kv.attended", 1),
    ("near MB", "kv.near_bytes", 1e-6),
    ("far MB", "kv.far_bytes", 1e-6),
    ("cycles", "cycles", 1),
    ("tokens/s", "tokens_per_second", 1.0),
    ("energy mJ", "energy_j", 1e3),
    ("score MMAC", "kv.score_macs", 1e-6),
    ("score MB", "kv.score_bytes", 1e-6),
    ("heavy", "quality.heavy_hitter", 1.0),
    ("drift", "quality.drift", 1.0),
    ("captured", "quality.captured", 1.0),
    ("key known", "quality.passkey_aware", 1.0),
    ("key later", "quality.passkey_agnostic", 1.0),
)
"""Heading, metric and factor of every column."""


@verb("policies", order=100)
def policies(
    workload: Annotated[str, typer.Option(help="Preset name or YAML file of a model.")] = "llama3-8b",
    chip: Annotated[list[str] | None, typer.Option(help="Chip; repeatable. h100 and sn40l if not given.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="chip.PATH=VALUE", help="Change a field of every chip; repeatable."),
    ] = None,
    context: Annotated[
        list[int] | None, typer.Option(help="Tokens attended; repeatable. 32768 and 131072 if not given.")
    ] = None,
    share: Annotated[float, typer.Option(help="Budget of every policy as a share of the context.")] = 0.125,
    policy: Annotated[
        list[str] | None, typer.Option(help="A policy; repeatable. Every registered one if not given.")
    ] = None,
    samples: Annotated[int, typer.Option(help="Seeds of each quality.")] = 8,
    tensors: Annotated[str, typer.Option(help="NPZ file with q, k, v, or a shipped capture.")] = "minilm_l6_layer3",
    dtype: Annotated[str, typer.Option(help="Storage format.")] = "bfloat16",
    drift: Annotated[
        int,
        typer.Option(metavar="INTERVALS", help="Also follow the quality over a decode, in so many intervals.", min=0),
    ] = 0,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="HTML report to write, with fronts of quality and cost.")
    ] = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> int:
    """What each KV policy keeps, costs and is worth at an equal budget: bytes, cycles, joules, quality.

    Example: attnflow policies --chip h100 --workload llama3-8b --context 8192
    """
    from studies.quality.table import GOALS, drift_rows, policy_table, report_rows, title_of

    request = _request(workload, chip, set_, context, share, policy, samples, tensors, dtype)

    def told(line: str) -> None:
        note(f"{line} ...", quiet=quiet)

    cells = policy_table(request, told)
    moved = drift_rows(request, drift, told) if drift else ()
    if output is not None:
        from studies.report import write_report

        _write(lambda: write_report(report_rows(cells), output, title_of(request), GOALS), output)
    document: dict[str, object] = {"title": title_of(request), "cells": [cell.describe() for cell in cells]}
    if moved:
        document["drift"] = [asdict(row) for row in moved]
    emit(document, lambda: "\n\n".join([_text(request, cells), *_drift_text(moved)]), as_json=as_json)
    return EXIT_OK


def _request(
    workload: str,
    chips: Sequence[str] | None,
    changes: Sequence[str] | None,
    contexts: Sequence[int] | None,
    share: float,
    policies: Sequence[str] | None,
    samples: int,
    tensors: str,
    dtype: str,
) -> Request:
    """What the options ask for; raises InputError with everything that is wrong."""
    from studies.cli.show_chip import with_changes
    from studies.points.find import find_chip, find_workload
    from studies.points.point import ChipSetting
    from studies.quality.streams import stream_named
    from studies.quality.table import Request

    problems: list[Problem] = []
    settings = []
    for name in chips or ("h100", "sn40l"):
        try:
            settings.append(ChipSetting(with_changes(find_chip(name, Path()), changes or ())))
        except InputError as error:
            problems += error.problems
    model = None
    try:
        model = find_workload(workload, Path()).with_(dtype=dtype)
    except InputError as error:
        problems += error.problems
    for text in policies or ():
        try:
            _parse(text)
        except InputError as error:
            problems += error.problems
    try:
        stream_named(tensors)
    except InputError as error:
        problems += error.problems
    if model is None or problems:
        raise InputError(problems)
    return Request(
        workload=model,
        chips=tuple(settings),
        contexts=tuple(contexts or (32_768, 131_072)),
        share=share,
        samples=samples,
        tensors=tensors,
        policies=tuple(policies or ()),
    )


def _parse(text: str) -> None:
    from algorithms.kv.text import parse_policy

    parse_policy(text)


def _write(write: Callable[[], None], output: Path) -> None:

    try:
        write()
    except OSError as error:
        raise InputError(Problem(f"cannot be written: {error.strerror}", str(output))) from None


def _text(request: Request, cells: Sequence[Cell]) -> str:
    """A table per context and chip, best quality first, and what cannot be evaluated below."""
    from studies.quality.quality import DISCLAIMER
    from studies.quality.table import QUALITY_TOKENS

    parts = []
    for context, chip in dict.fromkeys((cell.context, cell.chip) for cell in cells):
        group = [cell for cell in cells if (cell.context, cell.chip) == (context, chip)]
        rows = [_row(cell) for cell in sorted(group, key=_worth)]
        heading = f"{request.workload.name}, {context:,} tokens, budget {request.budget(context):,}, {chip}"
        parts.append(f"{heading}\n\n{table(('policy', *(name for name, _, _ in SHOWN)), rows)}")
    notes: dict[str, list[str]] = {}
    for cell in cells:
        for line in cell.notes:
            if cell.name not in notes.setdefault(line, []):
                notes[line].append(cell.name)
    told = "\n".join(f"{', '.join(names)}: {line}" for line, names in notes.items())
    costs = "Costs: one decode step of all layers. Cells with - cannot be evaluated; reasons stand below."
    worth = (
        f"Qualities: the same share of the tokens kept, {QUALITY_TOKENS:,} tokens (captured: as long as it is); errors "
        f"between random (0) and oracle (1). {DISCLAIMER}"
    )
    return "\n\n".join([*parts, f"{costs}\n{worth}", told])


def _drift_text(rows: Sequence[DriftRow]) -> list[str]:
    """Errors of the output by interval of decode steps, each policy living with its own earlier decisions."""
    steps = next((row.steps for row in rows if row.steps), ())
    if not steps:
        return []
    header = ("policy", *(f"to step {step}" for step in steps))
    shown = [(row.policy, *(row.relative_error or [None] * len(steps))) for row in rows]
    title = f"Relative error of the output over a decode, budget {rows[0].budget:,}: the mean of each interval"
    return [f"{title}\n\n{table(header, shown)}"]


def _worth(cell: Cell) -> tuple[float, str]:
    value = cell.metrics.get("quality.heavy_hitter")
    return (-value if isinstance(value, int | float) else float("inf"), cell.name)


def _row(cell: Cell) -> list[object]:
    found: list[object] = [cell.name]
    for _, metric, factor in SHOWN:
        value = cell.metrics.get(metric)
        if isinstance(value, float) and metric == "kv.attended":
            value = round(value)
        found.append(value * factor if isinstance(value, int | float) else None)
    return found
