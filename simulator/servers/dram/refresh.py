"""Refreshes: when they become due, and which banks they concern. Shared by all queue policies."""

from __future__ import annotations

from simulator.servers.dram.layout import (
    FAR,
    H_REFRESH_COUNT,
    H_REFRESH_CURSOR,
    H_REFRESH_FIRST,
    H_REFRESH_NEXT,
    P_BANKS,
    P_BANKS_PER_GROUP,
    P_BANKS_PER_RANK,
    P_RANKS,
    P_REFRESH_INTERVAL,
    P_REFRESH_MODE,
    REFRESH_NONE,
    REFRESH_PER_BANK,
    REFRESH_TOGETHER,
)
from simulator.servers.kernel import Words, inlined, kernel


@kernel
def start_refresh(p: Words, s: Words) -> None:
    """Refresh state at clock 0."""
    s[H_REFRESH_NEXT] = FAR if p[P_REFRESH_MODE] == REFRESH_NONE else p[P_REFRESH_INTERVAL]


@inlined
def refresh_due(p: Words, s: Words, clock: int) -> None:
    """Enter the refreshes that are due at ``clock``."""
    if clock >= s[H_REFRESH_NEXT]:
        s[H_REFRESH_NEXT] += p[P_REFRESH_INTERVAL]
        s[H_REFRESH_COUNT] += p[P_RANKS] if p[P_REFRESH_MODE] == REFRESH_TOGETHER else 1


@inlined
def refresh_target(p: Words, s: Words) -> tuple[int, int]:
    """First bank and end of the banks that the oldest due refresh concerns; an empty range when none is due.

    Per-bank refreshes go through the bank groups first, then the banks of a group, then the ranks.
    """
    if s[H_REFRESH_COUNT] == 0:
        return 0, 0
    if p[P_REFRESH_MODE] != REFRESH_PER_BANK:
        first = s[H_REFRESH_CURSOR] * p[P_BANKS_PER_RANK]
        return first, first + p[P_BANKS_PER_RANK]
    index = s[H_REFRESH_CURSOR]
    rank, inside = index // p[P_BANKS_PER_RANK], index % p[P_BANKS_PER_RANK]
    groups = p[P_BANKS_PER_RANK] // p[P_BANKS_PER_GROUP]
    bank = rank * p[P_BANKS_PER_RANK] + (inside % groups) * p[P_BANKS_PER_GROUP] + inside // groups
    return bank, bank + 1


@inlined
def refresh_done(p: Words, s: Words) -> None:
    """Leave the refresh just issued behind."""
    s[H_REFRESH_COUNT] -= 1
    s[H_REFRESH_FIRST] += 1
    targets = p[P_BANKS] if p[P_REFRESH_MODE] == REFRESH_PER_BANK else p[P_RANKS]
    s[H_REFRESH_CURSOR] = (s[H_REFRESH_CURSOR] + 1) % targets
