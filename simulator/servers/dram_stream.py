"""A fast lane of the ``dramsim3`` policy for long runs of reads.

When the shared queue is full and banks are reading open rows, every access makes room for a transaction of the same
run, which makes room for the next one of the run that the front end is working on. Such a clock changes a handful of
counters; they are changed here without asking what else could happen, up to the first clock at which something else
can. The outcome is the same as the ordinary way's, clock for clock.
"""

from __future__ import annotations

from simulator.firing import IntArray
from simulator.servers.dram_layout import (
    B_HITS,
    B_QUEUED,
    B_READ_HIT,
    B_READY,
    B_ROW,
    B_WAIT_READ,
    FILTER,
    H_ACCEPT_CLOCK,
    H_ACCEPTED,
    H_FULL_AT,
    H_IN_HEAD,
    H_IN_SEGMENT,
    H_IN_TAKEN,
    H_LOWER,
    H_MOVABLE_READS,
    H_NOW,
    H_QUEUED,
    H_READS,
    H_REFRESH_COUNT,
    H_REFRESH_NEXT,
    H_ROUND,
    H_TAKEN,
    H_TICKED,
    I_COUNT,
    I_KEY,
    I_STEP,
    INPUT_WORDS,
    N_LAST_RETURN,
    N_READ_COMMANDS,
    N_READ_HITS,
    N_READS,
    N_SUM_ACCEPT,
    N_SUM_RETURN,
    N_WRITES,
    P_CLOSE_PAGE,
    P_OUTSTANDING,
    P_READ_DEPTH,
    P_READ_LATENCY,
    PENDING,
    Q_COUNT,
    Q_SEGMENT,
    QUEUE_SLOTS,
    S_ACCEPTED,
    S_FOLLOWERS,
    S_ISSUED,
    S_KEY,
    S_LAST_ACCEPT,
    S_LAST_RETURN,
    S_STEP,
    S_WAITING,
)
from simulator.servers.dram_segments import account
from simulator.servers.dram_timing import access, read_at
from simulator.servers.kernel import inlined, lowest_bit


@inlined
def stream_reads(p: IntArray, s: IntArray, inp: IntArray, mask: int, end: int) -> None:
    """Serve reads of open rows as long as each is replaced by the next transaction of its own run."""
    joining = s[H_IN_SEGMENT]
    if joining < 0 or s[joining + S_WAITING] == 0 or s[H_READS] != p[P_READ_DEPTH] or s[H_MOVABLE_READS]:
        return
    if s[N_WRITES] or s[H_REFRESH_COUNT] or p[P_OUTSTANDING] or p[P_CLOSE_PAGE]:
        return
    head = (s[H_IN_HEAD] & mask) * INPUT_WORDS
    step = inp[head + I_STEP]
    next_key = inp[head + I_KEY] + s[H_IN_TAKEN] * step
    # the last transaction of a run ends its segment: that is left to the ordinary way
    count = inp[head + I_COUNT] - s[H_IN_TAKEN] - 1
    horizon = s[H_REFRESH_NEXT] if end < 0 else min(s[H_REFRESH_NEXT], end + 1)
    served = 0
    while served < count:
        # a channel that is resumed looks again at the clock it ran to, whose command slot is used
        clock, bank = _next_read(s, max(s[H_NOW], s[H_TICKED] + 1), horizon)
        cell = PENDING + (next_key & (FILTER - 1))
        if bank < 0 or s[cell] or not _is_replaced(s, bank):
            break
        s[cell] += 1
        next_key += step
        _replace(p, s, bank, clock)
        s[joining + S_ACCEPTED] += 1
        s[joining + S_WAITING] += 1
        s[joining + S_LAST_ACCEPT] = clock
        s[N_SUM_ACCEPT] += clock
        s[H_TICKED] = clock
        served += 1
    if served:
        s[H_IN_TAKEN] += served
        s[H_TAKEN] += served
        s[N_READS] += served
        s[N_READ_COMMANDS] += served
        s[H_ACCEPT_CLOCK] = s[H_TICKED]
        s[H_ACCEPTED] = 1
        s[H_FULL_AT] = s[H_TICKED]
        s[H_NOW] = s[H_TICKED] + 1
        s[H_LOWER] = 0


@inlined
def _next_read(s: IntArray, start: int, horizon: int) -> tuple[int, int]:
    """Clock, from ``start`` on, and bank of the next command; bank -1 if it may be anything but a queue's front."""
    before = (2 << s[H_ROUND]) - 1
    clock, chosen = horizon, -1
    for half in range(2):
        banks = s[H_QUEUED] & (before if half else ~before)
        while banks:
            bank = lowest_bit(banks)
            banks &= banks - 1
            if s[B_READ_HIT + bank] == 0 and s[B_ROW + bank] >= 0:
                ready = max(start, read_at(s, bank))
                if ready < clock:
                    clock, chosen = ready, bank
            elif s[B_READY + bank] <= clock:
                clock, chosen = s[B_READY + bank], -1
    return clock, chosen


@inlined
def _is_replaced(s: IntArray, bank: int) -> bool:
    """Whether the front of the bank's queue, once served, is replaced without any list changing its shape.

    The transaction that moves in must come from the run at the end of the queue, and neither that run's list of
    waiting transactions nor the front entry may run empty.
    """
    waiting = s[B_WAIT_READ + bank]
    if waiting < 0 or s[waiting + S_WAITING] < 2:
        return False
    base = bank * QUEUE_SLOTS
    last = s[B_QUEUED + bank] - 1
    if s[Q_SEGMENT + base + last] != waiting or (last > 0 and s[Q_COUNT + base] < 2):
        return False
    return s[s[Q_SEGMENT + base] + S_FOLLOWERS] < 0


@inlined
def _replace(p: IntArray, s: IntArray, bank: int, clock: int) -> None:
    """Serve the front of the bank's queue and move in a transaction at its end."""
    base = bank * QUEUE_SLOTS
    record = s[Q_SEGMENT + base]
    account(p, s, record, clock, clock)
    s[N_READ_HITS] += s[B_HITS + bank] > 0
    access(p, s, bank, 0, clock)
    issued = s[record + S_ISSUED]
    s[PENDING + ((s[record + S_KEY] + issued * s[record + S_STEP]) & (FILTER - 1))] -= 1
    s[record + S_ISSUED] = issued + 1
    done = clock + p[P_READ_LATENCY]
    s[record + S_LAST_RETURN] = done
    s[N_SUM_RETURN] += done
    s[N_LAST_RETURN] = max(s[N_LAST_RETURN], done)
    s[Q_COUNT + base] -= 1
    s[Q_COUNT + base + s[B_QUEUED + bank] - 1] += 1
    s[s[B_WAIT_READ + bank] + S_WAITING] -= 1
    s[B_READY + bank] = 0
    s[H_ROUND] = bank
