"""Addresses that units ask of servers: where they lie, and whether they fit."""

from __future__ import annotations

from collections.abc import Iterator

from simulator.errors import CapacityError
from simulator.firing import FiringTable


def check_requests(unit: str, table: FiringTable, server: str, capacity_bytes: int | None) -> Iterator[str]:
    """Problems of the addresses that ``unit`` asks of ``server``, one line each.

    Raises
    ------
    CapacityError
        If a request reaches beyond the end of a server of ``capacity_bytes``; says by how much.
    """
    last = max((table.ramp_length or table.iterations) - 1, 0)
    for segment in (s for block in table.blocks for s in block.segments if s.request_bytes):
        firings = max(segment.count, segment.count + segment.growth * last)
        steps = (0, segment.address_step * max(firings - 1, 0))
        last_turn = max(table.iterations - 1, 0) // segment.iterations_per_address
        turns = (0, segment.address_iteration_step * last_turn)
        lowest = segment.address + min(steps) + min(turns)
        end = segment.address + max(steps) + max(turns) + segment.request_bytes
        if lowest < 0:
            yield f"unit {unit}: asks server {server} for address {lowest}"
        if capacity_bytes is not None and end > capacity_bytes:
            times = -(-end // capacity_bytes)
            raise CapacityError(
                f"unit {unit}: its data ends at byte {end} of {server}, which holds {capacity_bytes}: "
                f"{end - capacity_bytes} bytes do not fit; {times} times the capacity would hold them"
            )
