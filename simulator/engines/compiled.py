"""The compiled engine: run ahead wherever no server orders events, decide in time order where one does."""

from __future__ import annotations

import time

import numpy as np

from simulator.engines.fire import SCRATCH_FIRINGS, measure_occupancy
from simulator.engines.grant import earliest_decision, grant
from simulator.engines.outcome import Outcome
from simulator.engines.rings import full_ring, full_rings
from simulator.engines.runs import WAITING_AT_LAP, WAITING_FOR_SLOTS, start_all
from simulator.engines.steady import (
    BASE,
    INNER_UNIT,
    JUMPS,
    OUTER_UNIT,
    SKIPPED_FIRINGS,
    Watch,
    build_watch,
    watch_lap,
    watch_rows,
)
from simulator.engines.visit import Options, visit_hold, visit_reserve
from simulator.firing import Segment, uniform
from simulator.graph import FrozenGraph, Graph, Unit
from simulator.machine import ISSUE_RESERVE, Machine, build_machine, cause_count, enlarge_rings
from simulator.result import Skipped, Trace
from simulator.servers.kernel import inlined, kernel

VISITS_PER_SLICE = 1 << 20
NEVER = 1 << 62
OUT_OF_VISITS, FINISHED, RINGS_FULL = 0, 1, 2


@inlined
def enqueue(number, queue, queued, head, length):
    """Put a unit into the ring of units to visit, unless it is there; return the new length."""
    if queued[number]:
        return length
    queued[number] = 1
    tail = head + length
    if tail >= queue.shape[0]:
        tail -= queue.shape[0]
    queue[tail] = number
    return length + 1


@inlined
def wake(unit, channels, words, queue, queued, head, length):
    """Queue the neighbours of a unit that moved; return the new queue length."""
    for port in range(unit.in_ptr, unit.in_end):
        length = enqueue(channels[words[port]].producer, queue, queued, head, length)
    for port in range(unit.out_ptr, unit.out_end):
        length = enqueue(channels[words[port]].consumer, queue, queued, head, length)
    return length


@kernel
def run(units, blocks, segments, channels, servers, words, queue, queued, start, cause, options, trace, watch, visits):
    """Fire everything that can be fired, but return early after ``visits`` visits so that the caller can be stopped.

    ``queue`` is a ring of unit numbers with one slot per unit, ``queued`` marks its members; ``start`` and ``cause``
    are scratch. Returns ``FINISHED`` when no unit can move any more, ``RINGS_FULL`` when a ring must be enlarged first.
    """
    head, length = 0, 0
    queued[:] = 0
    for number in range(units.shape[0]):
        length = enqueue(number, queue, queued, head, length)
    while True:
        while length > 0:
            visits -= 1
            if visits < 0:
                return OUT_OF_VISITS
            number = queue[head]
            head = head + 1 if head + 1 < queue.shape[0] else 0
            length -= 1
            queued[number] = 0
            unit = units[number]
            if unit.issue == ISSUE_RESERVE:
                moved = visit_reserve(unit, blocks, segments, channels, servers, words, start, cause, options, trace)
            else:
                moved = visit_hold(unit, blocks, segments, channels, words, start, cause, options, trace)
            if moved:
                if number == watch.numbers[INNER_UNIT]:
                    watch_rows(unit, units, channels, servers, words, watch)
                length = wake(unit, channels, words, queue, queued, head, length)
        outer = watch.numbers[OUTER_UNIT]
        if outer >= 0 and units[outer].waiting == WAITING_AT_LAP:
            watch_lap(units, channels, servers, words, watch)
            length = enqueue(outer, queue, queued, head, length)
            continue
        if full_ring(channels) >= 0:
            return RINGS_FULL
        number, now, port = earliest_decision(servers, words)
        if number < 0:
            return FINISHED
        number = grant(
            servers[number], units, blocks, segments, channels, words, now, port, start, cause, options, trace
        )
        length = enqueue(number, queue, queued, head, length)
        length = wake(units[number], channels, words, queue, queued, head, length)


@kernel
def finish_occupancy(channels, words):
    """After the last pop: count the pushes whose occupancy still waited for pops that never came."""
    for number in range(channels.shape[0]):
        channel = channels[number]
        measure_occupancy(channel, words, NEVER)


def run_compiled(
    graph: FrozenGraph, *, skip: bool = True, digest: bool = True, trace: bool = False, occupancy: bool = True
) -> Outcome:
    """Run ``graph`` to its end or to its deadlock on the compiled engine."""
    machine = build_machine(graph)
    units = machine.units
    start_all(units, machine.blocks, machine.segments)
    total = int(units["firings"].sum()) if trace else 0
    units["trace_ptr"] = np.cumsum(units["firings"]) - units["firings"]
    recorded = np.zeros((max(total, 1), 4), np.int64)
    queue, queued = np.zeros(len(units), np.int64), np.zeros(len(units), np.int64)
    start, cause = np.zeros(SCRATCH_FIRINGS, np.int64), np.zeros(SCRATCH_FIRINGS, np.int64)
    options = Options(int(digest), int(occupancy), int(trace))
    watch = build_watch(machine, enabled=skip and not trace)
    status = OUT_OF_VISITS
    while status != FINISHED:
        status = run(*machine, queue, queued, start, cause, options, recorded, watch, VISITS_PER_SLICE)
        if status == RINGS_FULL:
            machine = enlarge_rings(machine, full_rings(machine))
            watch = build_watch(machine, enabled=skip and not trace, before=watch)
    finish_occupancy(machine.channels, machine.words)
    return _outcome(graph, machine, watch, recorded if trace else None)


def warm_up() -> float:
    """Compile the engine, or load it from the on-disk cache; return the seconds this took, 0 when it is loaded."""
    if run.signatures:
        return 0.0
    begin = time.perf_counter()
    probe = Graph("warm-up")
    source = probe.add(Unit("source", "source", uniform(1, make=(1,))))
    sink = probe.add(Unit("sink", "sink", uniform(1, take=(1,))))
    probe.connect(source, sink)
    run_compiled(probe.freeze())
    return time.perf_counter() - begin


def _outcome(graph: FrozenGraph, machine: Machine, watch: Watch, recorded: np.ndarray | None) -> Outcome:
    units, channels = machine.units, machine.channels
    segments = [segment for unit in range(len(units)) for segment in _segments(graph, unit)]
    return Outcome(
        fired=units["fired"].tolist(),
        busy=units["busy"].tolist(),
        clock=(units["clock"] + watch.numbers[BASE]).tolist(),
        stall=[
            machine.words[unit["stall_ptr"] : unit["stall_ptr"] + cause_count(graph, number)].tolist()
            for number, unit in enumerate(units)
        ],
        hashes=[(int(unit["hash_low"]), int(unit["hash_high"])) for unit in units],
        segment=[None if unit["done"] else segments[int(unit["segment"])] for unit in units],
        holding=[bool(unit["waiting"] == WAITING_FOR_SLOTS) for unit in units],
        issued_ports=[int(unit["issued_ports"]) if unit["waiting"] == WAITING_FOR_SLOTS else 0 for unit in units],
        pushed=(channels["pushed"] + channels["skipped"]).tolist(),
        popped=(channels["popped"] + channels["skipped"]).tolist(),
        peak=channels["peak"].tolist(),
        grants=machine.servers["grants"].tolist(),
        server_busy=machine.servers["busy"].tolist(),
        server_bytes=machine.servers["bytes"].tolist(),
        trace=None if recorded is None else _trace(machine, recorded),
        skipped=_skipped(watch),
    )


def _skipped(watch: Watch) -> Skipped:
    jumps, firings = int(watch.numbers[JUMPS]), int(watch.numbers[SKIPPED_FIRINGS])
    return Skipped(jumps, firings, "" if jumps else "no state recurred: every firing was simulated")


def _segments(graph: FrozenGraph, unit: int) -> list[Segment]:
    return [segment for block in graph.table(unit).blocks for segment in block.segments]


def _trace(machine: Machine, recorded: np.ndarray) -> Trace:
    spans = [slice(int(u["trace_ptr"]), int(u["trace_ptr"] + u["fired"])) for u in machine.units]
    columns = [tuple(recorded[span, column].copy() for span in spans) for column in range(4)]
    return Trace(*columns)
