"""The variants of streaming SDPA put together from units with the timing of dam-experiments, rows as tokens.

With unit latencies, N queries and keys and long FIFOs of `N + 4` or more, cycles are: naive `N N + N + 8`, scaled
`N N + 2 N + 11`, reordered `N N + N + 9`, reordered without maximum and memory-free `N N + 6`. With a long FIFO of
`N <= depth < N + 4` they grow by `(N - 1) (N + 4 - depth)`, below N they deadlock.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from algorithms.dam import units
from algorithms.dam.arithmetic import row_quotient
from algorithms.dam.builder import DamBuilder
from algorithms.dam.parameters import DamParameters, LongFifoParameters, depth, interval, latency
from algorithms.registry import Tensors, algorithm
from algorithms.streaming import arithmetic
from algorithms.workload.shape import Workload
from simulator import Graph, Unit


@dataclass(frozen=True)
class ComposedParameters(DamParameters):
    """Units of every variant."""

    short_depth: int | None = depth("all other FIFOs", default=2)
    dot_latency: int = latency("dot")
    dot_ii: int = interval("dot")
    sum_latency: int = latency("sum")
    sum_ii: int = interval("sum")
    div_latency: int = latency("div")
    div_ii: int = interval("div")
    pv_latency: int = latency("pv")
    pv_ii: int = interval("pv")


@dataclass(frozen=True)
class MemoryFreeParameters(ComposedParameters):
    """Parameters of `dam.composed_memory_free`."""

    scan_latency: int = latency("scan")
    scan_ii: int = interval("scan")


@dataclass(frozen=True)
class ExponentialParameters(ComposedParameters):
    """Parameters of `dam.composed_naive_reordered`."""

    exp_latency: int = latency("exp")
    exp_ii: int = interval("exp")


@dataclass(frozen=True)
class NaiveParameters(ExponentialParameters, LongFifoParameters):
    """Parameters of `dam.composed_naive`."""

    repeat_latency: int = latency("repeat", units=("sum_repeat", "max_repeat"))
    repeat_ii: int = interval("repeat", 0, units=("sum_repeat", "max_repeat"))


@dataclass(frozen=True)
class MaximumParameters(NaiveParameters):
    """Parameters of `dam.composed_scaled` and `dam.composed_reordered`."""

    max_latency: int = latency("max")
    max_ii: int = interval("max")
    sub_latency: int = latency("sub")
    sub_ii: int = interval("sub")


@algorithm("dam.composed_naive", NaiveParameters)
def naive(workload: Workload, parameters: NaiveParameters, tensors: Tensors | None) -> Graph:
    """Naive SDPA from DAM's units, rows as tokens: divides before PV, one FIFO of O(N)."""
    composed = _Composed(workload, parameters, tensors)
    return composed.normalised(composed.exponentials(composed.scores(1)))


@algorithm("dam.composed_scaled", MaximumParameters)
def scaled(workload: Workload, parameters: MaximumParameters, tensors: Tensors | None) -> Graph:
    """Stable SDPA from DAM's units, rows as tokens: row maximum, divides before PV, two FIFOs of O(N)."""
    composed = _Composed(workload, parameters, tensors)
    return composed.normalised(composed.exponentials(composed.differences(composed.scores(2))))


@algorithm("dam.composed_reordered", MaximumParameters)
def reordered(workload: Workload, parameters: MaximumParameters, tensors: Tensors | None) -> Graph:
    """Reordered SDPA from DAM's units, rows as tokens: row maximum, divides after PV, one FIFO of O(N)."""
    composed = _Composed(workload, parameters, tensors)
    exp = composed.exponentials(composed.differences(composed.scores(2)))
    return composed.divided_last(exp, rescaled=False)


@algorithm("dam.composed_naive_reordered", ExponentialParameters)
def naive_reordered(workload: Workload, parameters: ExponentialParameters, tensors: Tensors | None) -> Graph:
    """Reordered SDPA without row maximum from DAM's units, rows as tokens: FIFOs of O(1)."""
    composed = _Composed(workload, parameters, tensors)
    return composed.divided_last(composed.exponentials(composed.scores(1)), rescaled=False)


@algorithm("dam.composed_memory_free", MemoryFreeParameters)
def memory_free(workload: Workload, parameters: MemoryFreeParameters, tensors: Tensors | None) -> Graph:
    """Memory-free SDPA from DAM's units, rows as tokens: online softmax, FIFOs of O(1)."""
    composed = _Composed(workload, parameters, tensors)
    scores = composed.scores(1)
    scan = units.scan(composed.builder, "scan", arithmetic.online_softmax, outputs=2)
    composed.builder.connect(scores, scan)
    return composed.divided_last(scan, rescaled=True)


class _Composed:
    """The stages of the variants."""

    def __init__(self, workload: Workload, parameters: ComposedParameters, tensors: Tensors | None) -> None:
        self.builder = DamBuilder(workload, parameters, tensors)
        self.elements = workload.v_head_dim
        self.long_depth = None
        if isinstance(parameters, LongFifoParameters):
            self.long_depth = parameters.row_fifo_depth(self.builder.columns)

    def scores(self, outputs: int) -> Unit:
        """Dot products of Q and K."""
        builder = self.builder
        q, k = builder.query_rows(), builder.key_rows()
        dot = units.dot_rows(builder, "dot", outputs=outputs)
        for operand in (q, k):
            builder.connect(operand, dot, elements=builder.workload.head_dim)
        return dot

    def differences(self, scores: Unit) -> Unit:
        """Scores minus the maximum of their row."""
        builder = self.builder
        maximum = units.reduce_(builder, "max", arithmetic.row_max)
        repeat = units.repeat(builder, "max_repeat", timed_as="repeat")
        sub = units.map_(builder, "sub", np.subtract, builder.columns, inputs=2)
        builder.connect(scores, sub, depth=self.long_depth)
        builder.connect(scores, maximum)
        builder.connect(maximum, repeat)
        builder.connect(repeat, sub)
        return sub

    def exponentials(self, scores: Unit) -> Unit:
        """Exponentials, for their sum and for what weighs V."""
        exp = units.map_(self.builder, "exp", np.exp, self.builder.columns, outputs=2)
        self.builder.connect(scores, exp)
        return exp

    def normalised(self, exp: Unit) -> Graph:
        """Exponentials divided by the sum of their row, then PV."""
        builder = self.builder
        total = units.reduce_(builder, "sum", arithmetic.row_sum)
        repeat = units.repeat(builder, "sum_repeat", timed_as="repeat")
        div = units.map_(builder, "div", np.divide, builder.columns, inputs=2)
        builder.connect(exp, div, depth=self.long_depth)
        builder.connect(exp, total)
        builder.connect(total, repeat)
        builder.connect(repeat, div)
        return self.finish(self.weighted(div, rescaled=False))

    def divided_last(self, weights: Unit, *, rescaled: bool) -> Graph:
        """Row sum and PV side by side, then the division."""
        builder, elements = self.builder, 2 if rescaled else 1
        total = units.reduce_(builder, "sum", arithmetic.rescaled_sum if rescaled else arithmetic.row_sum)
        builder.connect(weights, total, elements=elements)
        pv = self.weighted(weights, rescaled=rescaled)
        div = units.map_(builder, "div", row_quotient, 1, inputs=2)
        builder.connect(pv, div, elements=self.elements)
        builder.connect(total, div)
        return self.finish(div)

    def weighted(self, weights: Unit, *, rescaled: bool) -> Unit:
        """Rows of V, weighed and summed."""
        builder = self.builder
        v = builder.value_rows()
        function = arithmetic.rescaled_rows if rescaled else arithmetic.weighted_rows
        pv = units.reduce_(builder, "pv", function, inputs=2)
        builder.connect(weights, pv, elements=2 if rescaled else 1)
        builder.connect(v, pv, elements=self.elements)
        return pv

    def finish(self, last: Unit) -> Graph:
        """The sink, one cycle per row."""
        out = self.builder.sink(1, ii_cycles=1)
        self.builder.connect(last, out, elements=self.elements)
        return self.builder.graph
