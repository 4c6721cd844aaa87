"""Problems of a graph, a line each, and what is legal but seldom meant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from simulator.errors import did_you_mean
from simulator.servers.addresses import check_requests
from simulator.servers.contract import Server
from simulator.servers.dram.server import DramServer
from simulator.units import AnyServer, Channel, Unit

MOST_CYCLES = 1 << 62
"""Times from here on mean "never" in the compiled engine."""
DRAM_CLOCKS = 1 << 16
"""More clocks than a transaction of a memory ever waits for its own bank, a refresh included."""


def problems_of(units: list[Unit], channels: list[Channel], servers: list[AnyServer]) -> list[str]:
    """Problems that keep a graph from running; token balance is only checked where the graph is whole otherwise."""
    names = {unit.name for unit in units}
    problems = [
        *(() if units else ("has no units",)),
        *_duplicates("unit", (unit.name for unit in units)),
        *_duplicates("channel", (channel.name for channel in channels)),
        *_duplicates("server", (server.name for server in servers)),
        *_channel_problems(channels, names),
        *_port_problems(units, channels),
        *_unit_problems(units, {server.name for server in servers}),
        *_memory_problems(units, channels, servers),
    ]
    return problems or [*_balance_problems(units, channels), *_size_problems(units, channels, servers)]


def _duplicates(what: str, names: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    repeated: set[str] = set()
    for name in names:
        (repeated if name in seen else seen).add(name)
    return [f"two {what}s are called {name!r}" for name in sorted(repeated)]


def _channel_problems(channels: list[Channel], unit_names: set[str]) -> Iterable[str]:
    for channel in channels:
        for end in (channel.producer, channel.consumer):
            if end not in unit_names:
                yield f"channel {channel.name}: no unit is called {end!r}{did_you_mean(end, unit_names)}"
        if channel.depth is not None and channel.depth < 1:
            yield f"channel {channel.name}: depth must be at least 1 (got {channel.depth})"
        if channel.credit_latency_cycles < 1:
            yield f"channel {channel.name}: credit latency must be at least 1 (got {channel.credit_latency_cycles})"
        if channel.latency_cycles < 0:
            yield f"channel {channel.name}: latency must not be negative (got {channel.latency_cycles})"
        if channel.initial_tokens < 0:
            yield f"channel {channel.name}: initial tokens must not be negative (got {channel.initial_tokens})"
        if channel.depth is not None and channel.initial_tokens > channel.depth:
            yield f"channel {channel.name}: {channel.initial_tokens} initial tokens exceed its depth {channel.depth}"


def _port_problems(units: list[Unit], channels: list[Channel]) -> Iterable[str]:
    consumed = Counter((c.consumer, c.input) for c in channels)
    produced = Counter((c.producer, c.output) for c in channels)
    for unit in units:
        for what, uses, count in (("input", consumed, unit.inputs), ("output", produced, unit.outputs)):
            for port in range(count):
                if uses[unit.name, port] == 0:
                    yield f"unit {unit.name}: {what} {port} is not connected"
                elif uses[unit.name, port] > 1:
                    yield f"unit {unit.name}: {what} {port} is connected {uses[unit.name, port]} times"
    known = {unit.name: (unit.inputs, unit.outputs) for unit in units}
    for side, (what, uses) in enumerate((("input", consumed), ("output", produced))):
        for name, port in uses:
            if name in known and port >= known[name][side]:
                yield f"unit {name}: has no {what} {port}"


def _unit_problems(units: list[Unit], servers: set[str]) -> Iterable[str]:
    for unit in units:
        if unit.table is None:
            yield f"unit {unit.name}: its firing table depends on data; run the value pass first"
            continue
        if unit.server is not None and unit.server not in servers:
            yield f"unit {unit.name}: no server is called {unit.server!r}{did_you_mean(unit.server, servers)}"
        if unit.table.uses_server and unit.server is None:
            yield f"unit {unit.name}: requests bytes but names no server"
        if unit.table.uses_server and unit.issue != "reserve":
            yield f"unit {unit.name}: a unit that uses a server must have issue='reserve'"
        if unit.issue == "reserve" and any(kind.ii == 0 for kind in unit.table.kinds):
            yield f"unit {unit.name}: an initiation interval of 0 is only allowed with issue='hold'"


def _memory_problems(units: list[Unit], channels: list[Channel], servers: list[AnyServer]) -> Iterable[str]:
    memories = {server.name: server for server in servers if not isinstance(server, Server)}
    for unit in units:
        memory = memories.get(unit.server or "")
        if memory is None or unit.table is None or not unit.table.uses_server:
            continue
        yield from check_requests(unit.name, unit.table, memory.name, memory.capacity_bytes)
        for channel in channels:
            if channel.producer == unit.name and channel.depth is None and isinstance(memory, DramServer):
                yield f"channel {channel.name}: what comes from memory tier {memory.name} needs a bounded FIFO"


def _balance_problems(units: list[Unit], channels: list[Channel]) -> Iterable[str]:
    tables = {unit.name: unit.table for unit in units}
    for channel in channels:
        producer, consumer = tables[channel.producer], tables[channel.consumer]
        if producer is None or consumer is None:
            continue
        made, taken = producer.made(channel.output), consumer.taken(channel.input)
        if taken not in (made, made + channel.initial_tokens):
            initial = f" and starts with {channel.initial_tokens}" if channel.initial_tokens else ""
            yield (
                f"channel {channel.name}: {channel.producer} makes {made} tokens{initial} but {channel.consumer} "
                f"takes {taken}"
            )


def _size_problems(units: list[Unit], channels: list[Channel], servers: list[AnyServer]) -> Iterable[str]:
    """Whether every time of a run fits into 64 bits, as both engines must get the same numbers.

    No run is longer than all its firings would be one after another: each step of its critical path is the interval,
    the latency, a channel, a credit or the service of one firing.
    """
    cycles = sum(_longest_cycles(unit, channels, servers) for unit in units)
    clocks = max((max(s.numerator, s.denominator) for s in servers if isinstance(s, DramServer)), default=1)
    if cycles * clocks >= MOST_CYCLES:
        firings = sum(unit.table.firings for unit in units if unit.table is not None)
        yield (
            f"{firings:,} firings that take up to {cycles:,} cycles one after another are too large: a number of "
            "cycles might not fit into 64 bits"
        )


def _longest_cycles(unit: Unit, channels: list[Channel], servers: list[AnyServer]) -> int:
    """Cycles that the firings of a unit take one after another, whatever they wait for among themselves."""
    if unit.table is None:
        return 0
    around = sum(
        channel.latency_cycles + channel.credit_latency_cycles
        for channel in channels
        if unit.name in (channel.producer, channel.consumer)
    )
    total = sum(firings * (kind.ii + kind.latency + around) for kind, firings in unit.table.firings_by_kind)
    server = next((each for each in servers if each.name == unit.server), None)
    if server is None or not unit.table.uses_server:
        return total
    # what a request waits for besides its bytes: latencies of a server, banks and refreshes of a memory
    each = DRAM_CLOCKS if isinstance(server, DramServer) else int(abs(server.parameters()).sum())
    return total + unit.table.requested_bytes + each * unit.table.firings


def lints_of(units: Iterable[Unit], channels: Iterable[Channel]) -> Iterable[str]:
    """Lints of a graph: intervals of 0, and FIFOs too short for the full rate."""
    tables = {unit.name: unit.table for unit in units}
    for unit in units:
        if unit.table and any(kind.ii == 0 for kind in unit.table.kinds):
            yield f"unit {unit.name}: initiation interval 0 is throughput that no hardware gives for free"
    for channel in channels:
        table = tables[channel.producer]
        if table is None or channel.depth is None:
            continue
        for segment in table.kinds:
            round_trip = segment.latency + channel.latency_cycles + channel.credit_latency_cycles
            needed = -(-round_trip * segment.make[channel.output] // max(segment.ii, 1))
            if channel.depth < needed:
                yield (
                    f"channel {channel.name}: depth {channel.depth} is below the {needed} slots that "
                    f"{channel.producer} needs in flight for full rate (latency {segment.latency} + channel "
                    f"{channel.latency_cycles} + credit {channel.credit_latency_cycles})"
                )
                break
