"""Graphs of timed units joined by bounded FIFO channels, and the checks that make them safe to run.

The semantics of a graph is one recurrence over firings (see :mod:`simulator.engines.reference.engine` for its readable
form)::

    S(u,n) = max( S(u,n-1) + II(u,n-1),
                  visible time of the last token needed on each input,
                  pop time of the token whose slot is needed on each output + credit latency )
    visible(token) = max( visible(previous token on the channel), S(producer) + latency + channel latency )

A unit with ``issue="hold"`` pops when its inputs are there and keeps the result until the slots are free (``E``)::

    S(u,n) = max( E(u,n-1) + II(u,n-1), visible times of the tokens needed )
    E(u,n) = max( S(u,n), pop times of the slots needed on all outputs + credit latency )
    visible(token) = max( visible(previous token), S + latency + channel latency, E + 1 + channel latency )

``issue="hold_in_turn"`` waits for its outputs one after the other, so that E grows along the ports.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field, replace
from html import escape
from typing import TypeVar

from simulator.cards import html_table
from simulator.errors import GraphError, did_you_mean
from simulator.firing import FiringTable
from simulator.graph_checks import lints_of, problems_of
from simulator.servers.contract import Server
from simulator.units import AnyServer, Channel, Issue, Unit

__all__ = ["AnyServer", "Channel", "FrozenGraph", "Graph", "Issue", "Unit"]

S = TypeVar("S", bound=AnyServer)
MOST_COMPARED = 256
"""Segments of all tables up to which graphs are told apart by them."""


@dataclass(frozen=True)
class FrozenGraph:
    """A checked graph. Units, channels and servers are indexed by their position.

    Attributes
    ----------
    input_channels, output_channels : tuple of tuple of int
        Channel index of every port, per unit.
    lints : tuple of str
        Legal but suspicious things: FIFOs too shallow for full rate, zero initiation intervals.
    """

    name: str
    units: tuple[Unit, ...]
    channels: tuple[Channel, ...]
    servers: tuple[AnyServer, ...]
    input_channels: tuple[tuple[int, ...], ...]
    output_channels: tuple[tuple[int, ...], ...]
    lints: tuple[str, ...]

    def table(self, unit: int) -> FiringTable:
        """Firing table of unit number ``unit``."""
        table = self.units[unit].table
        if table is None:
            raise GraphError(f"unit {self.units[unit].name}: its firing table was never recorded")
        return table

    @property
    def but_for_channels(self) -> Hashable:
        """All that decides how it runs, except its channels; None where comparing that takes as long as running it."""
        tables = tuple(unit.table for unit in self.units)
        segments = sum(len(block.segments) for table in tables if table for block in table.blocks)
        if segments > MOST_COMPARED or not all(isinstance(server, Server) for server in self.servers):
            return None
        return tables, tuple((unit.name, unit.issue, unit.server) for unit in self.units), self.servers

    @property
    def growing_rows(self) -> int:
        """Rows of a head, if they grow in a graph of bounded FIFOs and units that reserve slots; else 0."""
        tables = [self.table(unit) for unit in range(len(self.units))]
        if not any(table.grows for table in tables) or self.servers:
            return 0
        if any(unit.issue != "reserve" for unit in self.units):
            return 0
        if any(channel.depth is None or channel.initial_tokens for channel in self.channels):
            return 0
        spans = {min(table.ramp_length or table.iterations, table.iterations) for table in tables if table.grows}
        iterations = {table.iterations for table in tables}
        return spans.pop() if len(spans) == len(iterations) == 1 else 0

    def channel_index(self, name: str) -> int:
        """Position of the channel called ``name``."""
        for index, channel in enumerate(self.channels):
            if channel.name == name:
                return index
        hint = did_you_mean(name, (channel.name for channel in self.channels))
        raise GraphError(f"no channel is called {name!r}{hint}")

    def with_depths(self, depths: dict[str, int | None]) -> FrozenGraph:
        """The same graph with other FIFO depths; names that are not given keep theirs."""
        _check_names(depths, self.channels)
        channels = tuple(replace(channel, depth=depths.get(channel.name, channel.depth)) for channel in self.channels)
        return replace(self, channels=channels, lints=tuple(lints_of(self.units, channels)))

    @property
    def firings(self) -> int:
        """Number of firings of a complete run."""
        return sum(self.table(unit).firings for unit in range(len(self.units)))

    def _repr_html_(self) -> str:
        return _graph_html(self.name, self.units, self.channels)


@dataclass
class Graph:
    """A graph under construction. Add units, connect them, then :meth:`freeze`.

    Parameters
    ----------
    name : str
    rows_per_group : int
        Iterations that the value pass may evaluate together (the rows of one head); 0 means all.
    """

    name: str
    rows_per_group: int = 0
    units: list[Unit] = field(default_factory=list)
    channels: list[Channel] = field(default_factory=list)
    servers: list[AnyServer] = field(default_factory=list)
    _joined: Counter[tuple[str, str]] = field(default_factory=Counter, init=False, repr=False, compare=False)

    def add(self, unit: Unit) -> Unit:
        """Add a unit and return it."""
        self.units.append(unit)
        return unit

    def add_server(self, server: S) -> S:
        """Add a server and return it."""
        self.servers.append(server)
        return server

    def connect(
        self,
        producer: Unit,
        consumer: Unit,
        *,
        depth: int | None = 2,
        name: str | None = None,
        output: int | None = None,
        input: int | None = None,  # noqa: A002 - the field's word for the port
        latency_cycles: int = 0,
        credit_latency_cycles: int = 1,
        token_bytes: int = 8,
        initial_tokens: int = 0,
    ) -> Channel:
        """Join the next free output port of ``producer`` to the next free input port of ``consumer``.

        ``output`` and ``input`` choose ports explicitly; the default name is ``producer->consumer``.
        """
        if output is None:
            output = _next_free(c.output for c in self.channels if c.producer == producer.name)
        if input is None:
            input = _next_free(c.input for c in self.channels if c.consumer == consumer.name)  # noqa: A001 - likewise
        channel = Channel(
            name or self._channel_name(producer, consumer),
            producer.name,
            output,
            consumer.name,
            input,
            depth,
            latency_cycles,
            credit_latency_cycles,
            token_bytes,
            initial_tokens,
        )
        self.channels.append(channel)
        return channel

    def _channel_name(self, producer: Unit, consumer: Unit) -> str:
        # counted on from where it was: a graph of many cores has thousands of channels
        for channel in self.channels[self._joined.total() :]:
            self._joined[channel.producer, channel.consumer] += 1
        name, same = f"{producer.name}->{consumer.name}", self._joined[producer.name, consumer.name]
        return f"{name}.{same + 1}" if same else name

    def with_tables(self, tables: dict[str, FiringTable]) -> Graph:
        """The same graph with firing tables recorded by the value pass."""
        units = [replace(unit, table=tables.get(unit.name, unit.table)) for unit in self.units]
        return replace(self, units=units)

    def _repr_html_(self) -> str:
        return _graph_html(self.name, self.units, self.channels)

    def with_depths(self, depths: dict[str, int | None] | dict[str, int]) -> Graph:
        """The same graph with other depths for the channels that ``depths`` names.

        Raises
        ------
        GraphError
            If no channel has one of the names.
        """
        _check_names(depths, self.channels)
        channels = [replace(c, depth=depths.get(c.name, c.depth)) for c in self.channels]
        return replace(self, channels=channels)

    def freeze(self) -> FrozenGraph:
        """Check the graph and return its immutable form.

        Raises
        ------
        GraphError
            With one line per problem: duplicate names, dangling or doubly used ports, unknown servers, illegal
            addresses, depths and latencies, and channels whose producer and consumer disagree about their tokens.
        """
        problems = problems_of(self.units, self.channels, self.servers)
        if problems:
            raise GraphError([f"graph {self.name}: {problem}" for problem in problems])
        by_end = {(c.consumer, c.input, "in"): i for i, c in enumerate(self.channels)}
        by_end |= {(c.producer, c.output, "out"): i for i, c in enumerate(self.channels)}
        return FrozenGraph(
            name=self.name,
            units=tuple(self.units),
            channels=tuple(self.channels),
            servers=tuple(self.servers),
            input_channels=tuple(
                tuple(by_end[unit.name, port, "in"] for port in range(unit.inputs)) for unit in self.units
            ),
            output_channels=tuple(
                tuple(by_end[unit.name, port, "out"] for port in range(unit.outputs)) for unit in self.units
            ),
            lints=tuple(lints_of(self.units, self.channels)),
        )


def _check_names(names: Iterable[str], channels: Iterable[Channel]) -> None:
    known = {channel.name for channel in channels}
    unknown = sorted(set(names) - known)
    if unknown:
        raise GraphError([f"no channel is called {name!r}{did_you_mean(name, known)}" for name in unknown])


def _graph_html(name: str, units: Iterable[Unit], channels: Iterable[Channel]) -> str:
    unit_rows = [(u.name, u.kind, u.table.firings if u.table else "from data", u.server or "") for u in units]
    channel_rows = [
        (c.name, c.producer, c.consumer, "unbounded" if c.depth is None else c.depth, c.token_bytes) for c in channels
    ]
    return (
        f"<b>{escape(name)}</b>"
        + html_table(("unit", "kind", "firings", "server"), unit_rows)
        + html_table(("FIFO", "from", "to", "depth", "bytes per token"), channel_rows)
    )


def _next_free(used: Iterable[int]) -> int:
    taken = set(used)
    port = 0
    while port in taken:
        port += 1
    return port
