"""Stages that the streaming variants share: sources of Q, K and V, dot products, accumulation, the output."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from algorithms.registry import UNNAMED, Tensors
from algorithms.streaming import arithmetic
from algorithms.streaming.parameters import StreamingParameters
from algorithms.workload.shape import DTYPE_BYTES, FloatArray, Workload
from hwmodels.reading.errors import InputError, Problem, did_you_mean
from simulator import Graph, TokenBlock, Unit, operators
from simulator.operators import Span

PAIR_ELEMENTS = 2


@dataclass
class Pipeline:
    """A streaming attention graph under construction.

    All heads of all sequences pass through one pipeline, one query row after the other, or a few of them at a time
    where the parameters say so; K and V are streamed anew for every such pass. ``columns`` counts the scores of each
    pass: all keys, or with a causal mask the keys up to the query, aligned to the bottom right.
    """

    workload: Workload
    parameters: StreamingParameters
    tensors: Tensors | None
    graph: Graph = field(init=False)
    columns: Span = field(init=False)

    def __post_init__(self) -> None:
        work = self.workload
        if work.mask == "causal" and work.q_len > work.kv_len:
            raise InputError(
                Problem(
                    f"a causal stream needs at least as many keys as queries (got {work.q_len} queries, "
                    f"{work.kv_len} keys): the first queries would see no key",
                    field="q_len",
                )
            )
        rows = work.batch * work.heads * self.passes
        first, growth = (work.kv_len - work.q_len + 1, 1) if work.mask == "causal" else (work.kv_len, 0)
        self.columns = Span(first, rows, growth, self.passes)
        self.graph = Graph(UNNAMED, rows_per_group=self.passes)

    @property
    def passes(self) -> int:
        """Passes of a head over its keys and values."""
        return self.workload.q_len // self.parameters.queries_per_pass

    @property
    def by_row(self) -> bool:
        """Whether Q, K and V move as whole rows."""
        return self.parameters.granularity == "row"

    @property
    def rows(self) -> Span:
        """One token per query row."""
        return self.columns.one()

    @property
    def longest_row(self) -> int:
        """Scores of the longest row."""
        return self.workload.kv_len

    def connect(
        self,
        producer: Unit,
        consumer: Unit,
        *,
        elements: int = 1,
        shared: bool = False,
        name: str | None = None,
        depth: int | None = None,
    ) -> None:
        """Join two units by a FIFO of the default depth; a token has ``elements``, per query unless ``shared``."""
        queries = 1 if shared else self.parameters.queries_per_pass
        self.graph.connect(
            producer,
            consumer,
            name=name,
            depth=depth or self.parameters.fifo_depth,
            token_bytes=queries * elements * DTYPE_BYTES[self.workload.dtype],
        )

    def connect_long(self, producer: Unit, consumer: Unit, *, name: str, slack: int) -> None:
        """Join two units by a FIFO that holds a row of scores and ``slack`` more, unless a depth is given."""
        depth = self.parameters.long_depth or self.longest_row + slack
        self.connect(producer, consumer, name=name, depth=depth)

    def connect_rows(self, producer: Unit, consumer: Unit) -> None:
        """Join two units by a FIFO of one token per row, as deep as rows fit into a row-long FIFO.

        With a causal mask many short rows are in flight when a new head begins; with a full mask it is one.
        """
        rows, tokens = 1, self.columns.width
        while tokens < self.longest_row:
            tokens += self.columns.width + self.columns.growth * rows
            rows += 1
        slack = self.parameters.reduce_latency + 2
        self.connect(producer, consumer, depth=max(self.parameters.fifo_depth, rows + slack))

    def scores(self) -> Unit:
        """Q, K and their dot products: the unit that emits ``columns`` scores per row."""
        work, parameters = self.workload, self.parameters
        elements = work.head_dim
        scale = 1.0 / math.sqrt(work.head_dim)
        tokens = self.columns if self.by_row else self.columns.times(elements)
        per_row = self.rows if self.by_row else self.rows.times(elements)
        q = self.graph.add(operators.source("q", self._queries(), per_row))
        k = self.graph.add(operators.source("k", self._repeated(1, self._groups()), tokens))
        width = elements if self.by_row else 1
        if self.by_row:
            hold = self.graph.add(operators.repeat("q_hold", self.columns))
            dot = arithmetic.row_dot if parameters.queries_per_pass == 1 else arithmetic.block_dot
            qk = operators.zip_(
                "qk",
                lambda q, k: dot(q, k, scale),
                self.columns,
                latency_cycles=parameters.qk_latency,
                ii_cycles=parameters.mac_ii(elements),
            )
        else:
            hold = self.graph.add(operators.replay("q_hold", self.columns, elements))
            qk = operators.reduce_groups(
                "qk",
                lambda q, k: (q * k).sum(axis=-1) * scale,
                self.columns,
                elements,
                latency_cycles=parameters.qk_latency,
            )
        self.graph.add(qk)
        self.connect(q, hold, elements=width)
        self.connect(hold, qk, elements=width)
        self.connect(k, qk, elements=width, shared=True)
        return qk

    def accumulated(self, weights: Unit, *, rescaled: bool) -> Unit:
        """V and its sum by weight: one row per query, or its elements one by one."""
        work, parameters = self.workload, self.parameters
        elements = work.v_head_dim
        weight_elements = PAIR_ELEMENTS if rescaled else 1
        tokens = self.columns if self.by_row else self.columns.times(elements)
        v = self.graph.add(operators.source("v", self._repeated(2, self._groups()), tokens))
        if self.by_row:
            alone = arithmetic.rescaled_rows if rescaled else arithmetic.weighted_rows
            pv = operators.reduce_(
                "pv",
                alone if parameters.queries_per_pass == 1 else arithmetic.weighted_blocks,
                self.columns,
                inputs=2,
                kind="accumulate",
                latency_cycles=parameters.pv_latency,
                ii_cycles=parameters.mac_ii(elements),
            )
        else:
            spread = self.graph.add(operators.repeat_each("weight_hold", self.columns, elements))
            self.connect(weights, spread, elements=weight_elements)
            weights = spread
            combine = arithmetic.rescaled_scalars if rescaled else arithmetic.weighted_scalars
            pv = operators.accumulate(
                "pv",
                partial(combine, elements=elements),
                self.columns,
                outputs_per_iteration=elements,
                latency_cycles=parameters.pv_latency,
            )
        self.graph.add(pv)
        self.connect(weights, pv, elements=weight_elements)
        self.connect(v, pv, elements=elements if self.by_row else 1, shared=True)
        return pv

    def divided(self, numerator: Unit, denominator: Unit) -> Unit:
        """Output rows divided by one number per row."""
        parameters = self.parameters
        elements = self.workload.v_head_dim
        if self.by_row:
            div = operators.zip_(
                "div",
                lambda rows, sums: rows / sums[..., None],
                self.rows,
                latency_cycles=parameters.div_latency,
                ii_cycles=parameters.row_div_cycles,
            )
        else:
            hold = self.graph.add(operators.repeat("sum_hold", self.rows.times(elements)))
            self.connect(denominator, hold)
            denominator = hold
            div = operators.zip_(
                "div",
                np.divide,
                self.rows.times(elements),
                latency_cycles=parameters.div_latency,
                ii_cycles=parameters.div_ii,
            )
        self.graph.add(div)
        self.connect(numerator, div, elements=elements if self.by_row else 1)
        self.connect(denominator, div)
        return div

    def finish(self, last: Unit) -> Graph:
        """Collect the output and apply the depths that the parameters name."""
        elements = self.workload.v_head_dim
        out = operators.sink("out", self.rows if self.by_row else self.rows.times(elements))
        self.graph.add(out)
        self.connect(last, out, elements=elements if self.by_row else 1)
        depths = self.parameters.named_depths()
        names = [channel.name for channel in self.graph.channels]
        unknown = [name for name in depths if name not in names]
        if unknown:
            raise InputError(
                [
                    Problem(f"no FIFO is called {name!r}", field="depths", hint=did_you_mean(name, names))
                    for name in unknown
                ]
            )
        return self.graph.with_depths(depths)

    def _groups(self) -> Callable[[int], tuple[int, int]]:
        """Map from a row to the (sequence, KV head) whose keys and values it reads."""
        work = self.workload

        def group(row: int) -> tuple[int, int]:
            sequence, head = divmod(row // self.passes, work.heads)
            return sequence, head // work.group_size

        return group

    def _queries(self) -> Callable[[range], TokenBlock] | None:
        if self.tensors is None:
            return None
        queries = self.parameters.queries_per_pass
        token = (self.workload.head_dim,) if queries == 1 else (queries, self.workload.head_dim)
        rows = self.tensors[0].reshape(-1, *token)

        def provide(block: range) -> TokenBlock:
            tokens = rows[block.start : block.stop]
            return TokenBlock(tokens[:, None] if self.by_row else tokens)

        return provide

    def _repeated(self, which: int, group: Callable[[int], tuple[int, int]]) -> Callable[[range], TokenBlock] | None:
        """K (``which=1``) or V (2), streamed again for every row: a view, not a copy."""
        if self.tensors is None:
            return None
        tensor: FloatArray = self.tensors[which]

        def provide(block: range) -> TokenBlock:
            keys = tensor[group(block.start)][: self.columns.largest(block)]
            span = self.columns if self.by_row else self.columns.times(keys.shape[1])
            keys = keys if self.by_row else keys.reshape(-1)
            return TokenBlock(np.broadcast_to(keys, (len(block), *keys.shape)), span.lengths(block))

        return provide
