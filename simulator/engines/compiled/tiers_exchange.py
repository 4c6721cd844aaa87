"""Units and memory tiers side by side: who may go on to which time without knowing what the others will do.

Units run as far ahead as tokens, slots and answers let them. What they do not know yet depends on an answer of a tier
or on a grant of a server, and each of these has an earliest possible time. Up to the earliest of all, the *horizon*,
every request is known: so each tier is handed its requests before the horizon, in order, and run up to it. At least
one of them then gets on, since the horizon lies behind the next thing that can happen.
"""

from __future__ import annotations

from typing import NamedTuple

from simulator.engines.compiled.grant import earliest_decision
from simulator.engines.compiled.machine import Machine
from simulator.engines.compiled.records import (
    NEVER,
    R_ADDRESS,
    R_ANSWER,
    R_SEGMENT,
    R_START,
    Records,
    ServerRecord,
    TierRecord,
)
from simulator.engines.compiled.requests import deliver, request_record
from simulator.firing import IntArray
from simulator.servers.dram.layout import FAR, O_DONE, O_LEFT, OUTPUT_WORDS
from simulator.servers.dram.server import clock_of, cycle_of
from simulator.servers.dram.service import advance_tier, next_event, offer
from simulator.servers.kernel import Words, as_variable, kernel

NOTHING_LEFT, WENT_ON, OVERRUN = 0, 1, 2


class Tiers(NamedTuple):
    """The memory tiers of a run: one record each, and everything they keep in one array."""

    records: Records
    memory: IntArray


@kernel
def next_offer(server: ServerRecord, units: Records, words: Words) -> tuple[int, int]:
    """Client with the earliest request that its tier has not seen, and its start; client -1 if there is none."""
    best, best_start = -1, 0
    for client in range(server.clients):
        unit = units[words[server.unit_ptr + client]]
        while unit.offered < unit.requested:
            at = request_record(unit, unit.offered)
            if words[at + R_ANSWER] < 0:
                if best < 0 or words[at + R_START] < best_start:
                    best, best_start = client, words[at + R_START]
                break
            unit.offered += 1
    return best, best_start


@kernel
def earliest_news(tier: TierRecord, server: ServerRecord, units: Records, words: Words, memory: IntArray) -> int:
    """Earliest cycle at which anything the tier does can be noticed by a unit."""
    parameters = memory[tier.parameter_ptr : tier.parameter_end]
    clock = next_event(parameters, memory[tier.state_ptr : tier.state_end].reshape((tier.channels, tier.state_words)))
    client, start = next_offer(server, units, words)
    if client >= 0:
        clock = min(clock, clock_of(start, tier.numerator, tier.denominator))
    if clock >= FAR:
        return as_variable(NEVER)
    return cycle_of(clock + tier.look_ahead, tier.numerator, tier.denominator)


@kernel
def offer_before(
    tier: TierRecord,
    server: ServerRecord,
    units: Records,
    segments: Records,
    words: Words,
    memory: IntArray,
    horizon: int,
) -> bool:
    """Hand over all requests that start before ``horizon``; False if the input rings overflow."""
    while True:
        client, start = next_offer(server, units, words)
        if client < 0 or start >= horizon:
            return True
        unit = units[words[server.unit_ptr + client]]
        at = request_record(unit, unit.offered)
        segment = segments[words[at + R_SEGMENT]]
        taken = offer(
            memory[tier.parameter_ptr : tier.parameter_end],
            memory[tier.state_ptr : tier.state_end].reshape((tier.channels, tier.state_words)),
            memory[tier.ring_ptr : tier.ring_end].reshape((tier.channels, tier.ring_words)),
            memory[tier.out_ptr : tier.out_end],
            unit.request_id + unit.offered % unit.window,
            words[at + R_ADDRESS],
            segment.request,
            as_variable(0),
            segment.is_write,
            clock_of(start, tier.numerator, tier.denominator),
        )
        if not taken:
            return False
        server.grants += 1
        server.bytes += segment.request
        unit.offered += 1


@kernel
def read_answers(tier: TierRecord, server: ServerRecord, units: Records, words: Words, memory: IntArray) -> None:
    """Note the answers of the oldest requests of every client, as far as they are known."""
    out = memory[tier.out_ptr : tier.out_end]
    for client in range(server.clients):
        unit = units[words[server.unit_ptr + client]]
        for request in range(unit.answered, unit.offered):
            at = request_record(unit, request)
            record = (unit.request_id + request % unit.window) * OUTPUT_WORDS
            if words[at + R_ANSWER] < 0:
                if out[record + O_LEFT] != 0:
                    break
                cycle = cycle_of(out[record + O_DONE], tier.numerator, tier.denominator)
                words[at + R_ANSWER] = max(words[at + R_START] + 1, cycle)


@kernel
def deliver_all(
    tiers: Records, servers: Records, units: Records, segments: Records, channels: Records, words: Words
) -> bool:
    """Hand over everything that is answered; True if there was anything."""
    moved = False
    for number in range(tiers.shape[0]):
        server = servers[tiers[number].server]
        for client in range(server.clients):
            if deliver(units[words[server.unit_ptr + client]], segments, channels, words):
                moved = True
    return moved


@kernel
def set_horizon(
    tiers: Records, servers: Records, units: Records, words: Words, memory: IntArray, horizon: Words
) -> None:
    """Set ``horizon`` to the earliest cycle at which a unit can hear from a tier."""
    horizon[0] = NEVER
    for number in range(tiers.shape[0]):
        tier = tiers[number]
        horizon[0] = min(horizon[0], earliest_news(tier, servers[tier.server], units, words, memory))


@kernel
def exchange(machine: Machine, tiers_of_run: Tiers, horizon: Words) -> int:
    """Bring all tiers to the horizon once no unit can move; return whether anything is left to do."""
    units, _, segments, channels, servers, words = machine
    tiers, memory = tiers_of_run
    if deliver_all(tiers, servers, units, segments, channels, words):
        set_horizon(tiers, servers, units, words, memory, horizon)
        return WENT_ON
    set_horizon(tiers, servers, units, words, memory, horizon)
    if horizon[0] == NEVER:
        return NOTHING_LEFT
    number, now, _ = earliest_decision(servers, words)
    limit = horizon[0] if number < 0 else min(horizon[0], now + 1)
    for number in range(tiers.shape[0]):
        tier = tiers[number]
        server = servers[tier.server]
        if not offer_before(tier, server, units, segments, words, memory, limit):
            return OVERRUN
        advance_tier(
            tier.advance,
            memory[tier.parameter_ptr : tier.parameter_end],
            memory[tier.state_ptr : tier.state_end].reshape((tier.channels, tier.state_words)),
            memory[tier.ring_ptr : tier.ring_end].reshape((tier.channels, tier.ring_words)),
            memory[tier.out_ptr : tier.out_end],
            clock_of(limit, tier.numerator, tier.denominator) - 1,
        )
        read_answers(tier, server, units, words, memory)
    deliver_all(tiers, servers, units, segments, channels, words)
    set_horizon(tiers, servers, units, words, memory, horizon)
    return WENT_ON
