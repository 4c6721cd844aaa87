"""Rings of channels: when one is too small for the engine to go on, and the windows of times in them that still matter.

A channel keeps the times at which its tokens are made, seen and taken in rings of words. Its future depends on the last
of them only, which are compared when the engine looks for a state that recurs.
"""

from __future__ import annotations

from simulator.engines.compiled.machine import UNBOUNDED, Machine
from simulator.engines.compiled.records import (
    LONG_AGO,
    ChannelRecord,
    Records,
    UnitRecord,
)
from simulator.engines.compiled.runs import WAITING_FOR_SLOTS
from simulator.servers.kernel import Words, kernel

WINDOWS = 4
"""Windows of a channel: see `live_window`."""
NOT_KEPT = -1
"""In place of the number of times of a window that was not kept."""


@kernel
def ring_is_full(channel: ChannelRecord) -> bool:
    """Whether the ring of an unbounded channel, not its depth, may keep a unit from firing."""
    queued = channel.pushed - channel.popped
    noted = channel.popped - channel.measured_pop
    return channel.depth == UNBOUNDED and 2 * max(queued, noted) >= channel.slots


@kernel
def full_ring(channels: Records) -> int:
    """Number of a channel whose ring has to be enlarged before the engine may decide anything, or -1."""
    for number in range(channels.shape[0]):
        if ring_is_full(channels[number]):
            return number
    return -1


@kernel
def has_unbounded(channels: Records) -> bool:
    """Whether any ring may have to be enlarged at all."""
    unbounded = 0
    for number in range(channels.shape[0]):
        if channels[number].depth == UNBOUNDED:
            unbounded += 1
    return unbounded > 0


def full_rings(machine: Machine) -> list[int]:
    """Channels whose rings have to be enlarged."""
    return [number for number in range(len(machine.channels)) if ring_is_full(machine.channels[number])]


@kernel
def first_release(channel: ChannelRecord) -> int:
    """Oldest pop whose slot a producer has still to wait for."""
    if channel.depth == UNBOUNDED:
        return channel.popped
    return max(channel.pushed - channel.depth, 0)


@kernel
def slot_floor(producer: UnitRecord) -> int:
    """Time up to which no release of a slot can make a unit wait: a result that it holds already waits since then."""
    return producer.issued if producer.waiting == WAITING_FOR_SLOTS else producer.clock


@kernel
def live_window(
    channel: ChannelRecord, window: int, producer: UnitRecord, consumer: UnitRecord
) -> tuple[int, int, int, int]:
    """Ring, first and end token, and floor of one of the four windows of times that matter for a channel's future.

    Times in a window never decrease. Those up to the floor are so old that nobody can still wait for them: visible
    times before the consumer's clock, releases before the producer's. Issues and pops that the exact peak occupancy
    still has to look at count all.
    """
    if window == 0:
        return channel.visible_ptr, channel.popped, channel.pushed, consumer.clock
    if window == 1:
        return channel.release_ptr, first_release(channel), channel.popped, slot_floor(producer)
    if window == 2:
        return channel.issue_ptr, channel.measured_push, channel.pushed, LONG_AGO
    return channel.release_ptr, channel.measured_pop, channel.popped, LONG_AGO


@kernel
def first_after(words: Words, ring: int, mask: int, first: int, end: int, floor: int) -> int:
    """First token of a window whose time is after ``floor``: by bisection, since deep FIFOs hold many old ones."""
    while first < end:
        middle = (first + end) // 2
        if words[ring + (middle & mask)] > floor:
            end = middle
        else:
            first = middle + 1
    return first


@kernel
def keep_window(
    words: Words, ring: int, mask: int, first: int, end: int, floor: int, kept_words: Words, at: int
) -> int:
    """Append the number of times after the floor, and these times, to the kept words; return the next free place."""
    recent = first_after(words, ring, mask, first, end, floor)
    kept_words[at] = end - recent
    at += 1
    for token in range(recent, end):
        kept_words[at] = words[ring + (token & mask)]
        at += 1
    return at


@kernel
def window_recurs(
    words: Words, ring: int, mask: int, first: int, end: int, floor: int, kept_words: Words, at: int, shift: int
) -> bool:
    """Whether the times of a window after the floor are ``shift`` later than the kept ones."""
    recent = first_after(words, ring, mask, first, end, floor)
    if kept_words[at] != end - recent:
        return False
    for token in range(recent, end):
        at += 1
        if words[ring + (token & mask)] - kept_words[at] != shift:
            return False
    return True


@kernel
def same_time(time: int, kept: int, floor: int, kept_floor: int, shift: int) -> bool:
    """Whether two times are a shift apart, or both so old that they cannot matter."""
    return max(time, floor) - max(kept, kept_floor) == shift


@kernel
def channel_recurs(
    channel: ChannelRecord,
    kept: ChannelRecord,
    words: Words,
    kept_words: Words,
    at: int,
    producer: UnitRecord,
    kept_producer: UnitRecord,
    consumer: UnitRecord,
    shift: int,
    changes: bool,
) -> tuple[bool, int]:
    """Whether a channel looks as it did, ``shift`` earlier; also returns where its successor's kept words start.

    Of one that ``changes`` only what its next token waits for is looked at.
    """
    pushed = channel.pushed + channel.skipped - kept.pushed - kept.skipped
    recurs = pushed == 0 or same_time(channel.tail, kept.tail, slot_floor(producer), slot_floor(kept_producer), shift)
    for window in range(WINDOWS):
        if recurs and pushed > 0 and not changes:
            ring, first, end, floor = live_window(channel, window, producer, consumer)
            recurs = window_recurs(words, ring, channel.mask, first, end, floor, kept_words, at, shift)
        at += 1 + max(kept_words[at], 0)
    return recurs, at


@kernel
def drains(channel: ChannelRecord, before: ChannelRecord, consumer: UnitRecord, kept_consumer: UnitRecord) -> bool:
    """Whether a closed channel holds more old tokens than its consumer needs for a while.

    Such a reservoir never makes its consumer wait, so how full it is does not matter until it runs low.
    """
    if before.closed == 0 or channel.popped == before.popped or channel.measured_push != channel.pushed:
        return False
    return channel.tail <= kept_consumer.clock and channel.tail <= consumer.clock
