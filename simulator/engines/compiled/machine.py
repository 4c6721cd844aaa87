"""A frozen graph as flat record arrays, which the compiled engine reads and writes.

Static fields and state sit side by side in one record, so that a run can be paused (to enlarge the ring of an unbounded
channel), compared with an earlier moment (steady-state skipping) and resumed. Everything of variable length lives in
one array of words: few arrays make compiled calls cheap. Ring buffers are sized by FIFO depth: memory does not grow
with firings.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from simulator.engines.compiled.records import (
    BLOCK,
    CHANNEL,
    LONG_AGO,
    NEVER,
    REQUEST_WORDS,
    SEGMENT,
    SERVER,
    UNIT,
    Records,
)
from simulator.errors import GraphError
from simulator.firing import Block, FiringTable, IntArray, Segment
from simulator.graph import Channel, FrozenGraph
from simulator.servers.contract import ARBITRATIONS
from simulator.servers.dram.server import DramServer

ISSUE_RESERVE, ISSUE_HOLD, ISSUE_HOLD_IN_TURN = 0, 1, 2
ISSUE_CODES = {"reserve": ISSUE_RESERVE, "hold": ISSUE_HOLD, "hold_in_turn": ISSUE_HOLD_IN_TURN}
UNBOUNDED = -1
UNBOUNDED_RING_SLOTS = 128
RING_SLOT_LIMIT = 1 << 28


class Machine(NamedTuple):
    """All arrays of a run."""

    units: Records
    blocks: Records
    segments: Records
    channels: Records
    servers: Records
    words: IntArray


class _Words:
    """Collects the variable-length parts; ``add`` and ``reserve`` return where each part starts."""

    def __init__(self) -> None:
        self._parts: list[tuple[int, IntArray]] = []
        self._length = 0

    def add(self, values: Iterable[int] | IntArray) -> int:
        part = np.asarray(values if isinstance(values, np.ndarray) else list(values), dtype=np.int64)
        self._parts.append((self._length, part))
        self._length += len(part)
        return self._length - len(part)

    def reserve(self, size: int, fill: int = 0, behind: int = 0) -> int:
        """Room for ``size`` words that are 0, or ``fill`` from word ``behind`` on."""
        if fill:
            self._parts.append((self._length + behind, np.full(size - behind, fill, np.int64)))
        self._length += size
        return self._length - size

    def all(self) -> IntArray:
        words = np.zeros(self._length, np.int64)  # memory that is not touched takes none
        for start, part in self._parts:
            words[start : start + len(part)] = part
        return words


def cause_count(graph: FrozenGraph, unit: int) -> int:
    """Stall causes of a unit: itself, every input, every output, its server."""
    return 2 + len(graph.input_channels[unit]) + len(graph.output_channels[unit])


def cause_names(graph: FrozenGraph, unit: int) -> list[str]:
    """Names of the stall causes in the order of their codes."""
    inputs = [f"input {graph.channels[c].name}" for c in graph.input_channels[unit]]
    outputs = [f"output {graph.channels[c].name}" for c in graph.output_channels[unit]]
    return ["self", *inputs, *outputs, f"server {graph.units[unit].server}"]


def _records(dtype: np.dtype[Any], rows: Iterable[dict[str, int]]) -> Records:
    """Record array from one dict of fields per row; fields not given are 0."""
    names = dtype.names or ()
    return np.array([tuple([row.get(name, 0) for name in names]) for row in rows], dtype)


def _merge_loops(block: Block) -> Block:
    """A loop over one constant run is one longer run: fewer run changes, larger batches."""
    if len(block.segments) != 1 or (block.loops, block.growth) == (1, 0):
        return block
    (only,) = block.segments
    if (only.growth and block.growth) or only.request_bytes:
        return block
    growth = only.count * block.growth + only.growth * block.loops
    merged = Segment(only.count * block.loops, only.take, only.make, only.latency, only.ii, growth)
    return Block((merged,))


class _Tables:
    """Firing tables as rows of blocks and segments; units that have a table in common share its rows."""

    def __init__(self, words: _Words) -> None:
        self._words = words
        self._tokens: dict[tuple[int, ...], int] = {}
        self._starts: dict[int, dict[str, int]] = {}
        self._blocks: list[tuple[int, ...]] = []
        self._segments: list[tuple[int, ...]] = []

    def start_of(self, table: FiringTable) -> dict[str, int]:
        """Fields that lead a unit with this table (which the graph keeps alive) to its blocks, and where it begins."""
        if id(table) not in self._starts:
            merged = [_merge_loops(block) for block in table.blocks]
            first, before = len(self._blocks), len(self._segments) - 1
            for block in merged:
                end = len(self._segments) + len(block.segments)
                self._blocks.append((block.loops, block.growth, len(self._segments), end))
                self._segments += [self._segment_row(segment) for segment in block.segments]
            self._starts[id(table)] = {
                "block_ptr": first,
                "block": first,
                "block_end": len(self._blocks),
                "loops_left": merged[0].loops,
                "segment": before,
            }
        return self._starts[id(table)]

    def _segment_row(self, one: Segment) -> tuple[int, ...]:
        """In the order of the fields of `SEGMENT`."""
        return (
            one.count, one.growth, one.latency, one.ii, one.request_bytes, self._pointer(one.take),
            self._pointer(one.make), one.address, one.address_step, one.address_iteration_step,
            one.iterations_per_address, int(one.is_write),
        )  # fmt: skip

    def _pointer(self, tokens: tuple[int, ...]) -> int:
        """Place of numbers of tokens among the words; equal ones are there once."""
        if tokens not in self._tokens:
            self._tokens[tokens] = self._words.add(tokens)
        return self._tokens[tokens]

    def records(self) -> tuple[Records, Records]:
        """All blocks and all segments."""
        return np.array(self._blocks, BLOCK), np.array(self._segments, SEGMENT)


def build_machine(graph: FrozenGraph) -> Machine:
    """Flatten ``graph`` into its initial state."""
    words = _Words()
    tables = _Tables(words)
    units = [
        _unit_row(graph, number, words) | tables.start_of(graph.table(number)) for number in range(len(graph.units))
    ]
    servers = [_server_row(graph, number, units, words) for number in range(len(graph.servers))]
    _check_ring_memory(graph)
    number = {unit.name: number for number, unit in enumerate(graph.units)}
    channels = [_channel_row(graph, channel, number, words) for channel in graph.channels]
    blocks, segments = tables.records()
    return Machine(
        _records(UNIT, units),
        blocks,
        segments,
        _records(CHANNEL, channels),
        _records(SERVER, servers),
        words.all(),
    )


def _unit_row(graph: FrozenGraph, number: int, words: _Words) -> dict[str, int]:
    table = graph.table(number)
    inputs, outputs = graph.input_channels[number], graph.output_channels[number]
    in_ptr, out_ptr = words.add(inputs), words.add(outputs)
    return {
        "in_ptr": in_ptr,
        "in_end": in_ptr + len(inputs),
        "out_ptr": out_ptr,
        "out_end": out_ptr + len(outputs),
        "stall_ptr": words.add([0] * cause_count(graph, number)),
        "issue": ISSUE_CODES[graph.units[number].issue],
        "server": -1,
        "iterations": table.iterations,
        "ramp": table.ramp_length or table.iterations + 1,
        "grows": int(table.grows),
        "firings": table.firings,
        "lap_at": NEVER,
    }


def _server_row(graph: FrozenGraph, number: int, units: list[dict[str, int]], words: _Words) -> dict[str, int]:
    server = graph.servers[number]
    clients = [
        unit
        for unit in range(len(graph.units))
        if graph.units[unit].server == server.name and graph.table(unit).uses_server
    ]
    for client, unit in enumerate(clients):
        units[unit] |= {"server": number, "client": client}
    if isinstance(server, DramServer):
        return _tier_row(server, clients, units, words)
    parameters = server.parameters()
    parameter_ptr, state_ptr = words.add(parameters), words.add([0] * server.state_words)
    return {
        "arbitration": ARBITRATIONS.index(server.arbitration),
        "clients": len(clients),
        "unit_ptr": words.add(clients),
        "waiting_ptr": words.add([0] * len(clients)),
        "arrival_ptr": words.add([0] * len(clients)),
        "ports": server.ports,
        "free_ptr": words.add([0] * server.ports),
        "parameter_ptr": parameter_ptr,
        "parameter_end": parameter_ptr + len(parameters),
        "service": server.service,
        "state_ptr": state_ptr,
        "state_end": state_ptr + server.state_words,
        "last": -1,
        "earliest": NEVER,
    }


def _tier_row(server: DramServer, clients: list[int], units: list[dict[str, int]], words: _Words) -> dict[str, int]:
    """A tier never has anyone waiting for a grant: its clients keep records of their requests instead."""
    window = server.outstanding
    for client, unit in enumerate(clients):
        records = np.zeros(window * REQUEST_WORDS, np.int64)
        units[unit] |= {"window": window, "request_ptr": words.add(records), "request_id": client * window}
    return {
        "clients": len(clients),
        "unit_ptr": words.add(clients),
        "waiting_ptr": words.add([0] * len(clients)),
        "arrival_ptr": words.add([0] * len(clients)),
        "last": -1,
        "earliest": NEVER,
    }


def ring_slots(graph: FrozenGraph, channel: Channel) -> int:
    """Power of two of at least twice the depth: exact occupancy looks back one depth beyond the live slots.

    The ring of an unbounded channel starts small and grows; it always has room for some of the largest firings.
    """
    wanted = 2 * (channel.depth or 0)
    if channel.depth is None:
        names = [unit.name for unit in graph.units]
        producer = graph.table(names.index(channel.producer))
        consumer = graph.table(names.index(channel.consumer))
        largest = max(
            max(s.make[channel.output] for block in producer.blocks for s in block.segments),
            max(s.take[channel.input] for block in consumer.blocks for s in block.segments),
        )
        wanted = max(UNBOUNDED_RING_SLOTS, 8 * largest, 8 * channel.initial_tokens)
    return 1 << max(wanted - 1, 1).bit_length()


def _check_ring_memory(graph: FrozenGraph) -> None:
    if sum(ring_slots(graph, channel) for channel in graph.channels) > RING_SLOT_LIMIT:
        worst = max(graph.channels, key=lambda channel: ring_slots(graph, channel))
        raise GraphError(
            f"graph {graph.name}: its FIFOs need more than the engine's {RING_SLOT_LIMIT} slots; the deepest is "
            f"{worst.name} with depth {worst.depth}"
        )


def _channel_row(graph: FrozenGraph, channel: Channel, number: dict[str, int], words: _Words) -> dict[str, int]:
    size = ring_slots(graph, channel)
    return {
        "depth": UNBOUNDED if channel.depth is None else channel.depth,
        "slots": size // 2 if channel.depth is None else channel.depth,
        "latency": channel.latency_cycles,
        "credit": channel.credit_latency_cycles,
        "producer": number[channel.producer],
        "consumer": number[channel.consumer],
        "mask": size - 1,
        "visible_ptr": words.reserve(size),
        # a slot that was never taken counts as returned long ago: those are before the first, a depth at most
        "release_ptr": words.reserve(size, LONG_AGO, size - (channel.depth or 0)),
        "issue_ptr": words.reserve(size),
        "pushed": channel.initial_tokens,
        "peak": channel.initial_tokens,
        "measured_push": channel.initial_tokens,
        "tail": LONG_AGO,
    }


RINGS = (("visible_ptr", 0, "pushed"), ("release_ptr", LONG_AGO, "popped"), ("issue_ptr", 0, "pushed"))


def enlarge_rings(machine: Machine, full: Sequence[int]) -> Machine:
    """Double the rings of the unbounded channels ``full``; every token stays at its index modulo the ring size."""
    channels = machine.channels.copy()
    parts = [machine.words]
    length = len(machine.words)
    for number in full:
        channel = channels[number]
        size = int(channel["mask"]) + 1
        if length + 6 * size > 3 * RING_SLOT_LIMIT:
            raise GraphError(f"an unbounded FIFO outgrew the engine's {RING_SLOT_LIMIT} slots")
        for pointer, fill, newest in RINGS:
            ring = np.full(2 * size, fill, np.int64)
            token = np.arange(max(int(channel[newest]) - size, 0), int(channel[newest]))
            ring[token % (2 * size)] = machine.words[int(channel[pointer]) + token % size]
            channel[pointer] = length
            parts.append(ring)
            length += 2 * size
        channel["mask"] = 2 * size - 1
        channel["slots"] = size
    return machine._replace(channels=channels, words=np.concatenate(parts))
