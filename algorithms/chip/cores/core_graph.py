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

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Generic, Literal, Protocol, TypeVar

from algorithms.chip.cores.core_tables import Fired, Firing, Loop, Moving, Place, Places, firing_loops, table_of
from algorithms.chip.cores.dispatch import ItemRuns, Slot
from algorithms.chip.cores.fabric import Fabric
from algorithms.chip.plan.plan import WorkItem
from algorithms.chip.timing.throughput import StepTicks, Throughput
from simulator import FiringTable, Graph, Server, Unit


def cores_graph(name: str, slots: Sequence[Slot], throughput: Throughput, fabric: Fabric) -> Graph:
    """The graph of all cores that ``slots`` are on."""
    graph = Graph(name)
    for server in servers_of(slots, fabric):
        graph.add_server(server)
    places = Places(throughput)
    tables: dict[ItemRuns, dict[str, FiringTable]] = {}
    for number, slot in enumerate(slots):
        same = tables.setdefault(slot.items, {})
        drawn = _Drawn(graph, f"{slot.core}.{number}", slot.core, same, throughput, fabric)
        SlotUnits(drawn, slot.items, places, throughput, fabric).build()
    return graph


def servers_of(slots: Sequence[Slot], fabric: Fabric) -> list[Server]:
    """The servers of a graph in their order: the shared tiers, then those of every core."""
    found = [
        Server(tier.name, tier.scaled_rate, tier.latency_ticks, arbitration="oldest_first") for tier in fabric.tiers
    ]
    exchanges = any(_exchanged(item) for slot in slots for item, _ in slot.items)
    kinds = ("matrix", "exp", "vector", *(("local",) if exchanges else ()))
    for core in dict.fromkeys(slot.core for slot in slots):
        found += [Server(f"{kind}.{core}", 1, arbitration="oldest_first") for kind in kinds]
    return found


Made = TypeVar("Made")


class Drawing(Protocol[Made]):
    """What the units of a slot are drawn on."""

    def unit(self, kind: str, group: int | None, server: str, loops: Callable[[], tuple[Loop, ...]]) -> Made:
        """A unit; the firings of its kind are asked for once. A ``server`` that ends in a dot is one of the core's."""

    def moved(self, moving: Moving) -> Fired | Moving:
        """A firing that moves bytes, with its times where these matter."""

    def connect(
        self,
        producer: Made,
        consumer: Made,
        *,
        output: int,
        input: int,  # noqa: A002 - the field's word for the port
        depth: int = 2,
        latency_s: float = 0.0,
        initial_tokens: int = 0,
    ) -> object:
        """A channel."""


class _Drawn:
    """A graph under construction; ``tables`` are those of slots with the same items, by kind of unit."""

    def __init__(
        self,
        graph: Graph,
        label: str,
        core: int,
        tables: dict[str, FiringTable],
        throughput: Throughput,
        fabric: Fabric,
    ) -> None:
        self.graph, self.label, self.core, self.tables = graph, label, core, tables
        self.ticks, self.moved = throughput.ticks, fabric.fired

    def unit(self, kind: str, group: int | None, server: str, loops: Callable[[], tuple[Loop, ...]]) -> Unit:
        """A unit of the graph."""
        if kind not in self.tables:
            self.tables[kind] = table_of(loops())
        name = kind if group is None else f"{kind}{group}"
        served = f"{server}{self.core}" if server.endswith(".") else server
        return self.graph.add(Unit(f"{name}.{self.label}", name, self.tables[kind], server=served))

    def connect(
        self,
        producer: Unit,
        consumer: Unit,
        *,
        output: int,
        input: int,  # noqa: A002 - the field's word for the port
        depth: int = 2,
        latency_s: float = 0.0,
        initial_tokens: int = 0,
    ) -> None:
        """A channel of the graph."""
        self.graph.connect(
            producer,
            consumer,
            output=output,
            input=input,
            depth=depth,
            latency_cycles=self.ticks(latency_s),
            initial_tokens=initial_tokens,
        )


class SlotUnits(Generic[Made]):
    """Draws the units of one slot."""

    def __init__(
        self, drawn: Drawing[Made], items: ItemRuns, places: Places, throughput: Throughput, fabric: Fabric
    ) -> None:
        self.drawn, self.throughput, self.fabric = drawn, throughput, fabric
        self.groups = throughput.groups
        self.work = places.work(items)
        self.steps = {id(place): place.step for item, _ in self.work for place, _ in item}.values()
        self.holds = any(step.hold for step in self.steps)
        self.exchanges = any(_exchanged(item) for item, _ in items)

    def build(self) -> None:
        """Add all units and channels of the slot."""
        profile, connect = self.throughput.profile, self.drawn.connect
        tiles, items = profile.tiles_in_flight, profile.items_at_a_time
        fetch, load = self._loader()
        finish, store = self._writer()
        for group in range(self.groups):
            scores, values, last = self._chain(group)
            connect(load, scores, output=2 * group, input=0, depth=tiles + max(items - 1, 1))
            connect(load, values, output=2 * group + 1, input=1, depth=tiles)
            connect(last, finish, output=1, input=group, depth=4)
        gap_s = profile.item_gap_s
        done, port = (store, 0) if profile.next_item == "stored" else (finish, 1)
        connect(done, fetch, output=port, input=0, depth=max(4, items), latency_s=gap_s, initial_tokens=items)

    def _unit(
        self, kind: str, server: str, firing: Firing, before: Firing | None = None, group: int | None = None
    ) -> Made:
        """A unit with a firing per step of every item, and one ``before`` the steps of each; alike in all groups."""
        return self.drawn.unit(kind, group, server, lambda: firing_loops(self.work, firing, before))

    # loads

    def _loader(self) -> tuple[Made, Made]:
        """The unit that begins an item's loads, and the one that hands tiles to the chains."""
        memory, cache = self.fabric.memory, self.fabric.cache
        if cache is None or not self.fabric.loads_wait_for_cache:
            load = self._load("memory", memory.name, 0, 1, "load", behind_cache=cache is not None)
            return load, load
        fetch = self._unit(
            "fetch",
            memory.name,
            lambda at: self.drawn.moved(Moving((0,), (1,), "memory", "load", at.step.load_bytes)),
            lambda at: self.drawn.moved(Moving((1,), (1,), "memory", "load", at.first_load_bytes)),
        )
        load = self._load("cache", cache.name, 1, 1, "all")
        profile = self.throughput.profile
        depth = profile.tiles_in_flight + profile.items_at_a_time - 1
        self.drawn.connect(fetch, load, output=0, input=0, depth=depth)
        return fetch, load

    def _load(
        self,
        tier: Literal["memory", "cache"],
        server: str,
        take: int,
        take_first: int,
        share: Literal["load", "all"],
        *,
        behind_cache: bool = False,
    ) -> Made:
        """Tiles go to scores and values, what an item needs first to the scores alone."""
        tile, first = (1, 1) * self.groups, (1, 0) * self.groups

        def tiles(at: Place) -> Fired | Moving:
            step = at.step
            return self.drawn.moved(
                Moving((take,), tile, tier, share, step.load_bytes, behind_cache, rearrange=step.rearrange)
            )

        def ahead(at: Place) -> Fired | Moving:
            return self.drawn.moved(Moving((take_first,), first, tier, share, at.first_load_bytes, behind_cache))

        return self._unit("load", server, tiles, ahead)

    # products and softmax

    def _stage(self, name: str, group: int, server: str, ticks: Callable[[StepTicks], int]) -> Made:
        """One token in, one token out, per step."""
        return self._unit(name, server, lambda at: _computes((1,), (1,), ticks(at.step)), group=group)

    def _chain(self, group: int) -> tuple[Made, Made, Made]:
        """The scores, the values and the last unit of one row group, everything between them connected."""
        connect = self.drawn.connect
        hold_port = (1,) if self.holds else ()
        scores = self._unit(
            "scores",
            "matrix.",
            lambda at: _computes((1 + at.first, 1), (1, *hold_port), at.step.scores),
            group=group,
        )
        softmax = [scores]
        if any(step.exp for step in self.steps):
            softmax.append(self._stage("exp", group, "exp.", lambda step: step.exp))
        if any(step.vector for step in self.steps):
            softmax.append(self._stage("vector", group, "vector.", lambda step: step.vector))

        def made(at: Place) -> tuple[int, int]:
            return 1, int(at.emits)

        values = self._unit(
            "values",
            "matrix.",
            lambda at: _computes((1, 1, *hold_port), (1,) if self.exchanges else made(at), at.step.values),
            group=group,
        )
        last = values
        if self.exchanges:
            last = self._unit("exchange", "local.", lambda at: _exchange(at.step, made(at)), group=group)
            connect(values, last, output=0, input=0)
        for before, after in pairwise([*softmax, values]):
            connect(before, after, output=0, input=0)
        connect(last, scores, output=0, input=1, initial_tokens=1)
        if self.holds:
            hold = self._stage("hold", group, "matrix.", lambda step: step.hold)
            connect(scores, hold, output=1, input=0)
            connect(hold, values, output=0, input=2)
        return scores, values, last

    # stores

    def _writer(self) -> tuple[Made, Made]:
        """The unit that waits for all groups, and the one that stores."""
        memory, cache = self.fabric.memory, self.fabric.cache
        near: Literal["memory", "cache"] = "cache" if cache else "memory"
        ports = (1,) if cache else ()
        early = 0 if self.throughput.profile.next_item == "stored" else 1

        def done(at: Place) -> tuple[int]:
            return (int(at.last),)

        def stored(at: Place) -> Fired | Moving | None:
            if not at.emits:
                return None
            return self.drawn.moved(Moving((1,), (*done(at)[early:], *ports), near, "all", at.stored_bytes))

        def drained(at: Place) -> Fired | Moving | None:
            return self.drawn.moved(Moving((1,), (), "memory", "store", at.stored_bytes)) if at.emits else None

        finish = self._unit("finish", "vector.", lambda at: self._finish(at, done(at)[:early]))
        store = self._unit("store", (cache or memory).name, stored)
        self.drawn.connect(finish, store, output=0, input=0)
        if cache:
            drain = self._unit("drain", memory.name, drained)
            self.drawn.connect(store, drain, output=1 - early, input=0, depth=4)
        return finish, store

    def _finish(self, at: Place, done: tuple[int, ...]) -> Fired | None:
        """Work left behind a step, when all groups are there."""
        ticks = self.throughput.vector_ticks(at.last_vector_ops) if at.last else 0
        return _computes((1,) * self.groups, (1, *done), ticks) if at.emits else None


def _computes(take: tuple[int, ...], make: tuple[int, ...], ticks: int) -> Fired:
    """A firing that works so long."""
    return Fired(take, make, 1, max(ticks, 1), ticks)


def _exchange(step: StepTicks, make: tuple[int, int]) -> Fired:
    """Warps pass on what they have, and wait for each other."""
    return Fired((1,), make, 1 + step.exchange_wait, max(step.exchange, 1), step.exchange)


def _exchanged(item: WorkItem) -> bool:
    """Whether warps have anything to pass to each other."""
    return any(step.exchange_bytes or step.exchanges for step, _ in item.steps)
