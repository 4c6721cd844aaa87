"""Cores at work as a graph of the simulator: loads, products, softmax and stores of tile steps, with their overlaps.

Per item slot of a core: ``fetch`` (from the main memory) -> ``load`` (through the caches; one unit where they cannot
bind) -> one chain per row group ->
``finish`` -> ``store`` -> ``drain`` (to the main memory); a chain is ``scores`` -> ``exp`` -> ``vector`` -> ``values``,
and ``exchange`` where warps pass partial results to each other.
Products of all chains of a core share its matrix array, a server; exp unit, vector lanes and local memory are servers
too, and the tiers are servers shared by all cores of the graph. A group begins the scores of a step when its values of
the step before have begun, or when they are exchanged; when an item's loads begin is the profile's to say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from algorithms.tiled.dispatch import ItemRuns, Slot
from algorithms.tiled.pace import Pace, StepTicks
from algorithms.tiled.plan import TileStep, WorkItem
from simulator import Block, FiringTable, Graph, Segment, Server, Unit

SHARE_SCALE = 4096
"""Requests and rates of tiers are both multiplied by this, so that a core's share of a tier need not be whole bytes."""


@dataclass(frozen=True)
class TierPace:
    """A shared tier as the cores of a graph see it.

    Parameters
    ----------
    name
        Of the server.
    bytes_per_tick
        For all cores of the graph together.
    latency_ticks
        From the end of a transfer until the data is there.
    """

    name: str
    bytes_per_tick: float
    latency_ticks: int


@dataclass(frozen=True)
class Fabric:
    """What lies between cores and the main memory.

    Parameters
    ----------
    memory
        The main memory.
    cache
        The caches before it, as one; None when there is none.
    memory_share
        Share of loaded bytes that come from the main memory.
    core_bytes_per_tick
        Most that one core can take in or give out.
    stored_share
        Share of stored bytes that go to the main memory.
    """

    memory: TierPace
    cache: TierPace | None
    memory_share: float
    core_bytes_per_tick: float
    stored_share: float = 1.0

    @property
    def loads_wait_for_cache(self) -> bool:
        """Whether loads can be held up by the caches at all: when so little comes from the main memory."""
        return self.cache is not None and self.memory_share / self.memory.bytes_per_tick < 1 / self.cache.bytes_per_tick


@dataclass(frozen=True)
class Phase:
    """``times`` equal tile steps of an item; its first and its last step are phases of their own."""

    step: StepTicks
    times: int
    first: bool = False
    last: bool = False

    @property
    def emits(self) -> bool:
        """Whether something is stored behind each of these steps."""
        return self.last or self.step.store_bytes > 0


def phases(item: WorkItem, pace: Pace) -> Iterator[Phase]:
    """The tile steps of an item; one that does nothing for an item without any."""
    steps = [(pace.step(step), times) for step, times in item.steps if times] or [(pace.step(TileStep()), 1)]
    total, done = sum(times for _, times in steps), 0
    for step, given in steps:
        times = given
        if done == 0:
            yield Phase(step, 1, first=True, last=total == 1)
            done, times = 1, times - 1
        final = int(times > 0 and done + times == total)
        if times > final:
            yield Phase(step, times - final)
        if final:
            yield Phase(step, 1, last=True)
        done += times


def cores_graph(name: str, slots: Sequence[Slot], pace: Pace, fabric: Fabric) -> Graph:
    """The graph of all cores that ``slots`` are on."""
    graph = Graph(name)
    for tier in (fabric.memory, fabric.cache):
        if tier is not None:
            rate = max(1, round(tier.bytes_per_tick * SHARE_SCALE))
            graph.add_server(Server(tier.name, rate, tier.latency_ticks, arbitration="oldest_first"))
    exchanges = any(_exchanged(item) for slot in slots for item, _ in slot.items)
    for core in dict.fromkeys(slot.core for slot in slots):
        for unit in ("matrix", "exp", "vector"):
            graph.add_server(Server(f"{unit}.{core}", 1, arbitration="oldest_first"))
        if exchanges:
            graph.add_server(Server(f"local.{core}", 1, arbitration="oldest_first"))
    tables: dict[ItemRuns, dict[str, FiringTable]] = {}
    for number, slot in enumerate(slots):
        _SlotGraph(graph, slot, f"{slot.core}.{number}", pace, fabric, tables.setdefault(slot.items, {})).build()
    return graph


@dataclass(frozen=True)
class _At:
    """Where in a slot's work a firing is."""

    item: WorkItem
    phase: Phase


Firing = Callable[[_At], Segment]


class _SlotGraph:
    """Adds the units of one slot to a graph; ``tables`` are those of slots with the same items, by kind of unit."""

    def __init__(
        self, graph: Graph, slot: Slot, label: str, pace: Pace, fabric: Fabric, tables: dict[str, FiringTable]
    ) -> None:
        self.graph, self.slot, self.label, self.pace, self.fabric = graph, slot, label, pace, fabric
        self.tables = tables
        self.groups = pace.groups
        parts = {item: tuple(phases(item, pace)) for item, _ in slot.items}
        self.runs = [([_At(item, phase) for phase in parts[item]], times) for item, times in slot.items]
        self.holds = any(at.phase.step.hold for places, _ in self.runs for at in places)
        self.exchanges = any(_exchanged(item) for item, _ in slot.items)

    def build(self) -> None:
        """All units and channels."""
        profile, connect = self.pace.profile, self.graph.connect
        tiles, items = profile.tiles_in_flight, profile.items_at_a_time
        fetch, load = self._loader()
        finish, store = self._writer()
        for group in range(self.groups):
            scores, values, last = self._chain(group)
            connect(load, scores, output=2 * group, input=0, depth=tiles + max(items - 1, 1))
            connect(load, values, output=2 * group + 1, input=1, depth=tiles)
            connect(last, finish, output=1, input=group, depth=4)
        gap = self.pace.ticks(profile.item_gap_s)
        done, port = (store, 0) if profile.next_item == "stored" else (finish, 1)
        connect(done, fetch, output=port, input=0, depth=max(4, items), latency_cycles=gap, initial_tokens=items)

    def _unit(self, kind: str, server: str, firing: Firing, before: Firing | None = None) -> Unit:
        """A unit with a firing per phase of every item, and one ``before`` the phases of each item."""
        if kind not in self.tables:
            self.tables[kind] = self._table(firing, before)
        return self.graph.add(Unit(f"{kind}.{self.label}", kind, self.tables[kind], server=server))

    def _table(self, firing: Firing, before: Firing | None) -> FiringTable:
        blocks = []
        for places, times in self.runs:
            head = (before(places[0]),) if before else ()
            segments = (*head, *(firing(at) for at in places))
            blocks.append(Block(tuple(segment for segment in segments if segment.count), times))
        return FiringTable(tuple(blocks))

    # loads

    def _loader(self) -> tuple[Unit, Unit]:
        """The unit that begins an item's loads, and the one that hands tiles to the chains."""
        memory, cache = self.fabric.memory, self.fabric.cache
        share = self.fabric.memory_share
        if cache is None or not self.fabric.loads_wait_for_cache:
            load = self._load(memory, 0, 1, share, cache.latency_ticks if cache else 0)
            return load, load
        fetch = self._unit(
            "fetch",
            memory.name,
            lambda at: self._moves(memory, at.phase.times, (0,), (1,), at.phase.step.load_bytes * share),
            lambda at: self._moves(memory, 1, (1,), (1,), at.item.first_load_bytes * share),
        )
        load = self._load(cache, 1, 1, 1.0)
        profile = self.pace.profile
        depth = profile.tiles_in_flight + profile.items_at_a_time - 1
        self.graph.connect(fetch, load, output=0, input=0, depth=depth)
        return fetch, load

    def _load(self, tier: TierPace, take: int, take_first: int, share: float, latency: int = 0) -> Unit:
        """Tiles go to scores and values, what an item needs first to the scores alone."""
        tile, first = (1, 1) * self.groups, (1, 0) * self.groups

        def tiles(at: _At) -> Segment:
            step = at.phase.step
            moved = self._moves(tier, at.phase.times, (take,), tile, step.load_bytes * share, latency + step.rearrange)
            return replace(moved, ii=max(moved.ii, step.rearrange)) if step.rearrange else moved

        return self._unit(
            "load",
            tier.name,
            tiles,
            lambda at: self._moves(tier, 1, (take_first,), first, at.item.first_load_bytes * share, latency),
        )

    def _moves(
        self, tier: TierPace, count: int, take: tuple[int, ...], make: tuple[int, ...], size: float, latency: int = 0
    ) -> Segment:
        """Firings that move ``size`` bytes each over a tier, and take ``latency`` ticks beside its own."""
        ii = math.ceil(size / min(tier.bytes_per_tick, self.fabric.core_bytes_per_tick))
        return Segment(count, take, make, 1 + latency, max(1, ii), request_bytes=round(size * SHARE_SCALE))

    # products and softmax

    def _computes(self, count: int, take: tuple[int, ...], make: tuple[int, ...], ticks: int) -> Segment:
        return Segment(count, take, make, 1, max(ticks, 1), request_bytes=ticks)

    def _stage(self, name: str, server: str, ticks: Callable[[StepTicks], int]) -> Unit:
        """One token in, one token out, per step."""
        return self._unit(name, server, lambda at: self._computes(at.phase.times, (1,), (1,), ticks(at.phase.step)))

    def _chain(self, group: int) -> tuple[Unit, Unit, Unit]:
        """The scores, the values and the last unit of one row group, everything between them connected."""
        core, connect = self.slot.core, self.graph.connect
        hold_port = (1,) if self.holds else ()
        scores = self._unit(
            f"scores{group}",
            f"matrix.{core}",
            lambda at: self._computes(at.phase.times, (1 + at.phase.first, 1), (1, *hold_port), at.phase.step.scores),
        )
        softmax = [scores]
        if any(at.phase.step.exp for places, _ in self.runs for at in places):
            softmax.append(self._stage(f"exp{group}", f"exp.{core}", lambda step: step.exp))
        if any(at.phase.step.vector for places, _ in self.runs for at in places):
            softmax.append(self._stage(f"vector{group}", f"vector.{core}", lambda step: step.vector))

        def made(at: _At) -> tuple[int, int]:
            return 1, int(at.phase.emits)

        values = self._unit(
            f"values{group}",
            f"matrix.{core}",
            lambda at: self._computes(
                at.phase.times, (1, 1, *hold_port), (1,) if self.exchanges else made(at), at.phase.step.values
            ),
        )
        last = values
        if self.exchanges:
            last = self._unit(f"exchange{group}", f"local.{core}", lambda at: _exchange(at.phase, made(at)))
            connect(values, last, output=0, input=0)
        for before, after in pairwise([*softmax, values]):
            connect(before, after, output=0, input=0)
        connect(last, scores, output=0, input=1, initial_tokens=1)
        if self.holds:
            hold = self._stage(f"hold{group}", f"matrix.{core}", lambda step: step.hold)
            connect(scores, hold, output=1, input=0)
            connect(hold, values, output=0, input=2)
        return scores, values, last

    # stores

    def _writer(self) -> tuple[Unit, Unit]:
        """The unit that waits for all groups, and the one that stores."""
        memory, cache = self.fabric.memory, self.fabric.cache
        near = cache or memory
        early = 0 if self.pace.profile.next_item == "stored" else 1

        def done(at: _At) -> tuple[int]:
            return (int(at.phase.last),)

        finish = self._unit(
            "finish",
            f"vector.{self.slot.core}",
            lambda at: self._computes(_stores(at), (1,) * self.groups, (1, *done(at)[:early]), self._last_ticks(at)),
        )
        ports = (1,) if cache else ()
        store = self._unit(
            "store",
            near.name,
            lambda at: self._moves(near, _stores(at), (1,), (*done(at)[early:], *ports), _stored_bytes(at)),
        )
        self.graph.connect(finish, store, output=0, input=0)
        if cache:
            share = self.fabric.stored_share
            drain = self._unit(
                "drain", memory.name, lambda at: self._moves(memory, _stores(at), (1,), (), share * _stored_bytes(at))
            )
            self.graph.connect(store, drain, output=1 - early, input=0, depth=4)
        return finish, store

    def _last_ticks(self, at: _At) -> int:
        return self.pace.vector_ticks(at.item.last_vector_ops) if at.phase.last else 0


def _exchange(phase: Phase, make: tuple[int, int]) -> Segment:
    """Warps pass on what they have, and wait for each other."""
    ticks, latency = phase.step.exchange, 1 + phase.step.exchange_wait
    return Segment(phase.times, (1,), make, latency, max(ticks, 1), request_bytes=ticks)


def _exchanged(item: WorkItem) -> bool:
    """Whether warps have anything to pass to each other."""
    return any(step.exchange_bytes or step.exchanges for step, _ in item.steps)


def _stores(at: _At) -> int:
    """Firings of the writing units in a phase."""
    return at.phase.times if at.phase.emits else 0


def _stored_bytes(at: _At) -> int:
    return at.phase.step.store_bytes + (at.item.last_store_bytes if at.phase.last else 0)
