"""Queue policy ``ramulator2``: one pool of requests per direction, served first ready, first come.

In every clock the oldest request whose next command is ready gets the command bus (or each of the two, HBM). The
request that opened a row owns it until it is served: others may use the row, nobody may close it. Writes are served
when their pool is nearly full, or when there is nothing to read, until it is nearly empty. A refresh that is due stops
all reads and writes of the channel that do not own a row.

The rules are those of Ramulator 2.1 (CMU-SAFARI/ramulator2, 2026); clocks at which nothing can happen are skipped.
"""

from __future__ import annotations

from simulator.servers.dram.intake import accept, goes_on, next_acceptance, notice_offers
from simulator.servers.dram.layout import (
    B_READY,
    B_WAIT_READ,
    B_WAIT_WRITE,
    FAR,
    H_LOWER,
    H_NOW,
    H_READS,
    H_REFRESH_COUNT,
    H_REFRESH_NEXT,
    H_SEQUENCE,
    H_TICKED,
    H_WRITES,
    INPUT_WORDS,
    N_VISITS,
    P_BANKS,
    P_DRAIN_HIGH,
    P_DRAIN_LOW,
    P_DUAL_BUS,
    P_HALF_CLOCK,
    P_SPLIT_ACTIVATE,
    S_WRITE,
)
from simulator.servers.dram.pool.commands import (
    ROW_COMMAND,
    SERVE_HIT,
    column_time,
    hit_time,
    issue,
    refresh_step,
    refresh_time,
    row_time,
    serve_owner,
)
from simulator.servers.dram.pool.layout import (
    B_ACTIVE,
    B_ACTIVE_ORDER,
    B_HIT_READ,
    B_HIT_WRITE,
    H_ACT2_BANK,
    H_ACT2_DEADLINE,
    H_EDGE_CLOCK,
    H_FORCED_BANK,
    H_FORCED_KIND,
    H_FORCED_WRITE,
    H_WRITE_MODE,
    M_ACTIVE,
    M_POOL_READ,
    M_POOL_WRITE,
    M_WORDS,
    MASK_BANKS,
)
from simulator.servers.dram.pool.lists import absorb, enter_pool
from simulator.servers.dram.refresh import refresh_due
from simulator.servers.dram.segments import age_of_head
from simulator.servers.dram.timing import lowest_bank
from simulator.servers.kernel import Words, as_variable, inlined, kernel

COLUMN_BUS, ROW_BUS = 1, 2
"""Command buses a scheduling step may use; both for a single command bus."""


@kernel
def reset(p: Words, s: Words) -> None:
    """Bring the controller's own words of a channel that is 0 everywhere to clock 0."""
    s[H_ACT2_BANK] = -1
    s[H_FORCED_BANK] = -1
    s[H_EDGE_CLOCK] = -1
    for bank in range(p[P_BANKS]):
        s[B_HIT_READ + bank] = -1
        s[B_HIT_WRITE + bank] = -1
        s[B_ACTIVE + bank] = -1


@kernel
def advance(p: Words, s: Words, inp: Words, out: Words, end: int) -> None:
    """Run the channel through clock ``end``; see `simulator.servers.dram.controllers.QueuePolicy`."""
    mask = inp.shape[0] // INPUT_WORDS - 1
    notice_offers(p, s, inp, mask)
    while goes_on(s, end):
        clock = s[H_NOW]
        s[N_VISITS] += 1
        if clock > s[H_TICKED]:
            s[H_TICKED] = clock
            if clock >= s[H_LOWER]:
                _tick(p, s, out, clock)
        accept(p, s, inp, mask, out, clock, enter_pool, absorb, True)
        if _mode_changes(p, s):
            s[H_LOWER] = 0
        s[H_NOW] = max(clock + 1, min(s[H_LOWER], next_acceptance(p, s, inp, mask, clock)))


@kernel
def _tick(p: Words, s: Words, out: Words, clock: int) -> None:
    """Use the command slots of one clock and find the next clock that has to be looked at."""
    refresh_due(p, s, clock)
    if p[P_SPLIT_ACTIVATE]:
        _split_tick(p, s, out, clock)
    elif p[P_DUAL_BUS]:
        _dual_tick(p, s, out, clock)
    elif not serve_owner(p, s, out, clock):
        if s[H_REFRESH_COUNT]:
            refresh_step(p, s, clock)
        else:
            _serve_pool(p, s, out, clock, as_variable(COLUMN_BUS | ROW_BUS))
    s[H_LOWER] = min(s[H_REFRESH_NEXT], _next_command(p, s, clock))


@inlined
def _dual_tick(p: Words, s: Words, out: Words, clock: int) -> None:
    """A column bus and a row bus; with half clocks, all but precharges wait for the rising edge."""
    rising = p[P_HALF_CLOCK] == 0 or (clock & 1) == 1
    if rising and not serve_owner(p, s, out, clock) and s[H_REFRESH_COUNT] == 0:
        _serve_pool(p, s, out, clock, as_variable(COLUMN_BUS))
    if s[H_REFRESH_COUNT]:
        refresh_step(p, s, clock)
    else:
        _serve_pool(p, s, out, clock, as_variable(ROW_BUS))


@inlined
def _split_tick(p: Words, s: Words, out: Words, clock: int) -> None:
    """Activations in two halves, and a data strobe that an access must start when it has run out (LPDDR5).

    The second half goes out when nothing else does, or at its deadline. Starting the strobe takes one clock, and the
    access that needs it follows in the next.
    """
    if s[H_FORCED_BANK] >= 0:
        issue(p, s, out, s[H_FORCED_BANK], s[H_FORCED_KIND], s[H_FORCED_WRITE], clock)
        s[H_FORCED_BANK] = -1
        return
    if s[H_ACT2_BANK] >= 0 and s[H_ACT2_DEADLINE] <= clock:
        _finish_activation(s)
        return
    used = serve_owner(p, s, out, clock)
    if not used:
        if s[H_REFRESH_COUNT]:
            used = refresh_step(p, s, clock)
        else:
            used = _serve_pool(p, s, out, clock, as_variable(COLUMN_BUS | ROW_BUS))
    if not used and s[H_ACT2_BANK] >= 0:
        _finish_activation(s)


@inlined
def _finish_activation(s: Words) -> None:
    """Second half of a split activation: the row's owner may be served from now on."""
    bank = s[H_ACT2_BANK]
    s[H_ACT2_BANK] = -1
    s[M_ACTIVE + bank // MASK_BANKS] |= 1 << (bank % MASK_BANKS)
    s[B_ACTIVE_ORDER + bank] = s[H_SEQUENCE]
    s[H_SEQUENCE] += 1
    s[B_READY + bank] = 0


@inlined
def _mode_changes(p: Words, s: Words) -> bool:
    """Whether the pool is about to turn from reads to writes or back."""
    if s[H_WRITE_MODE]:
        return s[H_WRITES] < p[P_DRAIN_LOW] and s[H_READS] > 0
    return s[H_WRITES] >= p[P_DRAIN_HIGH] or s[H_READS] == 0


@inlined
def _choose_mode(p: Words, s: Words) -> int:
    """Serve reads or writes? Returns the mask of the banks that have some of them waiting."""
    if _mode_changes(p, s):
        s[H_WRITE_MODE] = 1 - s[H_WRITE_MODE]
        for bank in range(p[P_BANKS]):
            s[B_READY + bank] = 0
    return M_POOL_WRITE if s[H_WRITE_MODE] else M_POOL_READ


@kernel
def _serve_pool(p: Words, s: Words, out: Words, clock: int, buses: int) -> bool:
    """Issue the command of the oldest request that can have one on ``buses``; False when there is none."""
    masks = _choose_mode(p, s)
    is_write = s[H_WRITE_MODE]
    hits = B_HIT_WRITE if is_write else B_HIT_READ
    rest = B_WAIT_WRITE if is_write else B_WAIT_READ
    oldest, chosen, is_access = FAR, -1, False
    for word in range(M_WORDS):
        banks = s[masks + word]
        while banks:
            bank = lowest_bank(banks) + MASK_BANKS * word
            banks &= banks - 1
            if s[B_READY + bank] > clock:
                continue
            if buses & COLUMN_BUS and s[hits + bank] >= 0:
                age = age_of_head(s, hits, bank)
                if age < oldest and hit_time(p, s, bank, is_write, clock) <= clock:
                    oldest, chosen, is_access = age, bank, True
            if buses & ROW_BUS and s[rest + bank] >= 0:
                age = age_of_head(s, rest, bank)
                if age < oldest and row_time(p, s, bank, is_write, clock) <= clock:
                    oldest, chosen, is_access = age, bank, False
    if chosen < 0:
        return False
    issue(p, s, out, chosen, as_variable(SERVE_HIT if is_access else ROW_COMMAND), is_write, clock)
    return True


@kernel
def _next_command(p: Words, s: Words, clock: int) -> int:
    """Lower bound on the clock of the next command, later than ``clock``."""
    if s[H_FORCED_BANK] >= 0 or s[H_ACT2_BANK] >= 0:
        return clock + 1
    lower = FAR
    for word in range(M_WORDS):
        banks = s[M_ACTIVE + word]
        while banks:
            bank = lowest_bank(banks) + MASK_BANKS * word
            banks &= banks - 1
            lower = min(lower, column_time(p, s, bank, s[s[B_ACTIVE + bank] + S_WRITE], clock))
    if s[H_REFRESH_COUNT]:
        return max(clock + 1, min(lower, refresh_time(p, s, clock)))
    is_write = s[H_WRITE_MODE]
    hits = B_HIT_WRITE if is_write else B_HIT_READ
    rest = B_WAIT_WRITE if is_write else B_WAIT_READ
    masks = M_POOL_WRITE if is_write else M_POOL_READ
    for word in range(M_WORDS):
        banks = s[masks + word]
        while banks:
            bank = lowest_bank(banks) + MASK_BANKS * word
            banks &= banks - 1
            ready = s[B_READY + bank]
            if ready <= clock:
                ready = FAR
                if s[hits + bank] >= 0:
                    ready = hit_time(p, s, bank, is_write, clock)
                if s[rest + bank] >= 0:
                    ready = min(ready, row_time(p, s, bank, is_write, clock))
                s[B_READY + bank] = ready
            lower = min(lower, ready)
    return max(clock + 1, lower)
