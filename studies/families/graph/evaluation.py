"""What came out of a graph of FIFOs: the simulator's result, errors of values, bounds; and what is kept of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from algorithms.figures import Ran
from algorithms.registry import get_algorithm
from algorithms.streaming.memory import MemoryBounds
from simulator.errors import AccountingError
from simulator.result import ChannelResult, Deadlock, Result, ServerResult, Skipped, UnitResult
from studies.families.detail import Detail, MisreadError, Stored, plain
from studies.families.deviation import Deviation
from studies.families.family import Evaluation, parameters_of
from studies.families.metrics import measure
from studies.points.point import DesignPoint, Json, Scalar


@dataclass(frozen=True)
class GraphEvaluation(Evaluation):
    """A graph, what the simulator says about it and how far its values are off.

    Parameters
    ----------
    result
        Of the simulation.
    memory
        Bounds on the cycles of a design whose keys and values come from a memory tier, else None.
    """

    result: Result
    memory: MemoryBounds | None = None

    @property
    def cycles(self) -> int:
        """Cycles until the last unit has finished its last firing."""
        return self.result.cycles

    @property
    def seconds(self) -> float:
        """Cycles divided by the clock."""
        return self.result.seconds

    @property
    def stuck(self) -> bool:
        """Whether the graph deadlocks."""
        return self.result.deadlock is not None

    @property
    def figures(self) -> Mapping[str, Scalar]:
        """What the algorithm declares of itself."""
        algorithm = get_algorithm(self.point.algorithm)
        parameters = parameters_of(algorithm, self.point)
        found = algorithm.figures(self.point.attending, parameters, Ran(self.seconds))
        return {figure.name: figure.value for figure in found}

    @property
    def detail(self) -> GraphDetail:
        """All of it but tokens and traces."""
        kept = replace(self.result, outputs={}, trace=None)
        return GraphDetail(self.point, kept, self.deviation, self.memory)


@dataclass(frozen=True)
class GraphDetail(Detail):
    """A simulated graph.

    Parameters
    ----------
    result
        Of the simulation, without tokens and traces.
    deviation
        Of the values from the oracle; None when no values were computed (timing only, or a deadlock).
    memory
        Bounds on the cycles of a design whose keys and values come from a memory tier, else None.
    """

    result: Result
    deviation: Deviation | None
    memory: MemoryBounds | None

    def measured(self) -> Mapping[str, Scalar]:
        """All metrics, from the result."""
        return measure(self.evaluation)

    @property
    def evaluation(self) -> GraphEvaluation:
        """The evaluation that this was kept of, but for the tokens that the sinks saw."""
        return GraphEvaluation(self.point, self.deviation, self.result.wall_s, self.result, self.memory)

    @property
    def uses(self) -> Mapping[str, Mapping[str, int]]:
        """Busy, stalled (by cause) and idle cycles of every unit."""
        return {
            unit.name: {"busy": unit.busy_cycles, **unit.stalled_cycles, "idle": unit.idle_cycles}
            for unit in self.result.units
        }

    def content(self) -> dict[str, Json]:
        """The simulator's own document, then errors and bounds."""
        return {
            **{name: plain(value) for name, value in self.result.to_dict().items()},
            "error": self.deviation.describe() if self.deviation else None,
            "memory_bounds": plain(self.memory.to_dict()) if self.memory else None,
        }

    @classmethod
    def read(cls, point: DesignPoint, stored: Stored) -> Self:
        """The way back; a result whose cycles do not add up is refused, too."""
        try:
            result = _result(stored)
        except AccountingError as broken:
            raise MisreadError((), str(broken)) from None
        if not result.units or not result.clock_hz > 0:
            raise MisreadError((), "it has no units, or no clock")
        return cls(
            point,
            result,
            stored.read_optional(Deviation, "error"),
            stored.read_optional(MemoryBounds, "memory_bounds"),
        )


def _deadlock(stored: Stored) -> Deadlock | None:
    """The deadlock of a document, where the remedy is called by what it is: the smallest depth that frees a FIFO."""
    told = stored.part("deadlock")
    if told is None:
        return None
    if not isinstance(told, Mapping):
        raise MisreadError((), "'deadlock' is not an object")
    if "smallest_depth" not in told:
        raise MisreadError(("deadlock", "smallest_depth"))
    return Stored({"deadlock": {**told, "remedy": told["smallest_depth"]}}).read(Deadlock, "deadlock")


def _result(stored: Stored) -> Result:
    """The result that `Result.to_dict` described."""
    return Result(
        graph=stored.read(str, "graph"),
        engine=stored.read(str, "engine"),
        cycles=stored.read(int, "cycles"),
        firings=stored.read(int, "firings"),
        wall_s=stored.read(float, "wall_s"),
        compile_s=stored.read(float, "compile_s"),
        schedule_digest=stored.read_optional(str, "schedule_digest"),
        deadlock=_deadlock(stored),
        units=stored.read(tuple[UnitResult, ...], "units"),
        channels=stored.read(tuple[ChannelResult, ...], "channels"),
        servers=stored.read(tuple[ServerResult, ...], "servers", optional=("tier",)),
        lints=stored.read(tuple[str, ...], "lints"),
        skipped=stored.read(Skipped, "skipped"),
        outputs={},
        clock_hz=stored.read(float, "clock_hz"),
    )
