"""The softmax parts of the streaming variants, between the scores and PV."""

from __future__ import annotations

import numpy as np

from algorithms.streaming import arithmetic
from algorithms.streaming.pipeline import PAIR_ELEMENTS, Pipeline
from simulator import Unit, operators
from simulator.operators import Elementwise


def exponential(pipeline: Pipeline, scores: Unit, *, function: Elementwise) -> Unit:
    """``exp(score)``, or of a difference that arrives as the score."""
    parameters = pipeline.parameters
    exp = operators.map_(
        "exp",
        function,
        pipeline.columns,
        latency_cycles=parameters.exp_latency,
        ii_cycles=parameters.exp_ii,
    )
    pipeline.graph.add(exp)
    pipeline.connect(scores, exp)
    return exp


def stable_exponential(pipeline: Pipeline, scores: Unit) -> Unit:
    """``exp(score - row maximum)``: the scores of a row wait in ``scores_fifo`` until its maximum is known."""
    graph, parameters = pipeline.graph, pipeline.parameters
    fork = graph.add(operators.broadcast("score_fork", pipeline.columns))
    row_max = graph.add(
        operators.reduce_("row_max", arithmetic.row_max, pipeline.columns, latency_cycles=parameters.reduce_latency)
    )
    hold = graph.add(operators.repeat("max_hold", pipeline.columns))
    subtract = graph.add(operators.zip_("subtract", np.subtract, pipeline.columns))
    pipeline.connect(scores, fork)
    # the row's last score enters the FIFO together with the maximum; until it leaves: maximum, hold, one credit
    pipeline.connect_long(fork, subtract, name="scores_fifo", slack=parameters.reduce_latency + 3)
    pipeline.connect(fork, row_max)
    pipeline.connect_rows(row_max, hold)
    pipeline.connect(hold, subtract)
    return exponential(pipeline, subtract, function=np.exp)


def normalised_weights(pipeline: Pipeline, exp: Unit) -> Unit:
    """``exp / row sum``: the exponentials of a row wait in ``weights_fifo`` until their sum is known."""
    graph, parameters = pipeline.graph, pipeline.parameters
    fork = graph.add(operators.broadcast("weight_fork", pipeline.columns))
    row_sum = graph.add(
        operators.reduce_("row_sum", arithmetic.row_sum, pipeline.columns, latency_cycles=parameters.reduce_latency)
    )
    hold = graph.add(operators.repeat("sum_hold", pipeline.columns))
    div = graph.add(
        operators.zip_(
            "div",
            np.divide,
            pipeline.columns,
            latency_cycles=parameters.div_latency,
            ii_cycles=parameters.div_ii,
        )
    )
    pipeline.connect(exp, fork)
    pipeline.connect_long(fork, div, name="weights_fifo", slack=parameters.reduce_latency + 3)
    pipeline.connect(fork, row_sum)
    pipeline.connect_rows(row_sum, hold)
    pipeline.connect(hold, div)
    return div


def online_weights(pipeline: Pipeline, scores: Unit) -> Unit:
    """Pairs (weight, rescale) under the running maximum of the row."""
    parameters = pipeline.parameters
    scan = operators.scan(
        "online_max",
        arithmetic.online_softmax,
        pipeline.columns,
        latency_cycles=parameters.exp_latency,
        ii_cycles=parameters.exp_ii,
    )
    pipeline.graph.add(scan)
    pipeline.connect(scores, scan)
    return scan


def sum_and_accumulate(pipeline: Pipeline, weights: Unit, *, rescaled: bool) -> Unit:
    """Row sum and PV side by side, and one division per output."""
    graph, parameters = pipeline.graph, pipeline.parameters
    elements = PAIR_ELEMENTS if rescaled else 1
    fork = graph.add(operators.broadcast("weight_fork", pipeline.columns))
    row_sum = graph.add(
        operators.reduce_(
            "row_sum",
            arithmetic.rescaled_sum if rescaled else arithmetic.row_sum,
            pipeline.columns,
            latency_cycles=parameters.reduce_latency,
        )
    )
    pipeline.connect(weights, fork, elements=elements)
    pipeline.connect(fork, row_sum, elements=elements)
    return pipeline.divided(pipeline.accumulated(fork, rescaled=rescaled), row_sum)
