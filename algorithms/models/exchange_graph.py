"""A collective as a graph of the simulator: every chip's rounds of messages, its way out a server, arrivals as tokens.

A chip begins a round when the messages of the round before have arrived from everyone who sends to it. Small systems
can be simulated so; what `hwmodels.systems.collectives` states in closed form must be the same.
"""

from __future__ import annotations

from hwmodels.systems.collectives import Round, Schedule
from hwmodels.systems.system import Level
from simulator import Block, FiringTable, Graph, Segment, Server, Unit, simulate

TICKS_PER_SECOND = 10**11
"""Hundredths of a nanosecond: what is rounded of a round is less than that."""


def exchange_graph(schedule: Schedule, level: Level) -> Graph:
    """The graph of all chips; one unit per chip and round, which fires once for each message."""
    chips = schedule.chips
    rounds = [each for each in schedule.rounds for _ in range(each.times)]
    graph = Graph(f"{schedule.algorithm} of {chips}")
    shared = level.topology == "shared"
    for name in ["way"] if shared else [f"way.{chip}" for chip in range(chips)]:
        graph.add_server(Server(name, 1, arbitration="oldest_first"))
    before: list[Unit] = []
    for number, each in enumerate(rounds):
        units = [
            graph.add(_sender(each, chip, number, chips, level, "way" if shared else f"way.{chip}"))
            for chip in range(chips)
        ]
        if before:
            _join(graph, rounds[number - 1], before, units)
        before = units
    last = rounds[-1]
    done = [
        graph.add(
            Unit(f"done.{chip}", "done", FiringTable((Block((Segment(1, (1,) * len(_sources(last, chip, chips))),)),)))
        )
        for chip in range(chips)
    ]
    _join(graph, last, before, done)
    return graph


def simulated_seconds(schedule: Schedule, level: Level) -> float:
    """From the start until the last message of the last round has arrived."""
    result = simulate(exchange_graph(schedule, level), timing_only=True, digest=False, clock_hz=TICKS_PER_SECOND)
    return result.seconds


def _sender(each: Round, chip: int, number: int, chips: int, level: Level, server: str) -> Unit:
    """Sends its messages one after the other, then waits for the latency: only the last firing makes tokens."""
    messages = each.messages(chips)
    wire = each.message_bytes / level.payload_bytes_per_second
    ticks = max(1, round(max(wire, 1 / level.messages_per_second) * TICKS_PER_SECOND))
    latency = max(1, round(level.latency_s * TICKS_PER_SECOND))
    takes = len(_sources(each, chip, chips)) if number else 0
    makes = len(each.targets(chip, chips))
    segments = []
    if messages > 1:
        segments.append(Segment(1, (1,) * takes, (0,) * makes, 1, ticks, request_bytes=ticks))
    if messages > 2:
        segments.append(Segment(messages - 2, (0,) * takes, (0,) * makes, 1, ticks, request_bytes=ticks))
    last_takes = (0,) * takes if messages > 1 else (1,) * takes
    segments.append(Segment(1, last_takes, (1,) * makes, latency, ticks, request_bytes=ticks))
    return Unit(f"round{number}.{chip}", "round", FiringTable((Block(tuple(segments)),)), server=server)


def _sources(each: Round, chip: int, chips: int) -> list[int]:
    return [other for other in range(chips) if other != chip and chip in each.targets(other, chips)]


def _join(graph: Graph, each: Round, senders: list[Unit], receivers: list[Unit]) -> None:
    """Every message of a round is a token for the next round of whoever gets it."""
    chips = len(senders)
    inputs = [0] * chips
    for chip, sender in enumerate(senders):
        for output, target in enumerate(each.targets(chip, chips)):
            graph.connect(sender, receivers[target], output=output, input=inputs[target], depth=1)
            inputs[target] += 1
