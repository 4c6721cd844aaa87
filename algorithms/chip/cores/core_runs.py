"""Runs of cores, counted: graphs that differ in times alone share what is drawn, checked and flattened of them.

The units of a slot are drawn twice by the same code (`core_graph.SlotUnits`): as a `_Sketch`, which takes all times out
and keeps the rest to compare graphs by; and, for the first graph of its kind only, as a graph, whose machine is kept as
a `simulator.explain.alike.Mould`. Whoever wants the graph itself, for its critical path for example, has it made.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from algorithms.chip.cores.core_graph import SlotUnits, cores_graph, servers_of
from algorithms.chip.cores.core_tables import Fired, Loop, Moving, Places
from algorithms.chip.cores.dispatch import ItemRuns, Slot
from algorithms.chip.cores.fabric import SHARE_SCALE, Fabric, MovedBytes
from algorithms.chip.timing.throughput import Throughput
from simulator import Graph, Result, simulate
from simulator.explain.alike import Counts, Mould, Times

MOST_MOULDS = 512
MOST_SKETCHES = 4096
MOST_SEGMENTS = 2048
"""Segments of a graph up to which its machine is kept; larger ones take longer to run than to flatten."""
MOST_KEPT = 64
"""Graphs and results that are kept for whoever asks for them again: they are large, and seldom wanted."""
LEAST_SHARE = 2 / SHARE_SCALE
"""Different numbers of bytes are different requests if a tier has at least this share of them."""
_MOULDS: OrderedDict[Hashable, Mould] = OrderedDict()
_SKETCHES: OrderedDict[Hashable, tuple[tuple[Slot, ...], _Sketched]] = OrderedDict()
"""With the slots, since they are told apart by the identities of their items."""


def forget_runs() -> None:
    """Forget what was drawn and flattened of earlier runs."""
    _SKETCHES.clear()
    _MOULDS.clear()
    _graph_of.cache_clear()
    _result_of.cache_clear()


@dataclass(frozen=True)
class Cycles:
    """What is counted of a graph of cores, in ticks.

    Parameters
    ----------
    total
        Until the last unit is ready again.
    firings, skipped_firings
        Counts that mean what they mean in `simulator.Result`.
    served
        Pairs of a server's name and the ticks in which it works, in the order of the graph.
    held
        Ticks of units that hold a matrix array for nobody.
    waits
        Pairs of a cause and stalled ticks, for every unit of score products.
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


@dataclass(frozen=True, eq=False)
class CoresRun:
    """Cores at work: the graph and the result are made when they are asked for, the counts without either.

    Parameters
    ----------
    name
        Name of the launch.
    slots
        Places on the cores that are simulated, with their items.
    throughput, fabric
        How fast their units and tiers are.
    """

    name: str
    slots: tuple[Slot, ...]
    throughput: Throughput
    fabric: Fabric

    @property
    def graph(self) -> Graph:
        """The graph of the cores."""
        return _graph_of(self)

    @property
    def result(self) -> Result:
        """The graph simulated, in ticks."""
        return _result_of(self)

    def cycles(self) -> Cycles:
        """What is counted of it; raises as `simulator.simulate`."""
        sketched = self._sketched()
        if len(sketched.latencies) > MOST_SEGMENTS:
            return Cycles.of(self.result)
        times = sketched.times(self.throughput, self.fabric)
        mould = sketched.mould(self)
        counts = mould.run(times)
        return Cycles.of(self.result) if counts is None else _cycles(mould, counts, sketched.server_names)

    def _sketched(self) -> _Sketched:
        """Of an earlier run that differs in rates and latencies of tiers alone, or made."""
        shares = self.fabric.memory_share, self.fabric.stored_share
        if any(0 < share < LEAST_SHARE for share in shares):
            return _Sketched(self, self.fabric)
        cores: dict[int, int] = {}
        layout = tuple(
            (cores.setdefault(slot.core, len(cores)), tuple((id(item), times) for item, times in slot.items))
            for slot in self.slots
        )
        at = self.throughput
        # the clock turns seconds into ticks only: of tiers, and of gaps between items
        flags = self.fabric.cache is None, self.fabric.loads_wait_for_cache, shares[0] == 0, shares[1] == 0
        key = at.launch, at.core, at.profile, flags, layout
        if key in _SKETCHES:
            _SKETCHES.move_to_end(key)
            return _SKETCHES[key][1]
        made = _Sketched(self, None)
        _SKETCHES[key] = self.slots, made
        if len(_SKETCHES) > MOST_SKETCHES:
            _SKETCHES.popitem(last=False)
        return made


@lru_cache(maxsize=MOST_KEPT)
def _graph_of(run: CoresRun) -> Graph:
    return cores_graph(run.name, run.slots, run.throughput, run.fabric)


@lru_cache(maxsize=MOST_KEPT)
def _result_of(run: CoresRun) -> Result:
    return simulate(run.graph, timing_only=True, digest=False, clock_hz=run.throughput.tick_hz)


def _cycles(mould: Mould, counts: Counts, servers: Sequence[str]) -> Cycles:
    scores, holds = _watched(mould)
    return Cycles(
        total=counts.cycles,
        firings=counts.firings,
        skipped_firings=counts.skipped_firings,
        served=tuple(zip(servers, counts.served, strict=True)),
        held=sum(counts.busy[unit] for unit in holds),
        waits=tuple(
            tuple(pair for pair in zip(mould.causes[unit], counts.stalled(unit), strict=True) if pair[1])
            for unit in scores
        ),
    )


@lru_cache(maxsize=2 * MOST_MOULDS)
def _watched(mould: Mould) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Units of score products, and those that hold a matrix array for nobody."""
    named = [[i for i, name in enumerate(mould.units) if name.startswith(kind)] for kind in ("scores", "hold")]
    return tuple(named[0]), tuple(named[1])


class _Sketch:
    """A slot drawn for its shape, its times and what its times follow from; made by `SlotUnits` like a graph.

    With a ``fabric`` times are those of it; without, bytes that are moved stand for the times that they take.
    """

    def __init__(self, fabric: Fabric | None, silent: frozenset[str]) -> None:
        self.shape: list[Hashable] = []
        self.latencies: list[int] = []
        self.intervals: list[int] = []
        self.requests: list[int] = []
        self.channels_s: list[float] = []
        self.moving: list[tuple[int, Moving]] = []
        self._fabric, self._silent = fabric, silent
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

    def moved(self, moving: Moving) -> Fired | Moving:
        """The firing as it is; where the tier has no share of the bytes, they do not matter."""
        if self._fabric is not None:
            return self._fabric.fired(moving)
        return moving._replace(bytes=0) if moving.share in self._silent else moving

    def _firings(self, loops: Iterable[Loop]) -> None:
        for runs, times in loops:
            self.shape.append(times)
            for one, count in runs:
                if isinstance(one, Moving):
                    self.moving.append((len(self.latencies), one))
                    latency, ii, request = 1, 1, one.bytes
                else:
                    latency, ii, request = one.latency, one.ii, one.request_bytes
                self.shape.append((count, one.take, one.make, request > 0))
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
        latency_s: float = 0.0,
        initial_tokens: int = 0,
    ) -> None:
        """Note a channel."""
        self.shape.append((producer, consumer, output, input, depth, initial_tokens))
        self.channels_s.append(latency_s)


class _Sketched:
    """All slots of a run: those with the same items are sketched once, as they share their tables in a graph."""

    def __init__(self, run: CoresRun, fabric: Fabric | None) -> None:
        places = Places(run.throughput)
        shares = {"load": run.fabric.memory_share, "store": run.fabric.stored_share}
        silent = frozenset(name for name, share in shares.items() if share == 0)
        numbers: dict[ItemRuns, int] = {}
        sketches: list[_Sketch] = []
        cores: dict[int, int] = {}
        layout: list[tuple[int, int]] = []
        self.channels_s: list[float] = []
        for slot in run.slots:
            number = numbers.setdefault(slot.items, len(sketches))
            if number == len(sketches):
                sketches.append(_Sketch(fabric, silent))
                SlotUnits(sketches[-1], slot.items, places, run.throughput, run.fabric).build()
            layout.append((cores.setdefault(slot.core, len(cores)), number))
            self.channels_s += sketches[number].channels_s
        self.latencies: list[int] = []
        self.intervals: list[int] = []
        self.requests: list[int] = []
        self.moving: list[tuple[int, Moving]] = []
        for sketch in sketches:
            self.moving += [(len(self.latencies) + place, moving) for place, moving in sketch.moving]
            self.latencies += sketch.latencies
            self.intervals += sketch.intervals
            self.requests += sketch.requests
        self.server_names = [server.name for server in servers_of(run.slots, run.fabric)]
        kinds = tuple(name.partition(".")[0] for name in self.server_names)
        self._shape: Hashable = (kinds, tuple(layout), tuple(tuple(sketch.shape) for sketch in sketches))
        tiers = 1 if run.fabric.cache is None else 2
        self._of_cores = [1, 0] * (len(self.server_names) - tiers)
        self._gaps = [place for place, seconds in enumerate(self.channels_s) if seconds]
        self._moved = MovedBytes.of(self.moving)
        self._given = [np.array(given, np.int64) for given in (self.latencies, self.intervals, self.requests)]
        self._mould: Mould | None = None

    def times(self, throughput: Throughput, fabric: Fabric) -> Times:
        """The times of a graph with tiers of these rates."""
        latencies, intervals, requests = (given.copy() for given in self._given)
        if self.moving:
            places = self._moved.places
            latencies[places], intervals[places], requests[places] = self._moved.times(fabric)
        channels = np.zeros(len(self.channels_s), np.int64)
        for place in self._gaps:
            channels[place] = throughput.ticks(self.channels_s[place])
        shared = [number for tier in fabric.tiers for number in (tier.scaled_rate, tier.latency_ticks)]
        return Times(latencies, intervals, requests, np.array(shared + self._of_cores, np.int64), channels)

    def mould(self, run: CoresRun) -> Mould:
        """The machine of graphs of this shape, made of that of `run` if there is none."""
        if self._mould is None:
            if self._shape not in _MOULDS:
                graph = cores_graph(run.name, run.slots, run.throughput, run.fabric).freeze()
                if not Mould.times_of(graph).equal(self.times(run.throughput, run.fabric)):
                    raise ValueError(f"the graph of {graph.name} has other times than its sketch")
                _MOULDS[self._shape] = Mould(graph)
                if len(_MOULDS) > MOST_MOULDS:
                    _MOULDS.popitem(last=False)
            _MOULDS.move_to_end(self._shape)
            self._mould = _MOULDS[self._shape]
        return self._mould
