"""Commands of the pool: when a bank's next one may issue, and what issuing it does to the pool."""

from __future__ import annotations

from simulator.servers.dram.layout import (
    B_ACT,
    B_OPENED_WHY,
    B_READY,
    B_ROW,
    B_WAIT_READ,
    B_WAIT_WRITE,
    FAR,
    G_ACT,
    H_SEQUENCE,
    N_CONFLICTS,
    N_MISSES,
    N_READ_COMMANDS,
    N_READ_HITS,
    N_WRITE_COMMANDS,
    N_WRITE_HITS,
    P_ACT2_DEADLINE,
    P_CLOCK_EXPIRY_READ,
    P_CLOCK_EXPIRY_WRITE,
    P_CLOSE_PAGE,
    P_FAW,
    P_HALF_CLOCK,
    P_PROTECT_HITS,
    P_REFRESH_MODE,
    P_SPLIT_ACTIVATE,
    R_FAW,
    R_FAW_AT,
    REFRESH_PER_BANK,
    S_FIRST_ACCEPT,
    S_PROMOTED,
    S_ROW,
    S_TOUCHED,
    S_WRITE,
)
from simulator.servers.dram.pool.layout import (
    B_ACTIVE,
    B_ACTIVE_ARRIVAL,
    B_ACTIVE_ORDER,
    B_HIT_READ,
    B_HIT_WRITE,
    H_ACT2_BANK,
    H_ACT2_DEADLINE,
    H_EDGE_BANK,
    H_EDGE_CLOCK,
    H_EDGE_RANK,
    H_FORCED_BANK,
    H_FORCED_KIND,
    H_FORCED_WRITE,
    H_STROBE_EXPIRY,
    HOPS,
    M_ACTIVE,
    M_WORDS,
    MASK_BANKS,
    R_ACTIVE,
)
from simulator.servers.dram.pool.lists import row_closed, row_opened, take_waiting
from simulator.servers.dram.refresh import refresh_done, refresh_target
from simulator.servers.dram.segments import account, opening_cause, serve
from simulator.servers.dram.timing import (
    access,
    activate,
    activate_at,
    bank_refresh_at,
    group_of,
    lowest_bank,
    precharge,
    precharge_all,
    precharge_all_at,
    precharge_at,
    rank_of,
    read_at,
    refresh,
    refresh_at,
    refresh_bank,
    write_at,
)
from simulator.servers.kernel import Words, as_variable, inlined, kernel

ROW_COMMAND, SERVE_HIT, SERVE_OWNER = 0, 1, 2
"""Orders to `issue`: the row command of the oldest miss, an access for the oldest hit, or for the row's owner."""


@inlined
def _on_edge(p: Words, ready: int, clock: int) -> int:
    """First clock from ``ready`` on, seen from ``clock``, at which commands other than precharges may go out.

    With half clocks those are the odd ones, the rising edges.
    """
    return max(ready, clock) | 1 if p[P_HALF_CLOCK] else ready


@inlined
def column_time(p: Words, s: Words, bank: int, is_write: int, clock: int) -> int:
    """Earliest clock of an access to the open row of ``bank``."""
    if bank == s[H_ACT2_BANK]:
        return FAR
    return _on_edge(p, write_at(s, bank) if is_write else read_at(s, bank), clock)


@inlined
def hit_time(p: Words, s: Words, bank: int, is_write: int, clock: int) -> int:
    """Earliest clock of an access to the open row of ``bank`` by a request that does not own it.

    An access that closes the row would take it from its owner, which nobody may do.
    """
    if p[P_CLOSE_PAGE] and s[B_ACTIVE + bank] >= 0:
        return FAR
    return column_time(p, s, bank, is_write, clock)


@inlined
def row_time(p: Words, s: Words, bank: int, is_write: int, clock: int) -> int:
    """Earliest clock of the row command that the oldest miss of ``bank`` needs; FAR while it must not have it."""
    if s[B_ROW + bank] < 0:
        if s[H_ACT2_BANK] >= 0:
            return FAR
        return _on_edge(p, activate_at(p, s, bank), clock)
    if s[B_ACTIVE + bank] >= 0:
        return FAR
    if p[P_PROTECT_HITS]:
        hit = s[(B_HIT_WRITE if is_write else B_HIT_READ) + bank]
        miss = s[(B_WAIT_WRITE if is_write else B_WAIT_READ) + bank]
        if hit >= 0 and s[hit + S_FIRST_ACCEPT] <= s[miss + S_FIRST_ACCEPT]:
            return FAR
    ready = precharge_at(s, bank)
    if ready <= clock and _edge_taken(p, s, rank_of(s, bank), bank, clock):
        return clock + 1
    return ready


@inlined
def _edge_taken(p: Words, s: Words, rank: int, bank: int, clock: int) -> bool:
    """Whether a precharge on this falling edge clashes with the row command of the rising edge before it.

    It may go to another pseudo-channel, or to another bank unless the command concerned all banks. ``bank`` -1 stands
    for a precharge of all banks.
    """
    if p[P_HALF_CLOCK] == 0 or clock & 1 or clock != s[H_EDGE_CLOCK] or rank != s[H_EDGE_RANK]:
        return False
    return bank < 0 or s[H_EDGE_BANK] < 0 or s[H_EDGE_BANK] == bank


@inlined
def _note_edge(p: Words, s: Words, rank: int, bank: int, clocks: int, clock: int) -> None:
    """Remember a row command of a rising edge until the falling edge it is paired with."""
    if p[P_HALF_CLOCK] and clock & 1:
        s[H_EDGE_RANK] = rank
        s[H_EDGE_BANK] = bank
        s[H_EDGE_CLOCK] = clock + clocks


@inlined
def serve_owner(p: Words, s: Words, out: Words, clock: int) -> bool:
    """Serve the oldest request that owns a row and whose access is ready; False when there is none."""
    chosen, arrival, order = -1, FAR, FAR
    for word in range(M_WORDS):
        banks = s[M_ACTIVE + word]
        while banks:
            bank = lowest_bank(banks) + MASK_BANKS * word
            banks &= banks - 1
            if column_time(p, s, bank, s[s[B_ACTIVE + bank] + S_WRITE], clock) > clock:
                continue
            since, turn = s[B_ACTIVE_ARRIVAL + bank], s[B_ACTIVE_ORDER + bank]
            if since < arrival or (since == arrival and turn < order):
                chosen, arrival, order = bank, since, turn
    if chosen < 0:
        return False
    issue(p, s, out, chosen, as_variable(SERVE_OWNER), s[s[B_ACTIVE + chosen] + S_WRITE], clock)
    return True


@kernel
def issue(p: Words, s: Words, out: Words, bank: int, kind: int, is_write: int, clock: int) -> None:
    """Issue a command to ``bank`` on behalf of the requests of one direction.

    Parameters
    ----------
    kind : int
        ROW_COMMAND, SERVE_HIT or SERVE_OWNER.
    """
    if kind == ROW_COMMAND:
        miss = s[(B_WAIT_WRITE if is_write else B_WAIT_READ) + bank]
        _touch(s, miss, bank)
        if s[B_ROW + bank] < 0:
            _open(p, s, miss, bank, clock)
        else:
            precharge(p, s, bank, clock)
            _note_edge(p, s, rank_of(s, bank), bank, 1, clock)
            row_closed(s, bank)
        return
    if p[P_SPLIT_ACTIVATE] and _strobe_starts(p, s, bank, kind, is_write, clock):
        return
    if kind == SERVE_OWNER:
        record = s[B_ACTIVE + bank]
        s[B_ACTIVE + bank] = -1
        s[M_ACTIVE + bank // MASK_BANKS] &= ~(1 << (bank % MASK_BANKS))
        s[R_ACTIVE + rank_of(s, bank)] -= 1
        s[record + S_PROMOTED] = 0
        s[B_READY + bank] = 0
    else:
        record = s[(B_HIT_WRITE if is_write else B_HIT_READ) + bank]
        _touch(s, record, bank)
        take_waiting(s, record, True)
    account(p, s, record, clock, write_at(s, bank) if is_write else read_at(s, bank), HOPS)
    if is_write:
        s[N_WRITE_COMMANDS] += 1
    else:
        s[N_READ_COMMANDS] += 1
    access(p, s, bank, is_write, clock)
    if p[P_CLOSE_PAGE]:
        row_closed(s, bank)
    serve(p, s, out, record, clock)


@inlined
def _touch(s: Words, record: int, bank: int) -> None:
    """Count the request as hit, miss or conflict when its first command issues."""
    if s[record + S_TOUCHED]:
        return
    s[record + S_TOUCHED] = 1
    row = s[B_ROW + bank]
    if row == s[record + S_ROW]:
        s[N_WRITE_HITS if s[record + S_WRITE] else N_READ_HITS] += 1
    elif row >= 0:
        s[N_CONFLICTS] += 1
    else:
        s[N_MISSES] += 1


@inlined
def _open(p: Words, s: Words, record: int, bank: int, clock: int) -> None:
    """Open the row of ``record``, whose next transaction owns it from now on."""
    rank = rank_of(s, bank)
    window_gate = s[R_FAW + 4 * rank + s[R_FAW_AT + rank]] + p[P_FAW]
    group_gate = s[G_ACT + group_of(s, bank)]
    s[B_OPENED_WHY + bank] = opening_cause(s, bank, clock, s[B_ACT + bank], group_gate, window_gate)
    take_waiting(s, record, False)
    s[record + S_PROMOTED] = 1
    s[B_ACTIVE + bank] = record
    s[B_ACTIVE_ARRIVAL + bank] = s[record + S_FIRST_ACCEPT]
    s[R_ACTIVE + rank] += 1
    activate(p, s, bank, s[record + S_ROW], clock)
    _note_edge(p, s, rank, bank, 3, clock)
    if p[P_SPLIT_ACTIVATE]:
        s[H_ACT2_BANK] = bank
        s[H_ACT2_DEADLINE] = clock + p[P_ACT2_DEADLINE]
    else:
        s[M_ACTIVE + bank // MASK_BANKS] |= 1 << (bank % MASK_BANKS)
        s[B_ACTIVE_ORDER + bank] = s[H_SEQUENCE]
        s[H_SEQUENCE] += 1
    row_opened(s, bank)


@inlined
def _strobe_starts(p: Words, s: Words, bank: int, kind: int, is_write: int, clock: int) -> bool:
    """Start the data strobe if it has run out; the access that needs it is the next clock's command.

    An activation whose second half would be late takes precedence: it goes out instead.
    """
    forced = s[H_FORCED_BANK] >= 0
    if not forced and clock >= s[H_STROBE_EXPIRY]:
        if s[H_ACT2_BANK] >= 0 and s[H_ACT2_DEADLINE] <= clock + 1:
            return True
        s[H_FORCED_BANK] = bank
        s[H_FORCED_KIND] = kind
        s[H_FORCED_WRITE] = is_write
        return True
    expiry = clock + p[P_CLOCK_EXPIRY_WRITE if is_write else P_CLOCK_EXPIRY_READ]
    s[H_STROBE_EXPIRY] = max(s[H_STROBE_EXPIRY], expiry)
    return False


@kernel
def refresh_step(p: Words, s: Words, clock: int) -> bool:
    """Take the oldest due refresh one command further: close its banks, or refresh; False when it has to wait."""
    if refresh_time(p, s, clock) > clock:
        return False
    first, end = refresh_target(p, s)
    rank = rank_of(s, first)
    one_bank = p[P_REFRESH_MODE] == REFRESH_PER_BANK
    if _any_open(s, first, end):
        if one_bank:
            precharge(p, s, first, clock)
        else:
            precharge_all(p, s, rank, clock)
        _note_edge(p, s, rank, first if one_bank else -1, 1, clock)
        for bank in range(first, end):
            row_closed(s, bank)
        return True
    if one_bank:
        refresh_bank(p, s, first, clock)
    else:
        refresh(p, s, rank, clock)
    _note_edge(p, s, rank, first if one_bank else -1, 1, clock)
    refresh_done(p, s)
    return True


@kernel
def refresh_time(p: Words, s: Words, clock: int) -> int:
    """Earliest clock of the next command of the oldest due refresh; FAR while a row of it has an owner."""
    first, end = refresh_target(p, s)
    rank = rank_of(s, first)
    one_bank = p[P_REFRESH_MODE] == REFRESH_PER_BANK
    if _any_open(s, first, end):
        if s[B_ACTIVE + first] >= 0 if one_bank else s[R_ACTIVE + rank] > 0:
            return FAR
        ready = precharge_at(s, first) if one_bank else precharge_all_at(s, rank)
        if ready <= clock and _edge_taken(p, s, rank, first if one_bank else -1, clock):
            return clock + 1
        return ready
    return _on_edge(p, bank_refresh_at(s, first) if one_bank else refresh_at(s, rank), clock)


@inlined
def _any_open(s: Words, first: int, end: int) -> bool:
    """Whether one of the banks has an open row."""
    open_rows = 0
    for bank in range(first, end):
        open_rows += s[B_ROW + bank] >= 0
    return open_rows > 0
