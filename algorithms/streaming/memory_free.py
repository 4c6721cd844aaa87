"""Memory-free streaming SDPA: online softmax, no FIFO longer than a pipeline register.

A scan emits, for every score, its weight under the running maximum and the factor by which what was accumulated so far
has to shrink; the row sum and PV apply it (Milakov and Gimelshein, arXiv:1805.02867; Dao et al., arXiv:2205.14135;
as a stream: Sohn, Zhang, Olukotun, arXiv:2404.16629).
"""

from __future__ import annotations

from algorithms.registry import Tensors, algorithm
from algorithms.streaming.parameters import StreamingParameters
from algorithms.streaming.pipeline import Pipeline
from algorithms.streaming.softmax import online_weights, sum_and_accumulate
from algorithms.workload.shape import Workload
from simulator import Graph


@algorithm("sdpa.memory_free", StreamingParameters)
def build(workload: Workload, parameters: StreamingParameters, tensors: Tensors | None) -> Graph:
    """Memory-free streaming SDPA: online softmax, FIFOs of O(1)."""
    pipeline = Pipeline(workload, parameters, tensors)
    return pipeline.finish(sum_and_accumulate(pipeline, online_weights(pipeline, pipeline.scores()), rescaled=True))
