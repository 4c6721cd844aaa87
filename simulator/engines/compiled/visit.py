"""One visit to a unit: fire it until tokens, slots or its table run out, or until its server must decide."""

from __future__ import annotations

from simulator.engines.compiled.fire import (
    inputs_enabled,
    latest_input,
    latest_slot,
    outputs_enabled,
    pop_tokens,
    push_tokens,
    record,
    recur,
)
from simulator.engines.compiled.machine import ISSUE_HOLD_IN_TURN, UNBOUNDED
from simulator.engines.compiled.records import (
    ChannelRecord,
    Records,
    SegmentRecord,
    ServerRecord,
    UnitRecord,
)
from simulator.engines.compiled.runs import WAITING_AT_LAP, WAITING_FOR_SERVER, WAITING_FOR_SLOTS, leave_firings
from simulator.engines.compiled.scratch import SCRATCH_FIRINGS, Options
from simulator.engines.fingerprint import MULTIPLIER_HIGH, MULTIPLIER_LOW, mix
from simulator.firing import IntArray
from simulator.servers.kernel import Words, inlined, kernel


@inlined
def visit_reserve(
    unit: UnitRecord,
    blocks: Records,
    segments: Records,
    channels: Records,
    servers: Records,
    words: Words,
    start: Words,
    cause: Words,
    options: Options,
    trace: IntArray,
) -> bool:
    """Fire a unit that starts only when its slots are free, a batch at most; True if anything moved."""
    moved = False
    left = SCRATCH_FIRINGS
    while unit.done == 0 and unit.waiting == 0 and left > 0:
        segment = segments[unit.segment]
        count = min(unit.firings_left, SCRATCH_FIRINGS)
        count = inputs_enabled(unit, segment, channels, words, count)
        count = outputs_enabled(unit, segment, channels, words, count)
        if count <= 0:
            break
        if segment.request > 0:
            count = 1
        first = latest_input(unit, segment, channels, words, count, start, cause)
        first = latest_slot(unit, segment, channels, words, count, start, cause, first)
        if first:
            for i in range(count):
                start[i] = unit.clock
        if segment.request > 0:
            arrive(unit, servers[unit.server], words, start[0], cause[0])
            break
        recur(unit, segment.ii, words, count, start, cause)
        record(unit, count, start, cause, options, trace)
        pop_tokens(unit, segment, channels, words, count, start, options.occupancy)
        push_tokens(unit, segment, channels, words, count, start, start)
        leave_firings(unit, count, blocks, segments, channels, words)
        moved = True
        left -= count
    return moved


@inlined
def arrive(unit: UnitRecord, server: ServerRecord, words: Words, ready: int, cause: int) -> None:
    """Hand the request of the next firing of ``unit`` to its server."""
    late = ready > unit.clock
    unit.waiting = WAITING_FOR_SERVER
    unit.arrival = ready if late else unit.clock
    unit.arrival_cause = cause if late else 0
    words[server.waiting_ptr + unit.client] = 1
    words[server.arrival_ptr + unit.client] = unit.arrival
    server.earliest = min(server.earliest, unit.arrival)


@kernel
def visit_hold(
    unit: UnitRecord,
    blocks: Records,
    segments: Records,
    channels: Records,
    words: Words,
    start: Words,
    cause: Words,
    options: Options,
    trace: IntArray,
) -> bool:
    """Fire a unit that pops first and then holds its result until the slots are free; True if anything moved."""
    moved = False
    left = SCRATCH_FIRINGS
    while unit.done == 0 and unit.waiting != WAITING_AT_LAP and left > 0:
        segment = segments[unit.segment]
        if unit.waiting == 0:
            if inputs_enabled(unit, segment, channels, words, 1) <= 0:
                break
            if latest_input(unit, segment, channels, words, 1, start, cause):
                start[0] = unit.clock
            recur(unit, segment.ii, words, 1, start, cause)
            record(unit, 1, start, cause, options, trace)
            pop_tokens(unit, segment, channels, words, 1, start, options.occupancy)
            unit.waiting = WAITING_FOR_SLOTS
            unit.issued = unit.last_start
            unit.issued_ports = 0
            unit.issued_cause = 0
            moved = True
            left -= 1
        if unit.issue == ISSUE_HOLD_IN_TURN:
            moved = issue_in_turn(unit, segment, channels, words) or moved
            unit.clock = unit.issued + segment.ii
            if unit.issued_ports < unit.out_end - unit.out_ptr:
                break
        else:
            if outputs_enabled(unit, segment, channels, words, 1) <= 0:
                break
            issue_together(unit, segment, channels, words)
        finish_issue(unit, segment, options, trace)
        leave_firings(unit, 1, blocks, segments, channels, words)
        moved = True
    return moved


@kernel
def issue_in_turn(unit: UnitRecord, segment: SegmentRecord, channels: Records, words: Words) -> bool:
    """Hand the held result to one output after the other; True if any took it."""
    moved = False
    while unit.issued_ports < unit.out_end - unit.out_ptr:
        channel = channels[words[unit.out_ptr + unit.issued_ports]]
        tokens = words[segment.make_ptr + unit.issued_ports]
        if tokens > channel.slots - (channel.pushed - channel.popped):
            break
        wait_for_slot(unit, channel, tokens, unit.issued_ports, words)
        push_held(channel, tokens, unit.last_start + segment.latency, unit.issued, words)
        unit.issued_ports += 1
        moved = True
    return moved


@kernel
def issue_together(unit: UnitRecord, segment: SegmentRecord, channels: Records, words: Words) -> None:
    """Hand the held result to all outputs once all have their slots."""
    for port in range(unit.out_end - unit.out_ptr):
        wait_for_slot(unit, channels[words[unit.out_ptr + port]], words[segment.make_ptr + port], port, words)
    for port in range(unit.out_end - unit.out_ptr):
        channel = channels[words[unit.out_ptr + port]]
        push_held(channel, words[segment.make_ptr + port], unit.last_start + segment.latency, unit.issued, words)


@kernel
def wait_for_slot(unit: UnitRecord, channel: ChannelRecord, tokens: int, port: int, words: Words) -> None:
    """Raise the issue time of a held result to the release of the slots it needs on one output."""
    if tokens == 0 or channel.depth == UNBOUNDED:
        return
    slot = (channel.pushed + tokens - 1 - channel.depth) & channel.mask
    free = words[channel.release_ptr + slot]
    if free > unit.issued:
        unit.issued_cause = unit.in_end - unit.in_ptr + 1 + port
        words[unit.stall_ptr + unit.issued_cause] += free - unit.issued
        unit.issued = free


@kernel
def finish_issue(unit: UnitRecord, segment: SegmentRecord, options: Options, trace: IntArray) -> None:
    """The held result is out: the next firing may start one interval later."""
    unit.waiting = 0
    unit.clock = unit.issued + segment.ii
    waited = unit.issued - unit.last_start
    if options.digest:
        x = mix(waited, unit.issued_cause)
        unit.hash_low = unit.hash_low * MULTIPLIER_LOW + x
        unit.hash_high = unit.hash_high * MULTIPLIER_HIGH + x
    if options.trace:
        trace[unit.trace_ptr + unit.fired - 1, 2] = waited
        trace[unit.trace_ptr + unit.fired - 1, 3] = unit.issued_cause


@inlined
def push_held(channel: ChannelRecord, tokens: int, ready: int, issued: int, words: Words) -> None:
    """Make ``tokens`` visible under the rule of held results; a transfer takes at least one cycle after the issue."""
    time = max(channel.tail, max(ready, issued + 1) + channel.latency)
    for _ in range(tokens):
        slot = channel.pushed & channel.mask
        words[channel.visible_ptr + slot] = time
        words[channel.issue_ptr + slot] = issued
        channel.pushed += 1
    if tokens > 0:
        channel.tail = time
