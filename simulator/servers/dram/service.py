"""Driving the channels of a DRAM tier: the front end, and the functions an event engine calls.

Channels share nothing but the source of their requests, so each runs on its own clock and is brought up to date only
when somebody asks.
"""

from __future__ import annotations

from simulator.firing import IntArray
from simulator.servers.dram.controllers import call_advance
from simulator.servers.dram.layout import (
    AT_ACCEPTED,
    AT_CLOCK,
    AT_INDEX,
    AT_OFFERED,
    AT_REQUEST,
    B_READY,
    B_WAIT_READ,
    B_WAIT_WRITE,
    FAR,
    H_ACCEPT_CLOCK,
    H_FULL_AT,
    H_IN_FLIGHT,
    H_IN_HEAD,
    H_IN_TAIL,
    H_NOW,
    H_TICKED,
    I_COUNT,
    INPUT_WORDS,
    N_LAST_RETURN,
    N_LAST_WRITE,
    O_ACCEPT,
    O_DONE,
    O_LAST_ACCEPT,
    O_LEFT,
    OUTPUT_WORDS,
    P_BANKS,
    P_CHANNELS,
    P_WIDTH,
    RUNNING,
    SCRATCH,
    UNTIL_ACCEPTED,
    UNTIL_RETURNED,
)
from simulator.servers.dram.mapping import next_segment, row_run, transactions_of, write_record
from simulator.servers.dram.refresh import start_refresh
from simulator.servers.dram.segments import empty_pool
from simulator.servers.dram.timing import close_all
from simulator.servers.kernel import Words, as_variable, inlined, kernel


@kernel
def reset(p: Words, s: Words) -> None:
    """Bring the state row of a channel to clock 0, all banks closed and nothing waiting; its policy's words are 0."""
    s[:] = 0
    close_all(p, s)
    empty_pool(s)
    start_refresh(p, s)
    s[H_TICKED] = -1
    s[H_ACCEPT_CLOCK] = -1
    s[H_FULL_AT] = -1
    s[N_LAST_RETURN] = -1
    s[N_LAST_WRITE] = -1
    for bank in range(p[P_BANKS]):
        s[B_READY + bank] = FAR
        s[B_WAIT_READ + bank] = -1
        s[B_WAIT_WRITE + bank] = -1


@kernel
def advance_tier(advance: int, p: Words, state: IntArray, rings: IntArray, out: Words, end: int) -> None:
    """Run all channels through clock ``end``; ``state`` and ``rings`` have one row per channel.

    ``advance``, here and below, is the address of the controller's queue policy.
    """
    for channel in range(p[P_CHANNELS]):
        call_advance(advance, p, state[channel], rings[channel], out, end)


@kernel
def next_event(p: Words, state: IntArray) -> int:
    """Earliest clock at which a channel with work can do anything; FAR when no request is under way.

    Refreshes alone are no event: a channel catches up with them when it is asked the next time. After an offer, the
    arrival of the request counts as well, which the caller knows.
    """
    clock = FAR
    for channel in range(p[P_CHANNELS]):
        s = state[channel]
        if s[H_IN_HEAD] != s[H_IN_TAIL] or s[H_IN_FLIGHT] > 0:
            clock = min(clock, s[H_NOW])
    return clock


@kernel
def offer(
    p: Words,
    state: IntArray,
    rings: IntArray,
    out: Words,
    request: int,
    address: int,
    size: int,
    stride: int,
    is_write: int,
    clock: int,
) -> bool:
    """Hand request number ``request`` to the channels, which may accept it from ``clock`` on.

    Returns
    -------
    bool
        False, and nothing has changed, when an input ring might have no room for the request's part.
    """
    slots = rings.shape[1] // INPUT_WORDS
    count, first = transactions_of(p, address, size, stride)
    for channel in range(p[P_CHANNELS]):
        if state[channel, H_IN_TAIL] - state[channel, H_IN_HEAD] + count > slots:
            return False
    _open(out, request, count)
    run = row_run(p)
    record = state[0, SCRATCH:]
    index = 0
    while index < count:
        channel, index = next_segment(p, address, stride, first, index, count, run, record)
        s = state[channel]
        write_record(rings[channel], s[H_IN_TAIL] & (slots - 1), record, is_write, clock, request)
        s[H_IN_TAIL] += 1
    return True


@inlined
def _open(out: Words, request: int, count: int) -> None:
    at = request * OUTPUT_WORDS
    out[at + O_ACCEPT] = FAR
    out[at + O_DONE] = -1
    out[at + O_LEFT] = count
    out[at + O_LAST_ACCEPT] = -1


@kernel
def open_requests(p: Words, out: Words, address: Words, size: Words, stride: Words) -> None:
    """Reset the output records of requests that nobody has seen yet."""
    for request in range(address.shape[0]):
        count, _ = transactions_of(p, address[request], size[request], stride[request])
        _open(out, request, count)


@kernel
def run_independent(
    advance: int,
    p: Words,
    state: IntArray,
    rings: IntArray,
    out: Words,
    at: Words,
    address: Words,
    size: Words,
    stride: Words,
    write: Words,
    arrival: Words,
) -> int:
    """Feed every channel its own part of the requests, in their order, until all are done or a slice is used up.

    The rings are filled until one is full and then emptied by all channels, which stop in the clock that takes the
    last segment, so that the rest of that clock is still open to what follows.

    Parameters
    ----------
    state : int array, shape ``(channels, state_words)``
    rings : int array, shape ``(channels, 2**k * INPUT_WORDS)``
    out : int array, shape ``(requests * OUTPUT_WORDS,)``
    at : int array, shape ``(CURSOR_WORDS,)``
        Where the list stands: 0 at its begin, and as the call before left it.
    address, size, stride, write, arrival : int array, shape ``(requests,)``
        In bytes and clocks; arrivals must not decrease.

    Returns
    -------
    int
        Clock at which the last data came back or was taken; RUNNING when the slice of a channel was used up before.
    """
    slots = rings.shape[1] // INPUT_WORDS
    record = state[0, SCRATCH:]
    run = row_run(p)
    request, index = at[AT_REQUEST], at[AT_INDEX]
    while request < address.shape[0]:
        count, first = transactions_of(p, address[request], size[request], stride[request])
        while index < count:
            channel, after = next_segment(p, address[request], stride[request], first, index, count, run, record)
            s = state[channel]
            if s[H_IN_TAIL] - s[H_IN_HEAD] == slots and not _empty_rings(advance, p, state, rings, out):
                at[AT_REQUEST], at[AT_INDEX] = request, index
                return RUNNING
            write_record(rings[channel], s[H_IN_TAIL] & (slots - 1), record, write[request], arrival[request], request)
            s[H_IN_TAIL] += 1
            index = after
        request, index = request + 1, 0
    at[AT_REQUEST], at[AT_INDEX] = request, index
    return settle(advance, p, state, rings, out)


@inlined
def _empty_rings(advance: int, p: Words, state: IntArray, rings: IntArray, out: Words) -> bool:
    """Let all channels accept what was offered to them; False when the slice of one was used up before."""
    for channel in range(p[P_CHANNELS]):
        s = state[channel]
        call_advance(advance, p, s, rings[channel], out, as_variable(UNTIL_ACCEPTED))
        if s[H_IN_HEAD] != s[H_IN_TAIL]:
            return False
    return True


@kernel
def settle(advance: int, p: Words, state: IntArray, rings: IntArray, out: Words) -> int:
    """Let all channels finish, bring them to the clock at which the last of them was done, and return it.

    RUNNING when the slice of one of them was used up before.
    """
    last = -1
    for channel in range(p[P_CHANNELS]):
        s = state[channel]
        call_advance(advance, p, s, rings[channel], out, as_variable(UNTIL_RETURNED))
        if s[H_IN_HEAD] != s[H_IN_TAIL] or s[H_IN_FLIGHT] > 0:
            return RUNNING
        last = max(last, max(s[N_LAST_RETURN], s[N_LAST_WRITE]))
    for channel in range(p[P_CHANNELS]):
        call_advance(advance, p, state[channel], rings[channel], out, last)
    return last


@kernel
def run_shared(
    advance: int,
    p: Words,
    state: IntArray,
    rings: IntArray,
    out: Words,
    at: Words,
    address: Words,
    size: Words,
    stride: Words,
    write: Words,
    arrival: Words,
) -> int:
    """Feed all channels from one in-order source; parameters and what is returned are those of `run_independent`.

    A transaction that its channel cannot take holds back all that follow.
    """
    slots = rings.shape[1] // INPUT_WORDS
    record = state[0, SCRATCH:]
    request, index = at[AT_REQUEST], at[AT_INDEX]
    clock, accepted = at[AT_CLOCK], at[AT_ACCEPTED]
    while request < address.shape[0]:
        count, first = transactions_of(p, address[request], size[request], stride[request])
        while index < count:
            channel, _ = next_segment(p, address[request], stride[request], first, index, count, as_variable(1), record)
            record[I_COUNT] = 1
            s = state[channel]
            if at[AT_OFFERED] == 0:
                if accepted == p[P_WIDTH]:
                    clock, accepted = clock + 1, 0
                if arrival[request] > clock:
                    clock, accepted = arrival[request], 0
                write_record(rings[channel], s[H_IN_TAIL] & (slots - 1), record, write[request], clock, request)
                s[H_IN_TAIL] += 1
                at[AT_OFFERED] = 1
            call_advance(advance, p, s, rings[channel], out, as_variable(UNTIL_ACCEPTED))
            if s[H_IN_HEAD] != s[H_IN_TAIL]:
                at[AT_REQUEST], at[AT_INDEX] = request, index
                at[AT_CLOCK], at[AT_ACCEPTED] = clock, accepted
                return RUNNING
            at[AT_OFFERED] = 0
            if s[H_ACCEPT_CLOCK] > clock:
                clock, accepted = s[H_ACCEPT_CLOCK], 0
            accepted += 1
            index += 1
        request, index = request + 1, 0
    at[AT_REQUEST], at[AT_INDEX] = request, index
    return settle(advance, p, state, rings, out)
