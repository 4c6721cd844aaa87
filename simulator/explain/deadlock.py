"""Deadlock: who waits for whom, and which depth would free it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import replace

from simulator.engines.outcome import Outcome
from simulator.graph import FrozenGraph
from simulator.result import Deadlock, Wait

MOST_REMEDIES = 1024


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
    number = graph.channel_index(name)

    def completes_with(depth: int | None) -> bool:
        return completes(_with_depth(graph, number, depth))

    if not completes_with(None):
        return None
    low = graph.channels[number].depth or 0
    high = max(2 * low, 1)
    while not completes_with(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if completes_with(middle) else (middle, high)
    return high


def _with_depth(graph: FrozenGraph, number: int, depth: int | None) -> FrozenGraph:
    """The same graph but for the depth of one channel, and what is said of depths that are legal but suspicious."""
    channels = list(graph.channels)
    channels[number] = replace(channels[number], depth=depth)
    return replace(graph, channels=tuple(channels))


class Remedies:
    """Smallest depths that were found before: designs of a study that get stuck often need the same one.

    The smallest depth of a channel with which a graph completes does not depend on the one with which it does not.

    Parameters
    ----------
    completes
        Whether a graph runs to its end.
    """

    def __init__(self, completes: Callable[[FrozenGraph], bool]) -> None:
        self._completes = completes
        self._found: OrderedDict[Hashable, int | None] = OrderedDict()

    def forget(self) -> None:
        """Search again for all."""
        self._found.clear()

    def smallest_depth(self, graph: FrozenGraph, name: str) -> int | None:
        """As the function of this name."""
        key = _but_for(graph, name)
        if key is None:
            return smallest_depth(graph, name, self._completes)
        if key not in self._found:
            self._found[key] = smallest_depth(graph, name, self._completes)
            if len(self._found) > MOST_REMEDIES:
                self._found.popitem(last=False)
        return self._found[key]


def _but_for(graph: FrozenGraph, name: str) -> Hashable:
    """All that decides how a graph runs but the depth of one channel; None where that takes long to compare."""
    rest = graph.but_for_channels
    channels = tuple(replace(channel, depth=-1) if channel.name == name else channel for channel in graph.channels)
    return None if rest is None else (name, rest, channels)


def explain_deadlock(
    graph: FrozenGraph, outcome: Outcome, cycle: int, smallest: Callable[[FrozenGraph, str], int | None]
) -> Deadlock:
    """Name the wait-for cycle and, for each full FIFO in it, the smallest depth that lets the graph finish."""
    waits = wait_cycle(graph, outcome)
    blocked = tuple(unit.name for unit, segment in zip(graph.units, outcome.segment, strict=True) if segment)
    remedy = {}
    for wait in waits:
        if wait.reason == "space":
            depth = smallest(graph, wait.channel)
            if depth is not None:
                remedy[wait.channel] = depth
    return Deadlock(cycle, waits, blocked, remedy)
