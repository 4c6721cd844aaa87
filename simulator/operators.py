"""Operators: units with the usual meanings, timed by firing tables and computed by vectorised functions.

All of them count tokens per iteration by a :class:`Span`. Functions see values of shape
``(iterations, width, *token)``.
Every operator takes ``latency_cycles`` and ``ii_cycles``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from simulator.errors import GraphError, ValueCheckError
from simulator.firing import Block, FiringTable, IntArray, Segment
from simulator.tokens import FloatArray, TokenBlock, UnitFunction, UnitStep
from simulator.units import Issue, Unit

Elementwise = Callable[..., FloatArray]
Reduction = Callable[..., FloatArray]


@dataclass(frozen=True)
class Span:
    """Tokens per iteration: ``width + growth * (iteration modulo group)``.

    Parameters
    ----------
    width : int
        Tokens in iteration 0.
    iterations : int
    growth : int
        Further tokens per iteration (causal rows).
    group : int
        Iterations after which the growth starts again (rows of a head); 0 means never.
    """

    width: int
    iterations: int = 1
    growth: int = 0
    group: int = 0

    def one(self) -> Span:
        """One token per iteration."""
        return Span(1, self.iterations, 0, self.group)

    def times(self, factor: int) -> Span:
        """``factor`` tokens for each of these."""
        return replace(self, width=self.width * factor, growth=self.growth * factor)

    def lengths(self, block: range) -> IntArray | None:
        """Tokens of the iterations in ``block``; None when they do not grow."""
        if not self.growth:
            return None
        index = np.arange(block.start, block.stop, dtype=np.int64)
        return self.width + self.growth * (index % self.group if self.group else index)

    def largest(self, block: range) -> int:
        """Most tokens that an iteration of ``block`` has."""
        lengths = self.lengths(block)
        return self.width if lengths is None else int(lengths.max())

    def table(self, name: str, *blocks: Block) -> FiringTable:
        """A firing table over these iterations, for the unit called ``name``.

        Raises
        ------
        GraphError
            If the table is not legal; every line names the unit.
        """
        try:
            return FiringTable(blocks, self.iterations, self.group)
        except GraphError as error:
            raise GraphError([f"unit {name}: {problem}" for problem in error.problems]) from None


def as_span(tokens: Span | int) -> Span:
    """Read a plain number as that many tokens in a single iteration."""
    return Span(tokens) if isinstance(tokens, int) else tokens


@dataclass(frozen=True)
class _Firing:
    """Latency and interval shared by all segments of an operator."""

    latency: int
    ii: int

    def segment(self, count: int, take: Sequence[int], make: Sequence[int], growth: int = 0) -> Segment:
        return Segment(count, tuple(take), tuple(make), self.latency, self.ii, growth)


def _uniform(name: str, span: Span, take: Sequence[int], make: Sequence[int], firing: _Firing) -> FiringTable:
    return span.table(name, Block((firing.segment(span.width, take, make, span.growth),)))


def source(
    name: str,
    values: npt.ArrayLike | Callable[[range], TokenBlock] | None,
    tokens: Span | int | None = None,
    *,
    latency_cycles: int = 1,
    ii_cycles: int = 1,
    issue: Issue = "reserve",
) -> Unit:
    """Emit tokens, one per firing.

    Parameters
    ----------
    values : array of shape ``(iterations, width, *token)``, or callable, or None
        The tokens; a callable gets a range of iterations and returns their TokenBlock; None has timing only.
    tokens : Span or int, optional
        Tokens per iteration; taken from the array when there is one.
    """
    function: UnitFunction | None = None
    if callable(values):
        provide = values

        def function(_: tuple[TokenBlock, ...], block: range) -> UnitStep:
            return UnitStep((provide(block),))

    elif values is not None:
        array = np.asarray(values, dtype=np.float64)
        if array.ndim < 2:
            raise GraphError(f"unit {name}: values must have shape (iterations, width, ...), got {array.shape}")
        tokens = Span(array.shape[1], array.shape[0]) if tokens is None else tokens

        def function(_: tuple[TokenBlock, ...], block: range) -> UnitStep:
            return UnitStep((TokenBlock(array[block.start : block.stop]),))

    if tokens is None:
        raise GraphError(f"unit {name}: needs either values or a number of tokens")
    table = _uniform(name, as_span(tokens), (), (1,), _Firing(latency_cycles, ii_cycles))
    return Unit(name, "source", table, function, issue)


def zip_(
    name: str,
    function: Elementwise | None,
    tokens: Span | int,
    *,
    inputs: int = 2,
    latency_cycles: int = 1,
    ii_cycles: int = 1,
    issue: Issue = "reserve",
    kind: str = "zip",
) -> Unit:
    """Take one token from each input, emit ``function(*tokens)``."""
    table = _uniform(name, as_span(tokens), (1,) * inputs, (1,), _Firing(latency_cycles, ii_cycles))
    return Unit(name, kind, table, _elementwise(function), issue)


def map_(
    name: str,
    function: Elementwise | None,
    tokens: Span | int,
    *,
    latency_cycles: int = 1,
    ii_cycles: int = 1,
    issue: Issue = "reserve",
) -> Unit:
    """Emit ``function(token)`` for every token."""
    return zip_(
        name, function, tokens, inputs=1, latency_cycles=latency_cycles, ii_cycles=ii_cycles, issue=issue, kind="map"
    )


def scan(
    name: str,
    function: Reduction | None,
    tokens: Span | int,
    *,
    latency_cycles: int = 1,
    ii_cycles: int = 1,
    issue: Issue = "reserve",
) -> Unit:
    """Emit a running state for every token; the state starts afresh in each iteration.

    ``function(values, valid=mask)`` gets shape ``(iterations, width, *token)`` and returns the running states.
    """
    table = _uniform(name, as_span(tokens), (1,), (1,), _Firing(latency_cycles, ii_cycles))
    return Unit(name, "scan", table, _masked(function, keep_width=True), issue)


def _elementwise(function: Elementwise | None) -> UnitFunction | None:
    if function is None:
        return None
    compute = function

    def step(inputs: tuple[TokenBlock, ...], _: range) -> UnitStep:
        return UnitStep((inputs[0].with_values(compute(*(block.values for block in inputs))),))

    return step


def _masked(function: Reduction | None, *, keep_width: bool) -> UnitFunction | None:
    """Wrap a function that needs to know which tokens are real."""
    if function is None:
        return None
    compute = function

    def step(inputs: tuple[TokenBlock, ...], _: range) -> UnitStep:
        values = compute(*(block.values for block in inputs), valid=inputs[0].valid())
        lengths = inputs[0].lengths if keep_width else None
        return UnitStep((TokenBlock(values if keep_width else values[:, None], lengths),))

    return step


def reduce_(
    name: str,
    function: Reduction | None,
    tokens: Span | int,
    *,
    inputs: int = 1,
    latency_cycles: int = 1,
    ii_cycles: int = 1,
    issue: Issue = "reserve",
    kind: str = "reduce",
) -> Unit:
    """Fold all tokens of an iteration into one, emitted by the firing that takes the last token.

    ``function(*values, valid=mask)`` gets shape ``(iterations, width, *token)`` per input and returns
    ``(iterations, *token)``.
    """
    span, firing = as_span(tokens), _Firing(latency_cycles, ii_cycles)
    take = (1,) * inputs
    table = span.table(
        name, Block((firing.segment(span.width - 1, take, (0,), span.growth), firing.segment(1, take, (1,))))
    )
    return Unit(name, kind, table, _masked(function, keep_width=False), issue)


def accumulate(
    name: str,
    function: Reduction | None,
    tokens: Span | int,
    *,
    outputs_per_iteration: int = 1,
    inputs: int = 2,
    latency_cycles: int = 1,
    ii_cycles: int = 1,
    issue: Issue = "reserve",
) -> Unit:
    """Accumulate into ``outputs_per_iteration`` registers and emit each with its last update.

    ``tokens`` counts updates per register; with one register per iteration this is a multi-input reduce. The function
    is like that of :func:`reduce_` and returns ``(iterations, outputs_per_iteration, *token)``.
    """
    span, firing = as_span(tokens), _Firing(latency_cycles, ii_cycles)
    take, last = (1,) * inputs, outputs_per_iteration
    table = span.table(
        name,
        Block(
            (
                firing.segment((span.width - 1) * last, take, (0,), span.growth * last),
                firing.segment(last, take, (1,)),
            )
        ),
    )
    step: UnitFunction | None = None
    if function is not None:
        compute = function

        def step(inputs: tuple[TokenBlock, ...], _: range) -> UnitStep:
            return UnitStep((TokenBlock(compute(*(b.values for b in inputs), valid=inputs[0].valid())),))

    return Unit(name, "accumulate", table, step, issue)


def reduce_groups(
    name: str,
    function: Elementwise | None,
    tokens: Span | int,
    group: int,
    *,
    inputs: int = 2,
    latency_cycles: int = 1,
    ii_cycles: int = 1,
    issue: Issue = "reserve",
) -> Unit:
    """Fold every ``group`` consecutive tokens into one (a dot product over scalar tokens).

    ``tokens`` counts the results. ``function(*values)`` gets shape ``(iterations, results, group, *token)`` per input
    and returns ``(iterations, results, *token)``.
    """
    span, firing = as_span(tokens), _Firing(latency_cycles, ii_cycles)
    take = (1,) * inputs
    table = span.table(
        name, Block((firing.segment(group - 1, take, (0,)), firing.segment(1, take, (1,))), span.width, span.growth)
    )
    step: UnitFunction | None = None
    if function is not None:
        compute = function

        def step(inputs: tuple[TokenBlock, ...], block: range) -> UnitStep:
            grouped = (b.values.reshape(b.values.shape[0], -1, group, *b.values.shape[2:]) for b in inputs)
            return UnitStep((TokenBlock(compute(*grouped), span.lengths(block)),))

    return Unit(name, "reduce", table, step, issue)


def repeat(
    name: str,
    tokens: Span | int,
    *,
    latency_cycles: int = 1,
    ii_cycles: int = 1,
    issue: Issue = "reserve",
) -> Unit:
    """Take one token per iteration and emit it ``tokens`` times."""
    return replay(name, tokens, 1, latency_cycles=latency_cycles, ii_cycles=ii_cycles, issue=issue)


def replay(
    name: str,
    tokens: Span | int,
    group: int,
    *,
    latency_cycles: int = 1,
    ii_cycles: int = 1,
    issue: Issue = "reserve",
) -> Unit:
    """Take ``group`` tokens per iteration and emit that sequence ``tokens`` times, passing the first one through."""
    span, firing = as_span(tokens), _Firing(latency_cycles, ii_cycles)
    table = span.table(
        name,
        Block(
            (
                firing.segment(group, (1,), (1,)),
                firing.segment((span.width - 1) * group, (0,), (1,), span.growth * group),
            )
        ),
    )

    def step(inputs: tuple[TokenBlock, ...], block: range) -> UnitStep:
        values = inputs[0].values
        shape = (values.shape[0], span.largest(block), *values.shape[1:])
        many = np.broadcast_to(values[:, None], shape)
        if group == 1:
            return UnitStep((TokenBlock(many[:, :, 0], span.lengths(block)),))
        return UnitStep((TokenBlock(many.reshape(shape[0], -1, *values.shape[2:]), _scaled(span, block, group)),))

    return Unit(name, "repeat", table, step, issue)


def repeat_each(
    name: str,
    tokens: Span | int,
    times: int,
    *,
    latency_cycles: int = 1,
    ii_cycles: int = 1,
    issue: Issue = "reserve",
) -> Unit:
    """Emit each of ``tokens`` tokens ``times`` times."""
    span, firing = as_span(tokens), _Firing(latency_cycles, ii_cycles)
    table = span.table(
        name,
        Block(
            (firing.segment(1, (1,), (1,)), firing.segment(times - 1, (0,), (1,))),
            span.width,
            span.growth,
        ),
    )

    def step(inputs: tuple[TokenBlock, ...], block: range) -> UnitStep:
        return UnitStep((TokenBlock(np.repeat(inputs[0].values, times, axis=1), _scaled(span, block, times)),))

    return Unit(name, "repeat", table, step, issue)


def _scaled(span: Span, block: range, factor: int) -> IntArray | None:
    return span.times(factor).lengths(block)


def broadcast(
    name: str,
    tokens: Span | int,
    outputs: int = 2,
    *,
    latency_cycles: int = 1,
    ii_cycles: int = 1,
    issue: Issue = "reserve",
) -> Unit:
    """Copy every token to all outputs."""
    table = _uniform(name, as_span(tokens), (1,), (1,) * outputs, _Firing(latency_cycles, ii_cycles))
    return Unit(name, "broadcast", table, lambda inputs, _: UnitStep(inputs * outputs), issue)


def sink(
    name: str,
    tokens: Span | int | None,
    *,
    ii_cycles: int = 1,
    issue: Issue = "reserve",
) -> Unit:
    """Take tokens and keep their values as an output of the run; ``tokens=None`` takes as many as come."""
    table = None if tokens is None else _uniform(name, as_span(tokens), (1,), (), _Firing(1, ii_cycles))

    def step(inputs: tuple[TokenBlock, ...], _: range) -> UnitStep:
        count = int(inputs[0].counts().sum())
        firings = None if table is not None else (Segment(count, (1,), (), 1, ii_cycles),)
        return UnitStep(inputs, firings)

    return Unit(name, "sink", table, step, issue, inputs=1)


def checker(
    name: str,
    expected: npt.ArrayLike,
    *,
    tolerance: float = 0.0,
    ii_cycles: int = 1,
    iterations: int = 1,
) -> Unit:
    """A sink that compares its tokens with ``expected``, shape ``(tokens, *token)``.

    Raises
    ------
    ValueCheckError
        In the value pass, naming the first token that is off by more than ``tolerance`` (absolute).
    """
    wanted = np.asarray(expected, dtype=np.float64)
    per_iteration, rest = divmod(len(wanted), iterations)
    if rest:
        raise GraphError(f"unit {name}: {len(wanted)} expected tokens do not divide into {iterations} iterations")
    span = Span(per_iteration, iterations)

    def step(inputs: tuple[TokenBlock, ...], block: range) -> UnitStep:
        got = inputs[0].stream()
        first = block.start * per_iteration
        want = wanted[first : first + len(got)]
        if got.shape != want.shape:
            raise ValueCheckError(f"unit {name}: got tokens of shape {got.shape}, expected {want.shape}")
        wrong = ~(np.abs(got - want) <= tolerance)
        if wrong.any():
            index = np.argwhere(wrong)[0]
            raise ValueCheckError(
                f"unit {name}: token {first + int(index[0])} is {got[tuple(index)]}, expected {want[tuple(index)]}"
            )
        return UnitStep(inputs)

    return Unit(name, "checker", _uniform(name, span, (1,), (), _Firing(1, ii_cycles)), step)


def select(
    name: str,
    predicate: Callable[[FloatArray], npt.NDArray[np.bool_]],
    *,
    latency_cycles: int = 1,
    ii_cycles: int = 1,
) -> Unit:
    """Send tokens for which ``predicate`` holds to output 0 and all others to output 1.

    Its timing depends on data and is recorded by the value pass.
    """

    def step(inputs: tuple[TokenBlock, ...], _: range) -> UnitStep:
        block = inputs[0]
        chosen = np.asarray(predicate(block.values), dtype=np.bool_) & block.valid()
        rejected = ~chosen & block.valid()
        route = np.asarray(predicate(block.stream()), dtype=np.bool_)
        firings = tuple(
            Segment(1, (1,), (1, 0) if first else (0, 1), latency_cycles, ii_cycles) for first in route.tolist()
        )
        return UnitStep((_packed(block.values, chosen), _packed(block.values, rejected)), firings)

    return Unit(name, "select", None, step, inputs=1, outputs=2)


def _packed(values: FloatArray, keep: npt.NDArray[np.bool_]) -> TokenBlock:
    """Move the kept tokens of every iteration to its front."""
    order = np.argsort(~keep, axis=1, kind="stable")
    lengths = keep.sum(axis=1).astype(np.int64)
    width = int(lengths.max(initial=0))
    index = order[:, :width].reshape(*order[:, :width].shape, *(1,) * (values.ndim - 2))
    return TokenBlock(np.take_along_axis(values, index, axis=1), lengths)


def merge(
    name: str,
    *,
    latency_cycles: int = 1,
    ii_cycles: int = 1,
) -> Unit:
    """Take one control token; pass one token from input 1 if it is non-zero, else from input 2.

    Input 0 carries the control tokens. Its timing depends on data and is recorded by the value pass.
    """

    def step(inputs: tuple[TokenBlock, ...], _: range) -> UnitStep:
        control, first, second = inputs
        from_first = (control.values != 0) & control.valid()
        from_second = (control.values == 0) & control.valid()
        shape = (*control.values.shape, *first.values.shape[2:])
        merged = np.zeros(shape, dtype=np.float64)
        for route, stream in ((from_first, first), (from_second, second)):
            if not np.array_equal(route.sum(axis=1), stream.counts()):
                raise ValueCheckError(f"unit {name}: control tokens and data tokens do not match in number")
            merged[route] = stream.stream()
        firings = tuple(
            Segment(1, (1, 1, 0) if take else (1, 0, 1), (1,), latency_cycles, ii_cycles)
            for take in (control.stream() != 0).tolist()
        )
        return UnitStep((TokenBlock(merged, control.lengths),), firings)

    return Unit(name, "merge", None, step, inputs=3, outputs=1)
