"""Reordered streaming SDPA: PV first, one division per output instead of one per score.

The row sum and PV run side by side, so no FIFO has to hold the weights of a row; with the row maximum
(``row_max=true``, stable) ``scores_fifo`` still has to (Rabe and Staats, arXiv:2112.05682; Sohn, Zhang, Olukotun,
arXiv:2404.16629).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from algorithms.registry import Tensors, algorithm
from algorithms.streaming.parameters import StreamingParameters
from algorithms.streaming.pipeline import Pipeline
from algorithms.streaming.softmax import exponential, stable_exponential, sum_and_accumulate
from algorithms.workload.shape import Workload
from simulator import Graph


@dataclass(frozen=True)
class ReorderedParameters(StreamingParameters):
    """Parameters of the reordered pipeline."""

    row_max: bool = field(default=True, metadata={"help": "subtract the row maximum (stable softmax)"})


@algorithm("sdpa.reordered", ReorderedParameters)
def build(workload: Workload, parameters: ReorderedParameters, tensors: Tensors | None) -> Graph:
    """Reordered streaming SDPA: divides after PV, one FIFO of O(N) with the row maximum, none without."""
    pipeline = Pipeline(workload, parameters, tensors)
    scores = pipeline.scores()
    exp = stable_exponential(pipeline, scores) if parameters.row_max else exponential(pipeline, scores, function=np.exp)
    return pipeline.finish(sum_and_accumulate(pipeline, exp, rescaled=False))
