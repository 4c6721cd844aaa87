"""Servers: resources that several units share, with pluggable service and arbitration.

A firing that requests bytes first waits for everything its unit needs (that time is the *arrival* of the request) and
then for the server's grant, which is its start. A server looks, at time t, at all requests that arrived at or before t
and picks one by a pure policy with a stable tie-break (invariant I4); it serves one request at a time per port. Service
and arbitration are compiled functions over plain integer arrays, and both engines call these same functions.

Times are in cycles; a request granted at t occupies its port from t on, so two grants of one port are at least one
cycle apart.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

import numpy as np

from simulator.errors import GraphError
from simulator.firing import IntArray
from simulator.servers.kernel import Words, kernel

Arbitration = Literal["round_robin", "oldest_first", "priority"]

CONSTANT_RATE = 0
"""Stands for the address of the service function of `Server`, which is compiled into the engines."""
ARBITRATIONS: tuple[Arbitration, ...] = ("round_robin", "oldest_first", "priority")


@dataclass(frozen=True)
class Server:
    """A shared resource in a graph.

    Parameters
    ----------
    name : str
    bytes_per_cycle : int
        Service bandwidth: a request of b bytes occupies a port for ``max(1, ceil(b / bytes_per_cycle))`` cycles.
    latency_cycles : int
        Cycles from the end of the occupation until the data is at the unit.
    ports : int
        Requests that can be served side by side.
    arbitration : {"round_robin", "oldest_first", "priority"}
        Who is served among those waiting. ``priority`` prefers units added to the graph earlier; ties of the other
        two go to the earlier unit as well.
    """

    name: str
    bytes_per_cycle: int = 64
    latency_cycles: int = 0
    ports: int = 1
    arbitration: Arbitration = "round_robin"

    def __post_init__(self) -> None:
        problems = [
            f"server {self.name}: {what} must be at least {low} (got {value})"
            for what, value, low in (
                ("bytes_per_cycle", self.bytes_per_cycle, 1),
                ("latency_cycles", self.latency_cycles, 0),
                ("ports", self.ports, 1),
            )
            if value < low
        ]
        if self.arbitration not in ARBITRATIONS:
            problems.append(f"server {self.name}: arbitration must be one of {', '.join(ARBITRATIONS)}")
        if problems:
            raise GraphError(problems)

    @property
    def settings(self) -> str:
        """All settings in one line, for people."""
        return ", ".join(f"{f.name} {getattr(self, f.name)}" for f in fields(self) if f.name != "name")

    @property
    def service(self) -> int:
        """Address for `simulator.servers.memory_server.serve`."""
        return CONSTANT_RATE

    @property
    def state_words(self) -> int:
        """Constant bandwidth remembers nothing."""
        return 0

    def parameters(self) -> IntArray:
        """Static integers of the service function: ``(bytes_per_cycle, latency_cycles)``."""
        return np.asarray([self.bytes_per_cycle, self.latency_cycles], dtype=np.int64)


@kernel
def service(parameters: Words, start: int, request_bytes: int) -> tuple[int, int]:
    """Serve one request granted at ``start``; return (port busy until, time of completion) in cycles."""
    bytes_per_cycle, latency = parameters[0], parameters[1]
    occupied = max(1, (request_bytes + bytes_per_cycle - 1) // bytes_per_cycle)
    return start + occupied, start + occupied - 1 + latency


@kernel
def choose(arbitration: int, now: int, waiting: Words, arrival: Words, last: int) -> int:
    """Index of the client to serve at time ``now``, or -1.

    Parameters
    ----------
    waiting : int array, shape ``(clients,)``
        1 where a request is pending.
    arrival : int array, shape ``(clients,)``
        Arrival time of each pending request.
    last : int
        Client served last (round robin starts behind it).
    """
    clients = waiting.shape[0]
    best = -1
    for step in range(1, clients + 1):
        client = (last + step) % clients if arbitration == 0 else step - 1
        if waiting[client] == 0 or arrival[client] > now:
            continue
        if best < 0 or (arbitration == 1 and arrival[client] < arrival[best]):
            best = client
        if arbitration != 1:
            break
    return best
