"""Queue policy ``dramsim3``: transactions wait in shared queues, then in one command queue per bank.

Every clock at most one command issues (two of different kind with a dual command bus), banks being asked in turn, and
one transaction moves from the shared queues to its bank. Rows stay open for pending hits; an older conflict may close
a row after a number of hits. Writes are buffered and drained when the buffer is full, or when it holds several and no
command is queued. Refresh takes precedence and holds back the banks of its rank only.

The rules are those of DRAMsim3 (umd-memsys/DRAMsim3, 2021); clocks at which nothing can happen are skipped.
"""

from __future__ import annotations

from simulator.servers.dram.bank_queues.layout import (
    B_QUEUED,
    B_READ_HIT,
    B_WRITE_HIT,
    H_COMMANDS,
    H_DRAINING,
    H_MOVABLE_READS,
    H_MOVABLE_WRITES,
    H_QUEUED,
    H_ROUND,
    HOPS,
    Q_COUNT,
    Q_KEY,
    Q_SEGMENT,
    QUEUE_SLOTS,
)
from simulator.servers.dram.bank_queues.queues import (
    absorb,
    enter_queue,
    enter_waiting,
    find_pending,
    leave_queue,
    row_changed,
    set_movable,
    wake,
)
from simulator.servers.dram.bank_queues.stream import stream_reads
from simulator.servers.dram.intake import accept, goes_on, next_acceptance, notice_offers
from simulator.servers.dram.layout import (
    B_ACT,
    B_HITS,
    B_OPENED_WHY,
    B_READY,
    B_ROW,
    B_WAIT_READ,
    B_WAIT_WRITE,
    FAR,
    FILTER,
    G_ACT,
    H_LOWER,
    H_NOW,
    H_READS,
    H_REFRESH_COUNT,
    H_REFRESH_NEXT,
    H_TICKED,
    H_WRITES,
    INPUT_WORDS,
    N_DUAL,
    N_READ_COMMANDS,
    N_READ_HITS,
    N_VISITS,
    N_WRITE_COMMANDS,
    N_WRITE_HITS,
    OFFSET,
    P_BANKS,
    P_DRAIN_HIGH,
    P_DRAIN_LOW,
    P_DUAL_BUS,
    P_FAW,
    P_HIT_CAP,
    P_REFRESH_MODE,
    PENDING,
    R_FAW,
    R_FAW_AT,
    REFRESH_PER_BANK,
    S_BANK,
    S_ISSUED,
    S_KEY,
    S_NEXT,
    S_STEP,
    S_WAITING,
    S_WRITE,
)
from simulator.servers.dram.refresh import refresh_done, refresh_due, refresh_target
from simulator.servers.dram.segments import account, age_of_head, head_of, opening_cause, serve
from simulator.servers.dram.timing import (
    access,
    activate,
    activate_at,
    bank_refresh_at,
    group_of,
    lowest_bank,
    precharge,
    precharge_at,
    rank_of,
    read_at,
    refresh,
    refresh_at,
    refresh_bank,
    write_at,
)
from simulator.servers.kernel import Words, as_variable, inlined, kernel

_NOTHING, _ROW_COMMAND, _COLUMN_COMMAND = 0, 1, 2


@kernel
def reset(p: Words, s: Words) -> None:
    """Bring the controller's own words of a channel that is 0 everywhere to clock 0."""
    for bank in range(p[P_BANKS]):
        s[B_READ_HIT + bank] = -1
        s[B_WRITE_HIT + bank] = -1


@kernel
def advance(p: Words, s: Words, inp: Words, out: Words, end: int) -> None:
    """Run the channel through clock ``end``; see `simulator.servers.dram.controllers.QueuePolicy`."""
    mask = inp.shape[0] // INPUT_WORDS - 1
    notice_offers(p, s, inp, mask)
    while goes_on(s, end):
        stream_reads(p, s, inp, mask, out, end)
        clock = s[H_NOW]
        s[N_VISITS] += 1
        if clock > s[H_TICKED]:
            s[H_TICKED] = clock
            if clock >= s[H_LOWER]:
                s[H_LOWER] = _use_command_slots(p, s, out, clock)
            _move_one(p, s)
        accept(p, s, inp, mask, out, clock, enter_waiting, absorb, False)
        if _may_move(p, s):
            s[H_NOW] = clock + 1
        else:
            s[H_NOW] = max(clock + 1, min(s[H_LOWER], next_acceptance(p, s, inp, mask, clock)))


@inlined
def _use_command_slots(p: Words, s: Words, out: Words, clock: int) -> int:
    """Issue what the command buses can take at ``clock``; return a lower bound on the next command's clock."""
    refresh_due(p, s, clock)
    kind, lower = _NOTHING, s[H_REFRESH_NEXT]
    if s[H_REFRESH_COUNT]:
        kind, refresh_lower = _try_refresh(p, s, clock)
        lower = min(lower, refresh_lower)
    return min(lower, _issue_in_turn(p, s, out, clock, kind))


@kernel
def _try_refresh(p: Words, s: Words, clock: int) -> tuple[int, int]:
    """Take the oldest due refresh one command further: close a bank of its rank, or refresh."""
    first, end = refresh_target(p, s)
    lower, open_banks = FAR, 0
    for bank in range(first, end):
        if s[B_ROW + bank] >= 0:
            open_banks += 1
            ready = precharge_at(s, bank)
            if ready <= clock:
                precharge(p, s, bank, clock)
                row_changed(s, bank)
                return _ROW_COMMAND, clock + 1
            lower = min(lower, ready)
    if open_banks:
        return _NOTHING, lower
    per_bank = p[P_REFRESH_MODE] == REFRESH_PER_BANK
    ready = bank_refresh_at(s, first) if per_bank else refresh_at(s, rank_of(s, first))
    if ready > clock:
        return _NOTHING, ready
    if per_bank:
        refresh_bank(p, s, first, clock)
    else:
        refresh(p, s, rank_of(s, first), clock)
    refresh_done(p, s)
    for bank in range(first, end):
        wake(s, bank)
    return _ROW_COMMAND, clock + 1


@inlined
def _issue_in_turn(p: Words, s: Words, out: Words, clock: int, taken: int) -> int:
    """Ask the banks in turn and issue the first ready command; with a dual command bus, a second one of another kind.

    A second command of the same kind is dropped, but the turn passes on to its bank. Every bank that could be ready
    is asked, so that the returned lower bound on the next command's clock holds.

    Parameters
    ----------
    taken : int
        Kind of the command that a refresh has issued in this clock already.
    """
    held_first, held_end = refresh_target(p, s)
    slots = 2 if p[P_DUAL_BUS] else 1
    used = 1 if taken != _NOTHING else 0
    lower = FAR
    before = (2 << s[H_ROUND]) - 1
    for half in range(2):
        banks = s[H_QUEUED] & (before if half else ~before)
        while banks:
            bank = lowest_bank(banks)
            banks &= banks - 1
            ready = s[B_READY + bank]
            if ready <= clock and not held_first <= bank < held_end:
                ready, slot = _first_ready(p, s, bank, clock)
                if ready <= clock and used < slots:
                    kind = _COLUMN_COMMAND if slot >= 0 else _ROW_COMMAND
                    s[H_ROUND] = bank
                    used += 1
                    if kind != taken:
                        _issue(p, s, out, bank, slot, clock)
                        s[N_DUAL] += used - 1
                        taken = kind
                    ready, _ = _first_ready(p, s, bank, clock)
                ready = max(ready, clock + 1)
                s[B_READY + bank] = ready
            lower = min(lower, ready)
    return lower


@inlined
def _first_ready(p: Words, s: Words, bank: int, clock: int) -> tuple[int, int]:
    """Clock of the bank's next command (a lower bound if it is later than ``clock``) and its queue slot, or -1.

    Slot -1 stands for a row command: an activation if the bank is closed, else a precharge.
    """
    if s[B_QUEUED + bank] == 0:
        return FAR, -1
    if s[B_ROW + bank] < 0:
        return activate_at(p, s, bank), -1
    read_hit, write_hit = s[B_READ_HIT + bank], s[B_WRITE_HIT + bank]
    best = FAR
    if read_hit != 0 and write_hit != 0 and ((read_hit < 0 and write_hit < 0) or s[B_HITS + bank] >= p[P_HIT_CAP]):
        best = precharge_at(s, bank)
        if best <= clock:
            return best, -1
    if read_hit >= 0 and (write_hit < 0 or read_hit < write_hit):
        ready = read_at(s, bank)
        if ready <= clock:
            return ready, read_hit
        best = min(best, ready)
    if write_hit >= 0:
        ready = write_at(s, bank)
        if ready <= clock:
            return ready, write_hit
        best = min(best, ready)
    if read_hit >= 0 and write_hit >= 0 and write_hit < read_hit:
        ready = read_at(s, bank)
        if ready <= clock:
            return ready, read_hit
        best = min(best, ready)
    return best, -2


@inlined
def _issue(p: Words, s: Words, out: Words, bank: int, slot: int, clock: int) -> None:
    base = bank * QUEUE_SLOTS
    if slot < 0:
        if s[B_ROW + bank] >= 0:
            precharge(p, s, bank, clock)
        else:
            rank = rank_of(s, bank)
            window_gate = s[R_FAW + 4 * rank + (s[R_FAW_AT + rank] & 3)] + p[P_FAW]
            group_gate = s[G_ACT + group_of(s, bank)]
            s[B_OPENED_WHY + bank] = opening_cause(s, bank, clock, s[B_ACT + bank], group_gate, window_gate)
            activate(p, s, bank, s[Q_KEY + base] >> 1, clock)
        row_changed(s, bank)
        return
    record = s[Q_SEGMENT + base + slot] & OFFSET
    is_write = s[record + S_WRITE]
    hit = s[B_HITS + bank] > 0
    if is_write:
        account(p, s, record, clock, write_at(s, bank), HOPS)
        s[N_WRITE_COMMANDS] += 1
        s[N_WRITE_HITS] += hit
    else:
        account(p, s, record, clock, read_at(s, bank), HOPS)
        s[N_READ_COMMANDS] += 1
        s[N_READ_HITS] += hit
    access(p, s, bank, is_write, clock)
    serve(p, s, out, record, clock)
    leave_queue(p, s, bank, slot)


@inlined
def _drain_starts(p: Words, s: Words) -> bool:
    """Whether buffered writes become urgent: the buffer is full, or holds several and no command is queued."""
    if s[H_DRAINING]:
        return False
    return s[H_WRITES] >= p[P_DRAIN_HIGH] or (s[H_WRITES] > p[P_DRAIN_LOW] and s[H_COMMANDS] == 0)


@inlined
def _may_move(p: Words, s: Words) -> bool:
    """Whether a transaction could move to its bank at the next clock."""
    if s[H_DRAINING] or _drain_starts(p, s):
        return s[H_MOVABLE_WRITES] != 0
    return s[H_MOVABLE_READS] != 0


@inlined
def _oldest_waiting(s: Words, banks: int, heads: int) -> int:
    """Bank of the oldest transaction at the heads of the lists of ``banks``."""
    oldest, bank = FAR, 0
    while banks:
        other = lowest_bank(banks)
        banks &= banks - 1
        age = age_of_head(s, heads, other)
        if age < oldest:
            oldest, bank = age, other
    return bank


@inlined
def _move_one(p: Words, s: Words) -> None:
    """Move the oldest transaction whose bank has room from the shared queue to the bank.

    A write waits for an earlier read of its address. When no command is queued that read is still in the shared queue,
    and goes first; DRAMsim3, which begins to drain anew at the next clock, would then wait for ever.
    """
    if _drain_starts(p, s):
        s[H_DRAINING] = s[H_WRITES]
    draining = s[H_DRAINING] > 0
    banks = s[H_MOVABLE_WRITES] if draining else s[H_MOVABLE_READS]
    if banks == 0:
        return
    bank = _oldest_waiting(s, banks, B_WAIT_WRITE if draining else B_WAIT_READ)
    if draining and _read_before(p, s, head_of(s, B_WAIT_WRITE, bank)):
        s[H_DRAINING] = 0
        if s[H_COMMANDS] or s[H_MOVABLE_READS] == 0:
            return
        draining = False
        bank = _oldest_waiting(s, s[H_MOVABLE_READS], B_WAIT_READ)
    heads = B_WAIT_WRITE if draining else B_WAIT_READ
    record = head_of(s, heads, bank)
    if draining:
        s[H_DRAINING] -= 1
        s[H_WRITES] -= 1
    else:
        s[H_READS] -= 1
    enter_queue(s, bank, record)
    s[record + S_WAITING] -= 1
    if s[record + S_WAITING] == 0:
        s[heads + bank] = s[record + S_NEXT]
    set_movable(p, s, bank)


@kernel
def _read_before(p: Words, s: Words, record: int) -> bool:
    """Whether a read of the address of the write at the head of ``record`` is still under way."""
    in_queue = s[record + S_ISSUED]
    bank = s[record + S_BANK]
    for slot in range(s[B_QUEUED + bank]):
        if s[Q_SEGMENT + bank * QUEUE_SLOTS + slot] == record:
            in_queue += s[Q_COUNT + bank * QUEUE_SLOTS + slot]
    key = s[record + S_KEY] + in_queue * s[record + S_STEP]
    return s[PENDING + (key & (FILTER - 1))] > 1 and find_pending(s, bank, key, as_variable(0)) >= 0
