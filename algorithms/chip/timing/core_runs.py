"""Runs of cores, counted: graphs that differ in times alone share what is drawn, checked and flattened of them.

The units of a slot are drawn twice by the same code (`core_graph.SlotUnits`): as a `_Sketch`, which takes all times out
and keeps the rest to compare graphs by; and, for the first graph of its kind only, as a graph, whose machine is kept as
a `simulator.alike.Mould`. Whoever wants the graph itself, for its critical path for example, has it made.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from algorithms.chip.timing.core_graph import Fabric, SlotUnits, cores_graph, servers_of
from algorithms.chip.timing.core_tables import Loop, Places
from algorithms.chip.timing.dispatch import Slot
from algorithms.chip.timing.throughput import Throughput
from simulator import Graph, Result, simulate
from simulator.alike import Counts, Mould, Times

MOST_MOULDS = 512
MOST_SEGMENTS = 2048
"""Segments of a graph up to which its machine is kept; larger ones take longer to run than to flatten."""
_MOULDS: OrderedDict[Hashable, Mould] = OrderedDict()


@dataclass(frozen=True)
class Cycles:
    """What is counted of a graph of cores, in ticks.

    Parameters
    ----------
    total
        Until the last unit is ready again.
    firings, skipped_firings
        As in `simulator.Result`.
    served
        Pairs of a server's name and the ticks in which it works, in the order of the graph.
    held
        Ticks of units that hold a matrix array for nobody.
    waits
        Of every unit of score products, pairs of a cause and stalled ticks.
    """

    total: int
    firings: int
    skipped_firings: int
    served: tuple[tuple[str, int], ...]
    held: int
    waits: tuple[tuple[tuple[str, int], ...], ...]

    @classmethod
    def of(cls, result: Result) -> Cycles:
        """Those of a simulated graph."""
        return cls(
            total=result.cycles,
            firings=result.firings,
            skipped_firings=result.skipped.firings,
            served=tuple((server.name, server.busy_cycles) for server in result.servers),
            held=sum(unit.busy_cycles for unit in result.units if unit.kind.startswith("hold")),
            waits=tuple(tuple(unit.stalled_cycles.items()) for unit in result.units if unit.kind.startswith("scores")),
        )


@dataclass(frozen=True)
class CoresRun:
    """Cores at work: the graph and the result are made when they are asked for, the counts without either.

    Parameters
    ----------
    name
        Of the launch.
    slots
        Places on the cores that are simulated, with their items.
    throughput, fabric
        How fast their units and tiers are.
    """

    name: str
    slots: tuple[Slot, ...]
    throughput: Throughput
    fabric: Fabric

    @cached_property
    def graph(self) -> Graph:
        """The graph of the cores."""
        return cores_graph(self.name, self.slots, self.throughput, self.fabric)

    @cached_property
    def result(self) -> Result:
        """The graph simulated, in ticks."""
        return simulate(self.graph, timing_only=True, digest=False, clock_hz=self.throughput.tick_hz)

    def cycles(self) -> Cycles:
        """What is counted of it; raises as `simulator.simulate`."""
        sketch = _Sketches(self)
        if len(sketch.times.latencies) > MOST_SEGMENTS:
            return Cycles.of(self.result)
        mould = _MOULDS.get(sketch.shape)
        if mould is None:
            mould = _MOULDS[sketch.shape] = Mould(self.graph.freeze())
            if len(_MOULDS) > MOST_MOULDS:
                _MOULDS.popitem(last=False)
        else:
            _MOULDS.move_to_end(sketch.shape)
        counts = mould.run(sketch.times)
        return Cycles.of(self.result) if counts is None else _cycles(mould, counts, sketch.server_names)


def _cycles(mould: Mould, counts: Counts, servers: Sequence[str]) -> Cycles:
    units = range(len(mould.units))
    return Cycles(
        total=counts.cycles,
        firings=counts.firings,
        skipped_firings=counts.skipped_firings,
        served=tuple(zip(servers, counts.served, strict=True)),
        held=sum(counts.busy[unit] for unit in units if mould.units[unit].startswith("hold")),
        waits=tuple(
            tuple(pair for pair in zip(mould.causes[unit], counts.stalled[unit], strict=True) if pair[1])
            for unit in units
            if mould.units[unit].startswith("scores")
        ),
    )


class _Sketch:
    """A slot drawn for its shape and its times; made by `SlotUnits` like a graph."""

    def __init__(self) -> None:
        self.shape: list[Hashable] = []
        self.latencies: list[int] = []
        self.intervals: list[int] = []
        self.requests: list[int] = []
        self.channels: list[int] = []
        self._kinds: set[str] = set()
        self._units = 0

    def unit(self, kind: str, group: int | None, server: str, loops: Callable[[], tuple[Loop, ...]]) -> int:
        """Note a unit, and of every kind the firings."""
        self.shape.append((kind, group, server))
        if kind not in self._kinds:
            self._kinds.add(kind)
            self._firings(loops())
        self._units += 1
        return self._units - 1

    def _firings(self, loops: Iterable[Loop]) -> None:
        for runs, times in loops:
            self.shape.append(times)
            for (take, make, latency, ii, request), count in runs:
                self.shape.append((count, take, make, request > 0))
                self.latencies.append(latency)
                self.intervals.append(ii)
                self.requests.append(request)

    def connect(
        self,
        producer: int,
        consumer: int,
        *,
        output: int,
        input: int,  # noqa: A002 - the field's word for the port
        depth: int = 2,
        latency_cycles: int = 0,
        initial_tokens: int = 0,
    ) -> None:
        """Note a channel."""
        self.shape.append((producer, consumer, output, input, depth, initial_tokens))
        self.channels.append(latency_cycles)


class _Sketches:
    """All slots of a run: those with the same items are sketched once, as they share their tables in a graph."""

    def __init__(self, run: CoresRun) -> None:
        places = Places(run.throughput)
        numbers: dict[tuple[tuple[int, int], ...], int] = {}
        sketches: list[_Sketch] = []
        cores: dict[int, int] = {}
        layout: list[tuple[int, int]] = []
        channels: list[int] = []
        for slot in run.slots:
            items = tuple((id(item), times) for item, times in slot.items)  # the launch keeps its items alive
            number = numbers.setdefault(items, len(sketches))
            if number == len(sketches):
                sketches.append(_Sketch())
                SlotUnits(sketches[-1], slot.items, places, run.throughput, run.fabric).build()
            layout.append((cores.setdefault(slot.core, len(cores)), number))
            channels += sketches[number].channels
        servers = servers_of(run.slots, run.fabric)
        self.server_names = [server.name for server in servers]
        kinds = tuple(name.partition(".")[0] for name in self.server_names)
        self.shape: Hashable = (kinds, tuple(layout), tuple(tuple(sketch.shape) for sketch in sketches))
        self.times = Times(
            [number for sketch in sketches for number in sketch.latencies],
            [number for sketch in sketches for number in sketch.intervals],
            [number for sketch in sketches for number in sketch.requests],
            [number for server in servers for number in (server.bytes_per_cycle, server.latency_cycles)],
            channels,
        )
