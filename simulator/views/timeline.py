"""Timelines: the state of every unit in every cycle and the fill of every FIFO, as stretches of equal state.

A unit is ``busy`` for the initiation interval of each firing, stalled by a named cause between them, and ``idle`` after
its last one, so its states cover the window without a gap. A wait is shown under the cause that ended it: with a server
that is the grant, although the request may have arrived late for another reason (the stall table of a result splits
the two). A wait that the end of the window cuts off has not ended; it is shown under all that the unit still lacks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from simulator.engines.compiled.engine import run_compiled
from simulator.engines.compiled.machine import cause_names
from simulator.engines.outcome import Outcome
from simulator.engines.reference.engine import run_reference
from simulator.errors import AccountingError, SimulatorError, did_you_mean
from simulator.firing import ExpandedTable, IntArray
from simulator.graph import FrozenGraph
from simulator.prefix import prefix
from simulator.result import Trace

MOST_FIRINGS = 20_000_000
NEVER = 1 << 62
BUSY, IDLE = "busy", "idle"

Runner = Callable[[FrozenGraph], Outcome]


@dataclass(frozen=True)
class UnitTimeline:
    """Stretches of equal state of one unit, arrays of shape ``(stretches,)``, in order and without gaps.

    Attributes
    ----------
    begin, end : int array
        First cycle of each stretch, and the cycle behind its last one.
    state : int array
        Index into ``states``.
    firings : int array
        Firings that started in each stretch.
    states : tuple of str
        ``busy``, the stall causes of the unit in the words of a result, ``idle``; then, if the window cuts off a wait
        for more than one thing, all of these in one state.
    """

    name: str
    kind: str
    begin: IntArray
    end: IntArray
    state: IntArray
    firings: IntArray
    states: tuple[str, ...]

    def cycles(self) -> dict[str, int]:
        """Cycles spent in each state."""
        spent: dict[str, int] = {}
        for state, length in zip(self.state.tolist(), (self.end - self.begin).tolist(), strict=True):
            spent[self.states[state]] = spent.get(self.states[state], 0) + length
        return spent


@dataclass(frozen=True)
class ChannelTimeline:
    """Slots in use of one FIFO: ``tokens[i]`` from cycle ``time[i]`` on, in-flight tokens included."""

    name: str
    depth: int | None
    time: IntArray
    tokens: IntArray


@dataclass(frozen=True)
class Timeline:
    """A window of a run: cycles ``begin`` to ``end``, the latter excluded.

    Attributes
    ----------
    complete : bool
        Whether the run is over before ``end`` (all done, or deadlocked).
    deadlocked : tuple of str
        Units that wait for ever, if that is how it ended.
    """

    graph: str
    begin: int
    end: int
    complete: bool
    deadlocked: tuple[str, ...]
    units: tuple[UnitTimeline, ...]
    channels: tuple[ChannelTimeline, ...]


def _compiled(graph: FrozenGraph) -> Outcome:
    return run_compiled(graph, trace=True, digest=False, occupancy=False)


RUNNERS: dict[str, Runner] = {"compiled": _compiled, "simpy": run_reference}


def record_timeline(graph: FrozenGraph, window: tuple[int, int] | None = None, *, engine: str = "compiled") -> Timeline:
    """Run ``graph`` as far as the window needs and record what happens in it.

    Parameters
    ----------
    window : (int, int) or None
        First cycle, and the cycle behind the last one; None is the whole run.
    engine : {"compiled", "simpy"}

    Raises
    ------
    SimulatorError
        If the window is empty, begins after the run has ended, or needs more start times than are kept in memory.
    """
    if window is not None and not 0 <= window[0] < window[1]:
        raise SimulatorError(f"a window must be BEGIN:END with 0 <= BEGIN < END (got {window[0]}:{window[1]})")
    if engine not in RUNNERS:
        raise SimulatorError(f"no engine is called {engine!r}{did_you_mean(engine, RUNNERS)}")
    if window is not None:
        graph = prefix(
            graph, window[1] + 1
        )  # a cycle more: a run that stops at the window's end is then known to be over
    if graph.firings > MOST_FIRINGS:
        remedy = "choose a window that ends earlier" if window else "choose a window"
        raise SimulatorError(
            f"a trace keeps every start time up to its end: {graph.firings} firings are more than {MOST_FIRINGS}; "
            f"{remedy}"
        )
    outcome = RUNNERS[engine](graph)
    return _Recorder(graph, outcome, window).timeline()


@dataclass
class _Recorder:
    """Turns the start times of one run into stretches and occupancies."""

    graph: FrozenGraph
    outcome: Outcome
    window: tuple[int, int] | None

    def __post_init__(self) -> None:
        self.over = max(self.outcome.clock)
        self.begin, end = self.window or (0, self.over)
        self.end = min(end, self.over)
        if self.begin >= self.end and self.window:
            raise SimulatorError(f"the window begins at cycle {self.begin}, but the run ends at cycle {self.over}")
        self.numbers = {unit.name: number for number, unit in enumerate(self.graph.units)}

    @cached_property
    def trace(self) -> Trace:
        if self.outcome.trace is None:
            raise SimulatorError("a timeline needs a traced run")
        return self.outcome.trace

    @cached_property
    def tables(self) -> list[ExpandedTable]:
        return [self.graph.table(unit).expand() for unit in range(len(self.graph.units))]

    @cached_property
    def pops(self) -> list[IntArray]:
        """Per channel, the cycle in which each token was taken."""
        return [self._per_token(channel.consumer, channel.input, made=False) for channel in self.graph.channels]

    @cached_property
    def slots(self) -> list[IntArray]:
        """Per unit, when each firing had its slots on the outputs up to each, shape ``(firings, outputs)``."""
        return [self._slots(unit) for unit in range(len(self.graph.units))]

    def timeline(self) -> Timeline:
        complete = self.end == self.over
        stuck = [unit.name for unit, left in zip(self.graph.units, self.outcome.segment, strict=True) if left]
        return Timeline(
            graph=self.graph.name,
            begin=self.begin,
            end=self.end,
            complete=complete,
            deadlocked=tuple(stuck) if complete else (),
            units=tuple(self._unit(number) for number in range(len(self.graph.units))),
            channels=tuple(self._channel(number) for number in range(len(self.graph.channels))),
        )

    def _per_token(self, unit_name: str, port: int, *, made: bool) -> IntArray:
        unit = self.numbers[unit_name]
        table, start = self.tables[unit], self.trace.start[unit]
        counts = (table.make if made else table.take)[port][: len(start)]
        return np.repeat(self._issued(unit, port) if made else start, counts)

    def _issued(self, unit: int, port: int) -> IntArray:
        """Cycle at which each firing handed its tokens to output ``port``; with ``hold``, when all have slots."""
        return self.slots[unit][:, -1 if self.graph.units[unit].issue == "hold" else port]

    def _slots(self, unit: int) -> IntArray:
        start = self.trace.start[unit]
        outputs = self.graph.output_channels[unit]
        issue = self.graph.units[unit].issue
        times = np.repeat(start[:, None], len(outputs), axis=1)
        if issue == "reserve":
            return times
        reached = start
        for port, number in enumerate(outputs):
            reached = np.maximum(reached, self._release(number, self.tables[unit].make[port][: len(start)]))
            times[:, port] = reached
        return times

    def _release(self, number: int, made: IntArray) -> IntArray:
        """Cycle at which the slots that each firing needs on a channel are given back; 0 where none is needed."""
        channel = self.graph.channels[number]
        if channel.depth is None:
            return np.zeros(len(made), np.int64)
        last = channel.initial_tokens + np.cumsum(made) - 1 - channel.depth
        freed = np.append(self.pops[number] + channel.credit_latency_cycles, NEVER)
        release = freed[np.clip(last, 0, len(freed) - 1)]
        return np.where((made > 0) & (last >= 0), release, 0)

    def _unit(self, number: int) -> UnitTimeline:
        unit = self.graph.units[number]
        start = self.trace.start[number]
        # a firing of zero interval can start in the very cycle in which the run is over
        fired = len(start) if self.end == self.over else int(np.searchsorted(start, self.end))
        start = start[:fired]
        interval = self.tables[number].ii[:fired]
        held = unit.issue != "reserve"
        waits = self.slots[number][:fired] if held else np.zeros((fired, 0), np.int64)
        issued = waits[:, -1] if waits.shape[1] else start
        ready = np.minimum(issued, NEVER - interval) + interval
        # columns of a firing: the wait before it, the wait for each output of a held result, its interval
        bounds = np.concatenate([np.append(0, ready[:-1])[:fired, None], start[:, None], waits, ready[:, None]], axis=1)
        first_output = 1 + unit.inputs
        states = np.zeros((fired, bounds.shape[1] - 1), np.int64)
        states[:, 0] = self.trace.cause[number][:fired]
        states[:, 1:-1] = first_output + np.arange(waits.shape[1])
        begin, end, state = bounds[:, :-1].ravel(), bounds[:, 1:].ravel(), states.ravel()
        count = np.zeros_like(states)
        count[:, -1] = start >= self.begin
        names = [BUSY, *cause_names(self.graph, number)[1:], IDLE]
        clock = int(ready[-1]) if fired else 0
        names, last = self._last(number, fired, clock, names)
        begin, end = np.append(begin, clock), np.append(end, self.end)
        stretches, firings = _merge(
            np.maximum(begin, self.begin), np.minimum(end, self.end), np.append(state, last), np.append(count, 0)
        )
        return UnitTimeline(unit.name, unit.kind, *stretches, firings, tuple(names))

    def _last(self, number: int, fired: int, clock: int, names: list[str]) -> tuple[list[str], int]:
        """State names and the state of a unit from ``clock`` to the end of the window."""
        if fired == len(self.tables[number].ii):
            return names, len(names) - 1
        if clock >= self.end:
            return names, 0
        lacking = self._lacking(number, fired)
        if len(lacking) == 1:
            return names, names.index(lacking[0])
        return [*names, ", ".join(lacking)], len(names)

    def _lacking(self, number: int, firing: int) -> list[str]:
        """Causes that keep a firing from starting before the end of the window."""
        unit, table = self.graph.units[number], self.tables[number]
        names = cause_names(self.graph, number)
        inputs = [
            port
            for port in range(unit.inputs)
            if self._visible(self.graph.input_channels[number][port]) < table.take[port][: firing + 1].sum()
        ]
        lacking = [names[1 + port] for port in inputs]
        if unit.issue == "reserve":
            for port, channel in enumerate(self.graph.output_channels[number]):
                if self._release(channel, table.make[port][: firing + 1])[-1] >= self.end:
                    lacking.append(names[1 + unit.inputs + port])
        if not lacking:  # everything is there but for a server, the unit's own or the one that fetches an input
            lacking = [names[-1]] * (unit.server is not None) + self._served_inputs(number)
        if not lacking:
            raise AccountingError(f"unit {unit.name}: firing {firing} lacks nothing, yet has not started")
        return lacking

    def _visible(self, number: int) -> int:
        """Tokens that a channel has shown before the end of the window; those a server still fetches count as shown."""
        channel = self.graph.channels[number]
        producer = self.numbers[channel.producer]
        table, start = self.tables[producer], self.trace.start[producer]
        issued = self._issued(producer, channel.output)
        ready = start + table.latency[: len(start)]
        if self.graph.units[producer].issue != "reserve":
            ready = np.maximum(ready, np.minimum(issued, NEVER) + 1)
        shown = int(np.searchsorted(np.maximum.accumulate(ready + channel.latency_cycles), self.end))
        return channel.initial_tokens + int(table.make[channel.output][:shown].sum())

    def _served_inputs(self, number: int) -> list[str]:
        names = cause_names(self.graph, number)
        producers = [self.graph.channels[channel].producer for channel in self.graph.input_channels[number]]
        return [
            names[1 + port]
            for port, producer in enumerate(producers)
            if self.graph.units[self.numbers[producer]].server is not None
        ]

    def _channel(self, number: int) -> ChannelTimeline:
        channel = self.graph.channels[number]
        pushes = self._per_token(channel.producer, channel.output, made=True)
        releases = self.pops[number] + channel.credit_latency_cycles
        times = np.concatenate([[self.begin], pushes, releases])
        change = np.concatenate([[channel.initial_tokens], np.ones(len(pushes)), -np.ones(len(releases))])
        inside = times < self.end
        moments, place = np.unique(np.maximum(times[inside], self.begin), return_inverse=True)
        net = np.bincount(place, change[inside], minlength=len(moments)).astype(np.int64)
        changed = net != 0
        changed[:1] = True
        return ChannelTimeline(channel.name, channel.depth, moments[changed], np.cumsum(net)[changed])


def _merge(
    begin: IntArray, end: IntArray, state: IntArray, count: IntArray
) -> tuple[tuple[IntArray, IntArray, IntArray], IntArray]:
    """Leave out empty stretches and join neighbours of equal state: (begin, end, state), firings."""
    kept = end > begin
    # firings of zero interval fill no cycle: they count where the unit goes on from
    owner = np.minimum(np.cumsum(kept) - kept, max(int(kept.sum()) - 1, 0))
    begin, end, state = begin[kept], end[kept], state[kept]
    if not len(begin):
        return (begin, end, state), begin
    first = np.append(True, state[1:] != state[:-1])
    group = np.cumsum(first) - 1
    firings = np.bincount(group[owner], count, minlength=int(first.sum())).astype(np.int64)
    edges = np.append(begin[first], end[-1])
    return (edges[:-1], edges[1:], state[first]), firings
