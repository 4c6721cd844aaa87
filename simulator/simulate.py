"""One call from a graph to a result."""

from __future__ import annotations

import time
from typing import Literal

import numpy as np
import numpy.typing as npt

from simulator.engines.compiled.engine import run_compiled, warm_up
from simulator.engines.compiled.machine import cause_names
from simulator.engines.compiled.prepared import forget_machines
from simulator.engines.fingerprint import digest as schedule_digest
from simulator.engines.outcome import Outcome
from simulator.engines.reference.engine import run_reference
from simulator.errors import SimulatorError, did_you_mean
from simulator.explain.deadlock import Remedies, explain_deadlock, wait_of
from simulator.graph import FrozenGraph, Graph
from simulator.result import ChannelResult, Deadlock, Result, ServerResult, UnitResult
from simulator.values import evaluate

Engine = Literal["compiled", "simpy"]
ENGINES: tuple[Engine, ...] = ("compiled", "simpy")


def simulate(
    graph: Graph | FrozenGraph,
    *,
    engine: Engine = "compiled",
    timing_only: bool = False,
    skip: bool = True,
    trace: bool = False,
    digest: bool = True,
    explain: bool = True,
    clock_hz: float = 1e9,
) -> Result:
    """Run a graph: the value pass first (unless ``timing_only``), then its timing on one of the engines.

    Parameters
    ----------
    graph : Graph or FrozenGraph
    engine : {"compiled", "simpy"}
        Both give the same start times and stall causes; SimPy is slower and written to be read.
    timing_only : bool
        Leave out the values. Tables that depend on data are recorded all the same.
    skip : bool
        Let the compiled engine skip whole periods of the steady state, exactly.
    trace : bool
        Keep every start time and cause (memory grows with firings, nothing is skipped).
    digest : bool
        Compute the schedule digest.
    explain : bool
        Search the smallest depths that would free a deadlock.
    clock_hz : float
        Turns cycles into seconds.

    Raises
    ------
    GraphError
        If the graph is not well formed.
    SimulatorError
        For an unknown engine.
    """
    if engine not in ENGINES:
        raise SimulatorError(f"no engine is called {engine!r}{did_you_mean(engine, ENGINES)}")
    outputs: dict[str, npt.NDArray[np.float64]] = {}
    if isinstance(graph, Graph):
        recorded = any(unit.table is None for unit in graph.units)
        if recorded or not timing_only:
            values = evaluate(graph)
            outputs = {} if timing_only else values.outputs
            graph = graph.with_tables(values.tables)
        graph = graph.freeze()
    compile_s = warm_up(graph) if engine == "compiled" else 0.0
    begin = time.perf_counter()
    if engine == "compiled":
        outcome = run_compiled(graph, skip=skip, trace=trace, digest=digest)
    else:
        outcome = run_reference(graph)
    wall_s = time.perf_counter() - begin
    return _result(
        graph, engine, outcome, wall_s=wall_s, compile_s=compile_s, digest=digest, explain=explain, trace=trace,
        clock_hz=clock_hz, outputs=outputs,
    )  # fmt: skip


def completes(graph: FrozenGraph) -> bool:
    """Whether ``graph`` runs to its end (on the compiled engine)."""
    return not any(run_compiled(graph, digest=False, occupancy=False).segment)


_REMEDIES = Remedies(completes)


def forget_graphs() -> None:
    """Forget what is kept of graphs that ran: their machines, and the depths that freed them."""
    forget_machines()
    _REMEDIES.forget()


def _result(
    graph: FrozenGraph,
    engine: Engine,
    outcome: Outcome,
    *,
    wall_s: float,
    compile_s: float,
    digest: bool,
    explain: bool,
    trace: bool,
    clock_hz: float,
    outputs: dict[str, npt.NDArray[np.float64]],
) -> Result:
    cycles = max(outcome.clock, default=0)
    names = [unit.name for unit in graph.units]
    return Result(
        graph=graph.name,
        engine=engine,
        cycles=cycles,
        firings=sum(outcome.fired),
        wall_s=wall_s,
        compile_s=compile_s,
        schedule_digest=schedule_digest(names, *map(list, zip(*outcome.hashes, strict=True))) if digest else None,
        deadlock=_deadlock(graph, outcome, cycles, explain=explain),
        units=tuple(_unit_result(graph, outcome, unit, cycles) for unit in range(len(names))),
        channels=tuple(
            ChannelResult(
                name=channel.name,
                producer=channel.producer,
                consumer=channel.consumer,
                depth=channel.depth,
                peak_occupancy=outcome.peak[number],
                tokens=outcome.popped[number],
                bytes=outcome.popped[number] * channel.token_bytes,
                capacity_bytes=None if channel.depth is None else channel.depth * channel.token_bytes,
            )
            for number, channel in enumerate(graph.channels)
        ),
        servers=tuple(
            ServerResult(
                server.name, outcome.grants[i], outcome.server_busy[i], outcome.server_bytes[i], outcome.tiers[i]
            )
            for i, server in enumerate(graph.servers)
        ),
        lints=graph.lints,
        skipped=outcome.skipped,
        outputs=outputs,
        trace=outcome.trace if trace else None,
        clock_hz=clock_hz,
    )


def _unit_result(graph: FrozenGraph, outcome: Outcome, unit: int, cycles: int) -> UnitResult:
    """Cycles of one unit; one that never finished keeps waiting for its cause until the end."""
    names = cause_names(graph, unit)
    stalled = dict(zip(names, outcome.stall[unit], strict=True))
    idle = cycles - outcome.clock[unit]
    blocked = wait_of(graph, outcome, unit)
    if blocked is not None:
        stalled[names[blocked[1]]] += idle
        idle = 0
    return UnitResult(
        name=graph.units[unit].name,
        kind=graph.units[unit].kind,
        firings=outcome.fired[unit],
        busy_cycles=outcome.busy[unit],
        stalled_cycles={name: stall for name, stall in stalled.items() if stall},
        idle_cycles=idle,
    )


def _deadlock(graph: FrozenGraph, outcome: Outcome, cycles: int, *, explain: bool) -> Deadlock | None:
    if not any(outcome.segment):
        return None
    return explain_deadlock(graph, outcome, cycles, _REMEDIES.smallest_depth if explain else lambda *_: None)
