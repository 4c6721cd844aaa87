"""The critical path of a stored point: the point is run again with every start time kept, and its path is followed.

A store has cycles and stalls of each unit, but no start times: a path needs the whole trace. So the few points that a
page shows first are simulated once more. Their cycles must be those in the store; else the models have changed since,
and the page says so in place of the path.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from studies.families.graph.evaluate import build_graph, reason
from studies.families.value_pass import values_of
from studies.points.point import DesignPoint
from studies.store.store import Row
from studies.words import count, percent, quantity

if TYPE_CHECKING:
    from algorithms.chip.timing.mapping import LaunchRun
    from simulator.explain.critical_path import CriticalPath, PathShare
    from simulator.graph import FrozenGraph

MOST_FIRINGS = 10_000_000
"""Firings of all points of a page together whose start times are kept: some seconds of work."""
MOST_SECONDS = 20.0
"""Time that simulating a point may have taken for it to be simulated again for a page."""
MOST_PARTS = 10
"""Parts of a path that are told apart; the rest of each kind is one part."""
MOST_WORDS = 4
LEAST_SHARE = 0.001
"""So many parts of a path are spelled out, if they are such a share of it; the largest always."""
OTHERS = "others"

_LAUNCH = " ("
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
    """Cycles of a path: `kind` is a key of `studies.report.sections.critical_path.KINDS`, `name` what it is about."""

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
        uses: Counter[tuple[str, str]] = Counter()
        for part in self.parts:
            if part.name != OTHERS:
                uses[part.kind, part.name.partition(_LAUNCH)[0]] += part.cycles
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


class Tracer:
    """Finds critical paths until `most_firings` start times were kept."""

    def __init__(self, most_firings: int = MOST_FIRINGS) -> None:
        self._left = most_firings

    def trace(self, row: Row) -> TracedPath:
        """The path of a stored point, or why there is none; whatever running it again raises is a reason, too."""
        if row.outcome.metrics.get("deadlock"):
            return TracedPath(note="the design deadlocks")
        if row.outcome.wall_s > MOST_SECONDS:
            took = quantity(row.outcome.wall_s, "s")
            return TracedPath(note=f"its simulation took {took}, which is not repeated for a page")
        try:
            path = self._on_chip(row.point) if row.point.chip is not None else self._of_graph(row.point)
        except Exception as error:  # stores outlive plug-ins, files and models; their pages must come all the same
            return TracedPath(note=reason(error).rstrip("."))
        stored = row.outcome.metrics.get("cycles")
        if not isinstance(stored, int | float) or round(stored) == round(path.cycles):
            return path
        now, then = quantity(path.cycles, "cycle"), quantity(stored, "cycle")
        return TracedPath(note=f"the models have changed since the point was stored: {now} now, {then} then")

    def _of_graph(self, point: DesignPoint) -> TracedPath:
        graph = build_graph(point)
        if not point.timing_only:
            graph = graph.with_tables(values_of(point, graph).tables)  # timing may depend on data
        frozen = graph.freeze()
        path = self._critical(frozen)
        return _path(_parts(frozen, path), path.note)

    def _on_chip(self, point: DesignPoint) -> TracedPath:
        """Launches one after the other, with the gaps before them; in cycles of a core's clock."""
        from studies.families.chip.evaluate import evaluate_on_chip

        run = evaluate_on_chip(point).run
        several = len({launch.name for launch in run.launches}) > 1
        seen: dict[int, tuple[list[PathPart], str]] = {}
        parts: list[PathPart] = []
        notes: dict[str, None] = {}
        for launch, wait_s in zip(run.launches, run.exchange.waits_s, strict=True):
            if id(launch.graph) not in seen:  # launches that are alike share their graph
                seen[id(launch.graph)] = self._launch(launch, several)
            found, note = seen[id(launch.graph)]
            parts += found
            notes |= {note: None} if note else {}
            parts.append(PathPart("gap", launch.name, (launch.gap_s - wait_s) * run.clock_hz))
            parts.append(PathPart("transfer", launch.name, wait_s * run.clock_hz))
        return _path(parts, "; ".join(notes))

    def _launch(self, launch: LaunchRun, several: bool) -> tuple[list[PathPart], str]:
        from algorithms.chip.timing.throughput import TICKS_PER_CYCLE

        frozen = launch.graph.freeze()
        path = self._critical(frozen)
        where = f"{_LAUNCH}{launch.name})" if several else ""
        parts = [
            PathPart(part.kind, f"{part.name}{where}", part.cycles / TICKS_PER_CYCLE)
            for part in _parts(frozen, path, of_cores=True)
        ]
        return parts, path.note

    def _critical(self, graph: FrozenGraph) -> CriticalPath:
        from simulator.errors import SimulatorError
        from simulator.explain.critical_path import critical_path

        if graph.firings > self._left:
            raise SimulatorError(
                f"it needs the start of each of {graph.firings:,} firings, and a page keeps {MOST_FIRINGS:,} at most"
            )
        self._left -= graph.firings
        return critical_path(graph)


def _path(parts: list[PathPart], note: str) -> TracedPath:
    """Parts of one kind and name together, the small ones of each kind in one."""
    total: Counter[tuple[str, str]] = Counter()
    for part in parts:
        total[part.kind, part.name] += part.cycles
    ordered = sorted(total.items(), key=lambda item: (-item[1], item[0]))
    kept: Counter[tuple[str, str]] = Counter()
    for place, ((kind, name), cycles) in enumerate(ordered):
        kept[kind, name if place < MOST_PARTS else OTHERS] += cycles
    merged = sorted(kept.items(), key=lambda item: (-item[1], item[0]))
    return TracedPath(tuple(PathPart(kind, name, cycles) for (kind, name), cycles in merged if cycles), note)


def _parts(graph: FrozenGraph, path: CriticalPath, of_cores: bool = False) -> Iterator[PathPart]:
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
    from simulator.servers.contract import Server

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
