"""Graphs that differ in times alone: the machine of one is kept, and run again with the times of another.

Flattening a graph costs ten times as much as running a short one. Designs of a sweep have graphs in common but for the
latencies and intervals of their firings, the bytes that these request, the rates of servers and the latencies of
channels. A `Mould` is the initial machine of one such graph; `Mould.run` fills in the times of another and gives what
`simulator.simulate` counts of it, skipped firings included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from simulator.engines.compiled.engine import VISITS_PER_SLICE
from simulator.engines.compiled.machine import Machine, build_machine, cause_names
from simulator.engines.compiled.records import Records
from simulator.engines.compiled.run_ahead import FINISHED, OUT_OF_VISITS, run
from simulator.engines.compiled.runs import start_all
from simulator.engines.compiled.scratch import Options, build_scratch
from simulator.engines.compiled.watch import BASE, SKIPPED_FIRINGS, Reference, Watch, build_watch
from simulator.engines.progress import is_heard, report
from simulator.errors import AccountingError
from simulator.firing import IntArray, Segment
from simulator.graph import FrozenGraph
from simulator.graph_checks import MOST_CYCLES
from simulator.servers.contract import Server

WORD_BYTES = 8
"""All that a machine is made of are words of 64 bits."""
MOST_COUNTED = 256
"""Runs of a mould that are kept by their times: designs that differ in other things have them in common."""


class Times(NamedTuple):
    """All times of a graph.

    Parameters
    ----------
    latencies, intervals, requests
        Of every segment of the tables, each table once, in the order in which units first have it.
    servers
        Rate and latency of every server, one after the other.
    channels
        Latency of every channel.
    """

    latencies: IntArray
    intervals: IntArray
    requests: IntArray
    servers: IntArray
    channels: IntArray

    def equal(self, other: Times) -> bool:
        """Whether all times are the same."""
        return all(np.array_equal(own, its) for own, its in zip(self, other, strict=True))


@dataclass(frozen=True)
class Counts:
    """What a run counts, by the positions of units and servers in the graph.

    Parameters
    ----------
    cycles
        Until the last unit is ready again.
    firings, skipped_firings
        Of all units; and those among them that were counted without being simulated one by one.
    busy
        Cycles in which each unit works.
    stalls, ends
        Stalled cycles by the number of their cause, unit after unit, and where those of each unit end.
    served
        Cycles in which each server works.
    """

    cycles: int
    firings: int
    skipped_firings: int
    busy: list[int]
    stalls: list[int]
    ends: tuple[int, ...]
    served: list[int]

    def stalled(self, unit: int) -> list[int]:
        """Stalled cycles of a unit by the number of their cause."""
        return self.stalls[self.ends[unit - 1] if unit else 0 : self.ends[unit]]


class Mould:
    """The initial machine of a graph.

    Parameters
    ----------
    graph
        Its servers must be of constant rate and its channels bounded, see `fits`.
    """

    def __init__(self, graph: FrozenGraph) -> None:
        self.units = tuple(unit.name for unit in graph.units)
        self.causes = tuple(cause_names(graph, unit) for unit in range(len(graph.units)))
        machine = build_machine(graph)
        start_all(machine.units, machine.blocks, machine.segments)
        watch = build_watch(machine, enabled=True)
        parts = [*machine, *watch.inner, *watch.outer, watch.counts, watch.pacers]
        self._state, placed = _side_by_side(parts)
        self._first = self._state.copy()
        machine = Machine(*placed[: len(machine)])
        inner, outer = placed[len(machine) :][: len(watch.inner)], placed[len(machine) : -2][len(watch.inner) :]
        watch = Watch(Reference(*inner), Reference(*outer), *placed[-2:])
        self._machine = machine
        self._scratch = build_scratch(len(machine.units), Options(0, 1, 0), np.zeros((1, 4), np.int64), watch)
        self._times = [machine.segments[name] for name in ("latency", "ii", "request")]
        self._latencies = machine.channels["latency"]
        self._credits = int(machine.channels["credit"].sum())
        self._parameters = np.concatenate(
            [np.arange(row["parameter_ptr"], row["parameter_end"]) for row in machine.servers] or [np.zeros(0, int)]
        )
        lengths = [len(names) for names in self.causes]
        self._stalls = np.concatenate(
            [row["stall_ptr"] + np.arange(n) for row, n in zip(machine.units, lengths, strict=True)]
        )
        self._stall_starts = np.cumsum([0, *lengths[:-1]])
        self._stall_ends = tuple(np.cumsum(lengths).tolist())
        self._firings = int(machine.units["firings"].sum())
        self._counted: dict[bytes, Counts | None] = {}

    @staticmethod
    def fits(graph: FrozenGraph) -> bool:
        """Whether graphs like this one can be run so: without memories, and without rings that grow."""
        bounded = all(channel.depth is not None for channel in graph.channels)
        return bounded and all(isinstance(server, Server) for server in graph.servers)

    @staticmethod
    def times_of(graph: FrozenGraph) -> Times:
        """The times of a graph."""
        segments: list[Segment] = []
        seen: set[int] = set()
        for unit in range(len(graph.units)):
            table = graph.table(unit)
            if id(table) not in seen:
                seen.add(id(table))
                segments += [segment for block in table.blocks for segment in block.segments]
        columns = (
            [segment.latency for segment in segments],
            [segment.ii for segment in segments],
            [segment.request_bytes for segment in segments],
            [int(n) for server in graph.servers if isinstance(server, Server) for n in server.parameters()],
            [channel.latency_cycles for channel in graph.channels],
        )
        return Times(*(np.array(column, np.int64) for column in columns))

    def run(self, times: Times) -> Counts | None:
        """What a graph with these times counts; None if it gets stuck, or its times might not fit into 64 bits.

        Raises
        ------
        AccountingError
            Cycles of a unit that are not accounted for: a fault of the engine.
        """
        content = b"".join(given.tobytes() for given in times)
        if content not in self._counted:
            if len(self._counted) >= MOST_COUNTED:
                self._counted.clear()
            self._counted[content] = self._run(times)
        return self._counted[content]

    def _run(self, times: Times) -> Counts | None:
        if not self._fill(times):
            return None
        machine, watch = self._machine, self._scratch.watch
        status = OUT_OF_VISITS
        while status == OUT_OF_VISITS:
            status = run(machine, self._scratch, VISITS_PER_SLICE)
            if status == OUT_OF_VISITS and is_heard():
                report("firings", int(machine.units["fired"].sum()), self._firings)
        units = machine.units
        if status != FINISHED or not units["done"].all():
            return None
        clocks = units["clock"] + watch.counts[BASE]
        cycles = int(clocks.max(initial=0))
        stalls = machine.words[self._stalls]
        self._check(units["busy"], clocks, stalls, cycles)
        return Counts(
            cycles=cycles,
            firings=int(units["fired"].sum()),
            skipped_firings=int(watch.counts[SKIPPED_FIRINGS]),
            busy=units["busy"].tolist(),
            stalls=stalls.tolist(),
            ends=self._stall_ends,
            served=machine.servers["busy"].tolist(),
        )

    def _check(self, busy: IntArray, clocks: IntArray, stalls: IntArray, cycles: int) -> None:
        """Every cycle is accounted for exactly once, as `simulator.result.UnitResult.check` has it."""
        idle = cycles - clocks
        totals = busy + np.add.reduceat(stalls, self._stall_starts) + idle
        least = np.minimum.reduceat(stalls, self._stall_starts)
        faulty = (totals != cycles) | (np.minimum(np.minimum(busy, idle), least) < 0)
        if faulty.any():
            wrong = self.units[int(np.argmax(faulty))]
            raise AccountingError(f"unit {wrong}: busy, stalled and idle cycles are not the total of {cycles} cycles")

    def _fill(self, times: Times) -> bool:
        """Bring the machine to its initial state with these times; False where they might not fit into 64 bits."""
        self._state[:] = self._first
        for filled, given in zip(self._times, times[:3], strict=True):
            filled[:] = given
        self._machine.words[self._parameters] = times.servers
        self._latencies[:] = times.channels
        # no firing takes longer than all of these together: a bound above that of `simulator.graph_checks`
        columns: list[list[int]] = [given.tolist() for given in times]
        latencies, intervals, requests, servers, channels = columns
        parts = max(latencies), max(intervals), max(requests), sum(servers), sum(channels)
        longest = sum(parts) + self._credits
        return max(*parts, self._firings * longest) < MOST_CYCLES and min(intervals) > 0


def _side_by_side(parts: Sequence[Records]) -> tuple[npt.NDArray[np.int64], list[Records]]:
    """Copies of arrays of words in one array, which is set back in one go."""
    sizes = [part.nbytes // WORD_BYTES for part in parts]
    words = np.zeros(sum(sizes), np.int64)
    ends = np.cumsum(sizes)
    placed = []
    for part, size, end in zip(parts, sizes, ends, strict=True):
        copy = words[end - size : end].view(part.dtype).reshape(part.shape)
        copy[...] = part
        placed.append(copy)
    return words, placed
