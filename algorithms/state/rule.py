"""The contract of attention with a constant state: how tokens enter it, how queries read it, and what that costs.

A rule says how a memory changes with one token (`write`), how queries read it (`read`), and how a chunk of tokens goes
through in matrix products (`chunk`). The recurrent form is `write` and `read` token by token; the chunked form must
agree with it, whatever the size of the chunks. All streams (every sequence and KV head) go through together; query
heads that share a KV head are the second axis of the queries.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, Self, TypeVar, dataclass_transform

import numpy as np
from numpy.typing import NDArray

from algorithms.register import Register
from hwmodels.reading.errors import InputError, Problem

Array = NDArray[np.float64]
Gate = Literal["decay", "strength", "momentum", "route"]
Form = Literal["chunked", "recurrent"]
Parameter = int | float | str | bool
"""Value of a parameter of a rule."""
ENTRY_POINTS = "attnflow.state_rules"


@dataclass(frozen=True)
class Shape:
    """Sizes of one layer that a rule sees.

    Parameters
    ----------
    kv_heads, group
        Heads with a memory of their own, and query heads that read each.
    key_dim, value_dim
        Width of keys and queries, and of values and outputs.
    """

    kv_heads: int
    group: int
    key_dim: int
    value_dim: int


@dataclass(frozen=True)
class Tokens:
    """Consecutive tokens of all streams, oldest first.

    Parameters
    ----------
    q
        Queries `(streams, group, n, key_dim)`.
    k, v
        Keys `(streams, n, key_dim)` and values `(streams, n, value_dim)`; rules with several memories take
        `(streams, memories, n, dim)`.
    gates
        Gates that a layer computes per token, `(streams, n)` each: ``decay`` (share of the memory that is kept),
        ``strength`` (of a write), ``momentum`` (share of the last change that goes on); ``route`` is
        `(streams, n, memories)`.
    """

    q: Array
    k: Array
    v: Array
    gates: Mapping[Gate, Array]

    @property
    def count(self) -> int:
        """Tokens of every stream."""
        return int(self.q.shape[-2])

    def __getitem__(self, span: slice) -> Tokens:
        """The tokens of a span."""
        gates = {name: gate[:, span] for name, gate in self.gates.items()}
        return Tokens(self.q[..., span, :], self.k[..., span, :], self.v[..., span, :], gates)


@dataclass(frozen=True)
class Work:
    """Operations of one layer for some tokens of one sequence.

    Parameters
    ----------
    matrix_flops
        FLOPs of products of matrices, which matrix arrays can do.
    vector_flops
        FLOPs that work on vectors and single elements: outer products of single tokens, scaling, sums.
    exps
        Exponentials, of features, gates and local softmax.
    """

    matrix_flops: float = 0.0
    vector_flops: float = 0.0
    exps: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(
            self.matrix_flops + other.matrix_flops,
            self.vector_flops + other.vector_flops,
            self.exps + other.exps,
        )

    def times(self, factor: float) -> Work:
        """The same work ``factor`` times."""
        return Work(factor * self.matrix_flops, factor * self.vector_flops, factor * self.exps)


@dataclass(frozen=True)
class Product:
    """A product of matrices as issued: ``rows x depth`` times ``depth x columns``, so many of them alike."""

    rows: int
    columns: int
    depth: int
    times: int = 1


Memory = Mapping[str, Array]
"""Arrays of a state by name, the streams first. Rules return new memories and leave the old one as it is."""


class StateRule(ABC):
    """How tokens enter a memory of constant size, and how queries read it.

    A subclass is one file, registered by `state_rule`, which makes it a frozen dataclass of its parameters.
    """

    name: ClassVar[str] = ""
    gates: ClassVar[tuple[Gate, ...]] = ()
    """Gates that the tokens of this rule bring."""
    counters: ClassVar[tuple[str, ...]] = ()
    """Arrays of the memory that only count or mark tokens, and are no numbers that it is made of."""
    examples: ClassVar[tuple[Mapping[str, Parameter], ...]] = ()
    """Parameters beside the defaults that a stream of twenty tokens feels; every member is checked with them."""

    @abstractmethod
    def start(self, streams: int, key_dim: int, value_dim: int) -> Memory:
        """The memory before the first token.

        Raises
        ------
        InputError
            If the widths do not fit this rule.
        """

    @abstractmethod
    def write(self, memory: Memory, token: Tokens) -> Memory:
        """The memory after one more token."""

    @abstractmethod
    def read(self, memory: Memory, q: Array) -> Array:
        """What queries `(streams, group, n, key_dim)` read, `(streams, group, n, value_dim)`."""

    @abstractmethod
    def chunk(self, memory: Memory, tokens: Tokens) -> tuple[Memory, Array]:
        """The memory after all tokens, and what each query reads after its own token, in matrix products."""

    @abstractmethod
    def step_work(self, shape: Shape) -> Work:
        """Work of one token in the recurrent form."""

    @abstractmethod
    def chunk_work(self, shape: Shape, tokens: int) -> Work:
        """Work of a chunk of tokens in the chunked form."""

    @abstractmethod
    def chunk_products(self, shape: Shape, tokens: int) -> tuple[Product, ...]:
        """Products of a chunk of one KV head as a matrix array is given them: squares where only a triangle counts."""

    def step(self, memory: Memory, token: Tokens) -> tuple[Memory, Array]:
        """The memory after one token, and what its query reads then."""
        after = self.write(memory, token)
        return after, self.read(after, token.q)

    def held_elements(self, shape: Shape) -> int:
        """Numbers that one sequence keeps in one layer: those of the memory, whatever the length."""
        memory = self.start(1, shape.key_dim, shape.value_dim)
        return shape.kv_heads * sum(array.size for name, array in memory.items() if name not in self.counters)

    def moved_elements(self, shape: Shape) -> float:
        """Numbers that a step reads and writes of what is kept: all of it once each way, unless the rule says less."""
        return 2.0 * self.held_elements(shape)

    def carried_elements(self, shape: Shape) -> int:
        """Numbers that a core has to hold from one chunk to the next: all of the memory, unless the rule says less."""
        return self.held_elements(shape)

    def loaded_again(self, shape: Shape, tokens: int) -> float:
        """Numbers that a chunk loads beside its own tokens, mean over chunks: of what is kept, but not carried."""
        del shape, tokens
        return 0.0

    def check(self, tokens: Tokens) -> None:
        """Raise InputError unless the tokens bring exactly the gates of this rule, one per token."""
        missing = [gate for gate in self.gates if gate not in tokens.gates]
        extra = [gate for gate in tokens.gates if gate not in self.gates]
        problems = [Problem(f"{self.name} needs the gate {gate!r}", field=gate) for gate in missing]
        problems += [Problem(f"{self.name} takes no gate {gate!r}", field=gate) for gate in extra]
        problems += [
            Problem(f"must have one entry per token, {tokens.count} (got {value.shape[1]})", field=gate)
            for gate, value in tokens.gates.items()
            if gate in self.gates and value.shape[1] != tokens.count
        ]
        if tokens.k.shape[-2] != tokens.count or tokens.v.shape[-2] != tokens.count:
            lengths = f"{tokens.count} queries, {tokens.k.shape[-2]} keys, {tokens.v.shape[-2]} values"
            problems.append(Problem(f"every token has a query, a key and a value (got {lengths})"))
        if problems:
            raise InputError(problems)


class State:
    """The state of a layer while tokens pass: what a rule keeps of them.

    Parameters
    ----------
    rule
        How tokens enter and leave.
    streams
        Sequences times KV heads.
    key_dim, value_dim
        Widths of keys and of values.

    Raises
    ------
    InputError
        If there are no streams, or the widths do not fit the rule.
    """

    def __init__(self, rule: StateRule, streams: int, key_dim: int, value_dim: int) -> None:
        sizes = {"streams": streams, "key_dim": key_dim, "value_dim": value_dim}
        problems = [Problem(f"must be at least 1 (got {size})", field=name) for name, size in sizes.items() if size < 1]
        if problems:
            raise InputError(problems)
        self.rule = rule
        self._sizes = (streams, key_dim, value_dim)
        self.memory = rule.start(streams, key_dim, value_dim)

    def reset(self) -> None:
        """Forget everything."""
        self.memory = self.rule.start(*self._sizes)

    @property
    def elements(self) -> int:
        """Numbers that are kept for all streams."""
        return sum(array.size for name, array in self.memory.items() if name not in self.rule.counters)

    def update(self, tokens: Tokens) -> None:
        """Take in tokens, without the answers to their queries."""
        self.advance(tokens)

    def read(self, q: Array) -> Array:
        """What queries `(streams, group, n, key_dim)` read of the state as it is."""
        return self.rule.read(self.memory, q)

    def advance(self, tokens: Tokens, *, chunk: int | None = None, form: Form = "chunked") -> Array:
        """Take in tokens and answer each query after its own token.

        Parameters
        ----------
        tokens
            One or more.
        chunk
            Tokens that go through together in the chunked form; all of them when None. Need not divide their number.
        form
            ``chunked`` (matrix products) or ``recurrent`` (token by token).

        Returns
        -------
        out
            `(streams, group, n, value_dim)`.

        Raises
        ------
        InputError
            A chunk below 1, or tokens that do not fit the rule.
        """
        self.rule.check(tokens)
        size = 1 if form == "recurrent" else tokens.count if chunk is None else chunk
        if size < 1:
            raise InputError(Problem(f"must be at least 1 (got {size})", field="chunk"))
        go = self.rule.step if form == "recurrent" else self.rule.chunk
        parts = []
        for start in range(0, tokens.count, size):
            self.memory, part = go(self.memory, tokens[start : start + size])
            parts.append(part)
        return np.concatenate(parts, axis=-2)


R = TypeVar("R", bound=StateRule)


@dataclass(frozen=True)
class Entry:
    """A registered rule: its class, and one line for people."""

    rule: type[StateRule]
    summary: str
    source: str


RULES: Register[Entry] = Register("state rule", "algorithms.state", ENTRY_POINTS, field="rule")
"""Rules by name."""


@dataclass_transform(frozen_default=True)
def state_rule(name: str) -> Callable[[type[R]], type[R]]:
    """Register a rule; the class becomes a frozen dataclass, the first line of its docstring is its summary.

    Raises
    ------
    InputError
        If the name is taken; the message names both modules.
    """

    def register(cls: type[R]) -> type[R]:
        made = dataclass(frozen=True)(cls)
        made.name = name
        RULES.add(name, Entry(made, (cls.__doc__ or name).strip().splitlines()[0], cls.__module__))
        return made

    return register


def rule_names() -> tuple[str, ...]:
    """Names of all rules, sorted."""
    return RULES.names()


def rule_class(name: str) -> type[StateRule]:
    """The rule called ``name``; raises InputError with the nearest name if there is none."""
    return RULES.get(name).rule


def at_least(rule: StateRule, **lowest: float) -> None:
    """Raise InputError for every parameter of a rule that is below its lowest value."""
    problems = [
        Problem(f"must be at least {low} (got {value})", field=name)
        for name, low in lowest.items()
        if (value := getattr(rule, name)) < low
    ]
    if problems:
        raise InputError(problems)


@dataclass(frozen=True)
class Decays:
    """Products of the decays of a chunk.

    Parameters
    ----------
    since_start
        `(streams, n)`: what is left after each token of what was there before the chunk.
    between
        `(streams, n, n)`: what is left after token i of what token j wrote; 0 above the diagonal.
    """

    since_start: Array
    between: Array

    @classmethod
    def of(cls, decay: Array) -> Self:
        """The products of decays `(streams, n)` within (0, 1], as sums of logarithms, which cannot underflow early."""
        total = np.cumsum(np.log(decay), axis=1)
        below = np.tri(decay.shape[1], dtype=bool)
        with np.errstate(over="ignore"):
            between = np.where(below, np.exp(np.where(below, total[:, :, None] - total[:, None, :], 0.0)), 0.0)
        return cls(np.exp(total), between)

    @property
    def to_end(self) -> Array:
        """`(streams, n)`: what is left after the last token of what each token wrote."""
        return self.between[:, -1, :]
