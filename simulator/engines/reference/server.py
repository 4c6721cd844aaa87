"""Servers of the reference engine that grant one request after another."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import simpy

from simulator.engines.reference.clock import Clock
from simulator.firing import Segment
from simulator.servers.contract import ARBITRATIONS, Server, choose
from simulator.servers.memory_server import MemoryServer, serve


class ServerState:
    """A server process: decides at the end of a cycle, when every request of that cycle has arrived (I4)."""

    def __init__(self, server: Server | MemoryServer, environment: Clock) -> None:
        self.server = server
        self.clients: list[int] = []
        self.grants = 0
        self.busy = 0
        self.bytes = 0
        self.completion: dict[int, int] = {}
        self._environment = environment
        self._requests: dict[int, tuple[int, Segment, int, simpy.Event]] = {}
        self._state = np.zeros(server.state_words, np.int64)
        self._free = [0] * server.ports
        self._arrived = environment.event()
        self._last = -1

    def request(self, unit: int, segment: Segment, address: int) -> simpy.Event:
        """An event that happens at the grant; ``completion[unit]`` then says when the data is there."""
        granted = self._environment.event()
        self._requests[unit] = (self._environment.cycle, segment, address, granted)
        if not self._arrived.triggered:
            self._arrived.succeed()
        return granted

    def serve(self) -> Generator[simpy.Event, object, None]:
        """Grant requests for ever."""
        environment, parameters, service = self._environment, self.server.parameters(), self.server.service
        while True:
            while not self._requests:
                self._arrived = environment.event()
                yield self._arrived
            port = self._free.index(min(self._free))
            if self._free[port] > environment.cycle:
                yield environment.timeout(self._free[port] - environment.cycle)
            yield environment.end_of_cycle()
            unit = self._choose()
            _, segment, address, granted = self._requests.pop(unit)
            now, size, is_write = environment.cycle, segment.request_bytes, int(segment.is_write)
            busy_until, completion = serve(service, parameters, self._state, now, address, size, is_write)
            self._free[port] = int(busy_until)
            self.grants += 1
            self.busy += int(busy_until) - now
            self.bytes += size
            self.completion[unit] = int(completion)
            granted.succeed()

    def _choose(self) -> int:
        waiting = np.array([client in self._requests for client in self.clients], dtype=np.int64)
        arrival = np.array([self._requests[c][0] if c in self._requests else 0 for c in self.clients], np.int64)
        policy = ARBITRATIONS.index(self.server.arbitration)
        self._last = int(choose(policy, self._environment.cycle, waiting, arrival, self._last))
        return self.clients[self._last]
