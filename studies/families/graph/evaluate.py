"""Evaluates one design point: builds its graph, simulates it, holds its values against the float64 oracle."""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from hwmodels.reading.errors import InputError, Problem
from studies.families.deviation import Deviation, deviation_of, oracle_of, tensors_of
from studies.families.metrics import Subject, measure
from studies.families.value_pass import values_of
from studies.points.find import find_algorithm
from studies.points.point import DesignPoint, Json
from studies.store.store import Outcome

if TYPE_CHECKING:
    from algorithms.registry import Algorithm
    from algorithms.streaming.memory import MemoryBounds
    from algorithms.streaming.parameters import StreamingParameters
    from algorithms.workload.shape import Workload
    from simulator import Graph, Result
    from studies.families.metrics import AnyEvaluation

LARGEST_VALUE_PASS = 1 << 28
"""Scores of a value pass: 16,384 queries of as many keys, 7 GB."""


@dataclass(frozen=True)
class Evaluation:
    """A design point, what the simulator says about it and how far its values are off.

    Parameters
    ----------
    point
        What was evaluated.
    result
        Of the simulation.
    deviation
        None when no values were computed (timing only, or a deadlock).
    memory
        Bounds on the cycles of a design whose keys and values come from a memory tier, else None.
    """

    subject: ClassVar[Subject] = "graph"

    point: DesignPoint
    result: Result
    deviation: Deviation | None
    memory: MemoryBounds | None = None

    @property
    def cycles(self) -> int:
        """Until the last unit has finished its last firing."""
        return self.result.cycles

    @property
    def seconds(self) -> float:
        """Cycles divided by the clock."""
        return self.result.seconds

    @property
    def wall_s(self) -> float:
        """Time the simulation took on this computer."""
        return self.result.wall_s

    def describe(self) -> dict[str, Json]:
        """Everything as plain JSON values: what ``attnflow run --json`` prints."""
        deviation = self.deviation
        return {
            "key": self.point.key,
            "point": self.point.describe(),
            **self.result.to_dict(),
            "error": {"rel_l2": deviation.rel_l2, "max_abs": deviation.max_abs} if deviation else None,
            "memory_bounds": self.memory.to_dict() if self.memory else None,
        }


def build_graph(point: DesignPoint) -> Graph:
    """The graph of a design point, with its tensors unless it is about timing only.

    Raises
    ------
    InputError, simulator.errors.GraphError
        When algorithm, parameters and workload do not fit together.
    """
    algorithm = _graph_algorithm(point)
    parameters = algorithm.parameters(**dict(point.parameters))
    tensors = None if point.timing_only else tensors_of(point.workload, point.tensors)
    return _on_memory(point, algorithm.build(point.workload, parameters, tensors))


def _on_memory(point: DesignPoint, graph: Graph) -> Graph:
    """The graph with what its parameters let come from a memory tier."""
    parameters = _memory_parameters(point)
    if parameters is None:
        return graph
    from algorithms.streaming.memory import on_memory

    return on_memory(graph, point.workload, parameters, point.clock_hz)


def _memory_parameters(point: DesignPoint) -> StreamingParameters | None:
    """Parameters of a design that loads K and V from a tier; None for all others."""
    from algorithms.streaming.parameters import StreamingParameters

    algorithm = find_algorithm(point.algorithm)
    if not issubclass(algorithm.parameters, StreamingParameters):
        return None
    parameters = algorithm.parameters(**dict(point.parameters))
    return parameters if parameters.kv_tier else None


def _memory_bounds(point: DesignPoint) -> MemoryBounds | None:
    """Cycles between which a design that loads K and V must lie."""
    parameters = _memory_parameters(point)
    if parameters is None:
        return None
    from algorithms.streaming.memory import memory_bounds

    graph = _graph_algorithm(point).build(point.workload, parameters, None)
    return memory_bounds(graph, point.workload, parameters, point.clock_hz)


def _graph_algorithm(point: DesignPoint) -> Algorithm:
    from algorithms.registry import Algorithm

    algorithm = find_algorithm(point.algorithm)
    if not isinstance(algorithm, Algorithm):
        what = f"{point.algorithm} {algorithm.what}"
        raise InputError(f"{what} and is no graph of FIFOs: `attnflow run` says what binds it there")
    if point.chip is not None:
        raise InputError(f"{point.algorithm} is a graph of FIFOs and takes no chip")
    return algorithm


def evaluate(point: DesignPoint) -> AnyEvaluation:
    """Simulate `point`, whatever kind of algorithm it is of.

    Raises
    ------
    InputError, simulator.errors.SimulatorError
        When it cannot be built or simulated. A deadlock is a result, not an error.
    """
    point.refuse_changed_files()
    takes = find_algorithm(point.algorithm).takes
    if "chip" in takes:
        from studies.families.chip.evaluate import evaluate_on_chip

        return evaluate_on_chip(point)
    if "workload" not in takes:
        from studies.families.tier.evaluate import evaluate_tier

        return evaluate_tier(point)
    return evaluate_graph(point)


def evaluate_graph(point: DesignPoint) -> Evaluation:
    """Simulate a graph of FIFOs.

    Raises
    ------
    InputError, simulator.errors.SimulatorError
        When it cannot be built or simulated. A deadlock is a result, not an error.
    """
    from simulator import simulate

    if not point.timing_only:
        _check_size_of_values(point.workload)
    graph = build_graph(point)
    values = None if point.timing_only else values_of(point, graph)
    result = simulate(
        graph if values is None else graph.with_tables(values.tables),
        engine=point.engine,
        timing_only=True,
        skip=point.skip,
        clock_hz=point.clock_hz,
    )
    if values is not None:
        result = replace(result, outputs=values.outputs)
    return Evaluation(point, result, _deviation(point, result), _memory_bounds(point))


def _check_size_of_values(workload: Workload) -> None:
    """Refuse a value pass that this computer would be lost in; its streams are arrays of all scores."""
    heads = workload.batch * workload.heads
    widths = workload.head_dim + workload.v_head_dim
    counts = {
        "scores": heads * workload.q_len * workload.kv_len,
        "elements of q, k, v": heads * workload.q_len * workload.head_dim
        + workload.batch * workload.kv_heads * workload.kv_len * widths,
    }
    for what, count in counts.items():
        if count > LARGEST_VALUE_PASS:
            message = f"{count:,} {what} are too many to compute values of, at most {LARGEST_VALUE_PASS:,}"
            raise InputError(Problem(message, hint="time alone needs none: set timing_only"))


def attempt(point: DesignPoint) -> Outcome:
    """Evaluate `point` for a sweep: whatever it raises becomes an outcome with its reason."""
    started = time.perf_counter()
    try:
        evaluation = evaluate(point)
        metrics, detail = measure(evaluation), evaluation.describe()
    except Exception as error:
        spent = time.perf_counter() - started
        return Outcome(point.key, "failed", {}, {}, reason(error), traceback.format_exc(), spent)
    return Outcome(point.key, "done", metrics, detail, wall_s=time.perf_counter() - started)


def reason(error: Exception) -> str:
    """Why something failed, in one line."""
    text = "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
    expected = isinstance(error, InputError) or type(error).__module__.startswith("simulator.")
    return text if expected and text else f"{type(error).__name__}: {text}".rstrip(": ")


def _deviation(point: DesignPoint, result: Result) -> Deviation | None:
    """Errors of the output against the oracle; None when there is no output, or a deadlock holds it back."""
    out = result.outputs.get("out")
    if out is None or result.deadlock is not None:
        return None
    # the sink sees rows, or single elements, in the order of the oracle's output
    return deviation_of(out, oracle_of(point.workload, point.tensors))
