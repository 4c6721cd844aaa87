"""Waiting segments of the pool: per bank and direction the hits of the open row, and the rest.

Both lists are in order of age. Opening a row picks its hits out of the waiting list, closing it merges them back.
"""

from __future__ import annotations

from simulator.servers.dram.intake import append
from simulator.servers.dram.layout import (
    B_READY,
    B_ROW,
    B_WAIT_READ,
    B_WAIT_READ_END,
    B_WAIT_WRITE,
    B_WAIT_WRITE_END,
    H_LOWER,
    H_READS,
    H_WRITES,
    N_LAST_RETURN,
    S_AGE,
    S_BANK,
    S_NEXT,
    S_ROW,
    S_TOUCHED,
    S_WAITING,
    S_WRITE,
)
from simulator.servers.dram.pool.layout import (
    B_HIT_READ,
    B_HIT_READ_END,
    B_HIT_WRITE,
    B_HIT_WRITE_END,
    M_POOL_READ,
    M_POOL_WRITE,
    MASK_BANKS,
)
from simulator.servers.dram.segments import find_in_list, forward_write, merge_write
from simulator.servers.kernel import Words, inlined, kernel


@inlined
def enter_pool(p: Words, s: Words, record: int) -> None:
    """Join the hits or the misses of the bank.

    The bank need not be asked again when an older segment of the same list waits already.
    """
    bank = s[record + S_BANK]
    hit = s[B_ROW + bank] == s[record + S_ROW]
    if s[record + S_WRITE]:
        mask = M_POOL_WRITE + bank // MASK_BANKS
        first, last = (B_HIT_WRITE, B_HIT_WRITE_END) if hit else (B_WAIT_WRITE, B_WAIT_WRITE_END)
    else:
        mask = M_POOL_READ + bank // MASK_BANKS
        first, last = (B_HIT_READ, B_HIT_READ_END) if hit else (B_WAIT_READ, B_WAIT_READ_END)
    s[mask] |= 1 << (bank % MASK_BANKS)
    if s[first + bank] < 0:
        s[B_READY + bank] = 0
        s[H_LOWER] = 0
    append(s, first + bank, last + bank, record)


@kernel
def _find_pending(s: Words, bank: int, key: int) -> int:
    """Segment of buffered writes with ``key``, or -1."""
    record = find_in_list(s, s[B_WAIT_WRITE + bank], key)
    return record if record >= 0 else find_in_list(s, s[B_HIT_WRITE + bank], key)


@kernel
def absorb(
    p: Words, s: Words, out: Words, bank: int, key: int, is_write: int, request: int, window: int, clock: int
) -> bool:
    """Answer a transaction from the write buffer, without a command of its own, if that holds its address.

    The return queue is a FIFO: data found in the write buffer waits for reads under way.
    """
    if _find_pending(s, bank, key) < 0:
        return False
    if is_write:
        merge_write(s, out, request, clock)
    else:
        forward_write(s, out, request, window, clock, max(clock + 1, s[N_LAST_RETURN]))
    return True


@kernel
def _merge(s: Words, hits: int, rest: int, rest_end: int) -> None:
    """Merge the list at ``hits`` into the list at ``rest``."""
    left, right = s[hits], s[rest]
    if left < 0:
        return
    s[hits] = -1
    s[rest] = -1
    while left >= 0 or right >= 0:
        if right < 0 or (left >= 0 and s[left + S_AGE] < s[right + S_AGE]):
            record = left
            left = s[left + S_NEXT]
        else:
            record = right
            right = s[right + S_NEXT]
        append(s, rest, rest_end, record)


@kernel
def _pick(s: Words, row: int, hits: int, hits_end: int, rest: int, rest_end: int) -> None:
    """Move the segments of ``row`` from the list at ``rest`` to the empty list at ``hits``."""
    record = s[rest]
    s[rest] = -1
    while record >= 0:
        after = s[record + S_NEXT]
        if s[record + S_ROW] == row:
            append(s, hits, hits_end, record)
        else:
            append(s, rest, rest_end, record)
        record = after


@inlined
def row_opened(s: Words, bank: int) -> None:
    """The bank has a row open now: its waiting segments become hits."""
    row = s[B_ROW + bank]
    _pick(s, row, B_HIT_READ + bank, B_HIT_READ_END + bank, B_WAIT_READ + bank, B_WAIT_READ_END + bank)
    _pick(s, row, B_HIT_WRITE + bank, B_HIT_WRITE_END + bank, B_WAIT_WRITE + bank, B_WAIT_WRITE_END + bank)
    wake(s, bank)


@inlined
def row_closed(s: Words, bank: int) -> None:
    """The bank is closed now: nothing is a hit."""
    _merge(s, B_HIT_READ + bank, B_WAIT_READ + bank, B_WAIT_READ_END + bank)
    _merge(s, B_HIT_WRITE + bank, B_WAIT_WRITE + bank, B_WAIT_WRITE_END + bank)
    wake(s, bank)


@inlined
def wake(s: Words, bank: int) -> None:
    """Ask the bank at the next opportunity: what it waits for has changed."""
    s[B_READY + bank] = 0
    s[H_LOWER] = 0


@inlined
def take_waiting(s: Words, record: int, is_hit: bool) -> None:
    """Take one transaction out of the segment at the head of a list; an empty segment leaves the list."""
    bank, is_write = s[record + S_BANK], s[record + S_WRITE]
    if is_write:
        s[H_WRITES] -= 1
        first = B_HIT_WRITE if is_hit else B_WAIT_WRITE
    else:
        s[H_READS] -= 1
        first = B_HIT_READ if is_hit else B_WAIT_READ
    s[record + S_TOUCHED] = 0
    s[record + S_WAITING] -= 1
    if s[record + S_WAITING]:
        return
    s[first + bank] = s[record + S_NEXT]
    wake(s, bank)
    hits, rest = (B_HIT_WRITE, B_WAIT_WRITE) if is_write else (B_HIT_READ, B_WAIT_READ)
    if s[hits + bank] < 0 and s[rest + bank] < 0:
        mask = (M_POOL_WRITE if is_write else M_POOL_READ) + bank // MASK_BANKS
        s[mask] &= ~(1 << (bank % MASK_BANKS))
