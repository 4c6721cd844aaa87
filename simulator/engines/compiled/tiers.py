"""The memory tiers of a run as flat arrays."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from simulator.engines.compiled.machine import Machine
from simulator.engines.compiled.records import (
    TIER,
)
from simulator.engines.compiled.tiers_exchange import Tiers
from simulator.errors import GraphError
from simulator.firing import IntArray, Segment
from simulator.graph import FrozenGraph
from simulator.servers.dram.layout import INPUT_WORDS, O_LEFT, OUTPUT_WORDS, P_READ_LATENCY
from simulator.servers.dram.server import DramServer, clock_of
from simulator.servers.dram.service import advance_tier
from simulator.servers.dram.tier import DramCounters, initial_state

RING_SEGMENT_LIMIT = 1 << 16
PARTS = ("parameter", "state", "ring", "out")
"""Parts of a tier in the common array, each from ``PART_ptr`` to ``PART_end``."""


def has_tiers(graph: FrozenGraph) -> bool:
    """Whether any server of ``graph`` is a memory tier."""
    return any(isinstance(server, DramServer) for server in graph.servers)


def build_tiers(graph: FrozenGraph, machine: Machine) -> Tiers:
    """All tiers of ``graph`` in their initial state.

    Raises
    ------
    GraphError
        If the requests under way at a time would need more room than a tier's input rings can have.
    """
    parts: list[IntArray] = []
    records = []
    for number, server in enumerate(graph.servers):
        if not isinstance(server, DramServer):
            continue
        record = {"server": number, "numerator": server.numerator, "denominator": server.denominator}
        parameters = server.description.parameters()
        channels = server.description.organisation.channels
        clients = [unit for unit in machine.units if unit["window"] and unit["server"] == number]
        state = initial_state(server.description)
        out = np.zeros(max(1, len(clients) * server.outstanding) * OUTPUT_WORDS, np.int64)
        out[O_LEFT::OUTPUT_WORDS] = -1
        ring_words = _ring_segments(graph, number, server) * INPUT_WORDS
        ring = np.zeros(channels * ring_words, np.int64)
        for name, part in zip(PARTS, (parameters, state.ravel(), ring, out), strict=True):
            record[f"{name}_ptr"] = sum(map(len, parts))
            parts.append(part)
            record[f"{name}_end"] = sum(map(len, parts))
        writes = any(s.is_write for s in _segments_using(graph, server.name))
        record |= {
            "advance": server.description.policy.address,
            "channels": channels,
            "state_words": state.shape[1],
            "ring_words": ring_words,
            "look_ahead": 1 if writes else int(parameters[P_READ_LATENCY]),
        }
        records.append(record)
    rows = np.zeros(len(records), TIER)
    for row, record in zip(rows, records, strict=True):
        for name, value in record.items():
            row[name] = value
    return Tiers(rows, np.concatenate(parts))


def _segments_using(graph: FrozenGraph, name: str) -> Iterator[Segment]:
    for number, unit in enumerate(graph.units):
        if unit.server == name:
            yield from (s for block in graph.table(number).blocks for s in block.segments if s.request_bytes)


def _ring_segments(graph: FrozenGraph, number: int, server: DramServer) -> int:
    """Room for everything that the clients may have under way, a power of two of transactions."""
    unit_bytes = server.description.organisation.transaction_bytes
    wanted = 0
    for index, unit in enumerate(graph.units):
        if unit.server == server.name and graph.table(index).uses_server:
            largest = max(s.request_bytes for b in graph.table(index).blocks for s in b.segments)
            wanted += server.outstanding * (largest // unit_bytes + 2)
    if wanted > RING_SEGMENT_LIMIT:
        raise GraphError(
            f"graph {graph.name}: units may have {wanted} transactions under way to {server.name}, more than "
            f"{RING_SEGMENT_LIMIT}: make requests smaller or lower its outstanding of {server.outstanding}"
        )
    return 1 << max(wanted - 1, 1).bit_length()


def close_tiers(graph: FrozenGraph, tiers: Tiers | None, cycles: int) -> list[DramCounters | None]:
    """Run every tier to the end of a run of ``cycles`` cycles; return its counters, by server."""
    counters: list[DramCounters | None] = [None] * len(graph.servers)
    if tiers is None:
        return counters
    for tier in tiers.records:
        parts = {name: tiers.memory[tier[f"{name}_ptr"] : tier[f"{name}_end"]] for name in PARTS}
        state, ring = (parts[name].reshape(int(tier["channels"]), -1) for name in ("state", "ring"))
        end = int(clock_of(cycles + 1, tier["numerator"], tier["denominator"])) - 1
        advance_tier(int(tier["advance"]), parts["parameter"], state, ring, parts["out"], end)
        counters[int(tier["server"])] = DramCounters.from_state(parts["parameter"], state, end + 1)
    return counters
