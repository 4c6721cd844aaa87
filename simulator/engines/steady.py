"""Exact skipping of the steady state.

The future of a timed cyclo-static graph is a function of its state: where each unit stands in its table, the tokens
queued, and all live times relative to now. When the state recurs, what happened in between happens again; so whole
periods are jumped over and every counter is advanced by its growth per period. The state is compared in full, never by
a hash. What does not take part in a period (a unit that does not fire, a channel that does not move) keeps its absolute
times and need not be compared.

A unit is in the same phase if it stands at the same place of its table, or still in the same run of identical
firings, or in the same loop: in these cases the jump ends before the run, or the loop, is over. That is how long rows
are skipped from the inside, also when every row is longer than the one before (causal masks).

Times in the records are local: absolute time minus ``base``. A jump adds to ``base`` and leaves the times of everything
that moves as they are, so its cost does not depend on the depth of FIFOs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simulator.engines.rings import WINDOWS, first_release, keep_window, live_window, window_recurs
from simulator.engines.runs import WAITING_FOR_SERVER, WAITING_FOR_SLOTS
from simulator.fingerprint import MULTIPLIER_HIGH, MULTIPLIER_LOW, power, repeat_affine
from simulator.firing import IntArray
from simulator.machine import ISSUE_RESERVE, Machine, Records
from simulator.servers.kernel import kernel

PENDING_LIMIT = 4096
NOTHING, RECORDS, EVERYTHING = 0, 1, 2  # how much of a reference has been taken
SAMPLES_BEFORE_THINNING = 64
SHORTEST_LAP_FIRINGS = 256

# fields of Watch.numbers
BASE, JUMPS, SKIPPED_FIRINGS, INNER_UNIT, OUTER_UNIT, LAP = range(6)
# fields of Reference.numbers
TAKEN, POWER, SAMPLES, PAUSE, NOW, BASE_THEN = range(6)


class Reference(NamedTuple):
    """A remembered state; ``words`` holds stalls and live times in the order in which they are compared.

    ``numbers`` are: whether there is one, the number of samples until it is replaced (powers of two, Brent 1980),
    samples since then, visits to let pass, and the time of the clock that all others are relative to.
    """

    units: Records
    channels: Records
    servers: Records
    words: IntArray
    numbers: IntArray


class Watch(NamedTuple):
    """What the engine needs to look for recurring states: inside rows and from row to row."""

    inner: Reference
    outer: Reference
    numbers: IntArray


def build_watch(machine: Machine, *, enabled: bool, before: Watch | None = None) -> Watch:
    """References for ``machine``, keeping the counts of ``before``; without ``enabled`` nothing is looked at.

    The inner pacer is the unit with the most firings (the last of them), the outer one the unit without outputs that
    has the fewest. The outer one looks once per lap: an iteration (or several short ones), or where rows grow within a
    head, a head.
    """
    units, channels = machine.units, machine.channels
    stalls = int((units["in_end"] - units["in_ptr"] + units["out_end"] - units["out_ptr"] + 2).sum())
    live = int((channels["slots"] + 2 * np.minimum(channels["mask"] + 1, PENDING_LIMIT) + WINDOWS).sum())
    size = stalls + live + int(machine.servers["ports"].sum()) if enabled else 0
    numbers = np.zeros(6, np.int64)
    if before is not None:
        numbers[:] = before.numbers
    elif enabled:
        inner = len(units) - 1 - int(np.argmax(units["firings"][::-1]))
        sinks = np.flatnonzero(units["out_ptr"] == units["out_end"])
        outer = int(sinks[np.argmin(units["firings"][sinks])]) if len(sinks) else inner
        growing = units["ramp"][units["grows"] == 1]
        per_iteration = int(units["firings"][inner]) // max(int(units["iterations"][outer]), 1)
        short = -(-SHORTEST_LAP_FIRINGS // max(per_iteration, 1))
        numbers[INNER_UNIT], numbers[OUTER_UNIT] = inner, outer
        numbers[LAP] = int(growing.max()) if len(growing) else short
        units["lap_at"][outer] = numbers[LAP]
    else:
        numbers[INNER_UNIT] = numbers[OUTER_UNIT] = -1

    def reference() -> Reference:
        kept = np.zeros(6, np.int64)
        kept[POWER] = 1
        return Reference(units.copy(), channels.copy(), machine.servers.copy(), np.zeros(size, np.int64), kept)

    return Watch(reference(), reference(), numbers)


@kernel
def stall_count(unit):
    """Number of stall counters of a unit."""
    return (unit.in_end - unit.in_ptr) + (unit.out_end - unit.out_ptr) + 2


@kernel
def remember_records(units, channels, servers, kept, now, base):
    """Copy what is cheap to copy: enough to see that a state does not recur."""
    for number in range(units.shape[0]):
        kept.units[number] = units[number]
    for number in range(channels.shape[0]):
        kept.channels[number] = channels[number]
    for number in range(servers.shape[0]):
        kept.servers[number] = servers[number]
    kept.numbers[TAKEN] = RECORDS
    kept.numbers[NOW] = now
    kept.numbers[BASE_THEN] = base


@kernel
def remember_words(units, channels, servers, words, kept):
    """Copy stalls and live times too, unless too much is not measured yet."""
    kept_words = kept.words
    at = 0
    for number in range(units.shape[0]):
        unit = units[number]
        for cause in range(stall_count(unit)):
            kept_words[at] = words[unit.stall_ptr + cause]
            at += 1
    for number in range(channels.shape[0]):
        channel = channels[number]
        pending = max(channel.pushed - channel.measured_push, channel.popped - channel.measured_pop)
        if pending > PENDING_LIMIT:
            return
        for window in range(WINDOWS):
            ring, first, end, floor = live_window(channel, window, units[channel.producer], units[channel.consumer])
            at = keep_window(words, ring, channel.mask, first, end, floor, kept_words, at)
    for number in range(servers.shape[0]):
        server = servers[number]
        for port in range(server.ports):
            kept_words[at] = words[server.free_ptr + port]
            at += 1
    kept.numbers[TAKEN] = EVERYTHING


@kernel
def same_time(time, kept, floor, kept_floor, shift):
    """Whether two times are a shift apart, or both so old that they cannot matter."""
    return max(time, floor) - max(kept, kept_floor) == shift


@kernel
def unit_periods(unit, kept, shift):
    """How often a unit can repeat what it did since ``kept``, times ``shift`` later; 0 if it is in another state."""
    fired = unit.fired - kept.fired
    if unit.done != kept.done or unit.waiting != kept.waiting:
        return 0
    if fired == 0:
        return 0 if unit.waiting == WAITING_FOR_SERVER else np.int64(1) << 62
    if unit.segment != kept.segment or unit.clock - kept.clock != shift or unit.last_start - kept.last_start != shift:
        return 0
    if unit.waiting == WAITING_FOR_SLOTS and (
        unit.issued - kept.issued != shift
        or unit.issued_ports != kept.issued_ports
        or unit.issued_cause != kept.issued_cause
    ):
        return 0
    if unit.waiting == WAITING_FOR_SERVER and (
        unit.arrival - kept.arrival != shift or unit.arrival_cause != kept.arrival_cause
    ):
        return 0
    if unit.segment_changes == kept.segment_changes:
        return (unit.firings_left - 1) // fired
    if unit.firings_left != kept.firings_left:
        return 0
    if unit.block_changes == kept.block_changes:
        return (unit.loops_left - 1) // (kept.loops_left - unit.loops_left)
    iterations = unit.iteration - kept.iteration
    if unit.loops_left != kept.loops_left or (unit.grows and iterations % unit.ramp != 0):
        return 0
    return (unit.iterations - unit.iteration - 1) // iterations


@kernel
def channel_recurs(channel, kept, words, kept_words, at, producer, kept_producer, consumer, shift):
    """Whether a channel looks as it did, ``shift`` earlier; also returns where its successor's kept words start."""
    pushed = channel.pushed + channel.skipped - kept.pushed - kept.skipped
    popped = channel.popped + channel.skipped - kept.popped - kept.skipped
    at_rest = pushed == 0  # nothing moves, or tokens only leave a reservoir
    recurs = at_rest or (
        pushed == popped and same_time(channel.tail, kept.tail, producer.clock, kept_producer.clock, shift)
    )
    for window in range(WINDOWS):
        if recurs and not at_rest:
            ring, first, end, floor = live_window(channel, window, producer, consumer)
            recurs = window_recurs(words, ring, channel.mask, first, end, floor, kept_words, at, shift)
        at += 1 + kept_words[at]
    return recurs, at


@kernel
def server_recurs(server, kept, units, kept_units, words, kept_words, at, shift):
    """Whether the ports of a server are as free as they were, ``shift`` earlier."""
    if server.grants == kept.grants:
        return True
    if server.last != kept.last:
        return False
    floor, kept_floor = np.int64(1) << 62, np.int64(1) << 62
    for client in range(server.clients):
        number = words[server.unit_ptr + client]
        if units[number].done == 0:
            floor = min(floor, units[number].clock)
            kept_floor = min(kept_floor, kept_units[number].clock)
    if floor - kept_floor != shift:
        return False
    for port in range(server.ports):
        if not same_time(words[server.free_ptr + port], kept_words[at + port], floor, kept_floor, shift):
            return False
    return True


@kernel
def drains(channel, before, consumer, kept_consumer):
    """Whether a closed channel holds more old tokens than its consumer needs for a while.

    Such a reservoir never makes its consumer wait, so how full it is does not matter until it runs low.
    """
    if before.closed == 0 or channel.popped == before.popped or channel.measured_push != channel.pushed:
        return False
    return channel.tail <= kept_consumer.clock and channel.tail <= consumer.clock


@kernel
def record_periods(units, channels, kept, shift):
    """How many periods can be jumped as far as the records tell; 0 if the state does not recur."""
    periods = np.int64(1) << 62
    for number in range(units.shape[0]):
        periods = min(periods, unit_periods(units[number], kept.units[number], shift))
        if periods <= 0:
            return 0
    for number in range(channels.shape[0]):
        channel, before = channels[number], kept.channels[number]
        queued = channel.pushed - channel.popped
        if queued != before.pushed - before.popped:
            if not drains(channel, before, units[channel.consumer], kept.units[channel.consumer]):
                return 0
            periods = min(periods, queued // (channel.popped - before.popped) - 1)
    return periods


@kernel
def words_recur(units, channels, servers, words, kept, shift):
    """Whether all live times are ``shift`` later than in the reference."""
    at = 0
    for number in range(units.shape[0]):
        at += stall_count(units[number])
    for number in range(channels.shape[0]):
        channel = channels[number]
        recurs, at = channel_recurs(
            channel,
            kept.channels[number],
            words,
            kept.words,
            at,
            units[channel.producer],
            kept.units[channel.producer],
            units[channel.consumer],
            shift,
        )
        if not recurs:
            return False
    for number in range(servers.shape[0]):
        if not server_recurs(servers[number], kept.servers[number], units, kept.units, words, kept.words, at, shift):
            return False
        at += servers[number].ports
    return True


@kernel
def jump_unit(unit, kept, words, kept_words, at, periods, cycles):
    """Advance the counters of one unit by ``periods`` periods; a unit that does not fire keeps its absolute time."""
    fired = unit.fired - kept.fired
    if fired == 0:
        unit.clock -= cycles
        unit.last_start -= cycles
        unit.issued -= cycles
        return 0
    steps = fired if unit.issue == ISSUE_RESERVE else 2 * fired
    scale = power(MULTIPLIER_LOW, steps)
    unit.hash_low = repeat_affine(unit.hash_low, scale, unit.hash_low - kept.hash_low * scale, periods)
    scale = power(MULTIPLIER_HIGH, steps)
    unit.hash_high = repeat_affine(unit.hash_high, scale, unit.hash_high - kept.hash_high * scale, periods)
    unit.fired += periods * fired
    unit.busy += periods * (unit.busy - kept.busy)
    for cause in range(stall_count(unit)):
        words[unit.stall_ptr + cause] += periods * (words[unit.stall_ptr + cause] - kept_words[at + cause])
    if unit.segment_changes == kept.segment_changes:
        unit.firings_left -= periods * fired
    elif unit.block_changes == kept.block_changes:
        unit.loops_left -= periods * (kept.loops_left - unit.loops_left)
    else:
        unit.iteration += periods * (unit.iteration - kept.iteration)
    return periods * fired


@kernel
def jump_channel(channel, kept, words, periods, cycles):
    """Advance the token count of one channel; one that does not move keeps its absolute times."""
    pushed = channel.pushed + channel.skipped - kept.pushed - kept.skipped
    if pushed:
        channel.skipped += periods * pushed
        return
    if channel.popped != kept.popped:  # a reservoir: its tokens are old, and nobody waits for its slots
        channel.popped += periods * (channel.popped - kept.popped)
        channel.measured_pop = channel.popped
        return
    channel.tail -= cycles
    for token in range(channel.popped, channel.pushed):
        words[channel.visible_ptr + (token & channel.mask)] -= cycles
    for token in range(min(first_release(channel), channel.measured_pop), channel.popped):
        words[channel.release_ptr + (token & channel.mask)] -= cycles
    for token in range(channel.measured_push, channel.pushed):
        words[channel.issue_ptr + (token & channel.mask)] -= cycles


@kernel
def jump(units, channels, servers, words, kept, cycles, periods, numbers):
    """Jump over ``periods`` periods that take ``cycles`` cycles in all."""
    at = 0
    for number in range(units.shape[0]):
        numbers[SKIPPED_FIRINGS] += jump_unit(units[number], kept.units[number], words, kept.words, at, periods, cycles)
        at += stall_count(units[number])
    for number in range(channels.shape[0]):
        jump_channel(channels[number], kept.channels[number], words, periods, cycles)
    for number in range(servers.shape[0]):
        server, before = servers[number], kept.servers[number]
        if server.grants == before.grants:
            for port in range(server.ports):
                words[server.free_ptr + port] -= cycles
            continue
        server.busy += periods * (server.busy - before.busy)
        server.bytes += periods * (server.bytes - before.bytes)
        server.grants += periods * (server.grants - before.grants)
    numbers[BASE] += cycles
    numbers[JUMPS] += 1


@kernel
def forget(numbers):
    """Start looking afresh."""
    numbers[TAKEN] = NOTHING
    numbers[POWER] = 1
    numbers[SAMPLES] = 0
    numbers[PAUSE] = 0


@kernel
def sample(units, channels, servers, words, kept, now, watch_numbers):
    """Compare the state with the reference and jump if it recurs; replace the reference at powers of two.

    Live times are copied only from a state whose records have been seen to recur, since deep FIFOs hold many.
    """
    numbers = kept.numbers
    if numbers[PAUSE] > 0:
        numbers[PAUSE] -= 1
        return False
    base = watch_numbers[BASE]
    shift = now - numbers[NOW]
    periods = record_periods(units, channels, kept, shift) if numbers[TAKEN] != NOTHING else 0
    if periods > 0 and numbers[TAKEN] == RECORDS:
        remember_records(units, channels, servers, kept, now, base)
        remember_words(units, channels, servers, words, kept)
        return False
    if periods > 0 and words_recur(units, channels, servers, words, kept, shift):
        cycles = periods * (shift + base - numbers[BASE_THEN])
        jump(units, channels, servers, words, kept, cycles, periods, watch_numbers)
        forget(numbers)
        return True
    numbers[SAMPLES] += 1
    if numbers[SAMPLES] >= numbers[POWER]:
        remember_records(units, channels, servers, kept, now, base)
        if periods > 0:
            remember_words(units, channels, servers, words, kept)
        numbers[POWER] *= 2
        numbers[SAMPLES] = 0
    numbers[PAUSE] = numbers[POWER] // SAMPLES_BEFORE_THINNING
    return False


@kernel
def watch_rows(unit, units, channels, servers, words, watch):
    """Look for a state that recurs within a row, after a visit to the inner pacer."""
    if unit.grows and watch.inner.units[watch.numbers[INNER_UNIT]].segment_changes != unit.segment_changes:
        forget(watch.inner.numbers)  # a longer row has begun: only states of this row can recur
    sample(units, channels, servers, words, watch.inner, unit.clock, watch.numbers)


@kernel
def watch_lap(units, channels, servers, words, watch):
    """Look for a state that recurs from lap to lap, and let the outer pacer go on to the next one.

    While it waits, all other units have run as far as they can: the state does not depend on the order of visits.
    """
    outer = units[watch.numbers[OUTER_UNIT]]
    if sample(units, channels, servers, words, watch.outer, outer.clock, watch.numbers):
        forget(watch.inner.numbers)
    outer.waiting = 0
    outer.lap_at = outer.iteration + watch.numbers[LAP] * (1 + watch.outer.numbers[PAUSE])
    watch.outer.numbers[PAUSE] = 0
