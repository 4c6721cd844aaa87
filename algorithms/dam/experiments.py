"""The two graphs of pyprogrammer/dam-experiments (commit 50cdc3e, ``attention/src/apps``): all tokens are scalars.

Cycles with unit latencies, intervals of 1 and deep FIFOs, for N queries and keys of D elements, as measured with DAM:
naive `N N D + N D + 9`, agnostic `N N D + D + 8`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from algorithms.dam import units
from algorithms.dam.arithmetic import joined, joined_rows
from algorithms.dam.builder import DamBuilder
from algorithms.dam.parameters import DamParameters, LongFifoParameters, interval, latency, row_overhead
from algorithms.registry import Tensors, algorithm
from algorithms.streaming import arithmetic
from algorithms.workload.shape import Workload
from simulator import Graph, Unit


@dataclass(frozen=True)
class NaiveParameters(LongFifoParameters):
    """Parameters of `dam.naive`; the defaults are those of DAM's command line."""

    matmul_qk_latency: int = latency("matmul_qk")
    matmul_qk_ii: int = interval("matmul_qk")
    exp_latency: int = latency("exp")
    exp_ii: int = interval("exp")
    sum_latency: int = latency("sum")
    sum_ii: int = interval("sum")
    sum_reset: int = row_overhead("sum")
    repeat_latency: int = latency("repeat")
    repeat_ii: int = interval("repeat", 0)
    div_latency: int = latency("div")
    div_ii: int = interval("div")
    matmul_pv_latency: int = latency("matmul_pv")
    matmul_pv_ii: int = interval("matmul_pv")


@dataclass(frozen=True)
class AgnosticParameters(DamParameters):
    """Parameters of `dam.agnostic`; the defaults are those of DAM's command line."""

    matmul_qk_latency: int = latency("matmul_qk")
    matmul_qk_ii: int = interval("matmul_qk")
    scan_max_latency: int = latency("scan_max")
    scan_max_ii: int = interval("scan_max")
    scan_max_reset: int = row_overhead("scan_max")
    reduce_rowsum_latency: int = latency("reduce_rowsum")
    reduce_rowsum_ii: int = interval("reduce_rowsum")
    reduce_rowsum_reset: int = row_overhead("reduce_rowsum")
    reduce_vvec_latency: int = latency("reduce_vvec")
    reduce_vvec_ii: int = interval("reduce_vvec")
    reduce_vvec_reset: int = row_overhead("reduce_vvec")
    zip_latency: int = latency("zip", units=("zip", "zip2"))
    zip_ii: int = interval("zip", 0, units=("zip", "zip2"))
    reduce_prod_latency: int = latency("reduce_prod")
    reduce_prod_ii: int = interval("reduce_prod")
    reduce_prod_reset: int = row_overhead("reduce_prod")
    flatmap_div_latency: int = latency("flatmap_div")
    flatmap_div_ii: int = interval("flatmap_div")


def _scores(builder: DamBuilder) -> Unit:
    q, k = builder.query_scalars(), builder.key_scalars()
    scores = units.dot_scalars(builder, "matmul_qk")
    builder.connect(q, scores)
    builder.connect(k, scores)
    return scores


def _finish(builder: DamBuilder, last: Unit) -> Graph:
    out = builder.sink(builder.workload.v_head_dim, ii_cycles=1)
    builder.connect(last, out)
    return builder.graph


@algorithm("dam.naive", NaiveParameters)
def naive(workload: Workload, parameters: NaiveParameters, tensors: Tensors | None) -> Graph:
    """DAM's naive SDPA (dam-experiments): scalars, division before PV, one FIFO of O(N)."""
    builder = DamBuilder(workload, parameters, tensors)
    scores = _scores(builder)
    columns = builder.columns
    exp = units.map_(builder, "exp", np.exp, columns, outputs=2)
    total = units.reduce_(builder, "sum", arithmetic.row_sum)
    repeat = units.repeat(builder, "repeat")
    div = units.map_(builder, "div", np.divide, columns, inputs=2)
    v = builder.value_scalars(by_column=True)
    pv = units.weigh_scalars(builder, "matmul_pv")
    builder.connect(scores, exp)
    builder.connect(exp, div, depth=parameters.row_fifo_depth(columns))
    builder.connect(exp, total)
    builder.connect(total, repeat)
    builder.connect(repeat, div)
    builder.connect(div, pv)
    builder.connect(v, pv)
    return _finish(builder, pv)


@algorithm("dam.agnostic", AgnosticParameters)
def agnostic(workload: Workload, parameters: AgnosticParameters, tensors: Tensors | None) -> Graph:
    """DAM's sequence-agnostic SDPA (dam-experiments): scalars, online softmax, FIFOs of O(1)."""
    builder = DamBuilder(workload, parameters, tensors)
    elements, columns = workload.v_head_dim, builder.columns
    pair, row = 2, elements
    scores = _scores(builder)
    scan = units.scan(builder, "scan_max", arithmetic.online_softmax, outputs=2)
    total = units.reduce_(builder, "reduce_rowsum", arithmetic.rescaled_sum)
    v = builder.value_scalars(by_column=False)
    vector = units.gather(builder, "reduce_vvec", elements)
    weighted = units.map_(builder, "zip", joined, columns, inputs=2, kind="zip")
    product = units.reduce_(builder, "reduce_prod", joined_rows)
    both = units.map_(builder, "zip2", joined, 1, inputs=2, kind="zip", timed_as="zip")
    div = units.divide_elements(builder, "flatmap_div", elements)
    builder.connect(scores, scan)
    builder.connect(scan, total, elements=pair)
    builder.connect(scan, weighted, elements=pair)
    builder.connect(v, vector)
    builder.connect(vector, weighted, elements=row)
    builder.connect(weighted, product, elements=pair + row)
    builder.connect(product, both, elements=row)
    builder.connect(total, both)
    builder.connect(both, div, elements=row + 1)
    return _finish(builder, div)
