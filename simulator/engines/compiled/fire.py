"""The pieces of one firing: latest input, latest slot, the recurrence, and what the channels see of it.

A batch is a stretch of firings of one run. It is computed in passes over short scratch arrays. The order in which units
are visited cannot change any number (Kahn), so a unit may run as far ahead as its channels let it.
"""

from __future__ import annotations

from simulator.engines.compiled.machine import UNBOUNDED
from simulator.engines.compiled.records import (
    ChannelRecord,
    Records,
    SegmentRecord,
    UnitRecord,
)
from simulator.engines.compiled.scratch import Options
from simulator.engines.fingerprint import MULTIPLIER_HIGH, MULTIPLIER_LOW, mix
from simulator.firing import IntArray
from simulator.servers.kernel import Words, inlined


@inlined
def inputs_enabled(unit: UnitRecord, segment: SegmentRecord, channels: Records, words: Words, limit: int) -> int:
    """Number of firings of the current run, at most ``limit``, that have all their tokens."""
    for port in range(unit.in_ptr, unit.in_end):
        tokens = words[segment.take_ptr + port - unit.in_ptr]
        if tokens > 0:
            channel = channels[words[port]]
            ready = channel.pushed - channel.popped
            if channel.depth == UNBOUNDED:
                ready = min(ready, channel.measured_pop + channel.mask + 1 - channel.popped)
            if tokens > 1:
                ready //= tokens
            limit = min(limit, ready)
    return limit


@inlined
def outputs_enabled(unit: UnitRecord, segment: SegmentRecord, channels: Records, words: Words, limit: int) -> int:
    """Number of firings of the current run, at most ``limit``, that have all their slots."""
    for port in range(unit.out_ptr, unit.out_end):
        tokens = words[segment.make_ptr + port - unit.out_ptr]
        if tokens > 0:
            channel = channels[words[port]]
            free = channel.slots - (channel.pushed - channel.popped)
            if tokens > 1:
                free //= tokens
            limit = min(limit, free)
    return limit


@inlined
def latest_input(
    unit: UnitRecord,
    segment: SegmentRecord,
    channels: Records,
    words: Words,
    count: int,
    start: Words,
    cause: Words,
) -> bool:
    """Write the latest visible time among the input tokens of each firing, and its port; True if no port counts."""
    first = True
    for port in range(unit.in_ptr, unit.in_end):
        tokens = words[segment.take_ptr + port - unit.in_ptr]
        if tokens == 0:
            continue
        channel = channels[words[port]]
        mask, ring = channel.mask, channel.visible_ptr
        token = channel.popped + tokens - 1
        code = port - unit.in_ptr + 1
        if first:
            for i in range(count):
                start[i] = words[ring + (token & mask)]
                cause[i] = code
                token += tokens
            first = False
        else:
            for i in range(count):
                time = words[ring + (token & mask)]
                if time > start[i]:
                    start[i] = time
                    cause[i] = code
                token += tokens
    return first


@inlined
def latest_slot(
    unit: UnitRecord,
    segment: SegmentRecord,
    channels: Records,
    words: Words,
    count: int,
    start: Words,
    cause: Words,
    first: bool,
) -> bool:
    """Raise the times to the release of the output slots that each firing needs; True if still no port counts."""
    inputs = unit.in_end - unit.in_ptr
    for port in range(unit.out_ptr, unit.out_end):
        tokens = words[segment.make_ptr + port - unit.out_ptr]
        channel = channels[words[port]]
        if tokens == 0 or channel.depth == UNBOUNDED:
            continue
        mask, ring = channel.mask, channel.release_ptr
        slot = channel.pushed + tokens - 1 - channel.depth
        code = inputs + port - unit.out_ptr + 1
        if first:
            for i in range(count):
                start[i] = words[ring + (slot & mask)]
                cause[i] = code
                slot += tokens
            first = False
        else:
            for i in range(count):
                time = words[ring + (slot & mask)]
                if time > start[i]:
                    start[i] = time
                    cause[i] = code
                slot += tokens
    return first


@inlined
def recur(unit: UnitRecord, interval: int, words: Words, count: int, start: Words, cause: Words) -> None:
    """Turn arrivals into start times in place; add up busy cycles and stalls; advance the clock."""
    clock = unit.clock
    stall_ptr = unit.stall_ptr
    for i in range(count):
        late = start[i] - clock
        if late > 0:
            words[stall_ptr + cause[i]] += late
            clock = start[i]
        else:
            start[i] = clock
            cause[i] = 0
        clock += interval
    unit.busy += interval * count
    unit.clock = clock


@inlined
def pop_tokens(
    unit: UnitRecord,
    segment: SegmentRecord,
    channels: Records,
    words: Words,
    count: int,
    start: Words,
    occupancy: int,
) -> None:
    """Take the tokens of ``count`` firings at their start times and return the slots."""
    for port in range(unit.in_ptr, unit.in_end):
        tokens = words[segment.take_ptr + port - unit.in_ptr]
        if tokens == 0:
            continue
        channel = channels[words[port]]
        mask, ring, token, credit = channel.mask, channel.release_ptr, channel.popped, channel.credit
        if tokens == 1:
            for i in range(count):
                words[ring + (token & mask)] = start[i] + credit
                token += 1
        else:
            for i in range(count):
                for _ in range(tokens):
                    words[ring + (token & mask)] = start[i] + credit
                    token += 1
        channel.popped = token
        if occupancy or channel.depth == UNBOUNDED:
            measure_occupancy(channel, words, unit.clock + credit)
        else:
            channel.measured_push, channel.measured_pop = channel.pushed, channel.popped


@inlined
def measure_occupancy(channel: ChannelRecord, words: Words, next_release: int) -> None:
    """Advance the exact peak occupancy of ``channel``: slots taken at each push less slots returned by then.

    ``next_release`` is the earliest time at which a slot can be returned from here on.
    """
    mask, release, issue = channel.mask, channel.release_ptr, channel.issue_ptr
    push, pop, peak = channel.measured_push, channel.measured_pop, channel.peak
    pushed, popped = channel.pushed, channel.popped
    while push < pushed:
        now = words[issue + (push & mask)]
        while pop < popped and words[release + (pop & mask)] <= now:
            pop += 1
        if pop == popped and popped <= push and now >= next_release:
            break
        push += 1
        peak = max(peak, push - pop)
    if channel.closed and push == pushed:
        pop = popped  # no push is left that could need these slots
    channel.measured_push = push
    channel.measured_pop = pop
    channel.peak = peak


@inlined
def push_tokens(
    unit: UnitRecord,
    segment: SegmentRecord,
    channels: Records,
    words: Words,
    count: int,
    ready: Words,
    start: Words,
) -> None:
    """Make the tokens of ``count`` firings visible ``latency`` after ``ready``; their slots are taken at ``start``."""
    for port in range(unit.out_ptr, unit.out_end):
        tokens = words[segment.make_ptr + port - unit.out_ptr]
        if tokens == 0:
            continue
        channel = channels[words[port]]
        mask, token, tail = channel.mask, channel.pushed, channel.tail
        visible, issue = channel.visible_ptr, channel.issue_ptr
        transport = segment.latency + channel.latency
        if tokens == 1:
            for i in range(count):
                tail = max(tail, ready[i] + transport)
                words[visible + (token & mask)] = tail
                words[issue + (token & mask)] = start[i]
                token += 1
        else:
            for i in range(count):
                tail = max(tail, ready[i] + transport)
                for _ in range(tokens):
                    words[visible + (token & mask)] = tail
                    words[issue + (token & mask)] = start[i]
                    token += 1
        channel.tail = tail
        channel.pushed = token


@inlined
def extend_fingerprint(unit: UnitRecord, count: int, start: Words, cause: Words) -> None:
    """Extend the schedule fingerprint of ``unit`` by a batch."""
    low, high, last = unit.hash_low, unit.hash_high, unit.last_start
    for i in range(count):
        x = mix(start[i] - last, cause[i])
        last = start[i]
        low = low * MULTIPLIER_LOW + x
        high = high * MULTIPLIER_HIGH + x
    unit.hash_low = low
    unit.hash_high = high


@inlined
def record(unit: UnitRecord, count: int, start: Words, cause: Words, options: Options, trace: IntArray) -> None:
    """Note a batch in the fingerprint and the trace, as ``options`` asks, and count its firings."""
    if options.digest:
        extend_fingerprint(unit, count, start, cause)
    if options.trace:
        position = unit.trace_ptr + unit.fired
        for i in range(count):
            trace[position + i, 0] = start[i]
            trace[position + i, 1] = cause[i]
    unit.last_start = start[count - 1]
    unit.fired += count
