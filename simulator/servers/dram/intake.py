"""Acceptance of transactions from a channel's input ring into its queues.

A controller hands its own part to `accept`, as functions that are compiled into it (all the way they are handed on is
``inlined``: a function that is still a value at run time keeps its caller out of Numba's cache):

- ``enter(p, s, record)`` queues a segment up that had no waiting transactions;
- ``absorb(p, s, out, bank, key, is_write, request, window, clock)`` says whether the queues answer a transaction
  without a command of its own, and does so; ``full_absorbs`` says whether full queues do.
"""

from __future__ import annotations

from typing import Any

from simulator.servers.dram.layout import (
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
    H_NOW,
    H_READS,
    H_SEQUENCE,
    H_SLICE_END,
    H_TAKEN,
    H_TICKED,
    H_WRITES,
    I_ARRIVAL,
    I_BANK,
    I_COUNT,
    I_KEY,
    I_REQUEST,
    I_ROW,
    I_STEP,
    I_WRITE,
    INPUT_WORDS,
    N_LAST_WRITE,
    N_READ_COMMANDS,
    N_READS,
    N_SUM_ACCEPT,
    N_VISITS,
    N_WRITE_COMMANDS,
    N_WRITES,
    P_OUTSTANDING,
    P_READ_DEPTH,
    P_WIDTH,
    P_WRITE_DEPTH,
    PENDING,
    RETURNS,
    S_ACCEPTED,
    S_AGE,
    S_BANK,
    S_FIRST_ACCEPT,
    S_KEY,
    S_LAST_ACCEPT,
    S_NEXT,
    S_REQUEST,
    S_ROW,
    S_STEP,
    S_WAITING,
    S_WINDOW,
    S_WRITE,
    UNTIL_RETURNED,
    WINDOW,
)
from simulator.servers.dram.segments import close_segment, take_record
from simulator.servers.kernel import Kernel, Words, inlined


@inlined
def append(s: Words, first: int, last: int, record: int) -> None:
    """Append a segment to the list whose ends are stored at ``first`` and ``last``."""
    s[record + S_NEXT] = -1
    if s[first] < 0:
        s[first] = record
    else:
        s[s[last] + S_NEXT] = record
    s[last] = record


@inlined
def next_arrival(p: Words, s: Words, inp: Words, mask: int) -> int:
    """Clock from which the transaction at the head of the input ring may be accepted (FAR when there is none yet).

    That is when it arrives and the source has one of its transactions in flight back.
    """
    if s[H_IN_HEAD] == s[H_IN_TAIL]:
        return FAR
    arrival = inp[(s[H_IN_HEAD] & mask) * INPUT_WORDS + I_ARRIVAL]
    limit = p[P_OUTSTANDING]
    if limit == 0 or s[H_TAKEN] < limit:
        return arrival
    return max(arrival, s[RETURNS + ((s[H_TAKEN] - limit) & (WINDOW - 1))])


@inlined
def goes_on(s: Words, end: int) -> bool:
    """Whether a channel that is to run to ``end`` (a clock, UNTIL_ACCEPTED or UNTIL_RETURNED) has more to do now.

    Without a last clock a run may be long, or endless where commands starve: it ends with its slice, too.
    """
    if end >= 0:
        return s[H_NOW] <= end
    if s[N_VISITS] + s[N_READ_COMMANDS] + s[N_WRITE_COMMANDS] >= s[H_SLICE_END]:
        return False
    if s[H_IN_HEAD] != s[H_IN_TAIL]:
        return True
    return end == UNTIL_RETURNED and s[H_IN_FLIGHT] > 0


@inlined
def notice_offers(p: Words, s: Words, inp: Words, mask: int) -> None:
    """Look at the channel earlier than planned if something was offered since it ran last.

    That may be in the very clock it ran to, whose command slots are used but which can still accept.
    """
    s[H_NOW] = min(s[H_NOW], max(next_arrival(p, s, inp, mask), s[H_TICKED]))


@inlined
def next_acceptance(p: Words, s: Words, inp: Words, mask: int, clock: int) -> int:
    """Clock behind ``clock`` at which the front end can go on (FAR when it waits for an event of the queues)."""
    arrival = next_arrival(p, s, inp, mask)
    if arrival > clock:
        return arrival
    is_write = inp[(s[H_IN_HEAD] & mask) * INPUT_WORDS + I_WRITE]
    return clock + 1 if room(p, s, is_write) > 0 else FAR


@inlined
def accept(
    p: Words,
    s: Words,
    inp: Words,
    mask: int,
    out: Words,
    clock: int,
    enter: Kernel[..., Any],
    absorb: Kernel[..., Any],
    full_absorbs: bool,
) -> None:
    """Accept what the queues have room for at ``clock``, in order, up to the front end's width."""
    if s[H_ACCEPT_CLOCK] != clock:
        s[H_ACCEPT_CLOCK] = clock
        s[H_ACCEPTED] = 0
    while s[H_ACCEPTED] < p[P_WIDTH] and next_arrival(p, s, inp, mask) <= clock:
        at = (s[H_IN_HEAD] & mask) * INPUT_WORDS
        taken = _accept_some(p, s, inp, at, out, clock, enter, absorb, full_absorbs)
        if taken == 0:
            break
        s[H_ACCEPTED] += taken
        s[H_TAKEN] += taken
        s[H_IN_TAKEN] += taken
        if s[H_IN_TAKEN] == inp[at + I_COUNT]:
            s[H_IN_HEAD] += 1
            s[H_IN_TAKEN] = 0
            _end_segment(s, out)


@inlined
def room(p: Words, s: Words, is_write: int) -> int:
    """Free places in the queue that takes new transactions."""
    return p[P_WRITE_DEPTH] - s[H_WRITES] if is_write else p[P_READ_DEPTH] - s[H_READS]


@inlined
def _end_segment(s: Words, out: Words) -> None:
    record = s[H_IN_SEGMENT]
    s[H_IN_SEGMENT] = -1
    if record >= 0:
        close_segment(s, out, record)


@inlined
def _accept_some(
    p: Words,
    s: Words,
    inp: Words,
    at: int,
    out: Words,
    clock: int,
    enter: Kernel[..., Any],
    absorb: Kernel[..., Any],
    full_absorbs: bool,
) -> int:
    """Accept transactions of the input record at ``at``; return how many (0 when the next one has to wait)."""
    is_write = inp[at + I_WRITE]
    free = room(p, s, is_write)
    if free <= 0 and not full_absorbs:
        s[H_FULL_AT] = clock
        return 0
    step = inp[at + I_STEP]
    key = inp[at + I_KEY] + s[H_IN_TAKEN] * step
    if s[PENDING + (key & (FILTER - 1))] and _accept_absorbed(p, s, inp, at, out, key, clock, absorb):
        return 1
    if free <= 0:
        s[H_FULL_AT] = clock
        return 0
    count = min(min(free, p[P_WIDTH] - s[H_ACCEPTED]), inp[at + I_COUNT] - s[H_IN_TAKEN])
    if p[P_OUTSTANDING]:
        # the window may close behind each transaction
        count = 1
        s[RETURNS + (s[H_TAKEN] & (WINDOW - 1))] = clock + 1 if is_write else FAR
    s[PENDING + (key & (FILTER - 1))] += 1
    for index in range(1, count):
        cell = PENDING + ((key + index * step) & (FILTER - 1))
        if s[cell]:
            count = index
            break
        s[cell] += 1
    record = s[H_IN_SEGMENT]
    if record < 0:
        record = _start_segment(s, inp, at, key, clock)
    s[record + S_ACCEPTED] += count
    s[record + S_LAST_ACCEPT] = clock
    _count(s, is_write, count, clock)
    if is_write:
        s[H_WRITES] += count
    else:
        s[H_READS] += count
        s[H_IN_FLIGHT] += count
    s[record + S_WAITING] += count
    if s[record + S_WAITING] == count:
        enter(p, s, record)
    return count


@inlined
def _accept_absorbed(
    p: Words, s: Words, inp: Words, at: int, out: Words, key: int, clock: int, absorb: Kernel[..., Any]
) -> bool:
    """Let the queues answer the transaction if they hold its address; the segment under way ends before it."""
    is_write = inp[at + I_WRITE]
    window = s[H_TAKEN]
    if not absorb(p, s, out, inp[at + I_BANK], key, is_write, inp[at + I_REQUEST], window, clock):
        return False
    _end_segment(s, out)
    _count(s, is_write, 1, clock)
    if is_write:
        s[RETURNS + (window & (WINDOW - 1))] = clock + 1
    return True


@inlined
def _count(s: Words, is_write: int, count: int, clock: int) -> None:
    if is_write:
        s[N_WRITES] += count
        s[N_LAST_WRITE] = clock
    else:
        s[N_READS] += count
        s[N_SUM_ACCEPT] += count * clock


@inlined
def _start_segment(s: Words, inp: Words, at: int, key: int, clock: int) -> int:
    record = take_record(s)
    s[record + S_BANK] = inp[at + I_BANK]
    s[record + S_ROW] = inp[at + I_ROW]
    s[record + S_WRITE] = inp[at + I_WRITE]
    s[record + S_KEY] = key
    s[record + S_STEP] = inp[at + I_STEP]
    s[record + S_REQUEST] = inp[at + I_REQUEST]
    s[record + S_FIRST_ACCEPT] = clock
    s[record + S_WINDOW] = s[H_TAKEN]
    s[record + S_AGE] = s[H_SEQUENCE]
    s[H_SEQUENCE] += 1
    s[H_IN_SEGMENT] = record
    return record
