"""The early attention graphs of DAM: branch gina of DAM-RS (commit 7163665, ``src/templates/streamingattn``).

A unit with several outputs fills them one after the other. The reductions send with the last token they take, the
division and the subtraction keep the scalar of their row, and the check of the results takes no time. Tokens of Q, K
and V are rows; DAM's own spatial and agnostic tests have rows of one element.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from algorithms.dam import units
from algorithms.dam.arithmetic import row_quotient, separate_rows, separate_sum
from algorithms.dam.builder import DamBuilder
from algorithms.dam.parameters import (
    DamParameters,
    LongFifoParameters,
    depth,
    interval,
    latency,
    row_overhead,
    start_overhead,
)
from algorithms.registry import Tensors, algorithm
from algorithms.streaming import arithmetic
from algorithms.workload.shape import Workload
from simulator import Graph, Unit

_STATE_MACHINE = 4  # cycles that the spatial units lose at the start and before each row


@dataclass(frozen=True)
class SpatialParameters(LongFifoParameters):
    """Parameters of `dam.gina_spatial`; the defaults are those of DAM's test, taken from Spatial."""

    short_depth: int | None = depth("all other FIFOs", default=2)
    qkt_exp_latency: int = latency("qkt_exp", 11)
    qkt_exp_ii: int = interval("qkt_exp")
    qkt_exp_start: int = start_overhead("qkt_exp", _STATE_MACHINE)
    qkt_exp_row: int = row_overhead("qkt_exp", _STATE_MACHINE)
    qkt_exp_out_depth: int | None = depth("the short FIFO behind qkt_exp", "2 + its latency")
    sum_latency: int = latency("sum", 2)
    sum_ii: int = interval("sum")
    sum_start: int = start_overhead("sum", _STATE_MACHINE)
    sum_row: int = row_overhead("sum", _STATE_MACHINE)
    sum_out_depth: int | None = depth("the FIFO behind sum", "2 + its latency")
    div_latency: int = latency("div", 8)
    div_ii: int = interval("div")
    div_start: int = start_overhead("div", _STATE_MACHINE)
    div_row: int = row_overhead("div", _STATE_MACHINE)
    div_out_depth: int | None = depth("the FIFO behind div", "2 + its latency")
    matvec_latency: int = latency("matvec", 12)
    matvec_ii: int = interval("matvec")
    matvec_start: int = start_overhead("matvec", _STATE_MACHINE)
    matvec_row: int = row_overhead("matvec", _STATE_MACHINE)

    def out_depth(self, unit: str) -> int | None:
        """Depth of the short FIFO behind `unit`."""
        given: int | None = getattr(self, f"{unit}_out_depth")
        return 2 + self.timing(unit).latency if given == 0 else given


@dataclass(frozen=True)
class UnscaledParameters(LongFifoParameters):
    """Parameters of `dam.gina_unscaled`; the defaults are those of DAM's test, for rows of 16 elements."""

    qkt_latency: int = latency("qkt", 5)
    qkt_ii: int = interval("qkt")
    exp_latency: int = latency("exp", 5)
    exp_ii: int = interval("exp")
    rowsum_latency: int = latency("rowsum")
    rowsum_ii: int = interval("rowsum")
    rowsum_start: int = start_overhead("rowsum", _STATE_MACHINE)
    rowsum_row: int = row_overhead("rowsum", _STATE_MACHINE)
    div_latency: int = latency("div")
    div_ii: int = interval("div")
    div_start: int = start_overhead("div", _STATE_MACHINE)
    div_row: int = row_overhead("div", _STATE_MACHINE)
    pv_latency: int = latency("pv")
    pv_first_ii: int = interval("pv after the first score of a row", units=("pv",))
    pv_ii: int = interval("pv after the other scores", 0, units=("pv",))


@dataclass(frozen=True)
class ScaledParameters(UnscaledParameters):
    """Parameters of `dam.gina_scaled`; the defaults are those of DAM's test, for rows of 16 elements."""

    short_depth: int | None = depth("all other FIFOs", default=2)
    rowmax_latency: int = latency("rowmax")
    rowmax_ii: int = interval("rowmax")
    rowmax_start: int = start_overhead("rowmax", _STATE_MACHINE)
    rowmax_row: int = row_overhead("rowmax", _STATE_MACHINE)
    sub_latency: int = latency("sub")
    sub_ii: int = interval("sub")
    sub_start: int = start_overhead("sub", _STATE_MACHINE)
    sub_row: int = row_overhead("sub", _STATE_MACHINE)


@dataclass(frozen=True)
class AgnosticParameters(DamParameters):
    """Parameters of `dam.gina_agnostic`; the defaults are those of DAM's test."""

    short_depth: int | None = depth("every FIFO", default=12)
    qkt_exp_latency: int = latency("qkt_exp")
    qkt_exp_ii: int = interval("qkt_exp")
    qkt_exp_start: int = start_overhead("qkt_exp", _STATE_MACHINE)
    qkt_exp_row: int = row_overhead("qkt_exp", _STATE_MACHINE)
    incr_max_latency: int = latency("incr_max")
    incr_max_ii: int = interval("incr_max")
    incr_sum_latency: int = latency("incr_sum")
    incr_sum_ii: int = interval("incr_sum")
    incr_outp_latency: int = latency("incr_outp")
    incr_outp_ii: int = interval("incr_outp")
    div_latency: int = latency("div")
    div_ii: int = interval("div")


@algorithm("dam.gina_spatial", SpatialParameters)
def spatial(workload: Workload, parameters: SpatialParameters, tensors: Tensors | None) -> Graph:
    """DAM's first naive SDPA, timed like Spatial's hardware (branch gina): one FIFO of O(N)."""
    builder = DamBuilder(workload, parameters, tensors)
    exp = _scores(builder, "qkt_exp", outputs=2, exponential=True)
    total = units.reduce_at_last(builder, "sum", arithmetic.row_sum)
    div = units.with_row_scalar(builder, "div", np.divide)
    pv = units.reduce_at_last(builder, "matvec", arithmetic.weighted_rows, inputs=2)
    builder.connect(exp, total, depth=parameters.out_depth("qkt_exp"))
    builder.connect(exp, div, depth=parameters.row_fifo_depth(builder.columns))
    builder.connect(total, div, depth=parameters.out_depth("sum"))
    builder.connect(div, pv, depth=parameters.out_depth("div"))
    return _weighted(builder, pv)


@algorithm("dam.gina_unscaled", UnscaledParameters)
def unscaled(workload: Workload, parameters: UnscaledParameters, tensors: Tensors | None) -> Graph:
    """DAM's early SDPA without row maximum (branch gina): rows as tokens, one FIFO of O(N)."""
    builder = DamBuilder(workload, parameters, tensors)
    scores = _scores(builder, "qkt")
    return _normalised(builder, parameters, scores)


@algorithm("dam.gina_scaled", ScaledParameters)
def scaled(workload: Workload, parameters: ScaledParameters, tensors: Tensors | None) -> Graph:
    """DAM's early SDPA with row maximum (branch gina): rows as tokens, two FIFOs of O(N)."""
    builder = DamBuilder(workload, parameters, tensors)
    scores = _scores(builder, "qkt", outputs=2)
    maximum = units.reduce_at_last(builder, "rowmax", arithmetic.row_max)
    difference = units.with_row_scalar(builder, "sub", np.subtract)
    builder.connect(scores, maximum)
    builder.connect(scores, difference, depth=parameters.row_fifo_depth(builder.columns))
    builder.connect(maximum, difference)
    return _normalised(builder, parameters, difference)


@algorithm("dam.gina_agnostic", AgnosticParameters)
def agnostic(workload: Workload, parameters: AgnosticParameters, tensors: Tensors | None) -> Graph:
    """DAM's early sequence-agnostic SDPA (branch gina): online softmax, FIFOs of O(1).

    DAM's test takes the exponential of each score twice, here it is taken once; cycles do not depend on it.
    """
    builder = DamBuilder(workload, parameters, tensors)
    elements = workload.v_head_dim
    scores = _scores(builder, "qkt_exp")
    maximum = units.running_maximum(builder, "incr_max")
    total = units.reduce_at_last(builder, "incr_sum", separate_sum, inputs=2)
    product = units.reduce_at_last(builder, "incr_outp", separate_rows, inputs=3)
    div = units.map_(builder, "div", row_quotient, 1, inputs=2)
    builder.connect(scores, maximum)
    for consumer in (total, product, total, product):  # factors to both, then weights to both
        builder.connect(maximum, consumer)
    v = builder.value_rows()
    builder.connect(v, product, elements=elements)
    builder.connect(product, div, elements=elements)
    builder.connect(total, div)
    return _finish(builder, div)


def _scores(builder: DamBuilder, name: str, *, outputs: int = 1, exponential: bool = False) -> Unit:
    q, k = builder.query_rows(), builder.key_rows()
    scores = units.dot_rows(builder, name, outputs=outputs, exponential=exponential, issue="hold_in_turn")
    for operand in (q, k):
        builder.connect(operand, scores, elements=builder.workload.head_dim)
    return scores


def _normalised(builder: DamBuilder, parameters: UnscaledParameters, scores: Unit) -> Graph:
    """Exponentials, their row sum, division, PV."""
    exp = units.map_(builder, "exp", np.exp, builder.columns, outputs=2, issue="hold_in_turn")
    total = units.reduce_at_last(builder, "rowsum", arithmetic.row_sum)
    div = units.with_row_scalar(builder, "div", np.divide)
    pv = units.reduce_at_last(builder, "pv", arithmetic.weighted_rows, inputs=2, first_ii=parameters.pv_first_ii)
    builder.connect(scores, exp)
    builder.connect(exp, total)
    builder.connect(exp, div, depth=parameters.row_fifo_depth(builder.columns))
    builder.connect(total, div)
    builder.connect(div, pv)
    return _weighted(builder, pv)


def _weighted(builder: DamBuilder, pv: Unit) -> Graph:
    v = builder.value_rows()
    builder.connect(v, pv, elements=builder.workload.v_head_dim)
    return _finish(builder, pv)


def _finish(builder: DamBuilder, last: Unit) -> Graph:
    out = builder.sink(1, ii_cycles=0)
    builder.connect(last, out, elements=builder.workload.v_head_dim)
    return builder.graph
