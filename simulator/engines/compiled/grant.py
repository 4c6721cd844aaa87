"""Server decisions of the compiled engine.

Between decisions every unit has run as far ahead as it can without a grant. A request that is not known yet therefore
depends on a grant still to come and arrives after it, since all latencies are at least 1. So the earliest possible
decision over all servers can be taken with full knowledge of its queue (invariant I4).
"""

from __future__ import annotations

from simulator.engines.compiled.fire import pop_tokens, push_tokens, record
from simulator.engines.compiled.records import (
    NEVER,
    Records,
    ServerRecord,
    UnitRecord,
)
from simulator.engines.compiled.runs import leave_firings, request_address
from simulator.engines.compiled.scratch import Options
from simulator.firing import IntArray
from simulator.servers.contract import choose
from simulator.servers.kernel import Words, kernel
from simulator.servers.memory_server import serve


@kernel
def earliest_decision(servers: Records, words: Words) -> tuple[int, int, int]:
    """Server with the earliest possible decision, its time and its port; server -1 when nobody waits."""
    best, best_time, best_port = -1, 0, -1
    for number in range(servers.shape[0]):
        server = servers[number]
        if server.earliest == NEVER:
            continue
        port = server.free_ptr
        for other in range(port + 1, server.free_ptr + server.ports):
            if words[other] < words[port]:
                port = other
        time = max(server.earliest, words[port])
        if best < 0 or time < best_time:
            best, best_time, best_port = number, time, port
    return best, best_time, best_port


@kernel
def earliest_arrival(server: ServerRecord, words: Words) -> int:
    """Arrival of the first of those that wait for a server."""
    earliest = NEVER
    for client in range(server.clients):
        if words[server.waiting_ptr + client]:
            earliest = min(earliest, words[server.arrival_ptr + client])
    return earliest


@kernel
def grant(
    server: ServerRecord,
    units: Records,
    blocks: Records,
    segments: Records,
    channels: Records,
    words: Words,
    now: int,
    port: int,
    start: Words,
    cause: Words,
    options: Options,
    trace: IntArray,
) -> int:
    """Let the record ``server`` choose at time ``now`` and fire the unit it chose; return that unit's number."""
    chosen = choose(
        server.arbitration,
        now,
        words[server.waiting_ptr : server.waiting_ptr + server.clients],
        words[server.arrival_ptr : server.arrival_ptr + server.clients],
        server.last,
    )
    server.last = chosen
    words[server.waiting_ptr + chosen] = 0
    server.earliest = earliest_arrival(server, words)
    number = words[server.unit_ptr + chosen]
    unit = units[number]
    segment = segments[unit.segment]
    request = segment.request
    busy_until, completion = serve(
        server.service,
        words[server.parameter_ptr : server.parameter_end],
        words[server.state_ptr : server.state_end],
        now,
        request_address(unit, segment),
        request,
        segment.is_write,
    )
    words[port] = busy_until
    server.grants += 1
    server.busy += busy_until - now
    server.bytes += request
    fire_granted(unit, blocks, segments, channels, words, now, completion, start, cause, options, trace)
    return number


@kernel
def fire_granted(
    unit: UnitRecord,
    blocks: Records,
    segments: Records,
    channels: Records,
    words: Words,
    now: int,
    completion: int,
    start: Words,
    cause: Words,
    options: Options,
    trace: IntArray,
) -> None:
    """One firing that starts at its grant ``now`` and whose data is there at ``completion``."""
    segment = segments[unit.segment]
    unit.waiting = 0
    cause[0] = unit.arrival_cause
    words[unit.stall_ptr + cause[0]] += unit.arrival - unit.clock
    if now > unit.arrival:
        cause[0] = (unit.in_end - unit.in_ptr) + (unit.out_end - unit.out_ptr) + 1
        words[unit.stall_ptr + cause[0]] += now - unit.arrival
    start[0] = now
    unit.clock = now + segment.ii
    unit.busy += segment.ii
    record(unit, 1, start, cause, options, trace)
    pop_tokens(unit, segment, channels, words, 1, start, options.occupancy)
    cause[0] = completion
    push_tokens(unit, segment, channels, words, 1, cause, start)
    leave_firings(unit, 1, blocks, segments, channels, words)
