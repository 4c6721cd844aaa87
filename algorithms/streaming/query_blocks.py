"""Streaming SDPA that reads keys and values once for several queries: attention of vision transformers on FPGAs.

A pass holds some queries in registers and streams all keys past them; the scores of a pass wait in ``scores_fifo``
until their maxima are known, values are streamed past the weights, and each output is divided once (Edge-MoE,
arXiv:2305.18691; UbiMoE, arXiv:2502.05602, where ``queries`` is N_a and ``mac_lanes`` T_a). Keys and values are read
``q_len / queries`` times instead of ``q_len`` times. With one query it is ``sdpa.reordered``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from algorithms.registry import Tensors, algorithm
from algorithms.streaming.parameters import StreamingParameters
from algorithms.streaming.pipeline import Pipeline
from algorithms.streaming.softmax import stable_exponential, sum_and_accumulate
from algorithms.workload.levers import knob
from algorithms.workload.shape import Workload
from hwmodels.reading.errors import InputError, Problem
from simulator import Graph


@dataclass(frozen=True)
class QueryBlockParameters(StreamingParameters):
    """Parameters of a streaming pipeline, and the number of queries that share a pass.

    Raises
    ------
    InputError
        For values out of range, all at once.
    """

    value_parameters: ClassVar[tuple[str, ...]] = (*StreamingParameters.value_parameters, "queries")

    queries: int = field(default=4, metadata=knob("queries that share one pass over keys and values"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.granularity != "row":
            raise InputError(Problem("queries share whole rows of keys: must be row", field="granularity"))

    @property
    def queries_per_pass(self) -> int:
        """Queries that share one pass over keys and values."""
        return self.queries


@algorithm("sdpa.query_blocks", QueryBlockParameters)
def build(workload: Workload, parameters: QueryBlockParameters, tensors: Tensors | None) -> Graph:
    """Streaming SDPA that reads K and V once for several queries: maximum first, one FIFO of O(N)."""
    problems = []
    if workload.mask != "full":
        message = f"queries of a pass see the same keys: must be full (got {workload.mask})"
        problems.append(Problem(message, field="mask"))
    if workload.q_len % parameters.queries:
        message = f"must divide q_len = {workload.q_len} (got {parameters.queries})"
        problems.append(Problem(message, field="queries"))
    if problems:
        raise InputError(problems)
    pipeline = Pipeline(workload, parameters, tensors)
    weights = stable_exponential(pipeline, pipeline.scores())
    return pipeline.finish(sum_and_accumulate(pipeline, weights, rescaled=False))
