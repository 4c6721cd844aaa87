"""The part of a graph that can matter before a given cycle: the same units with their firing tables cut.

Every latency is at least 1, so nothing that happens at or after cycle ``end`` can reach back: a graph that lacks only
firings that could not start before ``end`` behaves the same up to there. What a firing cannot beat is the sum of the
initiation intervals before it, the tokens its producers can have made and the slots its consumers can have freed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from simulator.firing import FiringTable, Segment, recorded
from simulator.graph import FrozenGraph

Limits = tuple[int | None, ...]


def prefix(graph: FrozenGraph, end: int) -> FrozenGraph:
    """``graph`` with at least all firings that start, or ask a server, before cycle ``end``.

    A unit that cannot be bounded (zero initiation interval, unbounded FIFOs all round) keeps its whole table. Producers
    and consumers of the result need not agree about the number of tokens: it stops where the tables stop.
    """
    return _Cutter(graph, end).graph_before()


@dataclass
class _Cutter:
    """Cuts one unit after the other: what is cut bounds the tokens and slots of its neighbours."""

    graph: FrozenGraph
    end: int

    def __post_init__(self) -> None:
        self._numbers = {unit.name: number for number, unit in enumerate(self.graph.units)}
        self._cut: dict[int, FiringTable] = {}

    def graph_before(self) -> FrozenGraph:
        """Units with positive intervals first, then whichever is next to one that is cut."""
        pending = sorted(range(len(self.graph.units)), key=lambda unit: _can_stand_still(self.graph.table(unit)))
        while pending:
            unit = next(
                (u for u in pending if not _can_stand_still(self.graph.table(u)) or _known(self._tokens(u))), pending[0]
            )
            pending.remove(unit)
            self._cut[unit] = cut(self.graph.table(unit), (self.end - 1, *self._tokens(unit)))
        units = tuple(replace(unit, table=self._cut[number]) for number, unit in enumerate(self.graph.units))
        return replace(self.graph, units=units)

    def _tokens(self, unit: int) -> Limits:
        """Most tokens of every input, then most slots of every output, as far as cut neighbours tell."""
        limits: list[int | None] = []
        for number in self.graph.input_channels[unit]:
            channel = self.graph.channels[number]
            table = self._cut.get(self._numbers[channel.producer])
            limits.append(None if table is None else channel.initial_tokens + table.made(channel.output))
        for number in self.graph.output_channels[unit]:
            channel = self.graph.channels[number]
            table = self._cut.get(self._numbers[channel.consumer])
            if table is None or channel.depth is None:
                limits.append(None)
            else:
                limits.append(channel.depth - channel.initial_tokens + table.taken(channel.input))
        return tuple(limits)


def _known(limits: Limits) -> bool:
    return any(limit is not None for limit in limits)


def _can_stand_still(table: FiringTable) -> bool:
    return any(segment.ii == 0 for block in table.blocks for segment in block.segments)


def cut(table: FiringTable, limits: Limits) -> FiringTable:
    """The first firings of ``table``, up to and including the one with which a use of it exceeds its limit.

    Parameters
    ----------
    limits : tuple of int or None
        Limits of the summed initiation intervals, then of the tokens taken per input, then of those made per output.

    Returns
    -------
    FiringTable
        Cut behind an iteration where more than one is needed, so that it stays run-length coded; inside the first
        iteration otherwise.
    """
    iterations = _iterations_needed(table, limits)
    if iterations != 1:
        return replace(table, iterations=iterations)
    return recorded(list(_first_runs(replace(table, iterations=1), limits)))


def _uses(segment: Segment) -> tuple[int, ...]:
    return (segment.ii, *segment.take, *segment.make)


def _iterations_needed(table: FiringTable, limits: Limits) -> int:
    spent = [0] * len(limits)
    for iteration in range(table.iterations):
        index = iteration % table.ramp_length if table.ramp_length else iteration
        for block in table.blocks:
            loops = block.loops + block.growth * index
            for segment in block.segments:
                firings = loops * (segment.count + segment.growth * index)
                spent = [total + firings * use for total, use in zip(spent, _uses(segment), strict=True)]
        if any(limit is not None and total > limit for total, limit in zip(spent, limits, strict=True)):
            return iteration + 1
    return table.iterations


def _first_runs(table: FiringTable, limits: Limits) -> Iterator[Segment]:
    spent = [0] * len(limits)
    yield replace(table.blocks[0].segments[0], count=0, growth=0)  # keeps the ports of a table without firings
    for segment, count in table.runs():
        uses = _uses(segment)
        room = [
            (limit - total) // use + 1
            for total, limit, use in zip(spent, limits, uses, strict=True)
            if limit is not None and use > 0
        ]
        firings = min([count, *room])
        yield replace(segment, count=firings, growth=0)
        spent = [total + firings * use for total, use in zip(spent, uses, strict=True)]
        if any(limit is not None and total > limit for total, limit in zip(spent, limits, strict=True)):
            return
