"""Bank timing of one DRAM channel: when a command may issue, and what issuing it forbids to others.

Distances that depend only on bank groups are folded into one gate per group and direction, so that asking costs four
loads; issuing an access updates the gates of all groups of the channel.

An index that numba cannot prove to be at least 0 costs a comparison and a conditional addition, since Python counts
negative ones from the end. Indices of the hot path that are loaded from the state are therefore masked with their
range, which changes no value.
"""

from __future__ import annotations

from simulator.servers.dram.layout import (
    B_ACT,
    B_GROUP,
    B_HITS,
    B_OPENED,
    B_PRE,
    B_RANK,
    B_READ,
    B_REFRESH,
    B_ROW,
    B_WRITE,
    FAR,
    G_ACT,
    G_COLUMN,
    H_COLUMN_BUS_FREE,
    H_ROW_BUS_FREE,
    MAX_GROUPS,
    MAX_RANKS,
    N_ACTIVATES,
    N_BANK_REFRESHES,
    N_PRECHARGES,
    N_REFRESHES,
    P_ACT_ACT,
    P_ACT_CLOCKS,
    P_ACT_TO_ACT,
    P_ACT_TO_BANK_REFRESH,
    P_ACT_TO_OTHER_BANK_REFRESH,
    P_ACT_TO_PRE,
    P_ACT_TO_PRE_ALL,
    P_ACT_TO_READ,
    P_ACT_TO_REFRESH,
    P_ACT_TO_WRITE,
    P_AFTER_READ,
    P_AFTER_WRITE,
    P_BANK_REFRESH_TO_ACT,
    P_BANK_REFRESH_TO_BANK_REFRESH,
    P_BANK_REFRESH_TO_OTHER_ACT,
    P_BANKS,
    P_BANKS_PER_GROUP,
    P_BANKS_PER_RANK,
    P_CAS_CLOCKS,
    P_CLOSE_PAGE,
    P_FAW,
    P_GROUPS,
    P_ONE_COMMAND_BUS,
    P_PRE_ALL_TO_ACT,
    P_PRE_TO_ACT,
    P_PRE_TO_BANK_REFRESH,
    P_PRE_TO_PRE,
    P_PRE_TO_REFRESH,
    P_READ_AP_TO_ACT,
    P_READ_AP_TO_REFRESH,
    P_READ_TO_PRE,
    P_READ_TO_PRE_ALL,
    P_REFRESH_TO_ACT,
    P_REFRESH_TO_PRE_ALL,
    P_REFRESH_TO_REFRESH,
    P_WRITE_AP_TO_ACT,
    P_WRITE_AP_TO_REFRESH,
    P_WRITE_TO_PRE,
    P_WRITE_TO_PRE_ALL,
    R_BANK_REFRESH,
    R_FAW,
    R_FAW_AT,
    R_PRE,
    R_PRE_ALL,
    R_REFRESH,
    R_REFRESHED,
)
from simulator.servers.kernel import Words, inlined, kernel, lowest_bit


@kernel
def close_all(p: Words, s: Words) -> None:
    """Timing state of a channel that has never seen a command."""
    for bank in range(p[P_BANKS]):
        s[B_ROW + bank] = -1
        s[B_GROUP + bank] = bank // p[P_BANKS_PER_GROUP]
        s[B_RANK + bank] = bank // p[P_BANKS_PER_RANK]
    for slot in range(R_FAW, R_FAW_AT):
        s[slot] = -FAR


@inlined
def lowest_bank(banks: int) -> int:
    """Bank of the lowest set bit of a mask of banks that is not 0."""
    return lowest_bit(banks) & 63


@inlined
def group_of(s: Words, bank: int) -> int:
    """Bank group of ``bank``, numbered through the channel."""
    return s[B_GROUP + bank] & (MAX_GROUPS - 1)


@inlined
def rank_of(s: Words, bank: int) -> int:
    """Rank of ``bank``."""
    return s[B_RANK + bank] & (MAX_RANKS - 1)


@inlined
def activate_at(p: Words, s: Words, bank: int) -> int:
    """Earliest clock of an activation of ``bank``."""
    rank = rank_of(s, bank)
    fourth_last = s[R_FAW + 4 * rank + (s[R_FAW_AT + rank] & 3)]
    return max(max(s[B_ACT + bank], s[G_ACT + group_of(s, bank)]), max(fourth_last + p[P_FAW], s[H_ROW_BUS_FREE]))


@inlined
def read_at(s: Words, bank: int) -> int:
    """Earliest clock of a read of the open row of ``bank``."""
    return max(max(s[B_READ + bank], s[G_COLUMN + 2 * group_of(s, bank)]), s[H_COLUMN_BUS_FREE])


@inlined
def write_at(s: Words, bank: int) -> int:
    """Earliest clock of a write to the open row of ``bank``."""
    return max(max(s[B_WRITE + bank], s[G_COLUMN + 2 * group_of(s, bank) + 1]), s[H_COLUMN_BUS_FREE])


@inlined
def precharge_at(s: Words, bank: int) -> int:
    """Earliest clock of a precharge of ``bank``."""
    return max(max(s[B_PRE + bank], s[R_PRE + rank_of(s, bank)]), s[H_ROW_BUS_FREE])


@inlined
def precharge_all_at(s: Words, rank: int) -> int:
    """Earliest clock of a precharge of all banks of ``rank``."""
    return max(max(s[R_PRE_ALL + rank], s[R_PRE + rank]), s[H_ROW_BUS_FREE])


@inlined
def refresh_at(s: Words, rank: int) -> int:
    """Earliest clock of an all-bank refresh of ``rank``, whose banks are closed."""
    return max(s[R_REFRESH + rank], s[H_ROW_BUS_FREE])


@inlined
def bank_refresh_at(s: Words, bank: int) -> int:
    """Earliest clock of a refresh of the closed ``bank``."""
    return max(max(s[B_REFRESH + bank], s[R_BANK_REFRESH + rank_of(s, bank)]), s[H_ROW_BUS_FREE])


@inlined
def _raise(s: Words, at: int, clock: int) -> None:
    s[at] = max(s[at], clock)


@inlined
def _occupy_row_bus(p: Words, s: Words, clock: int) -> None:
    if p[P_ACT_CLOCKS] > 1:
        _raise(s, H_ROW_BUS_FREE, clock + p[P_ACT_CLOCKS])
        if p[P_ONE_COMMAND_BUS]:
            _raise(s, H_COLUMN_BUS_FREE, clock + p[P_ACT_CLOCKS])


@inlined
def _occupy_column_bus(p: Words, s: Words, clock: int) -> None:
    if p[P_CAS_CLOCKS] > 1:
        _raise(s, H_COLUMN_BUS_FREE, clock + p[P_CAS_CLOCKS])
        if p[P_ONE_COMMAND_BUS]:
            _raise(s, H_ROW_BUS_FREE, clock + p[P_CAS_CLOCKS])


@inlined
def activate(p: Words, s: Words, bank: int, row: int, clock: int) -> None:
    """Open ``row`` of ``bank``."""
    group, rank = group_of(s, bank), rank_of(s, bank)
    s[B_ROW + bank] = row
    s[B_HITS + bank] = 0
    s[B_OPENED + bank] = clock
    _raise(s, B_ACT + bank, clock + p[P_ACT_TO_ACT])
    _raise(s, B_READ + bank, clock + p[P_ACT_TO_READ])
    _raise(s, B_WRITE + bank, clock + p[P_ACT_TO_WRITE])
    _raise(s, B_PRE + bank, clock + p[P_ACT_TO_PRE])
    _raise(s, R_PRE_ALL + rank, clock + p[P_ACT_TO_PRE_ALL])
    _raise(s, R_REFRESH + rank, clock + p[P_ACT_TO_REFRESH])
    _raise(s, B_REFRESH + bank, clock + p[P_ACT_TO_BANK_REFRESH])
    _raise(s, R_BANK_REFRESH + rank, clock + p[P_ACT_TO_OTHER_BANK_REFRESH])
    distances = P_ACT_ACT + MAX_GROUPS * group
    for other in range(p[P_GROUPS]):
        s[G_ACT + other] = max(s[G_ACT + other], clock + p[distances + other])
    at = s[R_FAW_AT + rank] & 3
    s[R_FAW + 4 * rank + at] = clock
    s[R_FAW_AT + rank] = (at + 1) & 3
    _occupy_row_bus(p, s, clock)
    s[N_ACTIVATES] += 1


@inlined
def access(p: Words, s: Words, bank: int, is_write: int, clock: int) -> None:
    """Read or write one transaction of the open row of ``bank`` (and close it, under a close-page policy)."""
    group, rank = group_of(s, bank), rank_of(s, bank)
    s[B_HITS + bank] += 1
    distances = (P_AFTER_WRITE if is_write else P_AFTER_READ) + 2 * MAX_GROUPS * group
    for gate in range(2 * p[P_GROUPS]):
        s[G_COLUMN + gate] = max(s[G_COLUMN + gate], clock + p[distances + gate])
    _occupy_column_bus(p, s, clock)
    if p[P_CLOSE_PAGE]:
        s[B_ROW + bank] = -1
        _raise(s, B_ACT + bank, clock + p[P_WRITE_AP_TO_ACT if is_write else P_READ_AP_TO_ACT])
        to_refresh = p[P_WRITE_AP_TO_REFRESH if is_write else P_READ_AP_TO_REFRESH]
        _raise(s, R_REFRESH + rank, clock + to_refresh)
        _raise(s, B_REFRESH + bank, clock + to_refresh)
        s[N_PRECHARGES] += 1
    else:
        _raise(s, B_PRE + bank, clock + p[P_WRITE_TO_PRE if is_write else P_READ_TO_PRE])
        _raise(s, R_PRE_ALL + rank, clock + p[P_WRITE_TO_PRE_ALL if is_write else P_READ_TO_PRE_ALL])


@inlined
def precharge(p: Words, s: Words, bank: int, clock: int) -> None:
    """Close the open row of ``bank``."""
    rank = rank_of(s, bank)
    s[B_ROW + bank] = -1
    s[B_HITS + bank] = 0
    _raise(s, B_ACT + bank, clock + p[P_PRE_TO_ACT])
    _raise(s, R_REFRESH + rank, clock + p[P_PRE_TO_REFRESH])
    _raise(s, B_REFRESH + bank, clock + p[P_PRE_TO_BANK_REFRESH])
    _raise(s, R_PRE + rank, clock + p[P_PRE_TO_PRE])
    s[N_PRECHARGES] += 1


@kernel
def precharge_all(p: Words, s: Words, rank: int, clock: int) -> None:
    """Close every open row of ``rank``."""
    for bank in range(rank * p[P_BANKS_PER_RANK], (rank + 1) * p[P_BANKS_PER_RANK]):
        if s[B_ROW + bank] >= 0:
            s[N_PRECHARGES] += 1
        s[B_ROW + bank] = -1
        s[B_HITS + bank] = 0
        _raise(s, B_ACT + bank, clock + p[P_PRE_ALL_TO_ACT])
    _raise(s, R_REFRESH + rank, clock + p[P_PRE_TO_REFRESH])
    _raise(s, R_PRE + rank, clock + p[P_PRE_TO_PRE])


@kernel
def refresh(p: Words, s: Words, rank: int, clock: int) -> None:
    """Refresh all banks of ``rank``."""
    released = clock + p[P_REFRESH_TO_ACT]
    for bank in range(rank * p[P_BANKS_PER_RANK], (rank + 1) * p[P_BANKS_PER_RANK]):
        _raise(s, B_ACT + bank, released)
    s[R_REFRESHED + rank] = released
    _raise(s, R_PRE_ALL + rank, clock + p[P_REFRESH_TO_PRE_ALL])
    _raise(s, R_REFRESH + rank, clock + p[P_REFRESH_TO_REFRESH])
    s[N_REFRESHES] += 1


@kernel
def refresh_bank(p: Words, s: Words, bank: int, clock: int) -> None:
    """Refresh one closed bank."""
    rank = rank_of(s, bank)
    for other in range(rank * p[P_BANKS_PER_RANK], (rank + 1) * p[P_BANKS_PER_RANK]):
        _raise(s, B_ACT + other, clock + p[P_BANK_REFRESH_TO_OTHER_ACT])
    _raise(s, B_ACT + bank, clock + p[P_BANK_REFRESH_TO_ACT])
    _raise(s, R_BANK_REFRESH + rank, clock + p[P_BANK_REFRESH_TO_BANK_REFRESH])
    s[R_REFRESHED + rank] = clock + p[P_BANK_REFRESH_TO_ACT]
    s[N_BANK_REFRESHES] += 1
