"""Why a design takes as long as it does, and what to change next: every lever is tried before it is named."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from hwmodels.reading.errors import InputError
from simulator import simulate
from simulator.errors import SimulatorError
from simulator.explain.critical_path import CriticalPath, PathShare, critical_path
from simulator.explain.stalls import StallRow, stall_table
from simulator.result import ChannelResult, Result
from studies.families.detail import plain
from studies.families.explanation import Explanation, Lever
from studies.families.graph.evaluate import build_graph
from studies.families.graph.losses import waited_for
from studies.families.text import subject
from studies.points.find import find_algorithm
from studies.points.point import DesignPoint, Json, Scalar
from studies.tables import table

_CLEAR_GAIN = 0.01
"""Share of the cycles from which a lever is good enough to try no further ones."""


PATH_ROWS = 8
"""Shares of a critical path that a text shows."""


@dataclass(frozen=True)
class GraphExplanation(Explanation):
    """A simulated graph with its stalls, its critical path and the lever that helps most cheaply.

    Parameters
    ----------
    path
        None when the run is too large to keep every start time, or deadlocks; `path_note` says why.
    sentence
        The binding resource and the next lever, for people.
    """

    result: Result
    stalls: tuple[StallRow, ...]
    path: CriticalPath | None
    path_note: str
    told: str

    @property
    def sentence(self) -> str:
        """The binding resource and the next lever, or the deadlock."""
        return self.told

    @property
    def cost_unit(self) -> str:
        """Graphs are timed in cycles."""
        return "cycle"

    @property
    def stuck(self) -> bool:
        """Whether the graph deadlocks."""
        return self.result.deadlock is not None

    def text(self) -> str:
        """Stalls and the critical path for people."""
        stalls = [(row.unit, row.use, row.cycles, f"{100 * row.share:.1f}%") for row in self.stalls]
        parts = [subject(self.point), table(("unit", "cycles go to", "cycles", "share"), stalls)]
        path = self.path
        if path is not None:
            shares = [
                (share.kind, share.where, share.cycles, f"{100 * share.cycles / path.cycles:.1f}%")
                for share in path.shares[:PATH_ROWS]
            ]
            kind = "exact" if path.exact else path.note
            parts.append(f"critical path, {path.cycles:,} cycles ({kind}):")
            parts.append(table(("edge", "where", "cycles", "share"), shares))
        elif self.path_note:
            parts.append(f"critical path: {self.path_note}")
        return "\n\n".join([*parts, self.sentence])

    def describe(self) -> dict[str, Json]:
        """Plain JSON values: what ``attnflow explain --json`` prints."""
        return {
            "key": self.point.key,
            "point": self.point.describe(),
            "cycles": self.result.cycles,
            "deadlock": plain(self.result.deadlock.to_dict()) if self.result.deadlock else None,
            "stalls": [plain(row.to_dict()) for row in self.stalls],
            "critical_path": plain(self.path.to_dict()) if self.path else None,
            "critical_path_note": self.path_note,
            "lever": _described(self.levers[0]) if self.levers else None,
            "sentence": self.sentence,
        }


def _described(lever: Lever) -> dict[str, Json]:
    """A lever in cycles."""
    before, after = round(lever.cost_before), round(lever.cost_after)
    return {
        "parameter": lever.name,
        "before": lever.before,
        "after": lever.after,
        "cycles_before": before,
        "cycles_after": after,
        "gain_cycles": before - after,
    }


def explain_graph(point: DesignPoint) -> GraphExplanation:
    """Simulate `point`, find what binds it, and try levers until one helps.

    Raises
    ------
    InputError, simulator.errors.SimulatorError
        When the point cannot be built.
    """
    point = dataclasses.replace(point, timing_only=True)
    graph = build_graph(point).freeze()
    result = simulate(graph, engine=point.engine, skip=point.skip, timing_only=True, clock_hz=point.clock_hz)
    stalls = stall_table(result)
    path, note = None, ""
    try:
        path = critical_path(graph)
    except SimulatorError as error:
        note = str(error)
    if result.deadlock:
        return GraphExplanation(point, (), result, stalls, path, note, str(result.deadlock))
    binding = path.shares[0] if path else _busiest(result)
    shares = path.shares if path else (binding,)
    lever, tried = _helpful(point, result, shares)
    told = _sentence(result, binding, lever, tried)
    return GraphExplanation(point, (lever,) if lever else (), result, stalls, path, note, told)


def _busiest(result: Result) -> PathShare:
    """The unit with the most busy cycles: what binds a run whose critical path is not known."""
    unit = max(result.units, key=lambda unit: unit.busy_cycles)
    return PathShare("interval", unit.name, unit.busy_cycles, unit.firings)


def _helpful(point: DesignPoint, result: Result, shares: tuple[PathShare, ...]) -> tuple[Lever | None, tuple[str, ...]]:
    """The first lever that makes `point` clearly faster, in the order of the shares, else the best; all that failed."""
    tried: list[tuple[str, Scalar]] = []
    best: Lever | None = None
    for share in shares:
        for name, before, after in _candidates(point, result, share):
            if (name, after) in tried:
                continue
            parameters = tuple((key, after if key == name else value) for key, value in point.parameters)
            try:
                graph = build_graph(dataclasses.replace(point, parameters=parameters))
            except InputError:
                continue
            tried.append((name, after))
            cycles = simulate(graph, timing_only=True, digest=False, explain=False).cycles
            if cycles < (best.cost_after if best else result.cycles):
                best = Lever(name, before, after, result.cycles, cycles)
                if cycles <= (1 - _CLEAR_GAIN) * result.cycles:
                    return best, ()
    return best, tuple(f"{name} = {after}" for name, after in tried)


def _candidates(point: DesignPoint, result: Result, share: PathShare) -> Iterator[tuple[str, Scalar, Scalar]]:
    """Changes of one parameter that could relieve one share of the critical path: (name, before, after)."""
    values = dict(point.parameters)
    if share.kind == "slot":
        yield from _deeper(point, result.channel(share.where))
        return
    for field in dataclasses.fields(find_algorithm(point.algorithm).parameters):
        value, slows = values.get(field.name), field.metadata.get("slows")
        if not isinstance(value, int):
            continue
        if share.where in field.metadata.get("speeds", ()) and value > 0:
            yield field.name, value, 2 * value
        elif slows and share.kind == slows.kind and share.where in slows.units and value > slows.least:
            yield field.name, value, max(slows.least, value // 2)


def _deeper(point: DesignPoint, fifo: ChannelResult) -> Iterator[tuple[str, Scalar, Scalar]]:
    """Parameters that may make a FIFO twice as deep: (name, before, after)."""
    values = dict(point.parameters)
    if fifo.depth is None:
        return
    if "depths" in values:
        others = [part for part in str(values["depths"]).split(",") if part and not part.startswith(f"{fifo.name}=")]
        yield "depths", values["depths"], ",".join([*others, f"{fifo.name}={2 * fifo.depth}"])
    for field in dataclasses.fields(find_algorithm(point.algorithm).parameters):
        value = values.get(field.name)
        # a depth of 0 is one that the algorithm decides: whether it is this FIFO's the simulation tells
        if field.metadata.get("depth") and value in (0, fifo.depth):
            yield field.name, value, 2 * fifo.depth


def _sentence(result: Result, binding: PathShare, lever: Lever | None, tried: tuple[str, ...]) -> str:
    """What binds, and the lever that helps or why there is none."""
    share = f"{100 * binding.cycles / max(result.cycles, 1):.0f} % of the critical path"
    what = {
        "interval": f"{binding.where} binds: starting its firings one after the other is {share}",
        "latency": _latency(result, binding, share),
        "slot": f"the FIFO {binding.where} binds: waiting for its slots is {share}",
        "server": f"the server {binding.where} binds: {share}",
    }[binding.kind]
    starved = [
        unit.name
        for unit in result.units
        if any(cause.startswith(f"input {binding.where}->") for cause in unit.stalled_cycles)
    ]
    if binding.kind == "interval" and starved:
        what += f"; {', '.join(starved)} starves behind it"
    if lever is None:
        return f"{what}. No parameter of the algorithm relieves it{_why_not(binding, tried)}."
    effect = f"{lever.cost_before:,} -> {lever.cost_after:,} cycles ({100 * lever.gain:.1f} % fewer)"
    return f"{what}. Next lever: {lever.name} from {lever.before!r} to {lever.after!r}: {effect}."


def _latency(result: Result, binding: PathShare, share: str) -> str:
    """A unit that waits for its own results; for one that loads, the memory behind it."""
    memory = waited_for(result, binding.where) if binding.kind == "latency" else ""
    if memory:
        return f"the memory behind {binding.where} binds: waiting for loads is {share}; {memory}"
    return f"the latency of {binding.where} binds: {share}"


def _why_not(binding: PathShare, tried: tuple[str, ...]) -> str:
    """Why no lever was found: a unit that works in every cycle can only be joined by another."""
    reasons = []
    if binding.kind == "interval" and binding.cycles <= binding.edges:
        reasons.append(f"{binding.where} starts a firing in every cycle, and none lets a firing do more")
    if tried:
        reasons.append(f"{', '.join(tried)} {'were' if len(tried) > 1 else 'was'} tried and would not help")
    return f": {'; '.join(reasons)}" if reasons else ""
