"""Naive streaming SDPA: exponentials divided by their row sum before PV, which needs a FIFO of a whole row.

Graph: ``q -> q_hold``, ``k`` -> ``qk -> exp -> fork``; the fork feeds the row sum (``row_sum -> sum_hold``) and,
through ``weights_fifo``, the division, which needs the sum of the *whole* row first; ``div -> pv -> out`` with ``v``.
There is no row maximum, so exp overflows for large scores (Sohn, Zhang, Olukotun, arXiv:2404.16629).
"""

from __future__ import annotations

import numpy as np

from algorithms.registry import Tensors, algorithm
from algorithms.streaming.parameters import StreamingParameters
from algorithms.streaming.pipeline import Pipeline
from algorithms.streaming.softmax import exponential, normalised_weights
from algorithms.workload.shape import Workload
from simulator import Graph


@algorithm("sdpa.naive", StreamingParameters)
def build(workload: Workload, parameters: StreamingParameters, tensors: Tensors | None) -> Graph:
    """Naive streaming SDPA: divides before PV, one FIFO of O(N)."""
    pipeline = Pipeline(workload, parameters, tensors)
    exp = exponential(pipeline, pipeline.scores(), function=np.exp)
    return pipeline.finish(pipeline.accumulated(normalised_weights(pipeline, exp), rescaled=False))
