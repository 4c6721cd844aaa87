"""The loop of the compiled engine: visit units until none can move, then let the earliest server decide."""

from __future__ import annotations

from simulator.engines.compiled.grant import earliest_decision, grant
from simulator.engines.compiled.machine import ISSUE_RESERVE, Machine
from simulator.engines.compiled.records import (
    Records,
    UnitRecord,
)
from simulator.engines.compiled.requests import issue_requests
from simulator.engines.compiled.rings import full_ring, has_unbounded
from simulator.engines.compiled.runs import WAITING_AT_LAP
from simulator.engines.compiled.scratch import SCRATCH_FIRINGS, Scratch
from simulator.engines.compiled.steady import count_grant, follow_mover, watch_grants, watch_lap, watch_rows
from simulator.engines.compiled.visit import visit_hold, visit_reserve
from simulator.engines.compiled.watch import DECISION, DUE, INNER_UNIT, OUTER_UNIT, RESTED
from simulator.servers.kernel import Words, inlined, kernel

OUT_OF_VISITS, FINISHED, RINGS_FULL, TIER_OVERRUN = 0, 1, 2, 3


@inlined
def enqueue(number: int, queue: Words, queued: Words, head: int, length: int) -> int:
    """Put a unit into the ring of units to visit, unless it is there; return the new length."""
    if queued[number]:
        return length
    queued[number] = 1
    tail = head + length
    if tail >= queue.shape[0]:
        tail -= queue.shape[0]
    queue[tail] = number
    return length + 1


@kernel
def enqueue_all(units: Records, queue: Words, queued: Words, head: int, length: int) -> int:
    """Put all units into the ring: after a jump FIFOs may hold tokens, or slots, that someone waits for."""
    for number in range(units.shape[0]):
        length = enqueue(number, queue, queued, head, length)
    return length


@inlined
def wake(unit: UnitRecord, channels: Records, words: Words, queue: Words, queued: Words, head: int, length: int) -> int:
    """Queue the neighbours of a unit that moved; return the new queue length."""
    for port in range(unit.in_ptr, unit.in_end):
        length = enqueue(channels[words[port]].producer, queue, queued, head, length)
    for port in range(unit.out_ptr, unit.out_end):
        length = enqueue(channels[words[port]].consumer, queue, queued, head, length)
    return length


@kernel
def run(machine: Machine, scratch: Scratch, visits: int) -> int:
    """Fire everything that can be fired, but return early after ``visits`` visits so that the caller can be stopped.

    Returns ``FINISHED`` when no unit can move any more before the horizon, the earliest cycle at which a memory tier
    can answer, and ``RINGS_FULL`` when a ring must be enlarged first.
    """
    units, blocks, segments, channels, servers, words = machine
    queue, queued, start, cause, options, trace, watch, horizon = scratch
    head, length = 0, 0
    growing = has_unbounded(channels)  # asked once: going through all channels at each decision takes longer than it
    queued[:] = 0
    length = enqueue_all(units, queue, queued, head, length)
    while True:
        while length > 0:
            visits -= 1
            if visits < 0:
                return OUT_OF_VISITS
            number = queue[head]
            head = head + 1 if head + 1 < queue.shape[0] else 0
            length -= 1
            queued[number] = 0
            unit = units[number]
            fired = unit.fired
            if unit.window > 0:
                moved = issue_requests(unit, blocks, segments, channels, words, start, cause, options, trace, horizon)
            elif unit.issue == ISSUE_RESERVE:
                moved = visit_reserve(unit, blocks, segments, channels, servers, words, start, cause, options, trace)
            else:
                moved = visit_hold(unit, blocks, segments, channels, words, start, cause, options, trace)
            if moved:
                jumped = False
                fired = unit.fired - fired
                if number == watch.pacers[INNER_UNIT]:
                    watch.pacers[RESTED] = 0
                    jumped = watch_rows(number, units, channels, servers, words, watch)
                elif watch.pacers[INNER_UNIT] >= 0:
                    follow_mover(number, watch)
                if jumped:
                    length = enqueue_all(units, queue, queued, head, length)
                    continue
                length = wake(unit, channels, words, queue, queued, head, length)
                if fired >= SCRATCH_FIRINGS:
                    length = enqueue(number, queue, queued, head, length)
        outer = watch.pacers[OUTER_UNIT]
        if outer >= 0 and units[outer].waiting == WAITING_AT_LAP:
            if watch_lap(units, channels, servers, words, watch):
                length = enqueue_all(units, queue, queued, head, length)
            length = enqueue(outer, queue, queued, head, length)
            continue
        if growing and full_ring(channels) >= 0:
            return RINGS_FULL
        number, now, port = earliest_decision(servers, words)
        if number < 0 or now >= horizon[0]:
            return FINISHED
        watch.counts[DECISION] = now
        if watch.pacers[DUE] > 0:
            watch_grants(units, channels, servers, words, watch)  # times are local: the decision stays the same
        number = grant(
            servers[number], units, blocks, segments, channels, words, now, port, start, cause, options, trace
        )
        count_grant(number, units, watch.pacers)
        length = enqueue(number, queue, queued, head, length)
        length = wake(units[number], channels, words, queue, queued, head, length)
