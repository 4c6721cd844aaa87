"""Walking a firing table: which run of identical firings comes next."""

from __future__ import annotations

from simulator.engines.compiled.records import (
    Records,
    SegmentRecord,
    UnitRecord,
)
from simulator.servers.kernel import Words, inlined, kernel

WAITING_FOR_SLOTS, WAITING_FOR_SERVER, WAITING_AT_LAP = 1, 2, 3  # values of a unit's field "waiting"


@kernel
def next_run(unit: UnitRecord, blocks: Records, segments: Records) -> None:
    """Move the record ``unit`` to its next non-empty run of firings, or mark it done."""
    ramp = unit.iteration % unit.ramp
    block = unit.block
    segment = unit.segment
    unit.segment_changes += 1
    while unit.iteration < unit.iterations:
        segment += 1
        if unit.loops_left > 0 and segment < blocks[block].segment_end:
            count = segments[segment].count + segments[segment].growth * ramp
            if count > 0:
                unit.block = block
                unit.segment = segment
                unit.firings_left = count
                unit.run_firings = count
                return
            continue
        unit.loops_left -= 1
        if unit.loops_left <= 0:
            unit.block_changes += 1
            block += 1
            if block == unit.block_end:
                block = unit.block_ptr
                unit.iteration += 1
                ramp = unit.iteration % unit.ramp
                if unit.iteration >= unit.lap_at:
                    unit.waiting = WAITING_AT_LAP
            unit.loops_left = blocks[block].loops + blocks[block].growth * ramp
        segment = blocks[block].segment_ptr - 1
    unit.done = 1
    unit.firings_left = 0


@kernel
def start_all(units: Records, blocks: Records, segments: Records) -> None:
    """Bring every unit to its first run."""
    for number in range(units.shape[0]):
        next_run(units[number], blocks, segments)


@kernel
def close_outputs(unit: UnitRecord, channels: Records, words: Words) -> None:
    """Note on the output channels of a unit that is done that no token will follow."""
    for port in range(unit.out_ptr, unit.out_end):
        channels[words[port]].closed = 1


@inlined
def request_address(unit: UnitRecord, segment: SegmentRecord) -> int:
    """Address that the next firing of a unit asks for."""
    fired = unit.run_firings - unit.firings_left
    turn = unit.iteration // segment.iterations_per_address
    return segment.address + segment.address_step * fired + segment.address_iteration_step * turn


@inlined
def leave_firings(
    unit: UnitRecord, count: int, blocks: Records, segments: Records, channels: Records, words: Words
) -> None:
    """Note that ``count`` firings of the current run are over, and go on to the next run if it is."""
    unit.firings_left -= count
    if unit.firings_left == 0:
        next_run(unit, blocks, segments)
        if unit.done and unit.requested == unit.answered:
            close_outputs(unit, channels, words)
