"""The compiled engine: run ahead wherever no server orders events, decide in time order where one does."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from simulator.engines.compiled.fire import measure_occupancy
from simulator.engines.compiled.machine import Machine, cause_count, enlarge_rings
from simulator.engines.compiled.prepared import prepared
from simulator.engines.compiled.records import (
    NEVER,
    Records,
)
from simulator.engines.compiled.rings import full_rings
from simulator.engines.compiled.run_ahead import FINISHED, OUT_OF_VISITS, RINGS_FULL, TIER_OVERRUN, run
from simulator.engines.compiled.runs import WAITING_FOR_SLOTS
from simulator.engines.compiled.scratch import Options, build_scratch
from simulator.engines.compiled.tiers import build_tiers, close_tiers, has_tiers
from simulator.engines.compiled.tiers_exchange import Tiers
from simulator.engines.compiled.tiers_turns import run_with_tiers
from simulator.engines.compiled.watch import BASE, JUMPS, SKIPPED_FIRINGS, Watch, build_watch
from simulator.engines.outcome import Outcome
from simulator.engines.progress import is_heard, report
from simulator.errors import SimulatorError
from simulator.firing import Segment, uniform
from simulator.graph import FrozenGraph, Graph, Unit
from simulator.prefix import prefix
from simulator.result import Skipped, Trace
from simulator.servers.contract import Server
from simulator.servers.dram.server import DramServer
from simulator.servers.kernel import Words, address_of, kernel

if TYPE_CHECKING:
    from simulator.engines.compiled.rows import Ahead

VISITS_PER_SLICE = 1 << 20
TURNS_PER_SLICE = 1 << 14
LEAST_ROWS = 2048
"""Rows of a head below which going from row to row takes less time than a proof of their schedule."""


@kernel
def finish_occupancy(channels: Records, words: Words) -> None:
    """After the last pop: count the pushes whose occupancy still waited for pops that never came."""
    for number in range(channels.shape[0]):
        channel = channels[number]
        measure_occupancy(channel, words, NEVER)


def run_compiled(
    graph: FrozenGraph,
    *,
    skip: bool = True,
    digest: bool = True,
    trace: bool = False,
    occupancy: bool = True,
    least_rows: int = LEAST_ROWS,
) -> Outcome:
    """Run ``graph`` to its end or to its deadlock on the compiled engine.

    ``least_rows`` is from how many growing rows of a head on a proof of their schedule is looked for.
    """
    skip = skip and not trace and not _remembers(graph)
    ahead = _ahead(graph) if skip and graph.growing_rows >= least_rows else None
    if ahead is None:
        machine, watch = prepared(graph, skip=skip)
    else:
        machine, watch = ahead.machine, build_watch(ahead.machine, enabled=True)
        watch.counts[JUMPS], watch.counts[SKIPPED_FIRINGS] = 1, ahead.skipped_firings
    total = int(machine.units["firings"].sum()) if trace else 0
    recorded = np.zeros((max(total, 1), 4), np.int64)
    options = Options(int(digest), int(occupancy), int(trace))
    tiers = build_tiers(graph, machine) if has_tiers(graph) else None
    scratch = build_scratch(len(machine.units), options, recorded, watch)
    status = OUT_OF_VISITS
    while status != FINISHED:
        if tiers is None:
            status = run(machine, scratch, VISITS_PER_SLICE)
        else:
            status = run_with_tiers(machine, scratch, tiers, TURNS_PER_SLICE)
        if status == TIER_OVERRUN:
            raise SimulatorError(f"graph {graph.name}: the input rings of a memory tier overflowed")
        if status == RINGS_FULL:
            machine = enlarge_rings(machine, full_rings(machine))
            watch = build_watch(machine, enabled=skip, before=watch)
            scratch = scratch._replace(watch=watch)
        if status != FINISHED and is_heard():
            report("firings", int(machine.units["fired"].sum()), int(machine.units["firings"].sum()))
    finish_occupancy(machine.channels, machine.words)
    return _outcome(graph, machine, watch, recorded if trace else None, tiers)


def _ahead(graph: FrozenGraph) -> Ahead | None:
    from simulator.engines.compiled import rows  # few graphs have rows that grow

    return rows.ahead_of_rows(graph, partial(run_compiled, trace=True))


def warm_up(graph: FrozenGraph | None = None) -> float:
    """Compile what ``graph`` needs of the engine, or load it from the on-disk cache.

    Returns
    -------
    float
        Seconds this took; 0 when it is loaded. Without a graph: all but what memory tiers need.
    """
    begin, before = time.perf_counter(), address_of.cache_info().misses
    services = [server.service for server in graph.servers] if graph is not None else []
    tiers = graph is not None and has_tiers(graph)
    if (run_with_tiers if tiers else run).signatures:
        return time.perf_counter() - begin if services and address_of.cache_info().misses > before else 0.0
    run_compiled(prefix(graph, 1) if graph is not None and tiers else _probe())
    return time.perf_counter() - begin


def _probe() -> FrozenGraph:
    probe = Graph("warm-up")
    source = probe.add(Unit("source", "source", uniform(1, make=(1,))))
    sink = probe.add(Unit("sink", "sink", uniform(1, take=(1,))))
    probe.connect(source, sink)
    return probe.freeze()


def _outcome(
    graph: FrozenGraph, machine: Machine, watch: Watch, recorded: np.ndarray | None, tiers: Tiers | None
) -> Outcome:
    units, channels = machine.units, machine.channels
    holding = units["waiting"] == WAITING_FOR_SLOTS
    clock = (units["clock"] + watch.counts[BASE]).tolist()
    counters = close_tiers(graph, tiers, max(max(clock, default=0), int(units["last_answer"].max(initial=0))))
    return Outcome(
        fired=units["fired"].tolist(),
        busy=units["busy"].tolist(),
        clock=clock,
        stall=[
            machine.words[start : start + cause_count(graph, number)].tolist()
            for number, start in enumerate(units["stall_ptr"].tolist())
        ],
        hashes=list(zip(units["hash_low"].tolist(), units["hash_high"].tolist(), strict=True)),
        segment=[
            None if done else _segment(graph, machine, number) for number, done in enumerate(units["done"].tolist())
        ],
        holding=holding.tolist(),
        issued_ports=np.where(holding, units["issued_ports"], 0).tolist(),
        pushed=(channels["pushed"] + channels["skipped"]).tolist(),
        popped=(channels["popped"] + channels["skipped"]).tolist(),
        peak=channels["peak"].tolist(),
        grants=machine.servers["grants"].tolist(),
        server_busy=[
            server.busy_cycles(count) if isinstance(server, DramServer) and count else int(record["busy"])
            for server, record, count in zip(graph.servers, machine.servers, counters, strict=True)
        ],
        server_bytes=machine.servers["bytes"].tolist(),
        tiers=counters,
        trace=None if recorded is None else _trace(machine, recorded),
        skipped=_skipped(graph, watch),
    )


def _remembers(graph: FrozenGraph) -> bool:
    """Whether a memory keeps more state than is compared to find periods."""
    return not all(isinstance(server, Server) for server in graph.servers)


def _skipped(graph: FrozenGraph, watch: Watch) -> Skipped:
    jumps, firings = int(watch.counts[JUMPS]), int(watch.counts[SKIPPED_FIRINGS])
    why = "a memory serves every request" if _remembers(graph) else "no state recurred"
    return Skipped(jumps, firings, "" if jumps else f"{why}: every firing was simulated")


def _segment(graph: FrozenGraph, machine: Machine, number: int) -> Segment:
    """Run of its table that a unit stands in."""
    unit = machine.units[number]
    first = int(machine.blocks[unit["block_ptr"]]["segment_ptr"])
    segments = [segment for block in graph.table(number).blocks for segment in block.segments]
    return segments[int(unit["segment"]) - first]


def _trace(machine: Machine, recorded: np.ndarray) -> Trace:
    spans = [slice(int(u["trace_ptr"]), int(u["trace_ptr"] + u["fired"])) for u in machine.units]
    columns = [tuple(recorded[span, column].copy() for span in spans) for column in range(4)]
    return Trace(*columns)
