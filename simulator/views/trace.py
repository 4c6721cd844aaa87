"""Timelines as files: trace-event JSON that Perfetto and Chrome load, and one line of text per change.

The JSON form is the "JSON Object Format" of the Trace Event Format (Google, "Trace Event Format", 2016): complete
events ``X`` for the states of units, counter events ``C`` for FIFOs, metadata ``M`` for names. One cycle is shown as
one microsecond, the format's unit.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from simulator.errors import SimulatorError
from simulator.firing import IntArray
from simulator.views.timeline import BUSY, IDLE, Timeline, UnitTimeline

MOST_EVENTS = 250_000
UNITS_PROCESS, CHANNELS_PROCESS = 1, 2


class _Sink(Protocol):
    """A binary file to write to, compressed or not."""

    def write(self, data: bytes, /) -> object:
        """Append ``data``."""


@dataclass(frozen=True)
class Written:
    """Contents of a trace file.

    Attributes
    ----------
    events : int
        State and counter events, or lines of text.
    left_out : int
        Those that the cap kept out.
    complete_until : int
        The file holds everything that begins before this cycle.
    """

    events: int
    left_out: int
    complete_until: int


def write_trace(timeline: Timeline, path: Path, *, max_events: int = MOST_EVENTS) -> Written:
    """Write ``timeline`` as trace-event JSON, compressed if the name of ``path`` ends in ``.gz``.

    At most ``max_events`` events are written, the earliest ones.

    Raises
    ------
    OSError
        If the file cannot be written.
    SimulatorError
        If ``max_events`` is less than 1.
    """
    order, times, kept = _select(timeline, max_events)
    with path.open("wb") as raw:
        if path.suffix == ".gz":
            # neither a file name nor a time inside: equal traces are equal files
            with gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=6, mtime=0) as packed:
                _write_events(timeline, order[:kept], packed)
        else:
            _write_events(timeline, order[:kept], raw)
    until = timeline.end if kept == len(order) else int(times[order[kept]])
    return Written(kept, len(order) - kept, until)


def text_trace(timeline: Timeline, *, max_events: int = MOST_EVENTS) -> tuple[list[str], Written]:
    """Lines of text: one per cycle in which any unit changes its state, one column per unit; and what they hold.

    ``#`` is busy, ``in0`` and ``out1`` a wait for the input or output of that number, ``server`` a wait for a grant,
    ``.`` idle, ``several`` a wait that outlasts the window with more than one thing lacking. The head of the text
    lists units and ports, its last line says how the trace ends.

    Raises
    ------
    SimulatorError
        If ``max_events`` is less than 1.
    """
    _check(max_events)
    changes = np.unique(np.concatenate([unit.begin for unit in timeline.units]))
    kept = changes[:max_events]
    until = int(changes[max_events]) if len(changes) > max_events else timeline.end
    digits = max(len(str(timeline.end)), len("cycle"))
    head = ["cycle".rjust(digits), *(str(cycle).rjust(digits) for cycle in kept.tolist())]
    columns = [head, *(_column(unit, kept) for unit in timeline.units)]
    last = _ending(timeline) if until == timeline.end else "..."
    lines = [
        *(_legend(unit) for unit in timeline.units),
        *(" ".join(cells).rstrip() for cells in zip(*columns, strict=True)),
        f"{str(until).rjust(digits)} {last}",
    ]
    return lines, Written(len(kept), len(changes) - len(kept), until)


def _column(unit: UnitTimeline, cycles: IntArray) -> list[str]:
    """Name of a unit and the code of its state in each of the ``cycles``, all of one width."""
    codes = _codes(unit)
    width = max(len(unit.name), *(len(codes[unit.states[state]]) for state in np.unique(unit.state).tolist()))
    cells = [codes[state].ljust(width) for state in unit.states]
    stretches = np.searchsorted(unit.begin, cycles, side="right") - 1
    return [unit.name.ljust(width), *(cells[state] for state in unit.state[stretches].tolist())]


def _legend(unit: UnitTimeline) -> str:
    """One line that names a unit and its ports."""
    causes = [f"{code} = {state}" for state, code in _codes(unit).items() if state.startswith(("input ", "output "))]
    return "; ".join([f"# {unit.name} ({unit.kind})", *causes])


def _ending(timeline: Timeline) -> str:
    if timeline.deadlocked:
        return f"deadlock: {', '.join(timeline.deadlocked)} wait for ever"
    return "end of the run" if timeline.complete else "end of the window"


def _codes(unit: UnitTimeline) -> dict[str, str]:
    """Short code of every state of a unit."""
    codes = {BUSY: "#", IDLE: "."}
    ports = {"input": 0, "output": 0}
    for number, state in enumerate(unit.states):
        kind = state.split(" ", 1)[0]
        if state in codes:
            continue
        if number > unit.states.index(IDLE):
            codes[state] = "several"
        elif kind in ports:
            codes[state] = f"{kind.removesuffix('put')}{ports[kind]}"
            ports[kind] += 1
        else:
            codes[state] = kind
    return codes


def _check(max_events: int) -> None:
    if max_events < 1:
        raise SimulatorError(f"a trace needs room for at least 1 event (got {max_events})")


def _select(timeline: Timeline, max_events: int) -> tuple[IntArray, IntArray, int]:
    """Order of all events by time, their times, and how many of them to keep."""
    _check(max_events)
    times = np.concatenate([*(unit.begin for unit in timeline.units), *(c.time for c in timeline.channels)])
    return np.argsort(times, kind="stable"), times, min(len(times), max_events)


def _write_events(timeline: Timeline, chosen: IntArray, file: _Sink) -> None:
    head = {
        "graph": timeline.graph,
        "time": "1 cycle is shown as 1 us",
        "first_cycle": timeline.begin,
        "end_cycle": timeline.end,
        "ending": _ending(timeline),
    }
    file.write(f'{{"displayTimeUnit":"ns","otherData":{json.dumps(head)},"traceEvents":[\n'.encode())
    file.write(",\n".join(_metadata(timeline)).encode())
    lines = _event_lines(timeline, chosen)
    while block := [line for _, line in zip(range(10_000), lines, strict=False)]:
        file.write((",\n" + ",\n".join(block)).encode())
    file.write(b"\n]}\n")


def _metadata(timeline: Timeline) -> Iterable[str]:
    """Names of the tracks, in the order of the graph."""

    def event(name: str, process: int, thread: int, arguments: dict[str, object]) -> str:
        return json.dumps({"ph": "M", "name": name, "pid": process, "tid": thread, "ts": 0, "args": arguments})

    for process, name in ((UNITS_PROCESS, "units"), (CHANNELS_PROCESS, "FIFOs: slots in use")):
        yield event("process_name", process, 0, {"name": name})
        yield event("process_sort_index", process, 0, {"sort_index": process})
    for thread, unit in enumerate(timeline.units, start=1):
        yield event("thread_name", UNITS_PROCESS, thread, {"name": f"{unit.name} ({unit.kind})"})
        yield event("thread_sort_index", UNITS_PROCESS, thread, {"sort_index": thread})


def _event_lines(timeline: Timeline, chosen: IntArray) -> Iterator[str]:
    """The chosen events as JSON, by position in the concatenation of all units and then all channels."""
    sizes = [len(unit.begin) for unit in timeline.units] + [len(channel.time) for channel in timeline.channels]
    starts = np.cumsum([0, *sizes])
    tracks = np.searchsorted(starts, chosen, side="right") - 1
    makers = [
        *(_slices(unit, thread) for thread, unit in enumerate(timeline.units, start=1)),
        *(_counts(channel.name, channel.time, channel.tokens) for channel in timeline.channels),
    ]
    for track in tracks.tolist():
        yield next(makers[track])


def _slices(unit: UnitTimeline, thread: int) -> Iterator[str]:
    """One complete event per stretch of a unit."""
    labels = [
        f'{{"ph":"X","pid":{UNITS_PROCESS},"tid":{thread},"name":{json.dumps(_label(state))},"cat":"{_category(state)}"'
        for state in unit.states
    ]
    columns = (unit.state.tolist(), unit.begin.tolist(), (unit.end - unit.begin).tolist(), unit.firings.tolist())
    for state, begin, cycles, firings in zip(*columns, strict=True):
        yield f'{labels[state]},"ts":{begin},"dur":{cycles},"args":{{"firings":{firings}}}}}'


def _counts(name: str, time: IntArray, tokens: IntArray) -> Iterator[str]:
    """One counter event per change of a FIFO."""
    label = f'{{"ph":"C","pid":{CHANNELS_PROCESS},"tid":0,"name":{json.dumps(name)},"ts":'
    for cycle, count in zip(time.tolist(), tokens.tolist(), strict=True):
        yield f'{label}{cycle},"args":{{"tokens":{count}}}}}'


def _category(state: str) -> str:
    return state if state in (BUSY, IDLE) else "stalled"


def _label(state: str) -> str:
    return state if state in (BUSY, IDLE) else f"stalled: {state}"
