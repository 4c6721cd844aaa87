"""``attnflow trace``: what a design does, cycle by cycle."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hwmodels.reading.errors import InputError, Problem
from studies.cli.options import AlgorithmName, DesignOptions, design_point, with_design_options
from studies.cli.output import EXIT_DESIGN_FAILS, EXIT_OK, JsonFlag, QuietFlag, emit, note
from studies.cli.verb import verb

if TYPE_CHECKING:
    from simulator.views.timeline import Timeline
    from simulator.views.trace import Written
    from studies.points.point import DesignPoint, Json

TraceOutput = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="File to write; JSON is compressed if it ends in .gz.", show_default=False),
]
Window = Annotated[
    str | None, typer.Option(metavar="BEGIN:END", help="Cycles to show, END excluded; the whole run if not given.")
]
MostEvents = Annotated[int, typer.Option(min=1, help="Most events, or lines of text, to write; the earliest stay.")]
TextFlag = Annotated[bool, typer.Option("--text", help="A line per change of state, on stdout unless -o is given.")]


@verb("trace", order=60)
@with_design_options
def trace(
    algorithm: AlgorithmName,
    design: DesignOptions,
    output: TraceOutput = None,
    window: Window = None,
    max_events: MostEvents = 250_000,
    text: TextFlag = False,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> int:
    """Write what every unit does and how full every FIFO is, for https://ui.perfetto.dev or as text.

    Example: attnflow trace sdpa.naive --seq-len 16 --head-dim 4 -o trace.json.gz
    """
    cycles = _read_window(window)
    # when units fire follows from timing alone, so no tensors are drawn
    point = design_point(algorithm, dataclasses.replace(design, timing_only=True))
    from simulator.views.timeline import record_timeline
    from studies.families.family import family_of
    from studies.running.warm_up import announce_kernels

    announce_kernels(point, quiet=quiet)
    timeline = record_timeline(family_of(point).graph(point).freeze(), cycles, engine=point.engine)
    if text and output is None and not as_json:
        written = _print_text(timeline, max_events)
    else:
        output = output or Path(f"{point.algorithm}.trace.{'txt' if text else 'json.gz'}")
        written = _write(timeline, output, max_events, text=text)
        emit(
            _document(point, timeline, output, written),
            lambda: f"{output}: {written.events:,} events, cycles {timeline.begin:,} to {written.complete_until:,}",
            as_json=as_json,
        )
    if written.left_out:
        note(
            f"{written.left_out:,} events from cycle {written.complete_until:,} on are left out: "
            f"choose a shorter --window, or --max-events {written.events + written.left_out}",
            quiet=quiet,
        )
    if timeline.deadlocked:
        note(f"deadlock at cycle {timeline.end:,}: {', '.join(timeline.deadlocked)}", quiet=quiet)
    return EXIT_DESIGN_FAILS if timeline.deadlocked else EXIT_OK


def _read_window(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    begin, colon, end = text.replace("_", "").partition(":")
    if colon and begin.strip().isdecimal() and end.strip().isdecimal() and int(begin) < int(end):
        return int(begin), int(end)
    raise InputError(Problem(f"must be BEGIN:END with BEGIN < END, in cycles (got {text!r})", field="--window"))


def _write(timeline: Timeline, path: Path, max_events: int, *, text: bool) -> Written:
    from simulator.views.trace import text_trace, write_trace

    try:
        if not text:
            return write_trace(timeline, path, max_events=max_events)
        lines, written = text_trace(timeline, max_events=max_events)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return written
    except OSError as error:
        raise InputError(Problem(f"cannot be written: {error.strerror}", str(path))) from None


def _print_text(timeline: Timeline, max_events: int) -> Written:
    from simulator.views.trace import text_trace

    lines, written = text_trace(timeline, max_events=max_events)
    emit(None, lambda: "\n".join(lines), as_json=False)
    return written


def _document(point: DesignPoint, timeline: Timeline, output: Path, written: Written) -> dict[str, Json]:
    return {
        "key": point.key,
        "point": point.describe(),
        "output": str(output),
        "bytes": output.stat().st_size,
        "window": {"begin_cycle": timeline.begin, "end_cycle": timeline.end},
        "run_complete": timeline.complete,
        "deadlocked": list(timeline.deadlocked),
        **dataclasses.asdict(written),
    }
