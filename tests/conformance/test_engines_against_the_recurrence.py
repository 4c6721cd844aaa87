"""Both engines against a third, slow evaluation of the recurrence that shares no code with them.

The model below keeps every token time in plain lists, fires whatever is possible in any order, and writes the
arbitration policies and the service rule out again in words of its own.
"""

from __future__ import annotations

import pytest

from simulator import FrozenGraph, Segment, Server
from simulator.engines.compiled.engine import run_compiled
from simulator.engines.outcome import Outcome
from simulator.engines.reference.engine import run_reference
from simulator.random_graphs import random_graph

ENGINES = {"compiled": lambda graph: run_compiled(graph, trace=True), "simpy": run_reference}


class Recurrence:
    """Start times, causes, waits and wait causes of every unit, by the sentences of the semantics."""

    def __init__(self, graph: FrozenGraph) -> None:
        self.graph = graph
        self.visible = [[0] * channel.initial_tokens for channel in graph.channels]
        self.pops: list[list[int]] = [[] for _ in graph.channels]
        self.todo = [[s for s, count in graph.table(u).runs() for _ in range(count)] for u in range(len(graph.units))]
        self.start: list[list[int]] = [[] for _ in graph.units]
        self.cause: list[list[int]] = [[] for _ in graph.units]
        self.wait: list[list[int]] = [[] for _ in graph.units]
        self.wait_cause: list[list[int]] = [[] for _ in graph.units]
        self.clock = [0] * len(graph.units)
        self.asking: dict[int, tuple[int, int]] = {}  # unit -> (arrival, cause)
        self.held: dict[int, tuple[int, int, int]] = {}  # unit -> (issued so far, cause of that, outputs served)
        self.ports = [[0] * server.ports for server in graph.servers]
        self.served_last = [-1] * len(graph.servers)

    def run(self) -> Recurrence:
        while any(self.advance(unit) for unit in range(len(self.todo))) or self.serve():
            pass
        return self

    def segment(self, unit: int) -> Segment:
        return self.todo[unit][len(self.start[unit])]

    def inputs(self, unit: int, segment: Segment) -> list[int | None] | None:
        """Visible time of the last token needed on each input (None: needs none); None if one is not known yet."""
        times: list[int | None] = []
        for channel, take in zip(self.graph.input_channels[unit], segment.take, strict=True):
            last = len(self.pops[channel]) + take - 1
            if take and last >= len(self.visible[channel]):
                return None
            times.append(self.visible[channel][last] if take else None)
        return times

    def slot(self, unit: int, segment: Segment, port: int) -> tuple[bool, int | None]:
        """Whether the slots needed on one output are known, and when the last of them is free (None: always)."""
        channel = self.graph.output_channels[unit][port]
        depth, make = self.graph.channels[channel].depth, segment.make[port]
        if depth is None or make == 0:
            return True, None
        needed = len(self.visible[channel]) + make - depth - 1
        if needed < 0:
            return True, None
        if needed >= len(self.pops[channel]):
            return False, None
        return True, self.pops[channel][needed] + self.graph.channels[channel].credit_latency_cycles

    @staticmethod
    def latest(start: int, times: list[int | None], first_code: int) -> tuple[int, int]:
        """The largest time and its code; whoever reaches it first keeps the blame."""
        cause = 0
        for code, time in enumerate(times, first_code):
            if time is not None and time > start:
                start, cause = time, code
        return start, cause

    def pop(self, unit: int, segment: Segment, now: int) -> None:
        for channel, take in zip(self.graph.input_channels[unit], segment.take, strict=True):
            self.pops[channel] += [now] * take

    def push(self, unit: int, port: int, make: int, leaves: int) -> None:
        channel = self.graph.output_channels[unit][port]
        time = leaves + self.graph.channels[channel].latency_cycles
        if make:
            before = self.visible[channel][-1] if self.visible[channel] else 0
            self.visible[channel] += [max(before, time)] * make

    def advance(self, unit: int) -> bool:
        """One firing, or one more step of a held result; False if nothing is possible."""
        if unit in self.asking or len(self.wait[unit]) == len(self.todo[unit]):
            return False
        if self.graph.units[unit].issue != "reserve":
            return self.advance_held(unit)
        segment = self.segment(unit)
        inputs = self.inputs(unit, segment)
        slots = [self.slot(unit, segment, port) for port in range(len(segment.make))]
        if inputs is None or not all(known for known, _ in slots):
            return False
        start, cause = self.latest(self.clock[unit], [*inputs, *(time for _, time in slots)], 1)
        if segment.request_bytes:
            self.asking[unit] = (start, cause)
        else:
            self.fire(unit, segment, start, cause, start)
        return True

    def fire(self, unit: int, segment: Segment, start: int, cause: int, ready: int) -> None:
        self.start[unit].append(start)
        self.cause[unit].append(cause)
        self.wait[unit].append(0)
        self.wait_cause[unit].append(0)
        self.pop(unit, segment, start)
        for port, make in enumerate(segment.make):
            self.push(unit, port, make, ready + segment.latency)
        self.clock[unit] = start + segment.ii

    def advance_held(self, unit: int) -> bool:
        if unit not in self.held:
            return self.start_held(unit)
        segment, start = self.todo[unit][len(self.start[unit]) - 1], self.start[unit][-1]
        issued, cause, served = self.held[unit]
        ports = range(served, len(segment.make))
        moved = False
        # an output each in turn, or all at once
        for group in [[port] for port in ports] if self.graph.units[unit].issue == "hold_in_turn" else [list(ports)]:
            slots = [self.slot(unit, segment, port) for port in group]
            if not all(known for known, _ in slots):
                return moved
            first_code = 1 + len(segment.take) + (group[0] if group else 0)
            issued, code = self.latest(issued, [time for _, time in slots], first_code)
            cause = code or cause
            for port in group:
                self.push(unit, port, segment.make[port], max(start + segment.latency, issued + 1))
            served += len(group)
            self.held[unit] = (issued, cause, served)
            moved = True
        del self.held[unit]
        self.wait[unit].append(issued - start)
        self.wait_cause[unit].append(cause)
        self.clock[unit] = issued + segment.ii
        return True

    def start_held(self, unit: int) -> bool:
        segment = self.segment(unit)
        inputs = self.inputs(unit, segment)
        if inputs is None:
            return False
        start, cause = self.latest(self.clock[unit], inputs, 1)
        self.start[unit].append(start)
        self.cause[unit].append(cause)
        self.pop(unit, segment, start)
        self.held[unit] = (start, 0, 0)
        return True

    def serve(self) -> bool:
        """Let the server whose next decision is earliest grant one request; False if nobody asks."""
        decisions = []
        for number, server in enumerate(self.graph.servers):
            arrivals = [self.asking[unit][0] for unit in self.asking if self.graph.units[unit].server == server.name]
            if arrivals:
                free = min(self.ports[number])
                decisions.append((max(min(arrivals), free), number, self.ports[number].index(free)))
        if not decisions:
            return False
        now, number, port = min(decisions)
        server = self.graph.servers[number]
        unit = self.choose(number, server, now)
        arrival, cause = self.asking.pop(unit)
        segment = self.segment(unit)
        occupied = -(-segment.request_bytes // server.bytes_per_cycle)
        self.ports[number][port] = now + occupied
        if now > arrival:
            cause = 1 + len(segment.take) + len(segment.make)
        self.fire(unit, segment, now, cause, now + occupied - 1 + server.latency_cycles)
        return True

    def choose(self, number: int, server: Server, now: int) -> int:
        clients = [
            unit
            for unit in range(len(self.graph.units))
            if self.graph.units[unit].server == server.name and self.graph.table(unit).uses_server
        ]
        waiting = [unit for unit in clients if unit in self.asking and self.asking[unit][0] <= now]
        if server.arbitration == "oldest_first":
            chosen = min(waiting, key=lambda unit: (self.asking[unit][0], unit))
        elif server.arbitration == "priority":
            chosen = min(waiting)
        else:
            behind = [unit for unit in waiting if unit > self.served_last[number]]
            chosen = min(behind or waiting)
        self.served_last[number] = chosen
        return chosen


def assert_same_schedule(model: Recurrence, outcome: Outcome) -> None:
    trace = outcome.trace
    for unit in range(len(model.graph.units)):
        held = len(model.wait[unit])
        assert trace.start[unit].tolist() == model.start[unit]
        assert trace.cause[unit].tolist() == model.cause[unit]
        assert trace.wait[unit].tolist()[:held] == model.wait[unit]
        assert trace.wait_cause[unit].tolist()[:held] == model.wait_cause[unit]
    assert outcome.pushed == [len(times) for times in model.visible]
    assert outcome.popped == [len(times) for times in model.pops]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("first_seed", range(50_000, 50_400, 100))
def test_random_graphs_follow_the_recurrence(engine, first_seed):
    deadlocks = 0
    for seed in range(first_seed, first_seed + 100):
        graph = random_graph(seed).freeze()
        model = Recurrence(graph).run()
        outcome = ENGINES[engine](graph)
        assert_same_schedule(model, outcome)
        unfinished = [len(model.wait[unit]) < len(todo) for unit, todo in enumerate(model.todo)]
        assert [segment is not None for segment in outcome.segment] == unfinished, seed
        deadlocks += any(unfinished)
    assert deadlocks > 0
