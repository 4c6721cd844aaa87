"""Units that use a memory tier: they start without a grant, promise tokens, and keep them until the tier answers."""

from __future__ import annotations

from simulator.engines.compiled.fire import inputs_enabled, latest_input, pop_tokens, record, recur
from simulator.engines.compiled.records import (
    R_ADDRESS,
    R_ANSWER,
    R_SEGMENT,
    R_START,
    REQUEST_WORDS,
    Records,
    SegmentRecord,
    UnitRecord,
)
from simulator.engines.compiled.runs import close_outputs, leave_firings, request_address
from simulator.engines.compiled.scratch import Options
from simulator.firing import IntArray
from simulator.servers.kernel import Words, inlined, kernel


@kernel
def issue_requests(
    unit: UnitRecord,
    blocks: Records,
    segments: Records,
    channels: Records,
    words: Words,
    start: Words,
    cause: Words,
    options: Options,
    trace: IntArray,
    horizon: Words,
) -> bool:
    """Fire a unit until tokens, slots or outstanding requests run out; True if anything moved.

    ``horizon`` is lowered to the earliest cycle at which a new request can have consequences.
    """
    moved = False
    while unit.done == 0 and unit.requested - unit.answered < unit.window:
        segment = segments[unit.segment]
        if inputs_enabled(unit, segment, channels, words, 1) <= 0 or not slots_free(unit, segment, channels, words):
            break
        first = latest_input(unit, segment, channels, words, 1, start, cause)
        first = latest_slot_of_promise(unit, segment, channels, words, start, cause, first)
        if unit.requested >= unit.window:
            answer = words[request_record(unit, unit.requested) + R_ANSWER]
            if first or answer > start[0]:
                start[0] = answer
                cause[0] = server_cause(unit)
                first = False
        if first:
            start[0] = unit.clock
        recur(unit, segment.ii, words, 1, start, cause)
        record(unit, 1, start, cause, options, trace)
        pop_tokens(unit, segment, channels, words, 1, start, options.occupancy)
        promise(unit, segment, channels, words, start[0])
        enter(unit, segment, words, start[0])
        horizon[0] = min(horizon[0], start[0] + 1)
        leave_firings(unit, 1, blocks, segments, channels, words)
        moved = True
    return moved


@inlined
def request_record(unit: UnitRecord, request: int) -> int:
    """Start of the record of a request of ``unit`` in the words."""
    return unit.request_ptr + (request % unit.window) * REQUEST_WORDS


@inlined
def server_cause(unit: UnitRecord) -> int:
    """Stall cause of a unit for its server."""
    return (unit.in_end - unit.in_ptr) + (unit.out_end - unit.out_ptr) + 1


@inlined
def slots_free(unit: UnitRecord, segment: SegmentRecord, channels: Records, words: Words) -> bool:
    """Whether the next firing finds its slots; promised tokens hold theirs."""
    for port in range(unit.out_ptr, unit.out_end):
        channel = channels[words[port]]
        taken = channel.pushed + channel.promised - channel.popped
        if words[segment.make_ptr + port - unit.out_ptr] > channel.slots - taken:
            return False
    return True


@inlined
def latest_slot_of_promise(
    unit: UnitRecord,
    segment: SegmentRecord,
    channels: Records,
    words: Words,
    start: Words,
    cause: Words,
    first: bool,
) -> bool:
    """Raise the start to the release of the output slots that a firing needs; True if still no port counts."""
    for port in range(unit.out_ptr, unit.out_end):
        tokens = words[segment.make_ptr + port - unit.out_ptr]
        if tokens == 0:
            continue
        channel = channels[words[port]]
        slot = channel.pushed + channel.promised + tokens - 1 - channel.depth
        time = words[channel.release_ptr + (slot & channel.mask)]
        if first or time > start[0]:
            start[0] = time
            cause[0] = (unit.in_end - unit.in_ptr) + port - unit.out_ptr + 1
        first = False
    return first


@inlined
def promise(unit: UnitRecord, segment: SegmentRecord, channels: Records, words: Words, start: int) -> None:
    """Take the slots of a firing that starts at ``start``."""
    for port in range(unit.out_ptr, unit.out_end):
        channel = channels[words[port]]
        for _ in range(words[segment.make_ptr + port - unit.out_ptr]):
            token = channel.pushed + channel.promised
            words[channel.issue_ptr + (token & channel.mask)] = start
            channel.promised += 1


@inlined
def enter(unit: UnitRecord, segment: SegmentRecord, words: Words, start: int) -> None:
    """Record the request of a firing; one without bytes is answered at once."""
    at = request_record(unit, unit.requested)
    words[at + R_START] = start
    words[at + R_SEGMENT] = unit.segment
    words[at + R_ADDRESS] = request_address(unit, segment)
    words[at + R_ANSWER] = start if segment.request == 0 else -1
    unit.requested += 1


@kernel
def deliver(unit: UnitRecord, segments: Records, channels: Records, words: Words) -> bool:
    """Hand over the promised tokens of all requests that are answered, in order; True if there were any."""
    before = unit.answered
    while unit.answered < unit.requested:
        at = request_record(unit, unit.answered)
        if words[at + R_ANSWER] < 0:
            break
        unit.last_answer = max(unit.last_answer, words[at + R_ANSWER])
        words[at + R_ANSWER] = unit.last_answer
        segment = segments[words[at + R_SEGMENT]]
        for port in range(unit.out_ptr, unit.out_end):
            tokens = words[segment.make_ptr + port - unit.out_ptr]
            if tokens == 0:
                continue
            channel = channels[words[port]]
            channel.tail = max(channel.tail, unit.last_answer + segment.latency + channel.latency)
            for _ in range(tokens):
                words[channel.visible_ptr + (channel.pushed & channel.mask)] = channel.tail
                channel.pushed += 1
            channel.promised -= tokens
        unit.answered += 1
    if unit.answered == before:
        return False
    if unit.done and unit.answered == unit.requested:
        wait_for_last_answer(unit, channels, words)
    return True


@inlined
def wait_for_last_answer(unit: UnitRecord, channels: Records, words: Words) -> None:
    """A unit whose table is over is ready again when its last request is answered."""
    late = unit.last_answer - unit.clock
    if late > 0:
        words[unit.stall_ptr + server_cause(unit)] += late
        unit.clock = unit.last_answer
    close_outputs(unit, channels, words)
