"""Results of a run: cycles, stalls by cause, FIFO occupancy, deadlocks; every number with its meaning."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from simulator.cards import time_text
from simulator.errors import AccountingError, SimulatorError, did_you_mean
from simulator.firing import IntArray
from simulator.servers.dram.tier import DramCounters

Entry = TypeVar("Entry")


def _named(what: str, name: str, entries: dict[str, Entry]) -> Entry:
    if name not in entries:
        raise SimulatorError(f"no {what} is called {name!r}{did_you_mean(name, entries)}")
    return entries[name]


@dataclass(frozen=True)
class UnitResult:
    """Cycles of one unit: ``busy + sum(stalled) + idle`` is the total of the run.

    Attributes
    ----------
    busy_cycles : int
        Sum of the initiation intervals of its firings.
    stalled_cycles : dict of str to int
        Cycles of waiting by cause: ``input CHANNEL`` (starved), ``output CHANNEL`` (blocked), ``server NAME``.
    idle_cycles : int
        Cycles after its last firing.
    """

    name: str
    kind: str
    firings: int
    busy_cycles: int
    stalled_cycles: dict[str, int]
    idle_cycles: int

    def check(self, total_cycles: int) -> None:
        """Raise AccountingError unless every cycle is accounted for exactly once."""
        parts = (self.busy_cycles, self.idle_cycles, *self.stalled_cycles.values())
        if sum(parts) != total_cycles or min(parts) < 0:
            raise AccountingError(
                f"unit {self.name}: busy {self.busy_cycles} + stalled {sum(self.stalled_cycles.values())} + idle "
                f"{self.idle_cycles} is not the total of {total_cycles} cycles"
            )

    def to_dict(self) -> dict[str, object]:
        """JSON form."""
        return {
            "name": self.name,
            "kind": self.kind,
            "firings": self.firings,
            "busy_cycles": self.busy_cycles,
            "stalled_cycles": self.stalled_cycles,
            "idle_cycles": self.idle_cycles,
        }


@dataclass(frozen=True)
class ChannelResult:
    """Traffic of one FIFO.

    Attributes
    ----------
    depth : int or None
        Slots; None for an unbounded FIFO.
    peak_occupancy : int
        Most slots in use at once, in-flight tokens included.
    tokens : int
        Tokens that the consumer took.
    bytes : int
        ``tokens`` times the size of a token.
    capacity_bytes : int or None
        ``depth`` times the size of a token.
    """

    name: str
    producer: str
    consumer: str
    depth: int | None
    peak_occupancy: int
    tokens: int
    bytes: int
    capacity_bytes: int | None

    def to_dict(self) -> dict[str, object]:
        """JSON form."""
        return dict(vars(self))


@dataclass(frozen=True)
class ServerResult:
    """Work of a server: grants, cycles in which a port was occupied, bytes moved.

    Attributes
    ----------
    tier : DramCounters or None
        Commands, row hits and lost clocks of a memory tier.
    """

    name: str
    grants: int
    busy_cycles: int
    bytes: int
    tier: DramCounters | None = None

    def to_dict(self) -> dict[str, object]:
        """JSON form."""
        tier = {"tier": dict(vars(self.tier))} if self.tier else {}
        return {"name": self.name, "grants": self.grants, "busy_cycles": self.busy_cycles, "bytes": self.bytes, **tier}


@dataclass(frozen=True)
class Wait:
    """One edge of the wait-for graph: ``unit`` waits for ``waits_for`` because of ``channel``."""

    unit: str
    waits_for: str
    channel: str
    reason: str
    occupancy: int
    depth: int | None

    def __str__(self) -> str:
        held = f"{self.occupancy}/{self.depth if self.depth is not None else 'unbounded'}"
        if self.reason == "space":
            return f"{self.unit} waits for space: {self.channel} holds {held}, {self.waits_for} does not take"
        return f"{self.unit} waits for data: {self.channel} holds {held}, {self.waits_for} does not send"

    def to_dict(self) -> dict[str, object]:
        """JSON form."""
        return dict(vars(self))


@dataclass(frozen=True)
class Deadlock:
    """A cycle in who-waits-for-whom, and the smallest depths that would free it.

    Attributes
    ----------
    cycle : int
        Time after which nothing moves.
    waits : tuple of Wait
        The wait-for cycle, in order.
    blocked : tuple of str
        All units that did not finish.
    remedy : dict of str to int
        For a full channel of the cycle, the smallest depth with which the graph runs to its end (all other depths
        unchanged); empty if no single depth does.
    """

    cycle: int
    waits: tuple[Wait, ...]
    blocked: tuple[str, ...]
    remedy: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"deadlock at cycle {self.cycle}: {len(self.blocked)} units wait for each other"]
        lines += [f"  {wait}" for wait in self.waits]
        lines += [f"  smallest depth that frees it: {name} = {depth}" for name, depth in self.remedy.items()]
        if not self.remedy:
            lines.append("  no single FIFO depth frees it")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, object]:
        """JSON form."""
        return {
            "cycle": self.cycle,
            "waits": [wait.to_dict() for wait in self.waits],
            "blocked": list(self.blocked),
            "smallest_depth": self.remedy,
        }


@dataclass(frozen=True)
class Trace:
    """The complete schedule: per unit, arrays of shape ``(firings,)``.

    Attributes
    ----------
    start : tuple of int array
        Start time of every firing.
    cause : tuple of int array
        Code of what the start waited for: 0 itself, then inputs, outputs, server, in port order.
    wait, wait_cause : tuple of int array
        For units that hold their results: cycles between start and issue, and the output that caused them.
    """

    start: tuple[IntArray, ...]
    cause: tuple[IntArray, ...]
    wait: tuple[IntArray, ...]
    wait_cause: tuple[IntArray, ...]


@dataclass(frozen=True)
class Skipped:
    """Exact account of what steady-state skipping left out.

    Attributes
    ----------
    jumps : int
        How often whole periods were jumped over.
    firings : int
        Firings that were counted but not simulated one by one.
    note : str
        Why nothing was skipped, if nothing was.
    """

    jumps: int = 0
    firings: int = 0
    note: str = "skipping is off"

    def to_dict(self) -> dict[str, object]:
        """JSON form."""
        return dict(vars(self))


@dataclass(frozen=True)
class Result:
    """Outcome of one simulation.

    Attributes
    ----------
    cycles : int
        Largest start time plus initiation interval over all firings: when the last unit is ready again.
    firings : int
        Firings of all units together.
    wall_s, compile_s : float
        Seconds spent simulating, and compiling the engine before that (0 when it was compiled already).
    schedule_digest : str or None
        SHA-256 over the fingerprints of all start times and stall causes, see :mod:`simulator.engines.fingerprint`.
    outputs : dict of str to array
        Tokens that arrived at each sink, or empty without a value pass.
    """

    graph: str
    engine: str
    cycles: int
    firings: int
    wall_s: float
    compile_s: float
    schedule_digest: str | None
    deadlock: Deadlock | None
    units: tuple[UnitResult, ...]
    channels: tuple[ChannelResult, ...]
    servers: tuple[ServerResult, ...]
    lints: tuple[str, ...]
    skipped: Skipped
    outputs: dict[str, npt.NDArray[np.float64]]
    trace: Trace | None = None
    clock_hz: float = 1e9

    def __post_init__(self) -> None:
        for unit in self.units:
            unit.check(self.cycles)

    @property
    def seconds(self) -> float:
        """Simulated time at ``clock_hz``."""
        return self.cycles / self.clock_hz

    def unit(self, name: str) -> UnitResult:
        """The unit called ``name``; raises SimulatorError if there is none."""
        return _named("unit", name, {unit.name: unit for unit in self.units})

    def channel(self, name: str) -> ChannelResult:
        """The channel called ``name``; raises SimulatorError if there is none."""
        return _named("channel", name, {channel.name: channel for channel in self.channels})

    def to_dict(self) -> dict[str, object]:
        """JSON form, without tokens and traces."""
        return {
            "graph": self.graph,
            "engine": self.engine,
            "cycles": self.cycles,
            "seconds": self.seconds,
            "clock_hz": self.clock_hz,
            "firings": self.firings,
            "wall_s": self.wall_s,
            "compile_s": self.compile_s,
            "schedule_digest": self.schedule_digest,
            "deadlock": self.deadlock.to_dict() if self.deadlock else None,
            "skipped": self.skipped.to_dict(),
            "units": [unit.to_dict() for unit in self.units],
            "channels": [channel.to_dict() for channel in self.channels],
            "servers": [server.to_dict() for server in self.servers],
            "lints": list(self.lints),
        }

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(u.name)}</td><td>{u.firings:,}</td><td>{u.busy_cycles:,}</td>"
            f"<td>{sum(u.stalled_cycles.values()):,}</td><td>{u.idle_cycles:,}</td></tr>"
            for u in self.units
        )
        verdict = "deadlock" if self.deadlock else f"{self.cycles:,} cycles, {time_text(self.seconds)}"
        return (
            f"<b>{escape(self.graph)}</b>: {verdict} at {self.clock_hz / 1e9:g} GHz ({escape(self.engine)} engine)"
            "<table><tr><th>unit</th><th>firings</th><th>busy</th><th>stalled</th><th>idle (cycles)</th></tr>"
            f"{rows}</table>"
        )
