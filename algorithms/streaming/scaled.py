"""Streaming SDPA with a numerically stable softmax: row maximum, subtraction, exponential, row sum, division, PV.

Both the maximum and the sum are only known at the end of a row, so both ``scores_fifo`` and ``weights_fifo`` must hold
a whole row (Sohn, Zhang, Olukotun, arXiv:2404.16629).
"""

from __future__ import annotations

from algorithms.registry import Tensors, algorithm
from algorithms.streaming.parameters import StreamingParameters
from algorithms.streaming.pipeline import Pipeline
from algorithms.streaming.softmax import normalised_weights, stable_exponential
from algorithms.workload.shape import Workload
from simulator import Graph


@algorithm("sdpa.scaled", StreamingParameters)
def build(workload: Workload, parameters: StreamingParameters, tensors: Tensors | None) -> Graph:
    """Stable streaming SDPA: row maximum and division before PV, two FIFOs of O(N)."""
    pipeline = Pipeline(workload, parameters, tensors)
    exp = stable_exponential(pipeline, pipeline.scores())
    return pipeline.finish(pipeline.accumulated(normalised_weights(pipeline, exp), rescaled=False))
