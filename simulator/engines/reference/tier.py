"""A memory tier in the reference engine: requests wait, data comes back; see `simulator.servers.dram.server`."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field

import simpy

from simulator.engines.reference.clock import Clock
from simulator.firing import Segment
from simulator.servers.dram.layout import FAR
from simulator.servers.dram.server import DramServer, clock_of, cycle_of
from simulator.servers.dram.tier import DramCounters, RunningTier

Receive = Callable[[int, Segment, int], None]
"""Takes over what a firing of a unit makes, given the cycle of its answer."""


@dataclass
class Request:
    """A firing that asked a tier for bytes: from when, for which, and when they came (None: not known yet)."""

    segment: Segment
    start: int
    address: int
    number: int
    answer: int | None = None


@dataclass
class Client:
    """The firings of one unit on the tier, in order; the first `answered` of them have their answers."""

    requests: list[Request] = field(default_factory=list)
    answered: int = 0
    heard: simpy.Event | None = None


class TierState:
    """A tier process: takes the requests of a cycle at its end, and runs the banks up to the next cycle."""

    def __init__(self, server: DramServer, requests: int, environment: Clock, receive: Receive) -> None:
        self.server = server
        self.tier = RunningTier(server.description, requests)
        self.clients: dict[int, Client] = {}
        self.grants = 0
        self.bytes = 0
        self._environment = environment
        self._receive = receive
        self._new: list[tuple[int, Request]] = []
        self._arrived = environment.event()

    def request(self, unit: int, segment: Segment, address: int) -> None:
        """A firing of ``unit`` starts now."""
        now = self._environment.cycle
        request = Request(segment, now, address, self.grants, None if segment.request_bytes else now)
        if segment.request_bytes:
            self.grants += 1
            self.bytes += segment.request_bytes
        self.clients[unit].requests.append(request)
        self._new.append((unit, request))
        if not self._arrived.triggered:
            self._arrived.succeed()

    def answer(self, unit: int, firing: int) -> Generator[simpy.Event, object, int]:
        """Wait until the answer to a firing of ``unit`` is known, and return its cycle."""
        client = self.clients[unit]
        while client.answered <= firing:
            client.heard = self._environment.event()
            yield client.heard
        answer = client.requests[firing].answer
        if answer is None:
            raise RuntimeError(f"{self.server.name}: firing {firing} of unit {unit} has no answer")
        return answer

    def serve(self) -> Generator[simpy.Event, object, None]:
        """Answer requests for ever."""
        environment = self._environment
        while True:
            if not self._new and self.tier.next_event() >= FAR:
                self._arrived = environment.event()
                yield self._arrived
            elif not self._new:
                self._arrived = environment.event()
                sleep = max(1, self._cycle_before(self.tier.next_event()) - environment.cycle)
                yield simpy.AnyOf(environment, [self._arrived, environment.timeout(sleep)])
            yield environment.end_of_cycle()
            self._offer()
            self.tier.advance(self._clock(environment.cycle + 1) - 1)
            self._deliver()

    @property
    def last_answer(self) -> int:
        """Cycle of the last answer so far."""
        lasts = (c.requests[c.answered - 1].answer for c in self.clients.values() if c.answered)
        return max((answer for answer in lasts if answer is not None), default=0)

    def close(self, cycles: int) -> DramCounters:
        """Run the tier to the end of a run of ``cycles`` cycles; return its counters."""
        end = self._clock(cycles + 1) - 1
        self.tier.advance(end)
        return DramCounters.from_state(self.tier.parameters, self.tier.state, end + 1)

    def _offer(self) -> None:
        for _, request in sorted(self._new, key=lambda pair: (pair[1].start, pair[0], pair[1].number)):
            segment = request.segment
            if segment.request_bytes:
                clock, is_write = self._clock(request.start), segment.is_write
                if not self.tier.offer(request.number, request.address, segment.request_bytes, clock, 0, is_write):
                    raise RuntimeError(f"{self.server.name}: its input rings overflowed")
        self._new = []

    def _deliver(self) -> None:
        for unit, client in self.clients.items():
            before = client.answered
            while client.answered < len(client.requests):
                request = client.requests[client.answered]
                if request.answer is None:
                    clock = self.tier.done_clock(request.number)
                    if clock is None:
                        break
                    cycle = int(cycle_of(clock, self.server.numerator, self.server.denominator))
                    request.answer = max(request.start + 1, cycle)
                previous = client.requests[client.answered - 1].answer if client.answered else None
                request.answer = max(request.answer, previous or 0)
                self._receive(unit, request.segment, request.answer)
                client.answered += 1
            if client.answered > before and client.heard is not None:
                heard, client.heard = client.heard, None
                heard.succeed()

    def _clock(self, cycle: int) -> int:
        return int(clock_of(cycle, self.server.numerator, self.server.denominator))

    def _cycle_before(self, clock: int) -> int:
        """Last cycle whose requests arrive at ``clock`` or before."""
        return clock * self.server.denominator // self.server.numerator
