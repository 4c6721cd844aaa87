"""Parts of a graph: units, the channels between them, and the servers they share."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Literal

from simulator.cards import html_table
from simulator.firing import FiringTable
from simulator.servers.contract import Server
from simulator.servers.dram.server import DramServer
from simulator.servers.memory_server import MemoryServer
from simulator.tokens import UnitFunction

Issue = Literal["reserve", "hold", "hold_in_turn"]
AnyServer = Server | DramServer | MemoryServer


@dataclass(frozen=True)
class Unit:
    """A node of the graph: timing data and, optionally, a function on token values.

    Parameters
    ----------
    name : str
        Unique in the graph.
    kind : str
        What the unit does ("map", "reduce", ...); for people only, engines never look at it.
    table : FiringTable or None
        Its timing. None means that the value pass records it, because it depends on data.
    function : callable or None
        Maps the tokens of some iterations to output tokens; see :mod:`simulator.values`.
    issue : {"reserve", "hold", "hold_in_turn"}
        How the unit meets a full output.
    server : str or None
        Name of the server that serves the requests of this unit.
    inputs, outputs : int
        Number of ports; taken from the table when there is one.
    """

    name: str
    kind: str
    table: FiringTable | None
    function: UnitFunction | None = None
    issue: Issue = "reserve"
    server: str | None = None
    inputs: int = 0
    outputs: int = 0

    def __post_init__(self) -> None:
        if self.table is not None:
            object.__setattr__(self, "inputs", self.table.inputs)
            object.__setattr__(self, "outputs", self.table.outputs)

    def _repr_html_(self) -> str:
        firings = self.table.firings if self.table else "from data"
        rows = [("kind", self.kind), ("firings", firings), ("issue", self.issue), ("server", self.server or "none")]
        return f"<b>{escape(self.name)}</b>" + html_table(("property", "value"), rows)


@dataclass(frozen=True)
class Channel:
    """A bounded FIFO between one output port and one input port.

    Parameters
    ----------
    depth : int or None
        Slots, in-flight tokens included; None is an unbounded FIFO.
    latency_cycles : int
        Transport time added to the latency of the producer.
    credit_latency_cycles : int
        Time from a pop until the producer may reuse the slot (at least 1).
    token_bytes : int
        Size of one token, for byte counts.
    initial_tokens : int
        Tokens that are visible at time 0 (feedback loops).
    """

    name: str
    producer: str
    output: int
    consumer: str
    input: int
    depth: int | None = 2
    latency_cycles: int = 0
    credit_latency_cycles: int = 1
    token_bytes: int = 8
    initial_tokens: int = 0

    def _repr_html_(self) -> str:
        return f"<b>{escape(self.name)}</b>" + html_table(("property", "value"), vars(self).items())
