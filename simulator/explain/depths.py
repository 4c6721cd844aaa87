"""FIFO sizing as a result: the smallest depths without deadlock, and the smallest depths at full rate.

Full rate is the number of cycles with unbounded FIFOs. Without servers a deeper FIFO is never slower (all terms of the
recurrence are monotone), so each search is a bisection. Depths depend on each other: slack that one FIFO lacks another
may give. The advice is a vector that works *together* and is minimal: no depth in it can be lowered alone. FIFOs are
shrunk in the order of what they hold at full rate, small ones first, so that the row-long ones get what is left to do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import Protocol

from simulator.engines.compiled.engine import run_compiled
from simulator.engines.outcome import Outcome
from simulator.engines.progress import report
from simulator.errors import SimulatorError
from simulator.explain.full_rate import FullRate
from simulator.graph import FrozenGraph

Depths = dict[str, int]
LONGEST_UNBOUNDED = 1 << 26
"""Firings up to which full rate is found by simulating all of them."""
MARGIN = 16
"""Tokens beyond twice a guess that are enough for full rate if the guess is right."""


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


def advise_depths(graph: FrozenGraph, guess: tuple[Depths, Depths] | None = None) -> DepthAdvice:
    """Search the smallest depths of all FIFOs of ``graph``.

    The depths it has now do not matter, but where a run with unbounded FIFOs would be too long: then they are the
    proof of what full rate is, if they are deep enough for it.

    Parameters
    ----------
    guess
        Smallest depths without deadlock and at full rate, to try first: right ones save nearly all searches, as it
        takes one run to see that they are enough, and one for each to see that it cannot be lowered.

    Raises
    ------
    SimulatorError
        If the graph has servers (a deeper FIFO may then be slower, so that a smallest depth means nothing), or if it
        deadlocks even with unbounded FIFOs.
    """
    if graph.servers:
        raise SimulatorError("depth advice needs a graph without servers: with them a deeper FIFO may be slower")
    names = [channel.name for channel in graph.channels]
    search = _Search.of(graph, guess[1] if guess else None)
    report("searches", 0, 2 * len(names))
    order = sorted(names, key=lambda name: search.start[name])
    fast = search.shrunk(dict(search.start), order, search.full_rate, guess and guess[1], before=0)
    small = search.shrunk(dict(fast), order, search.alive, guess and guess[0], before=len(names))
    slowest = search.cycles_with(small)
    if slowest is None:
        raise SimulatorError(f"graph {graph.name} gets stuck with depths that it ran with before")
    return DepthAdvice(
        channels=tuple(
            ChannelAdvice(c.name, small[c.name], fast[c.name], fast[c.name] * c.token_bytes) for c in graph.channels
        ),
        full_rate_cycles=search.cycles,
        min_depth_cycles=slowest,
    )


def _run(graph: FrozenGraph, depths: Depths | dict[str, None]) -> Outcome:
    return run_compiled(graph.with_depths(dict(depths)), digest=False)


class Good(Protocol):
    """Whether depths are good enough; ``expected`` says that they probably are."""

    def __call__(self, depths: Depths, *, expected: bool = False) -> bool: ...


@dataclass(frozen=True)
class _Search:
    """A graph, what full rate is, and depths with which it reaches that.

    Parameters
    ----------
    graph, cycles, start
        The graph, its cycles at full rate, depths that are enough for it.
    bound
        What it takes at least, where that is known.
    """

    graph: FrozenGraph
    cycles: int
    start: Depths
    bound: FullRate | None
    _known: dict[tuple[tuple[str, int], ...], int | None] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(cls, graph: FrozenGraph, guess: Depths | None = None) -> _Search:
        """Full rate by a run with unbounded FIFOs, or by proof where that would be long."""
        names = [channel.name for channel in graph.channels]
        if graph.firings > LONGEST_UNBOUNDED:
            own = {channel.name: channel.depth for channel in graph.channels if channel.depth is not None}
            ample = {name: 2 * depth + MARGIN for name, depth in (guess or {}).items()}
            for depths in (own, ample):
                given = _run(graph, depths) if len(depths) == len(names) else None
                if given is not None and not any(given.segment):
                    bound = FullRate.proof(graph, max(given.clock))
                    if bound is not None:
                        return cls(graph, bound.cycles, _peaks(names, given), bound)
        unbounded = _run(graph, dict.fromkeys(names))
        if any(unbounded.segment):
            raise SimulatorError(f"graph {graph.name} deadlocks even with unbounded FIFOs")
        return cls(graph, max(unbounded.clock), _peaks(names, unbounded), None)

    def full_rate(self, depths: Depths, *, expected: bool = False) -> bool:
        """Whether the graph is as fast as can be; if that is ``expected``, nobody looks for a quick refutation."""
        if self.bound is not None and not expected and self.bound.refutes(depths, self.cycles):
            return False
        return self.cycles_with(depths) == self.cycles

    def alive(self, depths: Depths, *, expected: bool = False) -> bool:
        """Whether the graph runs to its end; likewise."""
        if self.bound is not None and not expected and self.bound.refutes(depths):
            return False
        return self.cycles_with(depths) is not None

    def cycles_with(self, depths: Depths) -> int | None:
        """Cycles with these depths, None if the graph gets stuck."""
        key = tuple(depths.items())
        if key not in self._known:
            outcome = _run(self.graph, depths)
            self._known[key] = None if any(outcome.segment) else max(outcome.clock)
        return self._known[key]

    def shrunk(
        self,
        depths: Depths,
        order: list[str],
        good: Good,
        guess: Depths | None = None,
        *,
        before: int,
    ) -> Depths:
        """Lower one depth after the other as far as ``good`` allows, the others as they are by then.

        ``before`` searches of as many again were done already.
        """
        guess = {name: guess[name] for name in depths} if guess else None
        known = guess is not None and all(guess[n] <= depths[n] for n in order) and good(guess, expected=True)
        for number, name in enumerate(order):
            low, high = 0, depths[name]
            if known and guess is not None:
                high = guess[name]  # deeper FIFOs all round are no slower than those of the guess
                low = high - 1 if high > 1 and not good(depths | {name: high - 1}) else 0
            while high - low > 1:
                middle = (low + high) // 2
                if good(depths | {name: middle}):
                    high = middle
                else:
                    low = middle
            depths[name] = high
            report("searches", before + number + 1, 2 * len(order))
        return depths


def _peaks(names: list[str], outcome: Outcome) -> Depths:
    return {name: max(peak, 1) for name, peak in zip(names, outcome.peak, strict=True)}
