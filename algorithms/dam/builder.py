"""Builds graphs out of operators with DAM's timing in place of their own.

**Timing.** A DAM unit has a clock of its own. It takes tokens when they are there, asks to send a result at clock +
latency *before* it waits for a free slot, and moves its clock on by its interval; a slot is held from the sending until
one response latency after the taking. That is ``issue="hold"`` of `simulator.graph`, with one difference: DAM's latency
of a unit overlaps the latency `c` of the channel (token time = max(request, clock + c)), where the simulator adds
them. A channel latency of `c - 1` and a unit latency of `max(1, latency - (c - 1))` give the same time for every token.

A time that passes without a token (a reset, a start-up) is a firing without ports; a unit whose result leaves after its
last interval makes it in a firing of its own, of interval 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from algorithms.dam.parameters import DamParameters, Timing
from algorithms.registry import UNNAMED, Tensors
from algorithms.workload.shape import DTYPE_BYTES, FloatArray, Workload
from hwmodels.reading.errors import InputError, Problem
from simulator import Block, FiringTable, Graph, GraphError, Segment, TokenBlock, Unit, UnitStep, operators
from simulator.graph import Issue
from simulator.operators import Span
from simulator.tokens import UnitFunction

SHORT = -1
"""Depth of a FIFO that is as deep as all others: `short_depth`."""


@dataclass
class DamBuilder:
    """A graph of DAM units under construction.

    All heads of all sequences are streamed one query row after the other, K and V anew for every row. One iteration of
    every firing table is one query row.

    Raises
    ------
    InputError
        For a workload with a mask: DAM's graphs know none.
    """

    workload: Workload
    parameters: DamParameters
    tensors: Tensors | None
    graph: Graph = field(init=False)

    def __post_init__(self) -> None:
        if self.workload.mask != "full":
            raise InputError(Problem("a graph of DAM has no mask, every query sees every key", field="mask"))
        self.graph = Graph(UNNAMED, rows_per_group=self.workload.q_len)

    @property
    def columns(self) -> int:
        """Scores per row."""
        return self.workload.kv_len

    @property
    def rows(self) -> int:
        """Query rows of all heads and sequences."""
        return self.workload.batch * self.workload.heads * self.workload.q_len

    @property
    def scale(self) -> float:
        """Factor of every score."""
        return 1.0 / math.sqrt(self.workload.head_dim)

    def per_row(self, tokens: int) -> Span:
        """`tokens` in every row."""
        return Span(tokens, self.rows)

    def fire(
        self, timing: Timing, count: int, take: tuple[int, ...] = (), make: tuple[int, ...] = (), ii: int | None = None
    ) -> Segment:
        """`count` firings of a unit, after each of which it waits `ii` cycles, or its interval."""
        overlap = self.parameters.channel_latency - 1
        return Segment(count, take, make, max(1, timing.latency - overlap), timing.ii if ii is None else ii)

    def add(self, operator: Unit, timing: Timing, *blocks: Block, issue: Issue = "hold") -> Unit:
        """Add `operator` (its values, its kind) with the firings of `blocks` in every row.

        What passes before a row passes before each loop of the first block. With several outputs every token goes to
        all of them.
        """
        first = blocks[0].segments[0]
        pause = Segment(1, (0,) * len(first.take), (0,) * len(first.make))
        if timing.row:
            blocks = (Block((replace(pause, ii=timing.row), *blocks[0].segments), blocks[0].loops), *blocks[1:])
        iterations = self.rows
        if timing.start:
            if len(blocks) > 1:
                raise GraphError(f"unit {operator.name}: a start-up time needs rows of a single block")
            # what happens once cannot be part of a repeated iteration, so the rows become a loop
            blocks = (Block((replace(pause, ii=timing.start),)), Block(blocks[0].segments, self.rows))
            iterations = 1
        table = FiringTable(blocks, iterations)
        function = operator.function
        if function is not None and operator.outputs == 1:
            function = _fan_out(function, table.outputs)
        return self.graph.add(Unit(operator.name, operator.kind, table, function, issue))

    def connect(self, producer: Unit, consumer: Unit, *, elements: int = 1, depth: int | None = SHORT) -> None:
        """Join two units by a FIFO for tokens of `elements` numbers."""
        self.graph.connect(
            producer,
            consumer,
            depth=self.parameters.short_depth if depth == SHORT else depth,
            latency_cycles=self.parameters.channel_latency - 1,
            credit_latency_cycles=self.parameters.response_latency,
            token_bytes=elements * DTYPE_BYTES[self.workload.dtype],
        )

    # where tokens come from and where they go

    def source(self, name: str, tokens: int, values: Callable[[range], TokenBlock]) -> Unit:
        """A generator: a token per cycle, `tokens` per row."""
        operator = operators.source(name, values if self.tensors else None, self.per_row(tokens))
        return self.add(operator, Timing(), Block((self.fire(Timing(), tokens, (), (1,)),)))

    def query_rows(self) -> Unit:
        """Q, one row per token."""
        return self.source("q", 1, lambda block: TokenBlock(self._queries(block)[:, None]))

    def key_rows(self) -> Unit:
        """K, one row per token."""
        return self.source("k", self.columns, lambda block: self._repeated(self._operand(1, block), block))

    def value_rows(self) -> Unit:
        """V, one row per token."""
        return self.source("v", self.columns, lambda block: self._repeated(self._operand(2, block), block))

    def query_scalars(self) -> Unit:
        """Q, one element per token."""
        return self.source("q", self.workload.head_dim, lambda block: TokenBlock(self._queries(block)))

    def key_scalars(self) -> Unit:
        """K, one element per token, key by key."""
        tokens = self.columns * self.workload.head_dim
        return self.source("k", tokens, lambda block: self._repeated(self._operand(1, block).reshape(-1), block))

    def value_scalars(self, *, by_column: bool) -> Unit:
        """V, one element per token, by columns or by rows."""

        def provide(block: range) -> TokenBlock:
            v = self._operand(2, block)
            return self._repeated((v.T if by_column else v).reshape(-1), block)

        return self.source("v", self.columns * self.workload.v_head_dim, provide)

    def sink(self, tokens: int, *, ii_cycles: int) -> Unit:
        """The end of the stream: `tokens` per row, each taking `ii_cycles`."""
        operator = operators.sink("out", self.per_row(tokens))
        timing = Timing(ii=ii_cycles)
        return self.add(operator, timing, Block((self.fire(timing, tokens, (1,)),)))

    def _queries(self, block: range) -> FloatArray:
        """Query rows of `block`, shape ``(rows, head_dim)``."""
        return self._tensor(0).reshape(-1, self.workload.head_dim)[block.start : block.stop]

    def _operand(self, which: int, block: range) -> FloatArray:
        """K (1) or V (2) as the rows of `block`, which are of one head, see it, shape ``(keys, elements)``."""
        sequence, head = divmod(block.start // self.workload.q_len, self.workload.heads)
        operand: FloatArray = self._tensor(which)[sequence, head // self.workload.group_size]
        return operand

    def _tensor(self, which: int) -> FloatArray:
        if self.tensors is None:
            raise InputError(f"{self.graph.name} was built without tensors, so its tokens have no values")
        return self.tensors[which]

    def _repeated(self, tokens: FloatArray, block: range) -> TokenBlock:
        """Tokens repeated for every row: a view, not a copy."""
        return TokenBlock(np.broadcast_to(tokens, (len(block), *tokens.shape)))


def _fan_out(function: UnitFunction, outputs: int) -> UnitFunction:
    """A function that puts the same tokens on every output."""

    def step(inputs: tuple[TokenBlock, ...], block: range) -> UnitStep:
        return UnitStep(function(inputs, block).outputs * outputs)

    return step
