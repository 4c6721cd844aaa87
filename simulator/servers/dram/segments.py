"""Requests inside a DRAM channel: acceptance, hazards, completion, and where the data bus lost its time.

A *segment* is a run of transactions of one request in one row, all reads or all writes. Its transactions pass through
every queue in order, so one record with a few counters stands for all of them.
"""

from __future__ import annotations

from simulator.servers.dram.layout import (
    B_OPENED,
    B_OPENED_WHY,
    BUS_FREE,
    BUS_LAST_RANK,
    BUS_LAST_WRITE,
    FAR,
    FILTER,
    FREE_LIST,
    H_FREE_TOP,
    H_FULL_AT,
    H_IN_FLIGHT,
    H_IN_SEGMENT,
    L_QUEUE,
    L_REFRESH,
    L_ROW,
    L_SOURCE,
    L_SPACING,
    L_TURNAROUND,
    LOSS,
    MAX_BANKS,
    N_FORWARDED,
    N_LAST_RETURN,
    N_MERGED,
    N_SUM_RETURN,
    O_ACCEPT,
    O_DONE,
    O_LAST_ACCEPT,
    O_LEFT,
    OFFSET,
    OUTPUT_WORDS,
    P_ACT_TO_READ,
    P_ACT_TO_WRITE,
    P_BURST,
    P_BUSES,
    P_OUTSTANDING,
    P_READ_LATENCY,
    PENDING,
    R_REFRESHED,
    RETURNS,
    S_ACCEPTED,
    S_AGE,
    S_BANK,
    S_FIRST_ACCEPT,
    S_FOLLOWERS,
    S_ISSUED,
    S_KEY,
    S_LAST_ACCEPT,
    S_LAST_RETURN,
    S_NEXT,
    S_PROMOTED,
    S_REQUEST,
    S_STEP,
    S_TOUCHED,
    S_WAITING,
    S_WINDOW,
    S_WRITE,
    SEGMENT,
    SEGMENT_WORDS,
    SEGMENTS,
    WINDOW,
)
from simulator.servers.dram.timing import rank_of
from simulator.servers.kernel import Words, inlined, kernel


@kernel
def empty_pool(s: Words) -> None:
    """Mark all segment records as free."""
    for slot in range(SEGMENTS):
        s[FREE_LIST + slot] = SEGMENT + SEGMENT_WORDS * (SEGMENTS - 1 - slot)
    s[H_FREE_TOP] = SEGMENTS
    s[H_IN_SEGMENT] = -1


@inlined
def head_of(s: Words, heads: int, bank: int) -> int:
    """First segment of a bank's list, one of those whose ends are stored from ``heads`` on; it must not be empty."""
    return s[heads + bank] & OFFSET


@inlined
def age_of_head(s: Words, heads: int, bank: int) -> int:
    """Age of the first segment of a bank's list; the smaller, the longer it has waited."""
    return s[head_of(s, heads, bank) + S_AGE]


@inlined
def take_record(s: Words) -> int:
    """Offset of a free segment record."""
    s[H_FREE_TOP] -= 1
    record = s[FREE_LIST + s[H_FREE_TOP]] & OFFSET
    s[record + S_ACCEPTED] = 0
    s[record + S_ISSUED] = 0
    s[record + S_WAITING] = 0
    s[record + S_NEXT] = -1
    s[record + S_FOLLOWERS] = -1
    s[record + S_TOUCHED] = 0
    s[record + S_PROMOTED] = 0
    return record


@inlined
def give_back(s: Words, record: int) -> None:
    """Free a segment record."""
    s[FREE_LIST + s[H_FREE_TOP]] = record
    s[H_FREE_TOP] += 1


@inlined
def complete(out: Words, request: int, first: int, last: int, done: int, transactions: int) -> None:
    """Enter ``transactions`` finished transactions of ``request``, accepted from clock ``first`` to ``last``."""
    at = request * OUTPUT_WORDS
    out[at + O_ACCEPT] = min(out[at + O_ACCEPT], first)
    out[at + O_LAST_ACCEPT] = max(out[at + O_LAST_ACCEPT], last)
    out[at + O_DONE] = max(out[at + O_DONE], done)
    out[at + O_LEFT] -= transactions


@inlined
def close_segment(s: Words, out: Words, record: int) -> None:
    """End of a segment's acceptance: writes are posted and done with it, reads may all have been issued already."""
    if s[record + S_WRITE]:
        last = s[record + S_LAST_ACCEPT]
        complete(out, s[record + S_REQUEST], s[record + S_FIRST_ACCEPT], last, last + 1, s[record + S_ACCEPTED])
    if s[record + S_ISSUED] == s[record + S_ACCEPTED]:
        finish_segment(s, out, record)


@inlined
def finish_segment(s: Words, out: Words, record: int) -> None:
    """Report a segment whose transactions have all been issued, and free its record."""
    if not s[record + S_WRITE]:
        complete(
            out,
            s[record + S_REQUEST],
            s[record + S_FIRST_ACCEPT],
            s[record + S_LAST_ACCEPT],
            s[record + S_LAST_RETURN],
            s[record + S_ACCEPTED],
        )
    give_back(s, record)


@inlined
def serve(p: Words, s: Words, out: Words, record: int, clock: int) -> None:
    """The column command of a segment's next transaction issues at ``clock``."""
    issued = s[record + S_ISSUED]
    key = s[record + S_KEY] + issued * s[record + S_STEP]
    s[PENDING + (key & (FILTER - 1))] -= 1
    s[record + S_ISSUED] = issued + 1
    if not s[record + S_WRITE]:
        s[H_IN_FLIGHT] -= 1
        done = clock + p[P_READ_LATENCY]
        s[record + S_LAST_RETURN] = done
        s[N_SUM_RETURN] += done
        s[N_LAST_RETURN] = max(s[N_LAST_RETURN], done)
        if p[P_OUTSTANDING]:
            s[RETURNS + ((s[record + S_WINDOW] + issued) & (WINDOW - 1))] = done
        if s[record + S_FOLLOWERS] >= 0:
            _serve_followers(s, out, record, key, done)
    if s[record + S_ISSUED] == s[record + S_ACCEPTED] and s[H_IN_SEGMENT] != record:
        finish_segment(s, out, record)


@kernel
def _serve_followers(s: Words, out: Words, record: int, key: int, done: int) -> None:
    """Return the data also to reads of the same address that came later."""
    before, follower = -1, s[record + S_FOLLOWERS]
    while follower >= 0:
        after = s[follower + S_NEXT]
        if s[follower + S_KEY] == key:
            s[N_SUM_RETURN] += done
            s[RETURNS + (s[follower + S_WINDOW] & (WINDOW - 1))] = done
            accepted = s[follower + S_FIRST_ACCEPT]
            complete(out, s[follower + S_REQUEST], accepted, accepted, done, 1)
            if before < 0:
                s[record + S_FOLLOWERS] = after
            else:
                s[before + S_NEXT] = after
            give_back(s, follower)
        else:
            before = follower
        follower = after


@inlined
def holds(s: Words, record: int, key: int) -> bool:
    """Whether ``key`` is among the accepted, not yet issued transactions of a segment."""
    for index in range(s[record + S_ISSUED] + s[record + S_PROMOTED], s[record + S_ACCEPTED]):
        if s[record + S_KEY] + index * s[record + S_STEP] == key:
            return True
    return False


@kernel
def find_in_list(s: Words, first: int, key: int) -> int:
    """Segment with ``key`` in the list that starts at ``first``, or -1."""
    record = first
    while record >= 0:
        if holds(s, record, key):
            return record
        record = s[record + S_NEXT]
    return -1


@inlined
def merge_write(s: Words, out: Words, request: int, clock: int) -> None:
    """Let a write replace a buffered write of the same address."""
    s[N_MERGED] += 1
    complete(out, request, clock, clock, clock + 1, 1)


@inlined
def forward_write(s: Words, out: Words, request: int, window: int, clock: int, done: int) -> None:
    """Answer a read accepted at ``clock`` with the data of a buffered write, which is there at ``done``."""
    s[N_FORWARDED] += 1
    s[N_SUM_RETURN] += done
    s[RETURNS + (window & (WINDOW - 1))] = done
    s[N_LAST_RETURN] = max(s[N_LAST_RETURN], done)
    complete(out, request, clock, clock, done, 1)


@inlined
def follow_read(s: Words, reader: int, key: int, request: int, window: int, clock: int) -> None:
    """Let a read join the queued read of the same address in the segment ``reader``."""
    follower = take_record(s)
    s[follower + S_KEY] = key
    s[follower + S_REQUEST] = request
    s[follower + S_FIRST_ACCEPT] = clock
    s[follower + S_WINDOW] = window
    s[follower + S_NEXT] = s[reader + S_FOLLOWERS]
    s[reader + S_FOLLOWERS] = follower
    s[RETURNS + (window & (WINDOW - 1))] = FAR
    s[N_MERGED] += 1


@inlined
def opening_cause(s: Words, bank: int, clock: int, bank_gate: int, group_gate: int, window_gate: int) -> int:
    """Cause that kept the activation of ``bank`` from coming before ``clock``."""
    if s[R_REFRESHED + rank_of(s, bank)] == clock:
        return L_REFRESH
    if window_gate == clock:
        return 4
    if bank_gate == clock:
        return L_ROW
    if group_gate == clock:
        return L_SPACING
    return L_QUEUE


@inlined
def account(p: Words, s: Words, record: int, clock: int, column_gate: int, hops: int) -> None:
    """Give every bus clock between the last burst and the one issued at ``clock`` a cause.

    The gap is cut at the moments that the transaction had to wait for: its acceptance (before it: the source, or full
    queues), the activation of its row (the cause noted there), the row's opening time, and last the column gates.

    Parameters
    ----------
    column_gate : int
        Earliest clock of the column command as far as column commands before it decide.
    hops : int
        Clocks from the front end to the command bus: one per queue of the controller.
    """
    bank, is_write = s[record + S_BANK] & (MAX_BANKS - 1), s[record + S_WRITE]
    rank = rank_of(s, bank)
    bus = rank if p[P_BUSES] > 1 else 0
    free = s[BUS_FREE + bus]
    if clock > free:
        at = free
        last = s[record + S_ISSUED] + 1 == s[record + S_ACCEPTED]
        accepted = min(clock, hops + (s[record + S_LAST_ACCEPT] if last else s[record + S_FIRST_ACCEPT]))
        if accepted > at:
            s[LOSS + (L_QUEUE if s[H_FULL_AT] >= at else L_SOURCE)] += accepted - at
            at = accepted
        opened = min(clock, s[B_OPENED + bank])
        if opened > at:
            s[LOSS + s[B_OPENED_WHY + bank]] += opened - at
            at = opened
        usable = min(clock, s[B_OPENED + bank] + (p[P_ACT_TO_WRITE] if is_write else p[P_ACT_TO_READ]))
        if usable > at:
            s[LOSS + L_ROW] += usable - at
            at = usable
        if clock > at:
            cause = L_QUEUE
            if column_gate == clock:
                same = s[BUS_LAST_WRITE + bus] == is_write and s[BUS_LAST_RANK + bus] == rank
                cause = L_SPACING if same else L_TURNAROUND
            s[LOSS + cause] += clock - at
    s[BUS_FREE + bus] = max(clock, free) + p[P_BURST]
    s[BUS_LAST_WRITE + bus] = is_write
    s[BUS_LAST_RANK + bus] = rank
