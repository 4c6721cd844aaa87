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
that moves as they are, so its cost does not depend on the depth of FIFOs; of those that fill or drain see `filling`.
"""

from __future__ import annotations

from simulator.engines.compiled.filling import (
    LEAST_PERIODS,
    changes,
    changing_periods,
    jump_changing,
    make_earlier,
    pace,
    ring_periods,
)
from simulator.engines.compiled.fire import measure_occupancy
from simulator.engines.compiled.machine import ISSUE_RESERVE
from simulator.engines.compiled.records import (
    NEVER,
    ChannelRecord,
    Records,
    ServerRecord,
    UnitRecord,
)
from simulator.engines.compiled.rings import (
    NOT_KEPT,
    WINDOWS,
    channel_recurs,
    keep_window,
    live_window,
    same_time,
)
from simulator.engines.compiled.runs import WAITING_FOR_SERVER, WAITING_FOR_SLOTS
from simulator.engines.compiled.watch import (
    BASE,
    BASE_THEN,
    DECISION,
    DECISION_THEN,
    DUE,
    GRANTED_UNIT,
    GRANTS,
    INNER_UNIT,
    JUMPS,
    LAP,
    LEAST_GRANTS,
    NOW,
    OUTER_UNIT,
    PATIENCE,
    PAUSE,
    PENDING_LIMIT,
    POWER,
    RESTED,
    SAMPLES,
    SKIPPED_FIRINGS,
    TAKEN,
    Reference,
    Watch,
)
from simulator.engines.fingerprint import MULTIPLIER_HIGH, MULTIPLIER_LOW, power, repeat_affine
from simulator.servers.kernel import Words, inlined, kernel

NOTHING, RECORDS, EVERYTHING = 0, 1, 2  # how much of a reference has been taken
SAMPLES_BEFORE_THINNING = 64


@kernel
def stall_count(unit: UnitRecord) -> int:
    """Number of stall counters of a unit."""
    return (unit.in_end - unit.in_ptr) + (unit.out_end - unit.out_ptr) + 2


@kernel
def remember_records(
    units: Records, channels: Records, servers: Records, kept: Reference, now: int, counts: Words
) -> None:
    """Copy what is cheap to copy: enough to see that a state does not recur."""
    for number in range(units.shape[0]):
        kept.units[number] = units[number]
    for number in range(channels.shape[0]):
        kept.channels[number] = channels[number]
    for number in range(servers.shape[0]):
        kept.servers[number] = servers[number]
    kept.numbers[TAKEN] = RECORDS
    kept.numbers[NOW] = now
    kept.numbers[BASE_THEN] = counts[BASE]
    kept.numbers[DECISION_THEN] = counts[DECISION]


@kernel
def remember_words(units: Records, channels: Records, servers: Records, words: Words, kept: Reference) -> None:
    """Copy stalls and live times, but of channels that change, or of which too much is not measured yet.

    What changes is told by the records of the reference, which must still be those of an earlier state.
    """
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
        if pending > PENDING_LIMIT or changes(channel, kept.channels[number], units, kept):
            for _ in range(WINDOWS):
                kept_words[at] = NOT_KEPT
                at += 1
            continue
        for window in range(WINDOWS):
            ring, first, end, floor = live_window(channel, window, units[channel.producer], units[channel.consumer])
            at = keep_window(words, ring, channel.mask, first, end, floor, kept_words, at)
    for number in range(servers.shape[0]):
        server = servers[number]
        for port in range(server.ports):
            kept_words[at] = words[server.free_ptr + port]
            at += 1


@kernel
def remember_all(
    units: Records, channels: Records, servers: Records, words: Words, kept: Reference, now: int, counts: Words
) -> None:
    """Copy the state with its live times, after its records have been seen to recur."""
    remember_words(units, channels, servers, words, kept)
    remember_records(units, channels, servers, kept, now, counts)
    kept.numbers[TAKEN] = EVERYTHING


@kernel
def unit_periods(unit: UnitRecord, kept: UnitRecord, shift: int) -> int:
    """Periods that a unit can repeat since ``kept``, times ``shift`` later; 0 if it is in another state."""
    fired = unit.fired - kept.fired
    if unit.done != kept.done or unit.waiting != kept.waiting:
        return 0
    if fired == 0:
        return 0 if unit.waiting == WAITING_FOR_SERVER or unit.issued_ports != kept.issued_ports else NEVER
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
def server_recurs(
    server: ServerRecord,
    kept: ServerRecord,
    words: Words,
    kept_words: Words,
    at: int,
    floor: int,
    kept_floor: int,
    shift: int,
) -> bool:
    """Whether the ports of a server are as free as they were, ``shift`` earlier.

    Decisions of all servers are taken in the order of time: until the last one, the floor, no port is asked for again.
    """
    if server.grants == kept.grants:
        return True
    if server.last != kept.last:
        return False
    for port in range(server.ports):
        if not same_time(words[server.free_ptr + port], kept_words[at + port], floor, kept_floor, shift):
            return False
    return True


@kernel
def record_periods(
    units: Records, channels: Records, servers: Records, kept: Reference, shift: int, counts: Words
) -> int:
    """Number of periods that can be jumped as far as the records tell; 0 if the state does not recur."""
    may_change = servers.shape[0] == 0 and counts[BASE] == kept.numbers[BASE_THEN]
    periods = NEVER
    for number in range(units.shape[0]):
        own = pace(units, kept, number) if may_change else shift
        periods = min(periods, unit_periods(units[number], kept.units[number], own))
        if periods <= 0:
            return 0
    for number in range(channels.shape[0]):
        channel, before = channels[number], kept.channels[number]
        queued = channel.pushed - channel.popped
        if changes(channel, before, units, kept):
            periods = min(periods, ring_periods(channel, before) if may_change else 0)
            if periods < LEAST_PERIODS:
                return 0
        elif queued != before.pushed - before.popped:
            periods = min(periods, queued // (channel.popped - before.popped) - 1)
    return periods


@kernel
def words_recur(
    units: Records, channels: Records, servers: Records, words: Words, kept: Reference, shift: int, decision: int
) -> bool:
    """Whether all live times are ``shift`` later than in the reference."""
    at = 0
    kept_decision = kept.numbers[DECISION_THEN]
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
            pace(units, kept, channel.producer),
            changes(channel, kept.channels[number], units, kept),
        )
        if not recurs:
            return False
    for number in range(servers.shape[0]):
        before = kept.servers[number]
        if not server_recurs(servers[number], before, words, kept.words, at, decision, kept_decision, shift):
            return False
        at += servers[number].ports
    return True


@kernel
def jump_unit(
    unit: UnitRecord, kept: UnitRecord, words: Words, kept_words: Words, at: int, periods: int, then: int, cycles: int
) -> int:
    """Advance the counters of one unit by ``periods`` periods; a unit that does not fire keeps its absolute time.

    They take it ``then`` cycles more than its local clock tells, and local times become ``cycles`` less.
    """
    fired = unit.fired - kept.fired
    if fired == 0:
        unit.clock -= cycles
        unit.last_start -= cycles
        unit.issued -= cycles
        return 0
    later = periods * (unit.clock - kept.clock) + then - cycles
    unit.clock += later
    unit.last_start += later
    unit.issued += later
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
def jump_channel(
    channel: ChannelRecord, kept: ChannelRecord, words: Words, periods: int, taken: int, cycles: int
) -> None:
    """Advance the token count of one channel; one that does not move keeps its absolute times.

    Its consumer takes ``taken`` cycles for all these periods, and local times become ``cycles`` less.
    """
    pushed = channel.pushed + channel.skipped - kept.pushed - kept.skipped
    if pushed:
        channel.skipped += periods * pushed
        if taken != cycles:  # its units keep another pace than the pacer
            make_earlier(channel, words, cycles - taken)
        return
    if channel.popped != kept.popped:  # a reservoir: its tokens are old, and nobody waits for its slots
        channel.popped += periods * (channel.popped - kept.popped)
        channel.measured_pop = channel.popped
        if taken != cycles:  # what is old for the pacer may not be so for its consumer
            make_earlier(channel, words, cycles)
        return
    make_earlier(channel, words, cycles)


@kernel
def jump(
    units: Records,
    channels: Records,
    servers: Records,
    words: Words,
    kept: Reference,
    cycles: int,
    periods: int,
    counts: Words,
) -> None:
    """Jump over ``periods`` periods that take the pacer ``cycles`` cycles in all."""
    then = periods * (counts[BASE] - kept.numbers[BASE_THEN])
    for number in range(channels.shape[0]):
        channel, before = channels[number], kept.channels[number]
        made, taken = pace(units, kept, channel.producer), pace(units, kept, channel.consumer)
        if changes(channel, before, units, kept):
            jump_changing(channel, before, words, periods, made, taken, cycles)
        else:
            jump_channel(channel, before, words, periods, periods * taken + then, cycles)
    at = 0
    for number in range(units.shape[0]):
        counts[SKIPPED_FIRINGS] += jump_unit(
            units[number], kept.units[number], words, kept.words, at, periods, then, cycles
        )
        at += stall_count(units[number])
    for number in range(channels.shape[0]):  # before its rings wrap around
        channel = channels[number]
        measure_occupancy(channel, words, units[channel.consumer].clock + channel.credit)
    for number in range(servers.shape[0]):
        server, before = servers[number], kept.servers[number]
        if server.grants == before.grants:
            for port in range(server.ports):
                words[server.free_ptr + port] -= cycles
            continue
        server.busy += periods * (server.busy - before.busy)
        server.bytes += periods * (server.bytes - before.bytes)
        server.grants += periods * (server.grants - before.grants)
    counts[BASE] += cycles
    counts[JUMPS] += 1


@kernel
def forget(numbers: Words) -> None:
    """Start looking afresh."""
    numbers[TAKEN] = NOTHING
    numbers[POWER] = 1
    numbers[SAMPLES] = 0
    numbers[PAUSE] = 0


@kernel
def sample(
    units: Records, channels: Records, servers: Records, words: Words, kept: Reference, now: int, counts: Words
) -> bool:
    """Compare the state with the reference and jump if it recurs; replace the reference at powers of two.

    Live times are copied only from a state whose records have been seen to recur, since deep FIFOs hold many.
    """
    numbers = kept.numbers
    if numbers[PAUSE] > 0:
        numbers[PAUSE] -= 1
        return False
    shift = now - numbers[NOW]
    periods = record_periods(units, channels, servers, kept, shift, counts) if numbers[TAKEN] != NOTHING else 0
    if periods > 0 and numbers[TAKEN] == RECORDS:
        remember_all(units, channels, servers, words, kept, now, counts)
        numbers[PAUSE] = numbers[POWER] // SAMPLES_BEFORE_THINNING  # in step with the samples before and after
        return False
    if periods > 0 and words_recur(units, channels, servers, words, kept, shift, counts[DECISION]):
        possible = changing_periods(units, channels, words, kept, periods)
        if possible > 0:
            cycles = possible * (shift + counts[BASE] - numbers[BASE_THEN])
            jump(units, channels, servers, words, kept, cycles, possible, counts)
            forget(numbers)
            return True
    numbers[SAMPLES] += 1
    if numbers[SAMPLES] >= numbers[POWER]:
        if periods > 0:
            remember_all(units, channels, servers, words, kept, now, counts)
        else:
            remember_records(units, channels, servers, kept, now, counts)
        numbers[POWER] *= 2
        numbers[SAMPLES] = 0
    numbers[PAUSE] = numbers[POWER] // SAMPLES_BEFORE_THINNING
    return False


@kernel
def watch_rows(number: int, units: Records, channels: Records, servers: Records, words: Words, watch: Watch) -> bool:
    """Look for a state that recurs within a row, after a visit to the inner pacer; True after a jump."""
    unit = units[number]
    if unit.grows and watch.inner.units[number].segment_changes != unit.segment_changes:
        forget(watch.inner.numbers)  # a longer row has begun: only states of this row can recur
    return sample(units, channels, servers, words, watch.inner, unit.clock, watch.counts)


@kernel
def follow_mover(number: int, watch: Watch) -> None:
    """Note that another unit than the inner pacer has moved; it is the pacer now if that has rested for long."""
    pacers = watch.pacers
    pacers[RESTED] += 1
    if pacers[RESTED] > pacers[PATIENCE]:
        pacers[RESTED] = 0
        pacers[INNER_UNIT] = number
        forget(watch.inner.numbers)


@kernel
def watch_lap(units: Records, channels: Records, servers: Records, words: Words, watch: Watch) -> bool:
    """Look for a state that recurs from lap to lap, and let the outer pacer go on to the next; True after a jump.

    While it waits, all other units have run as far as they can: the state does not depend on the order of visits.
    """
    outer = units[watch.pacers[OUTER_UNIT]]
    jumped = sample(units, channels, servers, words, watch.outer, outer.clock, watch.counts)
    if jumped:
        forget(watch.inner.numbers)
    outer.waiting = 0
    outer.lap_at = outer.iteration + watch.pacers[LAP] * (1 + watch.outer.numbers[PAUSE])
    watch.outer.numbers[PAUSE] = 0
    return jumped


@inlined
def count_grant(number: int, units: Records, pacers: Words) -> None:
    """Note that a unit has been served; a look is due after one of the pacer."""
    pacers[GRANTS] += 1
    pacer = pacers[GRANTED_UNIT]
    if pacer < 0:
        return
    if units[pacer].done:
        follow_another(units, pacers)
    elif number == pacer and pacers[GRANTS] >= pacers[LEAST_GRANTS]:
        pacers[GRANTS] = 0
        pacers[DUE] = 1


@kernel
def follow_another(units: Records, pacers: Words) -> None:
    """The pacer is done: follow the unit that has the most firings left of those that use a server, else of all."""
    pacers[GRANTED_UNIT] = pacers[INNER_UNIT] = -1
    most_served, most = 0, 0
    for number in range(units.shape[0]):
        left = units[number].firings - units[number].fired
        if units[number].server >= 0 and left > most_served:
            pacers[GRANTED_UNIT], most_served = number, left
        if left > most:
            pacers[INNER_UNIT], most = number, left
    if pacers[GRANTED_UNIT] >= 0:
        pacers[INNER_UNIT] = -1


@kernel
def runs_changed(units: Records, kept: Reference) -> bool:
    """Whether any unit has begun another run of firings since the reference."""
    changes = 0
    for number in range(units.shape[0]):
        changes += units[number].segment_changes - kept.units[number].segment_changes
    return changes > 0


@kernel
def watch_grants(units: Records, channels: Records, servers: Records, words: Words, watch: Watch) -> None:
    """Look for a state that recurs, between two decisions of servers."""
    pacers = watch.pacers
    pacers[DUE] = 0
    pacer = units[pacers[GRANTED_UNIT]]
    if pacers[OUTER_UNIT] >= 0:
        watch_rows(pacers[GRANTED_UNIT], units, channels, servers, words, watch)
        return
    if watch.inner.numbers[TAKEN] != NOTHING and runs_changed(units, watch.inner):
        forget(watch.inner.numbers)
    jumped = sample(units, channels, servers, words, watch.inner, pacer.clock, watch.counts)
    if not jumped and sample(units, channels, servers, words, watch.outer, pacer.clock, watch.counts):
        forget(watch.inner.numbers)
