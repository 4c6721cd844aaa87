"""Per-bank command queues: entering, leaving, and which entries hit the open row.

An entry stands for neighbouring transactions of one segment.
"""

from __future__ import annotations

from simulator.servers.dram.bank_queues.layout import (
    B_COMMANDS,
    B_QUEUED,
    B_READ_HIT,
    B_WRITE_HIT,
    H_COMMANDS,
    H_MOVABLE_READS,
    H_MOVABLE_WRITES,
    H_QUEUED,
    Q_COUNT,
    Q_KEY,
    Q_SEGMENT,
    QUEUE_SLOTS,
)
from simulator.servers.dram.intake import append
from simulator.servers.dram.layout import (
    B_READY,
    B_ROW,
    B_WAIT_READ,
    B_WAIT_READ_END,
    B_WAIT_WRITE,
    B_WAIT_WRITE_END,
    H_LOWER,
    P_BANK_DEPTH,
    S_BANK,
    S_ROW,
    S_WRITE,
)
from simulator.servers.dram.segments import find_in_list, follow_read, forward_write, holds, merge_write
from simulator.servers.kernel import Words, as_variable, inlined, kernel


@inlined
def set_movable(p: Words, s: Words, bank: int) -> None:
    """Note whether waiting transactions of either direction could move to the bank's command queue."""
    bit = 1 << bank
    has_room = s[B_COMMANDS + bank] < p[P_BANK_DEPTH]
    if has_room and s[B_WAIT_READ + bank] >= 0:
        s[H_MOVABLE_READS] |= bit
    else:
        s[H_MOVABLE_READS] &= ~bit
    if has_room and s[B_WAIT_WRITE + bank] >= 0:
        s[H_MOVABLE_WRITES] |= bit
    else:
        s[H_MOVABLE_WRITES] &= ~bit


@inlined
def enter_waiting(p: Words, s: Words, record: int) -> None:
    """Queue up for the bank's command queue."""
    bank = s[record + S_BANK]
    if s[record + S_WRITE]:
        append(s, B_WAIT_WRITE + bank, B_WAIT_WRITE_END + bank, record)
    else:
        append(s, B_WAIT_READ + bank, B_WAIT_READ_END + bank, record)
    set_movable(p, s, bank)


@kernel
def find_pending(s: Words, bank: int, key: int, is_write: int) -> int:
    """Segment of the given direction with ``key`` in a queue, or -1."""
    record = find_in_list(s, s[(B_WAIT_WRITE if is_write else B_WAIT_READ) + bank], key)
    if record >= 0:
        return record
    for slot in range(s[B_QUEUED + bank]):
        record = s[Q_SEGMENT + bank * QUEUE_SLOTS + slot]
        if s[record + S_WRITE] == is_write and holds(s, record, key):
            return record
    return -1


@kernel
def absorb(
    p: Words, s: Words, out: Words, bank: int, key: int, is_write: int, request: int, window: int, clock: int
) -> bool:
    """Answer a transaction from the queues, without a command of its own, if they hold its address.

    A write replaces a buffered write; a read takes the data of a buffered write, or joins a queued read.
    """
    writer = find_pending(s, bank, key, as_variable(1))
    if is_write:
        if writer >= 0:
            merge_write(s, out, request, clock)
        return writer >= 0
    if writer >= 0:
        forward_write(s, out, request, window, clock, clock + 2)
        return True
    reader = find_pending(s, bank, key, as_variable(0))
    if reader >= 0:
        follow_read(s, reader, key, request, window, clock)
    return reader >= 0


@inlined
def wake(s: Words, bank: int) -> None:
    """Ask the bank at the next opportunity: what it waits for has changed."""
    s[B_READY + bank] = 0
    s[H_LOWER] = 0


@inlined
def row_changed(s: Words, bank: int) -> None:
    """Find the first read hit and the first write hit of the bank's command queue again."""
    s[B_READ_HIT + bank] = -1
    s[B_WRITE_HIT + bank] = -1
    wake(s, bank)
    row = s[B_ROW + bank]
    if row < 0:
        return
    base = Q_KEY + bank * QUEUE_SLOTS
    for slot in range(s[B_QUEUED + bank] - 1, -1, -1):
        key = s[base + slot]
        if key == 2 * row:
            s[B_READ_HIT + bank] = slot
        elif key == 2 * row + 1:
            s[B_WRITE_HIT + bank] = slot


@inlined
def leave_queue(p: Words, s: Words, bank: int, slot: int) -> None:
    """Take one transaction out of the bank's command queue."""
    base = bank * QUEUE_SLOTS
    s[Q_COUNT + base + slot] -= 1
    if s[Q_COUNT + base + slot] == 0:
        s[B_QUEUED + bank] -= 1
        if s[B_QUEUED + bank] == 0:
            s[H_QUEUED] &= ~(1 << bank)
        for at in range(base + slot, base + s[B_QUEUED + bank]):
            s[Q_KEY + at] = s[Q_KEY + at + 1]
            s[Q_SEGMENT + at] = s[Q_SEGMENT + at + 1]
            s[Q_COUNT + at] = s[Q_COUNT + at + 1]
        row_changed(s, bank)
    s[H_COMMANDS] -= 1
    s[B_COMMANDS + bank] -= 1
    if s[B_COMMANDS + bank] == p[P_BANK_DEPTH] - 1:
        set_movable(p, s, bank)


@inlined
def enter_queue(s: Words, bank: int, record: int) -> None:
    """Put one transaction of ``record`` behind the bank's command queue."""
    base = bank * QUEUE_SLOTS
    slots = s[B_QUEUED + bank]
    s[H_COMMANDS] += 1
    s[B_COMMANDS + bank] += 1
    if slots > 0 and s[Q_SEGMENT + base + slots - 1] == record:
        s[Q_COUNT + base + slots - 1] += 1
        return
    is_write = s[record + S_WRITE]
    s[Q_KEY + base + slots] = 2 * s[record + S_ROW] + is_write
    s[Q_SEGMENT + base + slots] = record
    s[Q_COUNT + base + slots] = 1
    s[B_QUEUED + bank] = slots + 1
    if slots == 0:
        s[H_QUEUED] |= 1 << bank
        wake(s, bank)
    if s[B_ROW + bank] == s[record + S_ROW]:
        first = B_WRITE_HIT + bank if is_write else B_READ_HIT + bank
        if s[first] < 0:
            s[first] = slots
            wake(s, bank)
