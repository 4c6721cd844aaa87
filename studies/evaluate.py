"""Evaluates one design point: builds its graph, simulates it, holds its values against the float64 oracle."""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from hwmodels.errors import InputError
from studies.metrics import measure
from studies.parts import find_algorithm, open_tensors
from studies.space import DesignPoint, Json, TensorFile
from studies.store import Outcome

if TYPE_CHECKING:
    from algorithms.shape import FloatArray, Workload
    from simulator import Graph, Result


@dataclass(frozen=True)
class Deviation:
    """Distance between computed attention and the float64 oracle.

    Parameters
    ----------
    rel_l2
        Norm of the difference over the norm of the oracle's output.
    max_abs
        Largest absolute difference of one element.
    """

    rel_l2: float
    max_abs: float


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
    """

    point: DesignPoint
    result: Result
    deviation: Deviation | None

    def describe(self) -> dict[str, Json]:
        """Everything as plain JSON values: what ``attnflow run --json`` prints."""
        deviation = self.deviation
        return {
            "key": self.point.key,
            "point": self.point.describe(),
            **self.result.to_dict(),
            "error": {"rel_l2": deviation.rel_l2, "max_abs": deviation.max_abs} if deviation else None,
        }


def build_graph(point: DesignPoint) -> Graph:
    """The graph of a design point, with its tensors unless it is about timing only.

    Raises
    ------
    InputError, simulator.errors.GraphError
        When algorithm, parameters and workload do not fit together.
    """
    algorithm = find_algorithm(point.algorithm)
    parameters = algorithm.parameters(**dict(point.parameters))
    tensors = None if point.timing_only else tensors_of(point.workload, point.tensors)
    return algorithm.build(point.workload, parameters, tensors)


def evaluate(point: DesignPoint) -> Evaluation:
    """Simulate `point`.

    Raises
    ------
    InputError, simulator.errors.SimulatorError
        When it cannot be built or simulated. A deadlock is a result, not an error.
    """
    from simulator import simulate

    graph = build_graph(point)
    result = simulate(
        graph,
        engine=point.engine,
        timing_only=point.timing_only,
        skip=point.skip,
        clock_hz=point.clock_hz,
    )
    return Evaluation(point, result, _deviation(point, result))


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
    from reference.metrics import max_abs, relative_l2

    expected = oracle_of(point.workload, point.tensors)
    out = out.reshape(expected.shape)  # the sink sees rows, or single elements, in this order
    return Deviation(relative_l2(out, expected), max_abs(out, expected))


@lru_cache(maxsize=2)
def tensors_of(workload: Workload, file: TensorFile | None) -> tuple[FloatArray, FloatArray, FloatArray]:
    """q, k and v, read from `file` or drawn from the seed of `workload`; neighbours in a grid share them."""
    from algorithms.tensors import draw_tensors

    if file is None:
        return draw_tensors(workload)
    tensors = open_tensors(file)
    return tensors.q, tensors.k, tensors.v


@lru_cache(maxsize=2)
def oracle_of(workload: Workload, file: TensorFile | None) -> FloatArray:
    """Exact attention in float64, `(batch, heads, q_len, v_head_dim)`.

    One KV head at a time, because the scores of all heads of a real layer together fill the memory.
    """
    import numpy as np

    from reference.oracle import attention

    q, k, v = tensors_of(workload, file)
    out = np.empty((*q.shape[:3], v.shape[3]))
    size = workload.group_size
    for batch in range(q.shape[0]):
        for head in range(k.shape[1]):
            queries = slice(head * size, (head + 1) * size)
            keys = slice(head, head + 1)
            out[batch, queries], _ = attention(q[batch, queries], k[batch, keys], v[batch, keys], mask=workload.mask)
    return out
