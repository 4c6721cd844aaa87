"""Why a design takes as long as it does, and what to change next: every lever is tried before it is named."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hwmodels.errors import InputError
from studies.evaluate import build_graph
from studies.parts import find_algorithm
from studies.space import DesignPoint, Json, Scalar

if TYPE_CHECKING:
    from simulator.explain.critical_path import CriticalPath, PathShare
    from simulator.explain.stalls import StallRow
    from simulator.result import Result


@dataclass(frozen=True)
class Lever:
    """A change of one parameter that was simulated and helped.

    Parameters
    ----------
    parameter
        Name of the algorithm's parameter.
    before, after
        Its values.
    cycles_before, cycles_after
        Simulated cycles without and with the change.
    """

    parameter: str
    before: Scalar
    after: Scalar
    cycles_before: int
    cycles_after: int

    def describe(self) -> dict[str, Json]:
        """Plain JSON values."""
        return {**dataclasses.asdict(self), "gain_cycles": self.cycles_before - self.cycles_after}


@dataclass(frozen=True)
class Explanation:
    """A simulated point with its stalls, its critical path and the lever that helps most cheaply.

    Parameters
    ----------
    path
        None when the run is too large to keep every start time, or deadlocks; `path_note` says why.
    sentence
        The binding resource and the next lever, for people.
    """

    point: DesignPoint
    result: Result
    stalls: tuple[StallRow, ...]
    path: CriticalPath | None
    path_note: str
    lever: Lever | None
    sentence: str

    def describe(self) -> dict[str, Json]:
        """Plain JSON values."""
        return {
            "key": self.point.key,
            "point": self.point.describe(),
            "cycles": self.result.cycles,
            "deadlock": self.result.deadlock.to_dict() if self.result.deadlock else None,
            "stalls": [row.to_dict() for row in self.stalls],
            "critical_path": self.path.to_dict() if self.path else None,
            "critical_path_note": self.path_note,
            "lever": self.lever.describe() if self.lever else None,
            "sentence": self.sentence,
        }


def explain(point: DesignPoint) -> Explanation:
    """Simulate `point`, find what binds it, and try levers until one helps.

    Raises
    ------
    InputError, simulator.errors.SimulatorError
        When the point cannot be built.
    """
    from simulator import simulate
    from simulator.errors import SimulatorError
    from simulator.explain.critical_path import critical_path
    from simulator.explain.stalls import stall_table

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
        return Explanation(point, result, stalls, path, note, None, str(result.deadlock))
    binding = path.shares[0] if path else _busiest(result)
    shares = path.shares if path else (binding,)
    lever = next(_helpful(point, result, shares), None)
    return Explanation(point, result, stalls, path, note, lever, _sentence(result, binding, lever))


def _busiest(result: Result) -> PathShare:
    """The unit with the most busy cycles: what binds a run whose critical path is not known."""
    from simulator.explain.critical_path import PathShare

    unit = max(result.units, key=lambda unit: unit.busy_cycles)
    return PathShare("interval", unit.name, unit.busy_cycles, unit.firings)


def _helpful(point: DesignPoint, result: Result, shares: tuple[PathShare, ...]) -> Iterator[Lever]:
    """Levers that make `point` faster, tried in the order of what they should relieve."""
    from simulator import simulate

    tried: set[tuple[str, Scalar]] = set()
    for share in shares:
        for name, before, after in _candidates(point, result, share):
            if (name, after) in tried:
                continue
            tried.add((name, after))
            parameters = tuple((key, after if key == name else value) for key, value in point.parameters)
            try:
                graph = build_graph(dataclasses.replace(point, parameters=parameters))
            except InputError:
                continue
            cycles = simulate(graph, timing_only=True, digest=False, explain=False).cycles
            if cycles < result.cycles:
                yield Lever(name, before, after, result.cycles, cycles)


def _candidates(point: DesignPoint, result: Result, share: PathShare) -> Iterator[tuple[str, Scalar, Scalar]]:
    """Changes of one parameter that could relieve one share of the critical path: (name, before, after)."""
    values = dict(point.parameters)
    if share.kind == "slot":
        depth = result.channel(share.where).depth
        if depth is not None and "depths" in values:
            others = ",".join(
                part for part in str(values["depths"]).split(",") if part and not part.startswith(f"{share.where}=")
            )
            after = f"{others},{share.where}={2 * depth}".lstrip(",")
            yield "depths", values["depths"], after
        if depth is not None and depth == values.get("fifo_depth"):
            yield "fifo_depth", depth, 2 * depth
        return
    for field in dataclasses.fields(find_algorithm(point.algorithm).parameters):
        value = values.get(field.name)
        if share.where in field.metadata.get("speeds", ()) and isinstance(value, int) and value > 0:
            yield field.name, value, 2 * value


def _sentence(result: Result, binding: PathShare, lever: Lever | None) -> str:
    share = f"{100 * binding.cycles / max(result.cycles, 1):.0f} % of the critical path"
    what = {
        "interval": f"{binding.where} binds: starting its firings one after the other is {share}",
        "latency": f"the latency of {binding.where} binds: {share}",
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
        return f"{what}. No parameter of the algorithm relieves it."
    gain = 100 * (1 - lever.cycles_after / lever.cycles_before)
    effect = f"{lever.cycles_before:,} -> {lever.cycles_after:,} cycles ({gain:.1f} % fewer)"
    return f"{what}. Next lever: {lever.parameter} from {lever.before!r} to {lever.after!r}: {effect}."
