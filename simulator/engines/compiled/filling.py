"""Channels that fill or drain while everything else recurs.

A FIFO that holds a row fills for the whole row while its consumer waits for something else; one whose consumer is
slower than its producer fills as long as both run. The state does not recur then, but all that anybody can see of it
does: no firing depends on how many tokens are queued, only on the times of those that it takes and of the slots that
it needs. As long as these follow those of the period before by as many cycles as the unit itself needs for a period, or
are so old that it does not wait for them, it can repeat its firings of the last period; and units may keep different
paces, since FIFOs of unequal ends change. What a jump would have written into their rings is written in one go.

That holds without servers alone. There any order of firings in which each has its tokens and slots gives the same times
(Kahn); a server decides among those that have asked by then, and a unit that a fuller FIFO lets run might ask earlier.
"""

from __future__ import annotations

from simulator.engines.compiled.machine import UNBOUNDED
from simulator.engines.compiled.records import LONG_AGO, NEVER, ChannelRecord, Records
from simulator.engines.compiled.rings import drains, first_release, slot_floor
from simulator.engines.compiled.watch import Reference
from simulator.servers.kernel import Words, kernel

LEAST_PERIODS = 8
"""Periods below which a jump costs more than it saves."""
WORDS_PER_FIRING = 8
"""Words of rings that can be moved in the time of one firing."""


@kernel
def changes(channel: ChannelRecord, before: ChannelRecord, units: Records, kept: Reference) -> bool:
    """Whether a channel holds more or fewer tokens than in the reference, or its units keep different paces.

    A reservoir of old tokens does not count as one.
    """
    pushed = channel.pushed + channel.skipped - before.pushed - before.skipped
    popped = channel.popped + channel.skipped - before.popped - before.skipped
    if pushed == popped:
        return pushed > 0 and pace(units, kept, channel.producer) != pace(units, kept, channel.consumer)
    return not drains(channel, before, units[channel.consumer], kept.units[channel.consumer])


@kernel
def pace(units: Records, kept: Reference, number: int) -> int:
    """Cycles that a unit takes for a period."""
    cycles: int = units[number].clock - kept.units[number].clock
    return cycles


@kernel
def ring_periods(channel: ChannelRecord, before: ChannelRecord) -> int:
    """Periods for which the rings of a changing channel are large enough; 0 if the last one is no longer in them."""
    pushed, popped = channel.pushed - before.pushed, channel.popped - before.popped
    level_then, size = before.pushed - before.popped, channel.mask + 1
    if channel.skipped != before.skipped or level_then + pushed > size or popped > size:
        return 0
    periods = NEVER
    if pushed > 0:
        if channel.depth != UNBOUNDED and channel.depth - level_then + popped > size:
            return 0
        if channel.depth == UNBOUNDED and pushed > popped:
            periods = min(periods, (channel.slots - (channel.pushed - channel.popped) - pushed) // (pushed - popped))
        periods = min(periods, (size - (channel.pushed - channel.measured_push)) // pushed)
    if popped > 0:
        periods = min(periods, (size - (channel.popped - channel.measured_pop)) // popped)
    return periods


@kernel
def alike_tokens(words: Words, ring: int, mask: int, first: int, end: int, each: int, floor: int, shift: int) -> int:
    """End of the times from ``first`` on that follow those of the period before, ``each`` earlier, by ``shift``.

    Times up to ``floor``, which moves on with the periods, are too old to matter.
    """
    left = each
    for token in range(first, end):
        time = words[ring + (token & mask)] if token >= 0 else LONG_AGO
        earlier = token - each
        kept = words[ring + (earlier & mask)] if earlier >= 0 else LONG_AGO
        if max(time, floor + shift) - max(kept, floor) != shift:
            return token
        left -= 1
        if left == 0:
            left = each
            floor += shift
    return end


@kernel
def window_periods(
    words: Words, ring: int, mask: int, first: int, end: int, each: int, floor: int, shift: int, most: int, ample: bool
) -> int:
    """Periods, ``most`` at most, in which a unit that uses ``each`` times of a window in a period is not disturbed.

    The window is ``first`` to ``end``. Times that come later are written in the jump itself. They do not matter if
    there are always as many as in the period before and they fall ever further behind (``ample``), provided that the
    unit did not wait for the last one that it used.
    """
    wanted = first + each * min(most, (end - first) // each + 1)
    alike = alike_tokens(words, ring, mask, first, min(end, wanted), each, floor, shift)
    if alike == wanted:
        return most
    if alike == end and ample and (first < 1 or words[ring + ((first - 1) & mask)] <= floor):
        return most
    return (alike - first) // each


@kernel
def times_periods(units: Records, channels: Records, words: Words, kept: Reference, most: int) -> int:
    """Periods, ``most`` at most, in which the times that changing channels hold make no firing earlier or later."""
    for number in range(channels.shape[0]):
        channel, before = channels[number], kept.channels[number]
        pushed, popped = channel.pushed - before.pushed, channel.popped - before.popped
        if most == 0 or not changes(channel, before, units, kept):
            continue
        made, taken = pace(units, kept, channel.producer), pace(units, kept, channel.consumer)
        first = channel.popped
        if popped > 0:
            floor, ample = kept.units[channel.consumer].clock, pushed >= popped and made <= taken
            most = window_periods(
                words, channel.visible_ptr, channel.mask, first, channel.pushed, popped, floor, taken, most, ample
            )
        if pushed > 0 and channel.depth != UNBOUNDED:
            floor, ample = slot_floor(kept.units[channel.producer]), popped >= pushed and taken <= made
            end, first = first, channel.pushed - channel.depth
            most = window_periods(
                words, channel.release_ptr, channel.mask, first, end, pushed, floor, made, most, ample
            )
    return most


@kernel
def changing_periods(units: Records, channels: Records, words: Words, kept: Reference, most: int) -> int:
    """Periods, ``most`` at most, that can be jumped as far as changing channels tell; 0 if it is not worth it.

    Times are looked at for twice as many periods again and again, as a look at all would be in vain where one channel
    allows for few.
    """
    changing, live, fired = 0, 0, 0
    for number in range(channels.shape[0]):
        channel, before = channels[number], kept.channels[number]
        if changes(channel, before, units, kept):
            changing += 1
            live += channel.pushed - channel.popped
        elif channel.pushed == before.pushed:
            live += channel.pushed - channel.popped
    if changing == 0:
        return most
    periods, limit = 0, min(LEAST_PERIODS, most)
    while True:
        periods = times_periods(units, channels, words, kept, limit)
        if periods < limit or limit == most:
            break
        limit = min(2 * limit, most)
    for number in range(units.shape[0]):
        fired += units[number].fired - kept.units[number].fired
    return periods if periods >= LEAST_PERIODS and periods * fired * WORDS_PER_FIRING >= live else 0


@kernel
def repeat_times(words: Words, ring: int, mask: int, first: int, per_period: int, shift: int, periods: int) -> None:
    """Continue the times of a ring from token ``first`` on as those of the last period."""
    for token in range(first, first + per_period * periods):
        words[ring + (token & mask)] = words[ring + ((token - per_period) & mask)] + shift


@kernel
def subtract(words: Words, ring: int, mask: int, first: int, end: int, cycles: int) -> None:
    """Make the times of a window earlier."""
    for token in range(first, end):
        words[ring + (token & mask)] -= cycles


@kernel
def make_earlier(channel: ChannelRecord, words: Words, cycles: int) -> None:
    """Make all times of a channel that still matter ``cycles`` earlier."""
    mask = channel.mask
    channel.tail -= cycles
    subtract(words, channel.visible_ptr, mask, channel.popped, channel.pushed, cycles)
    subtract(
        words, channel.release_ptr, mask, min(first_release(channel), channel.measured_pop), channel.popped, cycles
    )
    subtract(words, channel.issue_ptr, mask, channel.measured_push, channel.pushed, cycles)


@kernel
def jump_changing(
    channel: ChannelRecord, before: ChannelRecord, words: Words, periods: int, made: int, taken: int, cycles: int
) -> None:
    """Write what ``periods`` periods write into the rings of a channel that changes.

    A period takes its producer ``made`` cycles, its consumer ``taken``; local times become ``cycles`` less.
    """
    pushed, popped = channel.pushed - before.pushed, channel.popped - before.popped
    if pushed > 0:
        repeat_times(words, channel.visible_ptr, channel.mask, channel.pushed, pushed, made, periods)
        repeat_times(words, channel.issue_ptr, channel.mask, channel.pushed, pushed, made, periods)
        channel.tail += periods * made
    if popped > 0:
        repeat_times(words, channel.release_ptr, channel.mask, channel.popped, popped, taken, periods)
    channel.pushed += periods * pushed
    channel.popped += periods * popped
    make_earlier(channel, words, cycles)
