"""Evaluates a graph of FIFOs: builds it, simulates it, holds its values against the float64 oracle."""

from __future__ import annotations

from dataclasses import replace

from algorithms.registry import get_algorithm
from algorithms.streaming.memory import MemoryBounds, memory_bounds, on_memory
from algorithms.streaming.parameters import StreamingParameters
from algorithms.workload.shape import Workload
from hwmodels.reading.errors import InputError, Problem
from simulator import Graph, Result, simulate
from studies.families.deviation import Deviation, deviation_of, tensors_of
from studies.families.family import parameters_of
from studies.families.graph.evaluation import GraphEvaluation
from studies.families.graph.oracles import expected_of
from studies.families.value_pass import values_of
from studies.points.point import DesignPoint

LARGEST_VALUE_PASS = 1 << 28
"""Scores of a value pass: 16,384 queries of as many keys, 7 GB."""


def build_graph(point: DesignPoint) -> Graph:
    """The graph of a design point, with its tensors unless it is about timing only.

    Raises
    ------
    InputError, simulator.errors.GraphError
        When algorithm, parameters and workload do not fit together.
    """
    algorithm, workload = get_algorithm(point.algorithm), point.attending
    parameters = parameters_of(algorithm, point)
    tensors = None if point.timing_only else tensors_of(workload, point.tensors)
    graph = algorithm.build(workload, parameters, tensors)
    loading = memory_parameters(point)
    return graph if loading is None else on_memory(graph, workload, loading, point.clock_hz)


def memory_parameters(point: DesignPoint) -> StreamingParameters | None:
    """Parameters of a design that loads K and V from a tier; None for all others."""
    parameters = parameters_of(get_algorithm(point.algorithm), point)
    return parameters if isinstance(parameters, StreamingParameters) and parameters.kv_tier else None


def _memory_bounds(point: DesignPoint) -> MemoryBounds | None:
    """Cycles between which a design that loads K and V must lie."""
    parameters = memory_parameters(point)
    if parameters is None:
        return None
    graph = get_algorithm(point.algorithm).build(point.attending, parameters, None)
    return memory_bounds(graph, point.attending, parameters, point.clock_hz)


def evaluate_graph(point: DesignPoint) -> GraphEvaluation:
    """Simulate a graph of FIFOs.

    Raises
    ------
    InputError, simulator.errors.SimulatorError
        When it cannot be built or simulated. A deadlock is a result, not an error.
    """
    if not point.timing_only:
        _check_size_of_values(point.attending)
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
    return GraphEvaluation(point, _deviation(point, result), result.wall_s, result, _memory_bounds(point))


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


def _deviation(point: DesignPoint, result: Result) -> Deviation | None:
    """Errors of the output against the oracle; None when there is no output, or a deadlock holds it back."""
    out = result.outputs.get("out")
    if out is None or result.deadlock is not None:
        return None
    # an oracle answers in the order in which the sink sees rows, or single elements
    return deviation_of(out, expected_of(point))
