"""A queue policy from outside the simulator: strictly first come, first served, and a log of all its commands."""

from __future__ import annotations

from simulator.servers.dram.controllers import CONTROLLERS, QueuePolicy
from simulator.servers.dram.intake import accept, append, goes_on, notice_offers
from simulator.servers.dram.layout import (
    B_ACT,
    B_OPENED_WHY,
    B_ROW,
    B_WAIT_READ,
    B_WAIT_READ_END,
    G_ACT,
    H_NOW,
    H_OWN,
    H_READS,
    H_REFRESH_COUNT,
    H_TICKED,
    H_WRITES,
    INPUT_WORDS,
    N_READ_COMMANDS,
    N_WRITE_COMMANDS,
    OWN,
    P_FAW,
    R_FAW,
    R_FAW_AT,
    S_BANK,
    S_NEXT,
    S_ROW,
    S_WAITING,
    S_WRITE,
)
from simulator.servers.dram.pool.rules import rules
from simulator.servers.dram.refresh import refresh_done, refresh_due, refresh_target
from simulator.servers.dram.segments import account, opening_cause, serve
from simulator.servers.dram.timing import (
    access,
    activate,
    activate_at,
    group_of,
    precharge,
    precharge_at,
    rank_of,
    read_at,
    refresh,
    refresh_at,
    write_at,
)
from simulator.servers.kernel import inlined, kernel

H_LOGGED = H_OWN
LOG = OWN
LOG_WORDS = 3
"""Words of a logged command: its clock, its kind, and its bank (of a refresh: its rank)."""
LOGGED = 4096
ACT, PRE, READ, WRITE, REFRESH = range(5)


@inlined
def _log(s, clock, kind, bank):
    if s[H_LOGGED] < LOGGED:
        at = LOG + LOG_WORDS * s[H_LOGGED]
        s[at], s[at + 1], s[at + 2] = clock, kind, bank
        s[H_LOGGED] += 1


@inlined
def enter(p, s, record):
    """One list for everything, in order of acceptance."""
    append(s, B_WAIT_READ, B_WAIT_READ_END, record)


@inlined
def absorb(p, s, out, bank, key, is_write, request, window, clock):
    """Every transaction has a command of its own: what came first is served first anyway."""
    return False


@kernel
def reset(p, s):
    """Nothing is kept that would not begin with 0."""


@kernel
def advance(p, s, inp, out, end):
    """Look at every clock."""
    mask = inp.shape[0] // INPUT_WORDS - 1
    notice_offers(p, s, inp, mask)
    while goes_on(s, end):
        clock = s[H_NOW]
        if clock > s[H_TICKED]:
            s[H_TICKED] = clock
            refresh_due(p, s, clock)
            if s[H_REFRESH_COUNT]:
                _refresh(p, s, clock)
            elif s[B_WAIT_READ] >= 0:
                _serve_first(p, s, out, s[B_WAIT_READ], clock)
        accept(p, s, inp, mask, out, clock, enter, absorb, False)
        s[H_NOW] = clock + 1


@kernel
def _refresh(p, s, clock):
    first, end = refresh_target(p, s)
    for bank in range(first, end):
        if s[B_ROW + bank] >= 0:
            if precharge_at(s, bank) <= clock:
                precharge(p, s, bank, clock)
                _log(s, clock, PRE, bank)
            return
    rank = rank_of(s, first)
    if refresh_at(s, rank) <= clock:
        refresh(p, s, rank, clock)
        refresh_done(p, s)
        _log(s, clock, REFRESH, rank)


@kernel
def _serve_first(p, s, out, record, clock):
    bank, is_write = s[record + S_BANK], s[record + S_WRITE]
    if s[B_ROW + bank] < 0:
        if activate_at(p, s, bank) <= clock:
            rank = rank_of(s, bank)
            window = s[R_FAW + 4 * rank + s[R_FAW_AT + rank]] + p[P_FAW]
            gate = s[G_ACT + group_of(s, bank)]
            s[B_OPENED_WHY + bank] = opening_cause(s, bank, clock, s[B_ACT + bank], gate, window)
            activate(p, s, bank, s[record + S_ROW], clock)
            _log(s, clock, ACT, bank)
        return
    if s[B_ROW + bank] != s[record + S_ROW]:
        if precharge_at(s, bank) <= clock:
            precharge(p, s, bank, clock)
            _log(s, clock, PRE, bank)
        return
    ready = write_at(s, bank) if is_write else read_at(s, bank)
    if ready > clock:
        return
    s[record + S_WAITING] -= 1
    if s[record + S_WAITING] == 0:
        s[B_WAIT_READ] = s[record + S_NEXT]
    if is_write:
        s[H_WRITES] -= 1
        s[N_WRITE_COMMANDS] += 1
    else:
        s[H_READS] -= 1
        s[N_READ_COMMANDS] += 1
    account(p, s, record, clock, ready, 1)
    access(p, s, bank, is_write, clock)
    _log(s, clock, WRITE if is_write else READ, bank)
    serve(p, s, out, record, clock)


FIRST_COME = QueuePolicy("first_come", advance, reset, rules, own_words=LOG_WORDS * LOGGED)
CONTROLLERS.add(FIRST_COME)
