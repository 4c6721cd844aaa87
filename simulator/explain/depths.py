"""FIFO sizing as a result: the smallest depths without deadlock, and the smallest depths at full rate.

Full rate is the number of cycles with unbounded FIFOs. Without servers a deeper FIFO is never slower (all terms of the
recurrence are monotone), so each search is a bisection. Depths depend on each other: slack that one FIFO lacks another
may give. The advice is a vector that works *together* and is minimal: no depth in it can be lowered alone. FIFOs are
shrunk in the order of what they hold at full rate, small ones first, so that the row-long ones get what is left to do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape

from simulator.engines.compiled.engine import run_compiled
from simulator.engines.outcome import Outcome
from simulator.engines.progress import report
from simulator.errors import SimulatorError
from simulator.graph import FrozenGraph

Depths = dict[str, int]


@dataclass(frozen=True)
class ChannelAdvice:
    """Smallest depths of one FIFO, in tokens; ``bytes`` is what the full-rate depth occupies."""

    name: str
    min_depth: int
    full_rate_depth: int
    bytes: int

    def to_dict(self) -> dict[str, object]:
        """JSON form."""
        return dict(vars(self))


@dataclass(frozen=True)
class DepthAdvice:
    """Smallest FIFO depths of a graph.

    Attributes
    ----------
    full_rate_cycles : int
        Cycles with unbounded FIFOs, and with all ``full_rate_depth``.
    min_depth_cycles : int
        Cycles with all ``min_depth``.
    """

    channels: tuple[ChannelAdvice, ...]
    full_rate_cycles: int
    min_depth_cycles: int

    @property
    def total_bytes(self) -> int:
        """Bytes of all FIFOs at full rate."""
        return sum(channel.bytes for channel in self.channels)

    def to_dict(self) -> dict[str, object]:
        """JSON form."""
        return {
            "channels": [channel.to_dict() for channel in self.channels],
            "totals": {
                "min_depth": sum(channel.min_depth for channel in self.channels),
                "full_rate_depth": sum(channel.full_rate_depth for channel in self.channels),
                "bytes": self.total_bytes,
            },
            "full_rate_cycles": self.full_rate_cycles,
            "min_depth_cycles": self.min_depth_cycles,
        }

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(c.name)}</td><td>{c.min_depth:,}</td><td>{c.full_rate_depth:,}</td>"
            f"<td>{c.bytes:,}</td></tr>"
            for c in self.channels
        )
        return (
            "<table><tr><th>FIFO</th><th>smallest depth</th><th>depth for full rate</th><th>bytes</th></tr>"
            f"{rows}</table>"
        )


def advise_depths(graph: FrozenGraph) -> DepthAdvice:
    """Search the smallest depths of all FIFOs of ``graph`` (the depths it has now do not matter).

    Raises
    ------
    SimulatorError
        If the graph has servers (a deeper FIFO may then be slower, so that a smallest depth means nothing), or if it
        deadlocks even with unbounded FIFOs.
    """
    if graph.servers:
        raise SimulatorError("depth advice needs a graph without servers: with them a deeper FIFO may be slower")
    names = [channel.name for channel in graph.channels]
    unbounded = _run(graph, dict.fromkeys(names))
    if any(unbounded.segment):
        raise SimulatorError(f"graph {graph.name} deadlocks even with unbounded FIFOs")
    cycles = max(unbounded.clock)

    def full_rate(outcome: Outcome) -> bool:
        return not any(outcome.segment) and max(outcome.clock) == cycles

    def alive(outcome: Outcome) -> bool:
        return not any(outcome.segment)

    searches = 2 * len(names)
    report("searches", 0, searches)
    start = {name: max(peak, 1) for name, peak in zip(names, unbounded.peak, strict=True)}
    order = sorted(names, key=lambda name: start[name])
    fast = _shrink(graph, dict(start), order, full_rate, before=0)
    small = _shrink(graph, dict(fast), order, alive, before=len(names))
    slow = _run(graph, small)
    return DepthAdvice(
        channels=tuple(
            ChannelAdvice(c.name, small[c.name], fast[c.name], fast[c.name] * c.token_bytes) for c in graph.channels
        ),
        full_rate_cycles=cycles,
        min_depth_cycles=max(slow.clock),
    )


def _run(graph: FrozenGraph, depths: Depths | dict[str, None]) -> Outcome:
    return run_compiled(graph.with_depths(dict(depths)), digest=False)


def _shrink(
    graph: FrozenGraph, depths: Depths, order: list[str], good: Callable[[Outcome], bool], *, before: int
) -> Depths:
    """Lower one depth after the other as far as ``good`` allows, the others as they are by then.

    ``before`` searches of as many again were done already.
    """
    for number, name in enumerate(order):
        low, high = 0, depths[name]
        while high - low > 1:
            middle = (low + high) // 2
            if good(_run(graph, depths | {name: middle})):
                high = middle
            else:
                low = middle
        depths[name] = high
        report("searches", before + number + 1, 2 * len(order))
    return depths
