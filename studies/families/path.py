"""Critical paths of points: what their cycles went to, one after the other, as pages and sentences tell it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from simulator import Server
from simulator.errors import SimulatorError
from simulator.explain.critical_path import CriticalPath, PathShare, critical_path
from simulator.graph import FrozenGraph
from studies.words import count, percent

MOST_PARTS = 10
"""Parts of a path that are told apart; the rest of each kind is one part."""
MOST_WORDS = 4
LEAST_SHARE = 0.001
"""So many parts of a path are spelled out, if they are such a share of it; the largest always."""
OTHERS = "others"
LAUNCH = " ("
"""Between the name of a unit and that of the launch, where there are several."""

_SHARED = ("memory", "cache")
_CORE_OF_UNIT = re.compile(r"\d*\.\d+\.\d+")
_PHRASES = {
    "compute": "{} at work",
    "latency": "{} under way",
    "slot": "a full {}",
    "memory": "{} answering",
    "bandwidth": "{} moving bytes",
    "memory_latency": "the latency of {}",
    "gap": "the gap before {}",
    "transfer": "{} waiting for other tiers",
    "idle": "{}",
}


@dataclass(frozen=True)
class PathPart:
    """Cycles of a path: `kind` is one of those that have a phrase, `name` the unit, FIFO, tier or launch."""

    kind: str
    name: str
    cycles: float

    @property
    def phrase(self) -> str:
        """What happens in these cycles."""
        return _PHRASES[self.kind].format(self.name)


@dataclass(frozen=True)
class TracedPath:
    """A critical path, largest part first; or no parts, and in `note` why there are none."""

    parts: tuple[PathPart, ...] = ()
    note: str = ""

    @property
    def cycles(self) -> float:
        """All parts: the cycles of the run."""
        return math.fsum(part.cycles for part in self.parts)

    @property
    def largest_use(self) -> PathPart | None:
        """The unit (or wait) that most cycles go to, in all launches together; None without a path."""
        uses: dict[tuple[str, str], float] = {}
        for part in self.parts:
            if part.name != OTHERS:
                use = part.kind, part.name.partition(LAUNCH)[0]
                uses[use] = uses.get(use, 0) + part.cycles
        if not uses:
            return None
        (kind, name), cycles = max(uses.items(), key=lambda item: item[1])
        return PathPart(kind, name, cycles)

    @property
    def sentence(self) -> str:
        """The largest parts with their shares, in words; the reason where there is no path."""
        if not self.parts:
            return f"No critical path: {self.note}."
        large = [part for part in self.parts if part.cycles >= LEAST_SHARE * self.cycles][:MOST_WORDS]
        told, small = large or self.parts[:1], self.parts[len(large) or 1 :]
        words = [f"{percent(part.cycles / self.cycles)} {part.phrase}" for part in told]
        if small:
            rest = math.fsum(part.cycles for part in small)
            words.append(f"{percent(rest / self.cycles)} in {count(len(small), 'smaller part')}")
        return ", ".join(words) + "." + (f" Remark: {self.note}." if self.note else "")


class StartTimes:
    """Start times that may still be kept: a critical path needs that of every firing.

    Parameters
    ----------
    most
        Firings of all paths together.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._left = most

    def path(self, graph: FrozenGraph) -> CriticalPath:
        """The critical path of a graph.

        Raises
        ------
        simulator.errors.SimulatorError
            When it takes more start times than are left, or the graph deadlocks.
        """
        if graph.firings > self._left:
            raise SimulatorError(
                f"it needs the start of each of {graph.firings:,} firings, and a page keeps {self.most:,} at most"
            )
        self._left -= graph.firings
        return critical_path(graph)


def merged(parts: Iterable[PathPart], note: str) -> TracedPath:
    """Parts of one kind and name together, the small ones of each kind in one."""
    total: dict[tuple[str, str], float] = {}
    for part in parts:
        total[part.kind, part.name] = total.get((part.kind, part.name), 0) + part.cycles
    ordered = sorted(total.items(), key=lambda item: (-item[1], item[0]))
    kept: dict[tuple[str, str], float] = {}
    for place, ((kind, name), cycles) in enumerate(ordered):
        shown = kind, name if place < MOST_PARTS else OTHERS
        kept[shown] = kept.get(shown, 0) + cycles
    largest_first = sorted(kept.items(), key=lambda item: (-item[1], item[0]))
    return TracedPath(tuple(PathPart(kind, name, cycles) for (kind, name), cycles in largest_first if cycles), note)


def parts_of(graph: FrozenGraph, path: CriticalPath, of_cores: bool = False) -> Iterator[PathPart]:
    """What the edges of a path are about; `of_cores`: of the units of cores, all cores alike."""
    numbers = {unit.name: number for number, unit in enumerate(graph.units)}
    for share in path.shares:
        name = _CORE_OF_UNIT.sub("", share.where) if of_cores else share.where
        if share.kind == "slot":
            yield PathPart("slot", name, share.cycles)
            continue
        number = numbers.get(share.where)
        server = share.where if number is None else _server(graph, number)
        shared, _, core = server.partition(".")
        if of_cores and (core or shared not in _SHARED):
            yield PathPart("compute", shared or name, share.cycles)
        elif server:
            yield from _of_memory(graph, share, number, server)
        else:
            yield PathPart("compute" if share.kind == "interval" else "latency", name, share.cycles)
    missing = path.cycles - sum(share.cycles for share in path.shares)
    if missing:
        yield PathPart("idle", "not attributed", missing)


def _server(graph: FrozenGraph, unit: int) -> str:
    """The server that a unit asks; empty if it asks none."""
    return graph.units[unit].server or "" if graph.table(unit).uses_server else ""


def _of_memory(graph: FrozenGraph, share: PathShare, unit: int | None, name: str) -> Iterator[PathPart]:
    """Moving bytes told from latency where the server has a constant rate; a DRAM tier has no such line."""
    server = next(server for server in graph.servers if server.name == name)
    if not isinstance(server, Server):
        yield PathPart("memory", name, share.cycles)
        return
    latency = 0
    if share.kind == "latency" and unit is not None:
        # a token leaves when its request was served, and after the latencies of server and unit
        least = min(segment.latency for block in graph.table(unit).blocks for segment in block.segments)
        latency = min(share.cycles, share.edges * (server.latency_cycles + least - 1))
    yield PathPart("memory_latency", name, latency)
    yield PathPart("bandwidth", name, share.cycles - latency)
