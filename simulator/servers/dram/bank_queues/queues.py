"""Per-bank command queues of the ``dramsim3`` policy: entering, leaving, and which entries hit the open row.

An entry stands for neighbouring transactions of one segment.
"""

from __future__ import annotations

from simulator.firing import IntArray
from simulator.servers.dram.intake import set_movable
from simulator.servers.dram.layout import (
    B_COMMANDS,
    B_QUEUED,
    B_READ_HIT,
    B_READY,
    B_ROW,
    B_WRITE_HIT,
    H_COMMANDS,
    H_LOWER,
    H_QUEUED,
    P_BANK_DEPTH,
    Q_COUNT,
    Q_KEY,
    Q_SEGMENT,
    QUEUE_SLOTS,
    S_ROW,
    S_WRITE,
)
from simulator.servers.kernel import inlined


@inlined
def wake(s: IntArray, bank: int) -> None:
    """Ask the bank at the next opportunity: what it waits for has changed."""
    s[B_READY + bank] = 0
    s[H_LOWER] = 0


@inlined
def row_changed(s: IntArray, bank: int) -> None:
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
def leave_queue(p: IntArray, s: IntArray, bank: int, slot: int) -> None:
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
def enter_queue(s: IntArray, bank: int, record: int) -> None:
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
