"""Proof that a graph runs at full rate, and that it does not, without a run with unbounded FIFOs.

With unbounded FIFOs a fast producer runs ahead for ever, so that no state recurs and every firing has to be simulated.
What such a run takes at least follows from one iteration of the tables, where nothing crosses from one iteration to
another but the units themselves: the busiest unit cannot begin its last iteration before it has worked through all
others, and what follows from there on takes as long as in an iteration of its own. A run with bounded FIFOs that takes
no longer than that is at full rate, since deeper FIFOs are never slower; and one whose busiest unit is late after some
iterations is not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from simulator.engines.compiled.engine import run_compiled
from simulator.firing import Block, FiringTable, Segment
from simulator.graph import FrozenGraph
from simulator.prefix import cut, prefix

FIRST_CYCLES = 1024
"""Cycles after which a FIFO that is too shallow within a row has usually shown."""
FIRST_ITERATIONS = 2
"""Iterations after which a FIFO that is too shallow has usually shown."""
MOST_ROOM = 1 << 24
"""Tokens of an iteration up to which all its FIFOs have room for all of them."""
MOST_LOOPS = 1 << 10
"""Loops of a table up to which it is cut where its tokens are enough, run by run."""


@dataclass(frozen=True)
class FullRate:
    """What a graph takes at least, whatever the depths of its FIFOs.

    Parameters
    ----------
    graph
        The graph.
    unit
        Number of its busiest unit.
    start
        Earliest start of that unit.
    busy
        Cycles that it works in an iteration.
    tail
        Cycles from its first start in the last iteration to the end.
    """

    graph: FrozenGraph
    unit: int
    start: int
    busy: int
    tail: int

    @classmethod
    def proof(cls, graph: FrozenGraph, cycles: int) -> FullRate | None:
        """Proof that ``graph`` never takes less than so many cycles, None if none is found.

        It is looked for where iterations are alike and apart: every channel is balanced, and starts without tokens.
        """
        tables = [graph.table(unit) for unit in range(len(graph.units))]
        if graph.servers or len({table.iterations for table in tables}) != 1 or any(table.grows for table in tables):
            return None
        if any(unit.issue != "reserve" for unit in graph.units) or any(c.initial_tokens for c in graph.channels):
            return None
        one = _iterations(graph, 1)
        number = {unit.name: n for n, unit in enumerate(graph.units)}
        made = {c.name: one.table(number[c.producer]).made(c.output) for c in graph.channels}
        if any(made[c.name] != one.table(number[c.consumer]).taken(c.input) for c in graph.channels):
            return None
        # a FIFO that holds all tokens never holds anybody up, and its rings need not grow in steps
        room = sum(made.values()) <= MOST_ROOM
        one = one.with_depths({name: max(tokens, 1) if room else None for name, tokens in made.items()})
        work = [_busy(one.table(unit)) for unit in range(len(tables))]
        # a wait longer than everything else: all that ends last follows from the first firing behind it
        longest = sum(_longest(one.table(unit)) for unit in range(len(tables)))
        around = sum(channel.latency_cycles + channel.credit_latency_cycles for channel in graph.channels)
        wait = 1 + longest + around * one.firings
        busiest = [unit for unit, busy in enumerate(work) if busy == max(work)]
        bounds = (cls(graph, unit, _start(one, unit), work[unit], _tail(one, unit, wait)) for unit in busiest)
        return next((bound for bound in bounds if bound.cycles == cycles), None)

    @property
    def cycles(self) -> int:
        """Least cycles of the whole graph."""
        return self.start + (self.graph.table(self.unit).iterations - 1) * self.busy + self.tail

    def refutes(self, depths: dict[str, int], cycles: int | None = None) -> bool:
        """Whether the first iterations show that the graph gets stuck with these depths, or takes longer than so."""
        rest = self.graph.table(self.unit).iterations - 1 - FIRST_ITERATIONS
        if rest < 0:
            return False
        first = _iterations(self.graph, FIRST_ITERATIONS).with_depths(dict(depths))
        if cycles is not None and self._late(prefix(first, FIRST_CYCLES), cycles):
            return True
        outcome = run_compiled(first, digest=False)
        if any(outcome.segment):
            return True
        return cycles is not None and outcome.clock[self.unit] + rest * self.busy + self.tail > cycles

    def _late(self, beginning: FrozenGraph, cycles: int) -> bool:
        """Whether the busiest unit has lost so much after the first firings that its work ends after ``cycles``.

        Tables that end early take no time from any firing that is left.
        """
        outcome = run_compiled(beginning, digest=False, occupancy=False)
        left = (self.graph.table(self.unit).iterations - 1) * self.busy - outcome.busy[self.unit]
        return outcome.clock[self.unit] + left + self.tail > cycles


def _iterations(graph: FrozenGraph, count: int) -> FrozenGraph:
    """The first iterations of all tables."""
    units = tuple(
        replace(unit, table=replace(graph.table(number), iterations=count)) for number, unit in enumerate(graph.units)
    )
    return replace(graph, units=units)


def _busy(table: FiringTable) -> int:
    return sum(kind.ii * firings for kind, firings in table.firings_by_kind)


def _longest(table: FiringTable) -> int:
    return sum((kind.ii + kind.latency) * firings for kind, firings in table.firings_by_kind)


def _start(one: FrozenGraph, unit: int) -> int:
    """When a unit first fires in a single iteration."""
    segment, _ = next(one.table(unit).runs())
    first = FiringTable((Block((replace(segment, count=1, growth=0),)),))
    outcome = run_compiled(_demanded(_with_table(one, unit, first), unit), digest=False, occupancy=False)
    return outcome.clock[unit] - segment.ii


def _demanded(one: FrozenGraph, unit: int) -> FrozenGraph:
    """Of every unit the firings that have to come before the last one of a unit; FIFOs hold nobody up."""
    number = {other.name: n for n, other in enumerate(one.units)}
    order = _upstream(one, unit)
    if order is None:
        return one
    tables = {unit: one.table(unit)}
    for producer in order[1:]:
        whole = one.table(producer)
        needed = [
            _until_made(whole, channel.output, tables[number[channel.consumer]].taken(channel.input))
            for channel in (one.channels[c] for c in one.output_channels[producer])
            if number[channel.consumer] in tables
        ]
        tables[producer] = max(needed, key=lambda table: table.firings)
    nothing = {n: _without_firings(one.table(n)) for n in range(len(one.units)) if n not in tables}
    units = tuple(replace(other, table=(tables | nothing)[n]) for n, other in enumerate(one.units))
    return replace(one, units=units)


def _upstream(one: FrozenGraph, unit: int) -> list[int] | None:
    """A unit and all that it depends on, consumers before producers; None where a unit depends on itself."""
    number = {other.name: n for n, other in enumerate(one.units)}
    producers = {
        n: {number[one.channels[c].producer] for c in channels} for n, channels in enumerate(one.input_channels)
    }
    found, pending = {unit}, [unit]
    while pending:
        new = producers[pending.pop()] - found
        found |= new
        pending += new
    order: list[int] = []
    while len(order) < len(found):
        rest = found.difference(order)
        first = min((n for n in rest if not any(n in producers[other] for other in rest)), default=None)
        if first is None:
            return None
        order.append(first)
    return order


def _until_made(table: FiringTable, port: int, tokens: int) -> FiringTable:
    """The first firings of a table, up to the one that makes so many tokens on a port."""
    if tokens == 0:
        return _without_firings(table)
    if sum(block.loops for block in table.blocks) > MOST_LOOPS:
        return table
    limits: list[int | None] = [None] * (1 + table.inputs + table.outputs)
    limits[1 + table.inputs + port] = tokens - 1
    return cut(table, tuple(limits))


def _without_firings(table: FiringTable) -> FiringTable:
    return FiringTable((Block((replace(table.blocks[0].segments[0], count=0, growth=0),)),))


def _tail(one: FrozenGraph, unit: int, wait: int) -> int:
    """Cycles from the first firing of a unit to the end of a single iteration, all inputs being there."""
    table = one.table(unit)
    pause = Segment(1, (0,) * table.inputs, (0,) * table.outputs, 1, wait)
    late = replace(table, blocks=(Block((pause,)), *table.blocks))
    return max(run_compiled(_with_table(one, unit, late), digest=False, occupancy=False).clock) - wait


def _with_table(graph: FrozenGraph, unit: int, table: FiringTable) -> FrozenGraph:
    units = (*graph.units[:unit], replace(graph.units[unit], table=table), *graph.units[unit + 1 :])
    return replace(graph, units=units)
