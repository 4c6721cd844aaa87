"""Deadlock: who waits for whom, and which depth would free it."""

from __future__ import annotations

from collections.abc import Callable

from simulator.engines.outcome import Outcome
from simulator.graph import FrozenGraph
from simulator.result import Deadlock, Wait


def wait_of(graph: FrozenGraph, outcome: Outcome, unit: int) -> tuple[Wait, int] | None:
    """Wait of a unit that did not finish, and its stall code; None for a finished unit."""
    segment = outcome.segment[unit]
    if segment is None:
        return None

    def occupancy(channel: int) -> int:
        return outcome.pushed[channel] - outcome.popped[channel]

    name = graph.units[unit].name
    if not outcome.holding[unit]:
        for port, number in enumerate(graph.input_channels[unit]):
            channel = graph.channels[number]
            if occupancy(number) < segment.take[port]:
                wait = Wait(name, channel.producer, channel.name, "data", occupancy(number), channel.depth)
                return wait, 1 + port
    for port in range(outcome.issued_ports[unit], graph.units[unit].outputs):
        number = graph.output_channels[unit][port]
        channel = graph.channels[number]
        if channel.depth is not None and channel.depth - occupancy(number) < segment.make[port]:
            wait = Wait(name, channel.consumer, channel.name, "space", occupancy(number), channel.depth)
            return wait, 1 + len(graph.input_channels[unit]) + port
    return None


def wait_cycle(graph: FrozenGraph, outcome: Outcome) -> tuple[Wait, ...]:
    """Follow the waits from the first blocked unit until one repeats; the loop is the deadlock."""
    index = {unit.name: number for number, unit in enumerate(graph.units)}
    waits: dict[str, Wait] = {}
    unit = next(number for number in range(len(graph.units)) if wait_of(graph, outcome, number))
    while graph.units[unit].name not in waits:
        found = wait_of(graph, outcome, unit)
        if found is None:  # a graph that freeze() let through cannot get here: tokens are balanced
            return tuple(waits.values())
        waits[graph.units[unit].name] = found[0]
        unit = index[found[0].waits_for]
    names = list(waits)
    return tuple(waits[name] for name in names[names.index(graph.units[unit].name) :])


def smallest_depth(graph: FrozenGraph, name: str, completes: Callable[[FrozenGraph], bool]) -> int | None:
    """Smallest depth of channel ``name`` with which ``graph`` completes, all others unchanged; None if none does."""
    channel = graph.channels[graph.channel_index(name)]
    if not completes(graph.with_depths({name: None})):
        return None
    low = channel.depth or 0
    high = max(2 * low, 1)
    while not completes(graph.with_depths({name: high})):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if completes(graph.with_depths({name: middle})) else (middle, high)
    return high


def explain_deadlock(
    graph: FrozenGraph, outcome: Outcome, cycle: int, completes: Callable[[FrozenGraph], bool]
) -> Deadlock:
    """Name the wait-for cycle and, for each full FIFO in it, the smallest depth that lets the graph finish."""
    waits = wait_cycle(graph, outcome)
    blocked = tuple(unit.name for unit, segment in zip(graph.units, outcome.segment, strict=True) if segment)
    remedy = {}
    for wait in waits:
        if wait.reason == "space":
            depth = smallest_depth(graph, wait.channel, completes)
            if depth is not None:
                remedy[wait.channel] = depth
    return Deadlock(cycle, waits, blocked, remedy)
