"""The exact critical path: follow, from the last firing back to time 0, what each start waited for.

Every start time is the maximum of a few terms, and the trace remembers which one it was. Walking back along these terms
gives a chain of edges whose lengths add up to the number of cycles. An edge is the initiation interval of a unit, the
latency from a producer to its consumer, the return of a FIFO slot, or the time that a server was occupied.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from simulator.engines.compiled.engine import run_compiled
from simulator.engines.outcome import Outcome
from simulator.errors import SimulatorError
from simulator.firing import ExpandedTable, IntArray
from simulator.graph import FrozenGraph
from simulator.result import Trace
from simulator.servers.dram.server import DramServer

MOST_FIRINGS = 5_000_000


@dataclass(frozen=True)
class PathShare:
    """Cycles that one kind of edge contributes.

    Attributes
    ----------
    kind : str
        ``interval`` (a unit starts as fast as it can), ``latency`` (a token is under way), ``slot`` (a full FIFO gives
        a slot back), ``server`` (a server is occupied, or serves a request).
    where : str
        The unit, channel or server.
    """

    kind: str
    where: str
    cycles: int
    edges: int

    def to_dict(self) -> dict[str, object]:
        """JSON form."""
        return dict(vars(self))


@dataclass(frozen=True)
class CriticalPath:
    """Shares of the critical path, largest first; they add up to ``cycles`` unless ``exact`` is False.

    ``exact`` is False when the walk met a grant whose cause the trace does not tell (several ports of a server freed
    at once); ``note`` then says what is missing.
    """

    cycles: int
    shares: tuple[PathShare, ...]
    exact: bool
    note: str = ""

    def to_dict(self) -> dict[str, object]:
        """JSON form."""
        return {
            "cycles": self.cycles,
            "exact": self.exact,
            "note": self.note,
            "shares": [share.to_dict() for share in self.shares],
        }


def critical_path(graph: FrozenGraph) -> CriticalPath:
    """Run ``graph`` with a trace and walk its critical path.

    Raises
    ------
    SimulatorError
        If the graph deadlocks, or is too large to keep every start time.
    """
    if graph.firings > MOST_FIRINGS:
        raise SimulatorError(
            f"the critical path needs every start time: {graph.firings} firings are more than {MOST_FIRINGS}; "
            "shorten the sequence or use fewer heads"
        )
    outcome = run_compiled(graph, trace=True, digest=False)
    if any(outcome.segment):
        raise SimulatorError(f"graph {graph.name} deadlocks: it has no critical path")
    return _Walk(graph, outcome).path()


@dataclass
class _Walk:
    """Walks back over one traced run."""

    graph: FrozenGraph
    outcome: Outcome

    def __post_init__(self) -> None:
        self.cycles: Counter[tuple[str, str]] = Counter()
        self.edges: Counter[tuple[str, str]] = Counter()
        self.consumers = {c.name: self._index(c.consumer) for c in self.graph.channels}
        self.producers = {c.name: self._index(c.producer) for c in self.graph.channels}

    def _index(self, name: str) -> int:
        return next(number for number, unit in enumerate(self.graph.units) if unit.name == name)

    @cached_property
    def trace(self) -> Trace:
        if self.outcome.trace is None:
            raise SimulatorError("the critical path needs a traced run")
        return self.outcome.trace

    @cached_property
    def tables(self) -> list[ExpandedTable]:
        return [self.graph.table(unit).expand() for unit in range(len(self.graph.units))]

    @cached_property
    def taken(self) -> list[list[IntArray]]:
        return [[np.cumsum(port) for port in table.take] for table in self.tables]

    @cached_property
    def made(self) -> list[list[IntArray]]:
        return [[np.cumsum(port) for port in table.make] for table in self.tables]

    @cached_property
    def asking(self) -> list[npt.NDArray[np.bool_]]:
        """For each unit, which of its firings send a request to its server."""
        found = []
        for number in range(len(self.graph.units)):
            runs = [(segment.request_bytes > 0, count) for segment, count in self.graph.table(number).runs()]
            found.append(np.repeat([asks for asks, _ in runs], [count for _, count in runs]).astype(np.bool_))
        return found

    @cached_property
    def requests(self) -> dict[str | None, tuple[IntArray, IntArray, IntArray]]:
        """Start, unit and firing of each server's requests by start; of those at once, the first unit is last."""
        users: dict[str | None, list[int]] = {}
        for number, unit in enumerate(self.graph.units):
            if self.asking[number].any():
                users.setdefault(unit.server, []).append(number)
        found = {}
        for server, numbers in users.items():
            firings = [np.flatnonzero(self.asking[number]).astype(np.int64) for number in numbers]
            starts = np.concatenate([self.trace.start[n][asked] for n, asked in zip(numbers, firings, strict=True)])
            units = np.repeat(np.asarray(numbers, dtype=np.int64), [len(asked) for asked in firings])
            order = np.lexsort((-units, starts))
            found[server] = starts[order], units[order], np.concatenate(firings)[order]
        return found

    def path(self) -> CriticalPath:
        """Walk from the unit that is ready last back to time 0."""
        total = max(self.outcome.clock)
        unit = self.outcome.clock.index(total)
        firing = len(self.trace.start[unit]) - 1
        issued = self._issue(unit, firing)
        name, server = self.graph.units[unit].name, self.graph.units[unit].server
        if self._tier(unit) and total - issued > int(self.tables[unit].ii[firing]):
            self._add("server", server or "", total - issued)  # its last request is answered after its last interval
        else:
            self._add("interval", name, total - issued)
        position: tuple[int, int, int] | None = (unit, firing, issued)
        while position is not None:
            position = self._back(*position)
        shares = tuple(
            PathShare(kind, where, cycles, self.edges[kind, where])
            for (kind, where), cycles in sorted(self.cycles.items(), key=lambda item: (-item[1], item[0]))
            if cycles
        )
        missing = total - sum(share.cycles for share in shares)
        note = f"{missing} cycles before a server's grant could not be attributed" if missing else ""
        return CriticalPath(total, shares, missing == 0, note)

    def _add(self, kind: str, where: str, cycles: int) -> None:
        self.cycles[kind, where] += cycles
        self.edges[kind, where] += 1

    def _issue(self, unit: int, firing: int) -> int:
        return int(self.trace.start[unit][firing] + self.trace.wait[unit][firing])

    def _back(self, unit: int, firing: int, time: int) -> tuple[int, int, int] | None:
        """From an event of a firing at ``time`` (its start, or its later issue) to the event it waited for."""
        start = int(self.trace.start[unit][firing])
        inputs = len(self.graph.input_channels[unit])
        if time > start:
            return self._slot(unit, firing, int(self.trace.wait_cause[unit][firing]) - 1 - inputs, time)
        cause = int(self.trace.cause[unit][firing])
        if cause == 0:
            if firing == 0:
                return None
            before = self._issue(unit, firing - 1)
            self._add("interval", self.graph.units[unit].name, start - before)
            return unit, firing - 1, before
        if cause <= inputs:
            return self._token(unit, firing, cause - 1, start)
        if cause <= inputs + len(self.graph.output_channels[unit]):
            return self._slot(unit, firing, cause - 1 - inputs, start)
        return self._grant(unit, firing, start)

    def _token(self, unit: int, firing: int, port: int, time: int) -> tuple[int, int, int] | None:
        """To the firing that made the token, or the earlier one in the same FIFO, that became visible at ``time``."""
        number = self.graph.input_channels[unit][port]
        channel = self.graph.channels[number]
        producer = self.producers[channel.name]
        token = int(self.taken[unit][port][firing]) - 1 - channel.initial_tokens
        while token >= 0:
            maker = int(np.searchsorted(self.made[producer][channel.output], token, side="right"))
            ready = int(self.trace.start[producer][maker] + self.tables[producer].latency[maker])
            issued = self._issue(producer, maker)
            held = self.graph.units[producer].issue != "reserve"
            if held and issued + 1 + channel.latency_cycles == time and issued + 1 > ready:
                self._add("latency", self.graph.units[producer].name, time - issued)
                return producer, maker, issued
            if ready + channel.latency_cycles == time or self._served(producer, maker):
                start = int(self.trace.start[producer][maker])
                self._add("latency", self.graph.units[producer].name, time - start)
                return producer, maker, start
            token = int(self.made[producer][channel.output][maker - 1]) - 1 if maker else -1
        return None

    def _served(self, unit: int, firing: int) -> bool:
        """Whether the tokens of a firing come from a server, whose service time is part of their latency."""
        return bool(self.asking[unit][firing])

    def _slot(self, unit: int, firing: int, port: int, time: int) -> tuple[int, int, int]:
        """To the firing whose pop gave the slot back."""
        number = self.graph.output_channels[unit][port]
        channel = self.graph.channels[number]
        consumer = self.consumers[channel.name]
        token = int(self.made[unit][port][firing]) + channel.initial_tokens - 1 - (channel.depth or 0)
        taker = int(np.searchsorted(self.taken[consumer][channel.input], token, side="right"))
        start = int(self.trace.start[consumer][taker])
        self._add("slot", channel.name, time - start)
        return consumer, taker, start

    def _tier(self, unit: int) -> DramServer | None:
        """The memory tier that serves a unit, if there is one."""
        name = self.graph.units[unit].server
        servers = (server for server in self.graph.servers if isinstance(server, DramServer))
        return next((server for server in servers if server.name == name and self.graph.table(unit).uses_server), None)

    def _grant(self, unit: int, firing: int, time: int) -> tuple[int, int, int] | None:
        """To the latest earlier grant of the same server; exact for a server with one port.

        A unit that uses a memory tier waited for the answer to its request `outstanding` firings earlier.
        """
        name = self.graph.units[unit].server
        tier = self._tier(unit)
        if tier is not None:
            asked = firing - tier.outstanding
            start = int(self.trace.start[unit][asked])
            self._add("server", tier.name, time - start)
            return unit, asked, start
        starts, units, firings = self.requests[name]
        place = int(np.searchsorted(starts, time, side="left")) - 1
        if place < 0:
            return None
        self._add("server", name or "", time - int(starts[place]))
        return int(units[place]), int(firings[place]), int(starts[place])
