"""Attention with a constant state as graphs of FIFOs: every token passes once, and no FIFO grows with the sequence.

    q ----------> [phi] -+
    k -> [unit] -> [phi] -+-> memory -> [div] -> out
    v --------------------+

A memory holds one matrix per stream in registers. A token occupies it for as long as its multiply-adds take on the
lanes; where a write depends on a read of the same memory (the delta rule), the next token has to wait for the whole
chain. All query heads of a KV head travel in one token. Streams (sequences and KV heads) follow each other.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from algorithms.registry import UNNAMED, Algorithm, P, Tensors, algorithm
from algorithms.state.delta import DeltaRule
from algorithms.state.legendre import LegendreMemory
from algorithms.state.linear import LinearAttention, elu_features
from algorithms.state.rule import Array, Gate, State, StateRule, Tokens
from algorithms.workload.levers import knob
from algorithms.workload.one_head import ONE_HEAD_CAUSAL
from algorithms.workload.shape import DTYPE_BYTES, Workload
from hwmodels.reading.errors import InputError, Problem
from simulator import Graph, TokenBlock, Unit, operators
from simulator.operators import Span

_CHUNK = 64
"""Tokens that values are computed of at a time; results do not depend on it."""


@dataclass(frozen=True, kw_only=True)
class StateGraph(Algorithm[P]):
    """A graph of FIFOs around a constant state: what attends by default is causal, as a state knows no future."""

    default_workload: ClassVar[Workload | None] = ONE_HEAD_CAUSAL


@dataclass(frozen=True)
class StateStreamParameters:
    """What one can change about a stream through a constant state.

    Raises
    ------
    InputError
        For values out of range, all at once.
    """

    value_parameters: ClassVar[tuple[str, ...]] = ()
    """Parameters that change what is computed; all others only change when."""

    fifo_depth: int = field(default=16, metadata=knob("depth of every FIFO, in tokens", depth=True))
    mac_lanes: int = field(
        default=0,
        metadata=knob("multiply-add lanes of the memory; 0: one per entry of its matrix", speeds=("memory",)),
    )
    mac_latency: int = field(default=1, metadata=knob("latency of a product of a vector and the matrix", "cycles"))
    exp_cycles: int = field(default=1, metadata=knob("cycles one lane spends on an exponential", "cycles"))
    exp_lanes: int = field(
        default=0,
        metadata=knob("exponential lanes of each feature unit; 0: one per element", speeds=("phi_q", "phi_k")),
    )
    div_latency: int = field(default=1, metadata=knob("latency of the division", "cycles"))

    def __post_init__(self) -> None:
        lowest = {"mac_lanes": 0, "exp_lanes": 0}
        problems = [
            Problem(f"must be at least {lowest.get(name, 1)} (got {value})", field=name)
            for name, value in vars(self).items()
            if isinstance(value, int) and value < lowest.get(name, 1)
        ]
        if problems:
            raise InputError(problems)

    def mac_cycles(self, macs: int, entries: int) -> int:
        """Cycles of so many multiply-adds on the lanes, of which there are `entries` unless a number is given."""
        return -(-macs // (self.mac_lanes or entries))

    def exp_interval(self, elements: int) -> int:
        """Cycles between two tokens of a feature unit with so many elements."""
        return -(-elements // (self.exp_lanes or elements)) * self.exp_cycles


@dataclass(frozen=True)
class DeltaStreamParameters(StateStreamParameters):
    """Parameters of a stream through a constant state, and how strongly the delta rule writes."""

    value_parameters: ClassVar[tuple[str, ...]] = ("strength",)

    strength: float = field(default=0.5, metadata=knob("share of the difference that a write corrects, 0 to 1"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 <= self.strength <= 1.0:
            raise InputError(Problem(f"must be from 0 to 1 (got {self.strength:g})", field="strength"))


@dataclass(frozen=True)
class LegendreStreamParameters(StateStreamParameters):
    """Parameters of a stream through a constant state, and the window that the coefficients describe."""

    value_parameters: ClassVar[tuple[str, ...]] = ("window",)

    window: float = field(default=128.0, metadata=knob("tokens that the coefficients describe", "token"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.window >= 1.0:
            raise InputError(Problem(f"must be at least 1 (got {self.window:g})", field="window"))


@dataclass
class StateStream:
    """A stream of tokens through one memory, under construction.

    Raises
    ------
    InputError
        Where the workload is no stream: queries and keys differ in number, or the mask is not causal.
    """

    workload: Workload
    parameters: StateStreamParameters
    tensors: Tensors | None
    graph: Graph = field(init=False)
    tokens: Span = field(init=False)

    def __post_init__(self) -> None:
        work = self.workload
        problems = []
        if work.q_len != work.kv_len:
            message = f"every token has a query and a key: must equal kv_len = {work.kv_len} (got {work.q_len})"
            problems.append(Problem(message, field="q_len"))
        if work.mask != "causal":
            problems.append(
                Problem(f"a state knows only what has passed: must be causal (got {work.mask})", field="mask")
            )
        if problems:
            raise InputError(problems)
        self.tokens = Span(work.kv_len, work.batch * work.kv_heads)
        self.graph = Graph(UNNAMED, rows_per_group=1)

    @property
    def streams(self) -> int:
        """Sequences times KV heads."""
        return self.workload.batch * self.workload.kv_heads

    def source(self, name: str) -> Unit:
        """The queries of all heads of a stream, its keys, or its values, one token at a time."""
        values = None
        if self.tensors is not None:
            work = self.workload
            which = self.tensors["qkv".index(name)]
            if name == "q":
                heads = which.reshape(self.streams, work.group_size, work.q_len, work.head_dim)
                rows: Array = heads.swapaxes(1, 2)
            else:
                rows = which.reshape(self.streams, work.kv_len, which.shape[-1])

            def provide(block: range, rows: Array = rows) -> TokenBlock:
                return TokenBlock(rows[block.start : block.stop])

            values = provide
        return self.graph.add(operators.source(name, values, self.tokens))

    def elements(self, name: str) -> int:
        """Numbers in a token of queries (``q``), keys (``k``) or values (``v``)."""
        work = self.workload
        return {"q": work.group_size * work.head_dim, "k": work.head_dim, "v": work.v_head_dim}[name]

    def mapped(self, name: str, unit: str, function: operators.Elementwise, interval: int = 1) -> Unit:
        """A source and an elementwise unit behind it, which emits as many numbers as it takes."""
        made = self.graph.add(operators.map_(unit, function, self.tokens, ii_cycles=interval))
        self.connect(self.source(name), made, self.elements(name))
        return made

    def connect(self, producer: Unit, consumer: Unit, elements: int) -> None:
        """Join two units by a FIFO whose tokens have so many numbers."""
        size = elements * DTYPE_BYTES[self.workload.dtype]
        self.graph.connect(producer, consumer, depth=self.parameters.fifo_depth, token_bytes=size)

    def memory(self, rule: StateRule, inputs: tuple[Unit, Unit, Unit], interval: int, gates: dict[Gate, float]) -> Unit:
        """The unit that takes in (q, k, v) and emits what the queries read after it, `group * v_head_dim` numbers."""

        def passed(q: Array, k: Array, v: Array) -> Array:
            given = {name: np.full(k.shape[:2], value) for name, value in gates.items()}
            state = State(rule, len(k), k.shape[-1], v.shape[-1])
            return state.advance(Tokens(q.swapaxes(1, 2), k, v, given), chunk=_CHUNK).swapaxes(1, 2)

        latency = self.parameters.mac_latency
        unit = operators.zip_(
            "memory", passed, self.tokens, inputs=3, latency_cycles=latency, ii_cycles=interval, kind="memory"
        )
        self.graph.add(unit)
        for name, producer in zip("qkv", inputs, strict=True):
            self.connect(producer, unit, self.elements(name))
        return unit

    def finish(self, last: Unit) -> Graph:
        """Collect the outputs."""
        out = self.graph.add(operators.sink("out", self.tokens))
        self.connect(last, out, self.workload.group_size * self.workload.v_head_dim)
        return self.graph


def memory_interval(name: str, workload: Workload, parameters: StateStreamParameters) -> int:
    """Cycles between two tokens of the memory of `linear`, `delta` or `legendre`.

    Writes and reads use the same lanes. The delta rule writes what it has read just before: its chain of a product, a
    subtraction and an outer product must end before the next token begins.
    """
    work = workload
    entries = work.head_dim * work.v_head_dim
    products = {"linear": 1, "delta": 2, "legendre": work.head_dim + 1}[name] + work.group_size
    busy = parameters.mac_cycles(products * entries, entries)
    if name != "delta":
        return busy
    chain = 2 * parameters.mac_cycles(entries, entries) + 2 * parameters.mac_latency
    return max(busy, chain)


@algorithm("state.linear", StateStreamParameters, oracle="linear", kind=StateGraph)
def linear_stream(workload: Workload, parameters: StateStreamParameters, tensors: Tensors | None) -> Graph:
    """Linear attention as a stream: one matrix per KV head, FIFOs of O(1) (Katharopoulos et al., arXiv:2006.16236)."""
    stream = StateStream(workload, parameters, tensors)
    q, k = (
        stream.mapped(name, f"phi_{name}", elu_features, parameters.exp_interval(stream.elements(name)))
        for name in ("q", "k")
    )
    v = stream.source("v")
    fork_q = stream.graph.add(operators.broadcast("q_fork", stream.tokens))
    fork_k = stream.graph.add(operators.broadcast("k_fork", stream.tokens))
    stream.connect(q, fork_q, stream.elements("q"))
    stream.connect(k, fork_k, stream.elements("k"))
    interval = memory_interval("linear", workload, parameters)
    total = stream.memory(LinearAttention(features="identity", normalised=False), (fork_q, fork_k, v), interval, {})
    weight = stream.graph.add(
        operators.zip_("weight", _weights, stream.tokens, latency_cycles=parameters.mac_latency, kind="memory")
    )
    stream.connect(fork_q, weight, stream.elements("q"))
    stream.connect(fork_k, weight, stream.elements("k"))
    divide = stream.graph.add(
        operators.zip_(
            "div", lambda rows, sums: rows / sums[..., None], stream.tokens, latency_cycles=parameters.div_latency
        )
    )
    stream.connect(total, divide, workload.group_size * workload.v_head_dim)
    stream.connect(weight, divide, workload.group_size)
    return stream.finish(divide)


def _weights(q: Array, k: Array) -> Array:
    """Products of each query's features with the sum of all key features up to its own."""
    total: Array = np.einsum("sngd,snd->sng", q, np.cumsum(k, axis=1))
    return total


@algorithm("state.delta", DeltaStreamParameters, oracle="delta", kind=StateGraph)
def delta_stream(workload: Workload, parameters: DeltaStreamParameters, tensors: Tensors | None) -> Graph:
    """The delta rule as a stream: keys of length one, a memory that corrects itself (arXiv:2406.06484)."""
    stream = StateStream(workload, parameters, tensors)
    q = stream.source("q")
    k = stream.mapped("k", "unit_k", unit_rows)
    interval = memory_interval("delta", workload, parameters)
    read = stream.memory(DeltaRule(), (q, k, stream.source("v")), interval, {"strength": parameters.strength})
    return stream.finish(read)


def unit_rows(rows: Array) -> Array:
    """Rows over their Euclidean length, which keeps the delta rule stable."""
    length = np.sqrt((rows * rows).sum(axis=-1, keepdims=True))
    scaled: Array = rows / np.where(length > 0, length, 1.0)
    return scaled


@algorithm("state.legendre", LegendreStreamParameters, oracle="legendre", kind=StateGraph)
def legendre_stream(workload: Workload, parameters: LegendreStreamParameters, tensors: Tensors | None) -> Graph:
    """The Legendre memory as a stream: a window in `head_dim` coefficients per value (LMUFormer, arXiv:2402.04882)."""
    stream = StateStream(workload, parameters, tensors)
    inputs = (stream.source("q"), stream.source("k"), stream.source("v"))
    interval = memory_interval("legendre", workload, parameters)
    return stream.finish(stream.memory(LegendreMemory(window=parameters.window), inputs, interval, {}))


def stream_cycles(name: str, workload: Workload, parameters: StateStreamParameters) -> int:
    """Cycles of a stream in closed form, for FIFOs that are deep enough for full rate.

    The slowest unit sets the pace. Every unit starts its last token `tokens - 1` of these intervals after the latencies
    before it, and is occupied for its own interval; the run ends with the last of them.
    """
    memory = (parameters.mac_latency, memory_interval(name, workload, parameters))
    source, plain = (1, 1), (1, 1)
    if name == "linear":
        sizes = (workload.group_size * workload.head_dim, workload.head_dim)
        features = (1, max(map(parameters.exp_interval, sizes)))
        path = [source, features, plain, memory, (parameters.div_latency, 1), plain]
    elif name == "delta":
        path = [source, plain, memory, plain]
    else:
        path = [source, memory, plain]
    tokens = workload.batch * workload.kv_heads * workload.kv_len
    pace = max(interval for _, interval in path)
    before = itertools.accumulate((latency for latency, _ in path), initial=0)
    ends = [start + interval for start, (_, interval) in zip(before, path, strict=False)]
    return (tokens - 1) * pace + max(ends)
