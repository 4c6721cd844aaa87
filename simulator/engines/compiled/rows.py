"""Growing rows answered at once: the state of a machine behind all but the last row of a head, by a proven schedule.

The first rows are simulated, the schedule of the others is guessed from the last of these and proven
(`simulator.growing`). What the engine would have counted follows in closed form, and the engine goes on in front of the
last row. Between rows every FIFO is empty, and since units may be visited in any order (Kahn), a state in which all
units stand between the same two rows is one that a run may pass through.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple, Protocol

import numpy as np

from simulator.engines.compiled.machine import Machine, cause_count
from simulator.engines.compiled.prepared import prepared
from simulator.engines.compiled.records import LONG_AGO
from simulator.engines.compiled.runs import start_all
from simulator.engines.fingerprint import extend_by_rows
from simulator.engines.outcome import Outcome
from simulator.firing import FiringTable, IntArray
from simulator.graph import FrozenGraph
from simulator.growing.counting import (
    busy_between,
    firings_between,
    last_start,
    runs_of,
    stalls_between,
    times_in,
    tokens_between,
)
from simulator.growing.proof import Proof, prove, row_peaks
from simulator.growing.schedule import FITTED_ROWS, fit, segments_of

SETTLED = (48, 256)
"""Rows that are simulated until they are likely to be alike: where the first is too few, so many as the second."""
MOST_SIMULATED = 1 << 21
"""Firings of rows that may be simulated for a proof."""


class Traced(Protocol):
    """A run of a graph with every start time and cause."""

    def __call__(self, graph: FrozenGraph) -> Outcome: ...


class Ahead(NamedTuple):
    """A machine that stands before the last row of its first head, and the firings that were not simulated."""

    machine: Machine
    skipped_firings: int


def ahead_of_rows(graph: FrozenGraph, traced: Traced) -> Ahead | None:
    """The state of ``graph`` before the last row of its first head; None where no schedule is proven, or rows are few.

    Parameters
    ----------
    traced
        Runs the first rows.
    """
    rows = graph.growing_rows
    for settled in SETTLED:
        simulated = settled + FITTED_ROWS
        begun = _first_rows(graph, simulated)
        if rows - 2 <= simulated or begun.firings > MOST_SIMULATED:
            return None
        outcome = traced(begun)
        if any(outcome.segment) or outcome.trace is None:
            return None
        proof = _proof(graph, outcome, settled, rows - 2)
        machine = None if proof is None else _machine_at(graph, outcome, proof, settled, rows - 2)
        if proof is not None and machine is not None:
            skipped = sum(firings_between(unit, FITTED_ROWS, rows - 1 - settled) for unit in proof.schedule.units)
            return Ahead(machine, skipped)
    return None


def _first_rows(graph: FrozenGraph, rows: int) -> FrozenGraph:
    units = tuple(
        replace(unit, table=replace(graph.table(number), iterations=rows)) for number, unit in enumerate(graph.units)
    )
    return replace(graph, units=units)


def _proof(graph: FrozenGraph, begun: Outcome, settled: int, last: int) -> Proof | None:
    """Proof of the schedule up to row ``last``, counted from row ``settled``."""
    if begun.trace is None:
        return None
    tables = [graph.table(unit) for unit in range(len(graph.units))]
    schedule = fit(tables, begun.trace.start, begun.trace.cause, settled, last)
    if schedule is None:
        return None
    number = {unit.name: n for n, unit in enumerate(graph.units)}
    peaks = []
    for channel in graph.channels:
        producer, consumer = number[channel.producer], number[channel.consumer]
        made = _tokens(tables[producer], channel.output, settled, made=True)
        taken = _tokens(tables[consumer], channel.input, settled, made=False)
        if made is None or taken is None:
            return None
        (tokens, ends), (others, _) = made, taken
        pushes = np.repeat(begun.trace.start[producer], tokens)
        releases = np.repeat(begun.trace.start[consumer], others) + channel.credit_latency_cycles
        if len(pushes) != len(releases):
            return None
        peaks.append(row_peaks(pushes, releases, ends))
    return prove(graph, schedule, peaks, last - settled)


def _tokens(table: FiringTable, port: int, settled: int, *, made: bool) -> tuple[IntArray, list[int]] | None:
    """Tokens of every firing of the first rows on a port, and where those of the fitted rows begin and end."""
    per_firing: list[int] = []
    counts: list[int] = []
    ends = [0]
    for row in range(settled + FITTED_ROWS):
        segments = segments_of(table, row)
        if segments is None:
            return None
        for segment, count in segments:
            each = (segment.make if made else segment.take)[port]
            per_firing.append(each)
            counts.append(count.base)
            ends[-1] += each * count.base
        ends.append(ends[-1])
    return np.repeat(np.array(per_firing, np.int64), counts), [*ends[settled - 1 : -1]]


def _machine_at(graph: FrozenGraph, begun: Outcome, proof: Proof, settled: int, last: int) -> Machine | None:
    """A machine in front of row ``last + 1``; None if times that matter are older than the last few rows."""
    machine, _ = prepared(graph, skip=False)
    final = last - settled
    for number in range(len(graph.units)):
        _advance_unit(machine, graph, begun, proof, number, final)
        unit = machine.units[number]
        unit["iteration"] = last + 1
        unit["block"] = unit["block_ptr"]
        first = machine.blocks[unit["block_ptr"]]
        unit["loops_left"] = first["loops"] + first["growth"] * ((last + 1) % unit["ramp"])
        unit["segment"] = first["segment_ptr"] - 1
    start_all(machine.units, machine.blocks, machine.segments)
    for number in range(len(graph.channels)):
        if not _advance_channel(machine, graph, begun, proof, number, final):
            return None
    return machine


def _advance_unit(machine: Machine, graph: FrozenGraph, begun: Outcome, proof: Proof, number: int, final: int) -> None:
    """Count what a unit does in the rows that were not simulated, up to and with row ``final`` of the schedule."""
    unit, rows, clock = machine.units[number], proof.schedule.units[number], proof.schedule.clock
    between = (FITTED_ROWS, final + 1)
    unit["fired"] = begun.fired[number] + firings_between(rows, *between)
    unit["busy"] = begun.busy[number] + busy_between(rows, *between)
    unit["last_start"] = last_start(rows, clock, final)
    unit["clock"] = unit["last_start"] + rows.pieces[-1].segment.ii
    causes = cause_count(graph, number)
    waited = stalls_between(rows, clock, causes, *between)
    at = int(unit["stall_ptr"])
    machine.words[at : at + causes] = np.add(begun.stall[number], waited)
    hashes = np.array(begun.hashes[number], np.uint64)
    runs = runs_of(rows, FITTED_ROWS)
    extend_by_rows(hashes, runs, np.zeros((len(runs), 9), np.uint64), final + 1 - FITTED_ROWS)
    unit["hash_low"], unit["hash_high"] = hashes


def _advance_channel(
    machine: Machine, graph: FrozenGraph, begun: Outcome, proof: Proof, number: int, final: int
) -> bool:
    """Write what an empty channel remembers of its last tokens; False if that is more than a few rows."""
    channel, clock = machine.channels[number], proof.schedule.clock
    taken, credit = proof.taken[number], int(channel["credit"])
    tokens = begun.pushed[number] + tokens_between(taken, FITTED_ROWS, final + 1)
    since = int(machine.units[int(channel["producer"])]["clock"])
    releases: list[IntArray] = []
    known = 0
    # slots that were free when the producer fired last are not waited for, nor does any push find them in use
    while known < channel["depth"] and (not releases or releases[-1][0] > since):
        if len(releases) > FITTED_ROWS:
            return False
        releases.append(times_in(taken, clock, final - len(releases)) + credit)
        known += len(releases[-1])
    recent = np.concatenate(releases[::-1])[-int(channel["depth"]) :]
    mask, at = int(channel["mask"]), int(channel["release_ptr"])
    ring = machine.words[at : at + mask + 1]
    ring[:] = LONG_AGO
    ring[np.arange(tokens - len(recent), tokens) & mask] = recent
    made = proof.made[number][-1]
    producer = proof.schedule.units[int(channel["producer"])]
    latency = next(
        piece.segment.latency for piece in producer.pieces if piece.segment.make[graph.channels[number].output]
    )
    last_made = clock.at(final) + made.time.at(final) + made.step * (made.high.at(final) - made.low.at(final) - 1)
    channel["tail"] = last_made + latency + channel["latency"]
    channel["pushed"] = channel["popped"] = channel["measured_push"] = tokens
    channel["measured_pop"] = tokens - len(recent)
    channel["peak"] = max(begun.peak[number], proof.peaks[number].at(final))
    return True
