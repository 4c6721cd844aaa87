"""A fast lane for runs of reads.

While all there is to do is to read open rows, to pass transactions from one queue to the next, and to accept further
transactions of the run that the front end is working on, a clock changes a handful of counters. They are changed here
without asking what else could happen, up to the first clock, or part of a clock, in which something else can. The
outcome is the same as the ordinary way's, clock for clock.
"""

from __future__ import annotations

from simulator.servers.dram.bank_queues.layout import (
    B_COMMANDS,
    B_QUEUED,
    B_READ_HIT,
    H_COMMANDS,
    H_DRAINING,
    H_MOVABLE_READS,
    H_QUEUED,
    H_ROUND,
    HOPS,
    Q_COUNT,
    Q_SEGMENT,
    QUEUE_SLOTS,
)
from simulator.servers.dram.bank_queues.queues import enter_queue, enter_waiting, leave_queue
from simulator.servers.dram.intake import next_arrival
from simulator.servers.dram.layout import (
    B_HITS,
    B_READY,
    B_ROW,
    B_WAIT_READ,
    BUS_FREE,
    BUS_LAST_RANK,
    BUS_LAST_WRITE,
    FAR,
    FILTER,
    H_ACCEPT_CLOCK,
    H_ACCEPTED,
    H_FULL_AT,
    H_IN_FLIGHT,
    H_IN_HEAD,
    H_IN_SEGMENT,
    H_IN_TAIL,
    H_IN_TAKEN,
    H_LOWER,
    H_NOW,
    H_READS,
    H_REFRESH_COUNT,
    H_REFRESH_NEXT,
    H_TAKEN,
    H_TICKED,
    I_COUNT,
    I_KEY,
    I_STEP,
    I_WRITE,
    INPUT_WORDS,
    N_LAST_RETURN,
    N_READ_COMMANDS,
    N_READ_HITS,
    N_READS,
    N_SUM_ACCEPT,
    N_SUM_RETURN,
    N_WRITE_COMMANDS,
    N_WRITES,
    OFFSET,
    P_BANK_DEPTH,
    P_BURST,
    P_CLOSE_PAGE,
    P_EVEN_READS,
    P_OUTSTANDING,
    P_READ_DEPTH,
    P_READ_LATENCY,
    P_WIDTH,
    PENDING,
    S_ACCEPTED,
    S_FOLLOWERS,
    S_ISSUED,
    S_KEY,
    S_LAST_ACCEPT,
    S_LAST_RETURN,
    S_NEXT,
    S_STEP,
    S_WAITING,
)
from simulator.servers.dram.segments import account, age_of_head, head_of, serve
from simulator.servers.dram.timing import (
    access,
    lowest_bank,
    rank_of,
    read_at,
)
from simulator.servers.kernel import Words, inlined, kernel

MOST_CLOCKS = 1 << 20
"""Clocks after which a stretch ends where no last clock does, so that the caller gets to look in between."""
PATIENCE = 6
"""Bursts to wait before looking for whole rounds of reads again."""


@inlined
def stream_reads(p: Words, s: Words, inp: Words, mask: int, out: Words, end: int) -> None:
    """Run the channel as long as it only reads open rows and accepts transactions of one run."""
    head = (s[H_IN_HEAD] & mask) * INPUT_WORDS
    clock = s[H_NOW]
    if s[H_IN_HEAD] == s[H_IN_TAIL] or inp[head + I_COUNT] - s[H_IN_TAKEN] < 2 or clock <= s[H_TICKED]:
        return
    if inp[head + I_WRITE] or not _only_reads(p, s) or next_arrival(p, s, inp, mask) > clock:
        return
    joining, width, depth = s[H_IN_SEGMENT], p[P_WIDTH], p[P_READ_DEPTH]
    # the last transaction of a run ends its segment: that is left to the ordinary way
    left = inp[head + I_COUNT] - s[H_IN_TAKEN] - 1 if joining >= 0 else 0
    step = inp[head + I_STEP]
    key = inp[head + I_KEY] + s[H_IN_TAKEN] * step
    reads = s[H_READS]
    horizon = min(s[H_REFRESH_NEXT], clock + MOST_CLOCKS if end < 0 else end + 1)
    due, bank, hits, soon = _next_read(p, s, clock, 0, 0)
    before, retry = left, 0
    while clock < horizon:
        if due <= clock:
            if bank < 0:
                break
            if hits and clock >= retry and reads == depth and s[H_MOVABLE_READS] == 0:
                rounds, taken = _take_rounds(p, s, hits, clock, min(horizon, soon), joining, key, step, left)
                if rounds > 0:
                    key += taken * step
                    left -= taken
                    due, bank, hits, soon = _next_read(p, s, s[H_TICKED] + 1, hits, soon)
                    clock = max(s[H_TICKED] + 1, due)
                    continue
                retry = clock + PATIENCE * p[P_BURST]
            if _serve(p, s, out, bank, clock):
                hits = 0
            due, bank, hits, soon = _next_read(p, s, clock + 1, hits, soon)
        s[H_TICKED] = clock
        if s[H_MOVABLE_READS]:
            reads -= 1
            if _move(p, s):
                due, bank, hits, soon = _next_read(p, s, clock + 1, 0, 0)
        room = depth - reads
        taken = min(room, width)
        if taken > left or not _reserve(s, key, step, taken):
            break
        if taken:
            _accept(p, s, joining, taken, clock)
            key += taken * step
            left -= taken
            reads += taken
        s[H_ACCEPT_CLOCK] = clock
        s[H_ACCEPTED] = taken
        if room < width:
            s[H_FULL_AT] = clock
        clock = clock + 1 if s[H_MOVABLE_READS] or room > width else max(clock + 1, due)
    taken = before - left
    s[H_READS] = reads
    s[H_IN_FLIGHT] += taken
    s[H_IN_TAKEN] += taken
    s[H_TAKEN] += taken
    s[N_READS] += taken
    s[H_LOWER] = min(due, s[H_REFRESH_NEXT])
    s[H_NOW] = min(clock, s[H_REFRESH_NEXT])


@inlined
def _only_reads(p: Words, s: Words) -> bool:
    """Whether there are no writes, no refreshes and no further conditions to think of."""
    if s[N_WRITES] != s[N_WRITE_COMMANDS] or s[H_DRAINING] or s[H_REFRESH_COUNT]:
        return False
    return p[P_OUTSTANDING] == 0 and p[P_CLOSE_PAGE] == 0


@inlined
def _next_read(p: Words, s: Words, start: int, hits: int, soon: int) -> tuple[int, int, int, int]:
    """Clock, from ``start`` on, and bank of the next command; bank -1 if it may be anything but a queue's front.

    Parameters
    ----------
    hits, soon : int
        Mask of the banks that can read as soon as the data bus is free, and the clock until which no other bank can
        have a command; hits 0 when that is not known.

    Returns
    -------
    tuple of int
        Clock, bank, hits and soon. Hits are known where reads may follow each other at an even distance.
    """
    if hits:
        clock = max(start, s[BUS_FREE])
        if clock < soon:
            in_turn = hits & ~((2 << s[H_ROUND]) - 1)
            return clock, lowest_bank(in_turn if in_turn else hits), hits, soon
    before = (2 << s[H_ROUND]) - 1
    even = max(start, s[BUS_FREE]) if p[P_EVEN_READS] else -1
    clock, chosen, hits, soon = FAR, -1, 0, FAR
    for half in range(2):
        banks = s[H_QUEUED] & (before if half else ~before)
        while banks:
            bank = lowest_bank(banks)
            banks &= banks - 1
            if s[B_READ_HIT + bank] == 0 and s[B_ROW + bank] >= 0:
                ready = max(start, read_at(s, bank))
                if ready < clock:
                    clock, chosen = ready, bank
                if ready <= even:
                    hits |= 1 << bank
                else:
                    soon = min(soon, ready)
            else:
                soon = min(soon, s[B_READY + bank])
                if s[B_READY + bank] <= clock:
                    clock, chosen = s[B_READY + bank], -1
    return clock, chosen, hits, soon


@inlined
def _serve(p: Words, s: Words, out: Words, bank: int, clock: int) -> bool:
    """Read for the front of the bank's queue; whether the bank has a new next command."""
    record = s[Q_SEGMENT + bank * QUEUE_SLOTS] & OFFSET
    account(p, s, record, clock, read_at(s, bank), HOPS)
    s[N_READ_COMMANDS] += 1
    s[N_READ_HITS] += s[B_HITS + bank] > 0
    access(p, s, bank, 0, clock)
    serve(p, s, out, record, clock)
    s[H_LOWER] = 1
    leave_queue(p, s, bank, 0)
    s[H_ROUND] = bank
    return s[H_LOWER] == 0


@inlined
def _move(p: Words, s: Words) -> bool:
    """Move the oldest transaction whose bank has room to it; whether the bank has a new next command."""
    banks = s[H_MOVABLE_READS]
    bank = lowest_bank(banks)
    if banks & (banks - 1):
        oldest = FAR
        while banks:
            other = lowest_bank(banks)
            banks &= banks - 1
            age = age_of_head(s, B_WAIT_READ, other)
            if age < oldest:
                oldest, bank = age, other
    record = head_of(s, B_WAIT_READ, bank)
    s[H_LOWER] = 1
    enter_queue(s, bank, record)
    s[record + S_WAITING] -= 1
    if s[record + S_WAITING] == 0:
        s[B_WAIT_READ + bank] = s[record + S_NEXT]
    if s[B_COMMANDS + bank] == p[P_BANK_DEPTH] or s[B_WAIT_READ + bank] < 0:
        s[H_MOVABLE_READS] &= ~(1 << bank)
    return s[H_LOWER] == 0


@inlined
def _reserve(s: Words, key: int, step: int, count: int) -> bool:
    """Enter transactions into the filter of pending ones, unless one of their cells is taken."""
    for index in range(count):
        if s[PENDING + ((key + index * step) & (FILTER - 1))]:
            return False
    for index in range(count):
        s[PENDING + ((key + index * step) & (FILTER - 1))] += 1
    return True


@inlined
def _accept(p: Words, s: Words, record: int, count: int, clock: int) -> None:
    """Accept further transactions of the run that the front end is working on."""
    s[record + S_ACCEPTED] += count
    s[record + S_LAST_ACCEPT] = clock
    s[N_SUM_ACCEPT] += count * clock
    s[record + S_WAITING] += count
    if s[record + S_WAITING] == count:
        enter_waiting(p, s, record)


@inlined
def _take_rounds(
    p: Words, s: Words, hits: int, clock: int, horizon: int, joining: int, key: int, step: int, left: int
) -> tuple[int, int]:
    """Take several rounds of reads at once, as many as nothing else can interfere with; (rounds, accepted)."""
    rounds, refilled = _whole_rounds(p, s, hits, clock, horizon)
    taken = 0
    if refilled:
        rounds, taken = _join_rounds(s, joining, key, step, left, rounds, refilled)
    if rounds > 0:
        _read_in_turn(p, s, hits, rounds, joining, clock)
    return rounds, taken


@inlined
def _whole_rounds(p: Words, s: Words, hits: int, clock: int, horizon: int) -> tuple[int, int]:
    """Rounds in which the banks of ``hits`` can read in turn from ``clock`` on, and banks refilled in each.

    In a round every bank reads once. A bank that has waiting transactions moves one in, which makes room for one more
    transaction of the run; the others use up their queues. Nothing else happens before ``horizon``.
    """
    banks, refilled, rounds = 0, 0, FAR
    left = hits
    while left:
        bank = lowest_bank(left)
        left &= left - 1
        first = bank * QUEUE_SLOTS
        last = first + s[B_QUEUED + bank] - 1
        waiting = s[B_WAIT_READ + bank]
        banks += 1
        if waiting >= 0:
            refilled += 1
            rounds = min(rounds, s[(waiting & OFFSET) + S_WAITING] - 1)
        if waiting < 0 or last > first:
            rounds = min(rounds, s[Q_COUNT + first] - 1)
        shared = s[(s[Q_SEGMENT + first] & OFFSET) + S_FOLLOWERS] >= 0
        if shared or (waiting >= 0 and s[Q_SEGMENT + last] != waiting):
            rounds = 0
    spacing = p[P_EVEN_READS]
    if s[BUS_FREE] != clock:
        return 0, refilled
    return min(rounds, (horizon - clock + spacing - 1) // (spacing * banks)), refilled


@inlined
def _join_rounds(s: Words, joining: int, key: int, step: int, left: int, rounds: int, refilled: int) -> tuple[int, int]:
    """Let transactions of the run follow those moved in, for all ``rounds`` that it can; (rounds, transactions)."""
    if joining < 0 or s[(joining & OFFSET) + S_WAITING] == 0:
        return 0, 0
    rounds = min(rounds, left // refilled)
    free = 0
    while free < rounds * refilled and s[PENDING + ((key + free * step) & (FILTER - 1))] == 0:
        free += 1
    rounds = free // refilled
    for index in range(rounds * refilled):
        s[PENDING + ((key + index * step) & (FILTER - 1))] += 1
    s[(joining & OFFSET) + S_ACCEPTED] += rounds * refilled
    s[(joining & OFFSET) + S_WAITING] += rounds * refilled
    return rounds, rounds * refilled


@kernel
def _read_in_turn(p: Words, s: Words, hits: int, rounds: int, joining: int, clock: int) -> None:
    """Let the banks of ``hits`` read in turn for some rounds, and refill those that have waiting transactions."""
    spacing = p[P_EVEN_READS]
    period = 0
    left = hits
    while left:
        left &= left - 1
        period += spacing
    # sum of the clocks of a bank's reads, less those of its first read in every round
    delays = period * (rounds * (rounds - 1) // 2)
    first, last = clock, clock
    before = (2 << s[H_ROUND]) - 1
    for half in range(2):
        turn = hits & (before if half else ~before)
        while turn:
            bank = lowest_bank(turn)
            turn &= turn - 1
            last = first + (rounds - 1) * period
            _read_repeatedly(p, s, bank, rounds, rounds * first + delays, last)
            waiting = s[B_WAIT_READ + bank]
            s[H_ACCEPTED] = 0
            if waiting >= 0:
                s[(waiting & OFFSET) + S_WAITING] -= rounds
                s[Q_COUNT + bank * QUEUE_SLOTS + s[B_QUEUED + bank] - 1] += rounds
                s[N_SUM_ACCEPT] += rounds * first + delays
                s[(joining & OFFSET) + S_LAST_ACCEPT] = last
                s[H_ACCEPTED] = 1
            else:
                s[H_COMMANDS] -= rounds
                s[B_COMMANDS + bank] -= rounds
            s[H_ROUND] = bank
            s[BUS_LAST_RANK] = rank_of(s, bank)
            first += spacing
    s[BUS_LAST_WRITE] = 0
    s[BUS_FREE] = last + spacing
    s[H_TICKED] = last
    s[H_ACCEPT_CLOCK] = last
    s[H_FULL_AT] = last


@inlined
def _read_repeatedly(p: Words, s: Words, bank: int, times: int, clocks: int, last: int) -> None:
    """Read several times for the front of the bank's queue, the last time at ``last``; ``clocks`` is their sum."""
    front = bank * QUEUE_SLOTS
    record = s[Q_SEGMENT + front] & OFFSET
    s[N_READ_HITS] += times - (s[B_HITS + bank] == 0)
    access(p, s, bank, 0, last)
    s[B_HITS + bank] += times - 1
    s[B_READY + bank] = 0
    s[Q_COUNT + front] -= times
    issued, step = s[record + S_ISSUED], s[record + S_STEP]
    key = s[record + S_KEY] + issued * step
    for index in range(times):
        s[PENDING + ((key + index * step) & (FILTER - 1))] -= 1
    s[record + S_ISSUED] = issued + times
    done = last + p[P_READ_LATENCY]
    s[record + S_LAST_RETURN] = done
    s[N_LAST_RETURN] = max(s[N_LAST_RETURN], done)
    s[N_SUM_RETURN] += clocks + times * p[P_READ_LATENCY]
    s[H_IN_FLIGHT] -= times
    s[N_READ_COMMANDS] += times
