"""The reference engine: the meaning of a graph, written to be read, on SimPy.

One process per unit and one per server. Nothing in here is fast; every sentence of the semantics in
:mod:`simulator.graph` is one line. Times of tokens and slots are stored on the channel, so a process that wakes up in a
cycle never depends on the order in which other processes woke up in the same cycle.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np
import simpy

from simulator.engines.compiled.machine import cause_count
from simulator.engines.fingerprint import fingerprint
from simulator.engines.outcome import Outcome
from simulator.engines.reference.clock import Clock
from simulator.engines.reference.server import ServerState
from simulator.engines.reference.tier import Client, TierState
from simulator.firing import IntArray, Segment
from simulator.graph import AnyServer, Channel, FrozenGraph
from simulator.result import Trace
from simulator.servers.dram.server import DramServer
from simulator.servers.dram.tier import DramCounters

Process = Generator[simpy.Event, object, None]


class _ChannelState:
    """Times of all tokens and slots of one channel, by token number."""

    def __init__(self, channel: Channel, environment: Clock) -> None:
        self.channel = channel
        self.visible: list[int] = [0] * channel.initial_tokens
        self.issued: list[int] = []
        self.release: list[int] = []
        self._environment = environment
        self._waiting: list[simpy.Event] = []

    def changed(self) -> simpy.Event:
        """An event that happens at the next push or pop."""
        event = self._environment.event()
        self._waiting.append(event)
        return event

    def _notify(self) -> None:
        waiting, self._waiting = self._waiting, []
        for event in waiting:
            event.succeed()

    def push(self, tokens: int, visible: int, issued: int) -> None:
        """Add ``tokens``."""
        self.promise(tokens, issued)
        self.arrive(tokens, visible)

    def promise(self, tokens: int, issued: int) -> None:
        """Take the slots of ``tokens`` whose visible time is not known yet (I3)."""
        self.issued += [issued] * tokens

    def arrive(self, tokens: int, visible: int) -> None:
        """Add ``tokens`` that were promised; FIFO order keeps visible times monotone (I2)."""
        if tokens:
            tail = max(visible, self.visible[-1] if self.visible else 0)
            self.visible += [tail] * tokens
            self._notify()

    def pop(self, tokens: int, now: int) -> None:
        """Remove ``tokens``; their slots are free one credit latency later (I3)."""
        if tokens:
            self.release += [now + self.channel.credit_latency_cycles] * tokens
            self._notify()

    @property
    def popped(self) -> int:
        """Tokens taken so far."""
        return len(self.release)

    @property
    def taken_slots(self) -> int:
        """Slots taken so far, by initial tokens and at issues."""
        return self.channel.initial_tokens + len(self.issued)

    def peak_occupancy(self) -> int:
        """Most slots in use at once: taken at an issue, returned one credit latency after the pop."""
        peak = self.channel.initial_tokens
        for pushed, now in enumerate(self.issued, start=self.channel.initial_tokens + 1):
            peak = max(peak, pushed - bisect_right(self.release, now))
        return peak


@dataclass
class UnitTrace:
    """Everything a unit did: per firing its start, cause, waiting after the start and the cause of that waiting."""

    start: list[int] = field(default_factory=list)
    cause: list[int] = field(default_factory=list)
    wait: list[int] = field(default_factory=list)
    wait_cause: list[int] = field(default_factory=list)
    busy: int = 0
    clock: int = 0
    stall: dict[int, int] = field(default_factory=dict)
    segment: Segment | None = None
    holding: bool = False
    issued_ports: int = 0

    def add_stall(self, cause: int, cycles: int) -> None:
        """Count ``cycles`` of waiting for ``cause``."""
        if cycles:
            self.stall[cause] = self.stall.get(cause, 0) + cycles


class ReferenceRun:
    """One run of a frozen graph; afterwards ``traces``, ``channels`` and ``servers`` hold the complete schedule."""

    def __init__(self, graph: FrozenGraph) -> None:
        self.graph = graph
        self.environment = Clock()
        self.channels = [_ChannelState(channel, self.environment) for channel in graph.channels]
        self.traces = [UnitTrace() for _ in graph.units]
        self.servers: dict[str, ServerState] = {}
        self.tiers: dict[str, TierState] = {}
        for server in graph.servers:
            if isinstance(server, DramServer):
                users = [number for number, unit in enumerate(graph.units) if unit.server == server.name]
                firings = sum(graph.table(number).firings for number in users)
                self.tiers[server.name] = TierState(server, firings, self.environment, self._receive)
            else:
                self.servers[server.name] = ServerState(server, self.environment)
        for number, unit in enumerate(graph.units):
            if unit.server is None or not graph.table(number).uses_server:
                continue
            if unit.server in self.tiers:
                self.tiers[unit.server].clients[number] = Client()
            else:
                self.servers[unit.server].clients.append(number)

    def run(self) -> None:
        """Simulate until nothing can move any more."""
        for number in range(len(self.graph.units)):
            self.environment.process(self._unit(number))
        for server in self.servers.values():
            self.environment.process(server.serve())
        for tier in self.tiers.values():
            self.environment.process(tier.serve())
        self.environment.run()

    def _unit(self, number: int) -> Process:
        unit = self.graph.units[number]
        if unit.server in self.tiers and number in self.tiers[unit.server].clients:
            return self._request(number, self.tiers[unit.server])
        return self._reserve(number) if unit.issue == "reserve" else self._hold(number)

    def _wait_for_inputs(self, number: int, segment: Segment) -> Generator[simpy.Event, object, int]:
        """Wait until the last token needed on each input is visible; return the code of the input that decided."""
        cause, clock = 0, self.environment
        for port, index in enumerate(self.graph.input_channels[number]):
            channel, tokens = self.channels[index], segment.take[port]
            needed = channel.popped + tokens - 1
            while len(channel.visible) <= needed:
                yield channel.changed()
            if tokens and channel.visible[needed] > clock.cycle:
                yield clock.timeout(channel.visible[needed] - clock.cycle)
                cause = 1 + port
        return cause

    def _wait_for_slot(self, number: int, segment: Segment, port: int) -> Generator[simpy.Event, object, bool]:
        """Wait until the slots needed on one output are free; True if that took time."""
        channel, tokens = self.channels[self.graph.output_channels[number][port]], segment.make[port]
        depth, clock = channel.channel.depth, self.environment
        if tokens == 0 or depth is None:
            return False
        slot = channel.taken_slots + tokens - 1 - depth
        while channel.popped <= slot:
            yield channel.changed()
        if slot >= 0 and channel.release[slot] > clock.cycle:
            yield clock.timeout(channel.release[slot] - clock.cycle)
            return True
        return False

    def _wait_for_tokens_and_slots(self, number: int, segment: Segment) -> Generator[simpy.Event, object, int]:
        """Wait for everything that a unit which reserves its slots needs; return the code of what decided."""
        cause = yield from self._wait_for_inputs(number, segment)
        unit = self.graph.units[number]
        for port in range(unit.outputs):
            if (yield from self._wait_for_slot(number, segment, port)):
                cause = 1 + unit.inputs + port
        return cause

    def _pop(self, number: int, segment: Segment) -> None:
        for port, index in enumerate(self.graph.input_channels[number]):
            self.channels[index].pop(segment.take[port], self.environment.cycle)

    def _push(self, number: int, segment: Segment, port: int, ready: int, issued: int) -> None:
        channel = self.channels[self.graph.output_channels[number][port]]
        channel.push(segment.make[port], ready + channel.channel.latency_cycles, issued)

    def _reserve(self, number: int) -> Process:
        """A unit that starts a firing only when its output slots are free."""
        unit, trace, environment = self.graph.units[number], self.traces[number], self.environment
        for iteration, segment, count in self.graph.table(number).runs_by_iteration():
            trace.segment = segment
            for index in range(count):
                cause = yield from self._wait_for_tokens_and_slots(number, segment)
                completion = arrival = environment.cycle
                trace.add_stall(cause, arrival - trace.clock)
                if segment.request_bytes and unit.server is not None:
                    yield self.servers[unit.server].request(number, segment, segment.address_of(iteration, index))
                    completion = self.servers[unit.server].completion[number]
                    if environment.cycle > arrival:
                        cause = 1 + unit.inputs + unit.outputs
                        trace.add_stall(cause, environment.cycle - arrival)
                start = environment.cycle
                trace.start.append(start)
                trace.cause.append(cause)
                self._pop(number, segment)
                for port in range(unit.outputs):
                    self._push(number, segment, port, completion + segment.latency, start)
                trace.busy += segment.ii
                trace.clock = start + segment.ii
                yield environment.timeout(segment.ii)
        trace.segment = None

    def _request(self, number: int, tier: TierState) -> Process:
        """A unit that uses a memory tier: its firings start without a grant and are answered later."""
        unit, trace, environment = self.graph.units[number], self.traces[number], self.environment
        server_cause, window = 1 + unit.inputs + unit.outputs, tier.server.outstanding
        for iteration, segment, count in self.graph.table(number).runs_by_iteration():
            trace.segment = segment
            for index in range(count):
                cause = yield from self._wait_for_tokens_and_slots(number, segment)
                if len(trace.start) >= window:
                    answer = yield from tier.answer(number, len(trace.start) - window)
                    if answer > environment.cycle:
                        yield environment.timeout(answer - environment.cycle)
                        cause = server_cause
                start = environment.cycle
                trace.start.append(start)
                trace.cause.append(cause)
                trace.add_stall(cause, start - trace.clock)
                self._pop(number, segment)
                for port, channel in enumerate(self.graph.output_channels[number]):
                    self.channels[channel].promise(segment.make[port], start)
                tier.request(number, segment, segment.address_of(iteration, index))
                trace.busy += segment.ii
                trace.clock = start + segment.ii
                yield environment.timeout(segment.ii)
        trace.segment = None
        if trace.start:
            answer = yield from tier.answer(number, len(trace.start) - 1)
            trace.add_stall(server_cause, max(0, answer - trace.clock))
            trace.clock = max(trace.clock, answer)

    def _receive(self, number: int, segment: Segment, answer: int) -> None:
        """The promised tokens of a firing of unit ``number`` are on their way."""
        for port, index in enumerate(self.graph.output_channels[number]):
            channel = self.channels[index]
            channel.arrive(segment.make[port], answer + segment.latency + channel.channel.latency_cycles)

    def _hold(self, number: int) -> Process:
        """A unit that pops first and holds its result until the slots are free."""
        unit, trace, environment = self.graph.units[number], self.traces[number], self.environment
        first_output = 1 + unit.inputs
        for segment, count in self.graph.table(number).runs():
            trace.segment = segment
            for _ in range(count):
                cause = yield from self._wait_for_inputs(number, segment)
                start = environment.cycle
                trace.start.append(start)
                trace.cause.append(cause)
                trace.add_stall(cause, start - trace.clock)
                trace.busy += segment.ii
                trace.clock = start + segment.ii
                trace.holding = True
                self._pop(number, segment)
                cause, waits = 0, []
                for port in range(unit.outputs):
                    before = environment.cycle
                    if (yield from self._wait_for_slot(number, segment, port)):
                        cause = first_output + port
                        waits.append((cause, environment.cycle - before))
                    if unit.issue == "hold_in_turn":
                        for wait in waits:
                            trace.add_stall(*wait)
                        waits = []
                        self._push(number, segment, port, self._held(start, segment), environment.cycle)
                        trace.issued_ports += 1
                        trace.clock = environment.cycle + segment.ii
                issued = environment.cycle
                if unit.issue == "hold":
                    for wait in waits:
                        trace.add_stall(*wait)
                    for port in range(unit.outputs):
                        self._push(number, segment, port, self._held(start, segment), issued)
                trace.wait.append(issued - start)
                trace.wait_cause.append(cause)
                trace.holding, trace.issued_ports = False, 0
                trace.clock = issued + segment.ii
                if segment.ii:
                    yield environment.timeout(segment.ii)
        trace.segment = None

    def _held(self, start: int, segment: Segment) -> int:
        """Arrival of a held result: its latency ran during the wait, but a transfer takes at least one cycle."""
        return max(start + segment.latency, self.environment.cycle + 1)


def run_reference(graph: FrozenGraph) -> Outcome:
    """Run ``graph`` to its end or to its deadlock on the SimPy engine."""
    run = ReferenceRun(graph)
    run.run()
    traces, channels = run.traces, run.channels
    cycles = max(0, *(trace.clock for trace in traces), *(tier.last_answer for tier in run.tiers.values()))
    servers = [_server_counters(run, server, cycles) for server in graph.servers]
    return Outcome(
        fired=[len(trace.start) for trace in traces],
        busy=[trace.busy for trace in traces],
        clock=[trace.clock for trace in traces],
        stall=[
            [trace.stall.get(code, 0) for code in range(cause_count(graph, unit))] for unit, trace in enumerate(traces)
        ],
        hashes=[_hashes(trace) for trace in traces],
        segment=[trace.segment for trace in traces],
        holding=[trace.holding for trace in traces],
        issued_ports=[trace.issued_ports for trace in traces],
        pushed=[len(channel.visible) for channel in channels],
        popped=[channel.popped for channel in channels],
        peak=[channel.peak_occupancy() for channel in channels],
        grants=[grants for grants, _, _, _ in servers],
        server_busy=[busy for _, busy, _, _ in servers],
        server_bytes=[moved for _, _, moved, _ in servers],
        tiers=[counters for _, _, _, counters in servers],
        trace=Trace(
            *(
                tuple(_padded(getattr(trace, column), len(trace.start)) for trace in traces)
                for column in ("start", "cause", "wait", "wait_cause")
            )
        ),
    )


def _server_counters(run: ReferenceRun, server: AnyServer, cycles: int) -> tuple[int, int, int, DramCounters | None]:
    """Grants, busy cycles and bytes of a server, and what happened on it if it is a memory tier."""
    if isinstance(server, DramServer):
        tier = run.tiers[server.name]
        counters = tier.close(cycles)
        return tier.grants, server.busy_cycles(counters), tier.bytes, counters
    state = run.servers[server.name]
    return state.grants, state.busy, state.bytes, None


def _padded(values: list[int], length: int) -> IntArray:
    array = np.zeros(length, np.int64)
    array[: len(values)] = values
    return array


def _hashes(trace: UnitTrace) -> tuple[int, int]:
    """Fingerprint of a recorded schedule: per firing its start, and for a held result also its waiting."""
    start = np.asarray(trace.start, np.int64)
    delta = np.diff(start, prepend=0)
    cause = np.asarray(trace.cause, np.int64)
    if trace.wait:
        rows = len(trace.wait)
        delta = np.concatenate([np.stack([delta[:rows], trace.wait], 1).ravel(), delta[rows:]])
        cause = np.concatenate([np.stack([cause[:rows], trace.wait_cause], 1).ravel(), cause[rows:]])
    low, high = fingerprint(delta, cause)
    return int(low), int(high)
