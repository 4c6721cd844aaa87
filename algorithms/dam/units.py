"""The units of DAM's attention graphs: which tokens they take and make, and when.

Ports are numbered in the order of the connections.
"""

from __future__ import annotations

import numpy as np

from algorithms.dam.builder import DamBuilder
from algorithms.streaming import arithmetic
from simulator import Block, TokenBlock, Unit, UnitStep, operators
from simulator.graph import Issue
from simulator.operators import Elementwise, Reduction

# units of pyprogrammer/dam-experiments (attention/src/templates)


def map_(
    builder: DamBuilder,
    name: str,
    function: Elementwise,
    tokens: int,
    *,
    inputs: int = 1,
    outputs: int = 1,
    kind: str = "map",
    timed_as: str | None = None,
    issue: Issue = "hold",
) -> Unit:
    """Take a token from every input, make one on every output (Map, Zip), with the timing of unit `timed_as`."""
    operator = operators.zip_(name, function, builder.per_row(tokens), inputs=inputs, kind=kind)
    timing = builder.parameters.timing(timed_as or name)
    segment = builder.fire(timing, tokens, (1,) * inputs, (1,) * outputs)
    return builder.add(operator, timing, Block((segment,)), issue=issue)


def scan(builder: DamBuilder, name: str, function: Reduction, *, outputs: int) -> Unit:
    """Make a running state for every score of a row."""
    operator = operators.scan(name, function, builder.per_row(builder.columns))
    timing = builder.parameters.timing(name)
    return builder.add(operator, timing, Block((builder.fire(timing, builder.columns, (1,), (1,) * outputs),)))


def reduce_(builder: DamBuilder, name: str, function: Reduction, *, inputs: int = 1) -> Unit:
    """Fold a row into one token, made after the interval of the last one taken."""
    operator = operators.reduce_(name, function, builder.per_row(builder.columns), inputs=inputs)
    timing, none = builder.parameters.timing(name), (0,) * inputs
    take = builder.fire(timing, builder.columns, (1,) * inputs, (0,))
    return builder.add(operator, timing, Block((take, builder.fire(timing, 1, none, (1,), ii=0))))


def gather(builder: DamBuilder, name: str, elements: int) -> Unit:
    """Put every `elements` scalars together into a row, like `reduce_`."""
    operator = operators.reduce_groups(
        name, lambda scalars: scalars, builder.per_row(builder.columns), elements, inputs=1
    )
    timing = builder.parameters.timing(name)
    segments = (builder.fire(timing, elements, (1,), (0,)), builder.fire(timing, 1, (0,), (1,), ii=0))
    return builder.add(operator, timing, Block(segments, builder.columns))


def repeat(builder: DamBuilder, name: str, *, timed_as: str | None = None) -> Unit:
    """Make the one token of a row once per score, with the timing of unit `timed_as`."""
    operator = operators.repeat(name, builder.per_row(builder.columns))
    timing = builder.parameters.timing(timed_as or name)
    segments = (builder.fire(timing, 1, (1,), (1,)), builder.fire(timing, builder.columns - 1, (0,), (1,)))
    return builder.add(operator, timing, Block(segments))


def divide_elements(builder: DamBuilder, name: str, elements: int) -> Unit:
    """Take a row with its divisor as the last element, make the quotients one by one (Flatmap)."""

    def function(inputs: tuple[TokenBlock, ...], _: range) -> UnitStep:
        rows = inputs[0].values[:, 0]
        return UnitStep((TokenBlock(rows[:, :-1] / rows[:, -1:]),))

    timing = builder.parameters.timing(name)
    segments = (builder.fire(timing, 1, (1,), (1,)), builder.fire(timing, elements - 1, (0,), (1,)))
    return builder.add(Unit(name, "flatmap", None, function, outputs=1), timing, Block(segments))


def dot_scalars(builder: DamBuilder, name: str) -> Unit:
    """Q times K from scalars (Matmul): the query is taken with the first key and kept for the others."""
    elements, columns = builder.workload.head_dim, builder.columns

    def function(inputs: tuple[TokenBlock, ...], _: range) -> UnitStep:
        q, k = (block.values for block in inputs)
        shape = (len(q), columns, elements)
        scores = arithmetic.row_dot(np.broadcast_to(q[:, None], shape), k.reshape(shape), builder.scale)
        return UnitStep((TokenBlock(scores),))

    return _matmul(builder, Unit(name, "matmul", None, function, outputs=1), elements, columns)


def weigh_scalars(builder: DamBuilder, name: str) -> Unit:
    """Weights times V from scalars (Matmul): the weights are taken with the first column of V and kept."""
    elements, columns = builder.workload.v_head_dim, builder.columns

    def function(inputs: tuple[TokenBlock, ...], _: range) -> UnitStep:
        weights, v = inputs[0].values, inputs[1].values.reshape(-1, elements, columns)
        return UnitStep((TokenBlock(arithmetic.weighted_rows(weights, v.swapaxes(1, 2), valid=inputs[0].valid())),))

    return _matmul(builder, Unit(name, "matmul", None, function, outputs=1), columns, elements)


def _matmul(builder: DamBuilder, operator: Unit, products: int, results: int) -> Unit:
    """`results` sums of `products` products each; the left factors are taken during the first sum."""
    timing = builder.parameters.timing(operator.name)
    send = builder.fire(timing, 1, (0, 0), (1,), ii=0)
    first = Block((builder.fire(timing, products, (1, 1), (0,)), send))
    others = Block((builder.fire(timing, products, (0, 1), (0,)), send), results - 1)
    return builder.add(operator, timing, first, others)


# units that take whole rows of Q, K and V (DAM-RS, branch gina, src/templates/streamingattn, and the composed graphs)


def dot_rows(
    builder: DamBuilder, name: str, *, outputs: int = 1, exponential: bool = False, issue: Issue = "hold"
) -> Unit:
    """Q times K from rows, and its exponential: the query is taken first, then a key per score."""

    def function(inputs: tuple[TokenBlock, ...], _: range) -> UnitStep:
        q, k = (block.values for block in inputs)
        scores = arithmetic.row_dot(np.broadcast_to(q, k.shape), k, builder.scale)
        return UnitStep((TokenBlock(np.exp(scores) if exponential else scores),))

    timing = builder.parameters.timing(name)
    keep = builder.fire(timing, 1, (1, 0), (0,) * outputs, ii=0)
    score = builder.fire(timing, builder.columns, (0, 1), (1,) * outputs)
    return builder.add(Unit(name, "dot", None, function, outputs=1), timing, Block((keep, score)), issue=issue)


def reduce_at_last(
    builder: DamBuilder, name: str, function: Reduction, *, inputs: int = 1, first_ii: int | None = None
) -> Unit:
    """Fold a row into one token, made when the last one is taken; `first_ii` is the interval after the first one.

    Rows of one score, which DAM's units never send, are sent with that score.
    """
    operator = operators.reduce_(name, function, builder.per_row(builder.columns), inputs=inputs)
    timing, take = builder.parameters.timing(name), (1,) * inputs
    first_ii = timing.ii if first_ii is None else first_ii
    if builder.columns == 1:
        return builder.add(operator, timing, Block((builder.fire(timing, 1, take, (1,), ii=first_ii),)))
    segments = (
        builder.fire(timing, 1, take, (0,), ii=first_ii),
        builder.fire(timing, builder.columns - 2, take, (0,)),
        builder.fire(timing, 1, take, (1,)),
    )
    return builder.add(operator, timing, Block(segments))


def with_row_scalar(builder: DamBuilder, name: str, function: Elementwise) -> Unit:
    """Combine every score of a row (input 0) with one scalar of the row (input 1), taken with the first and kept."""
    operator = operators.zip_(name, function, builder.per_row(builder.columns))
    timing = builder.parameters.timing(name)
    segments = (builder.fire(timing, 1, (1, 1), (1,)), builder.fire(timing, builder.columns - 1, (1, 0), (1,)))
    return builder.add(operator, timing, Block(segments))


def running_maximum(builder: DamBuilder, name: str) -> Unit:
    """Rescale factors on outputs 0 and 1, weights on outputs 2 and 3, filled one after the other."""
    timing = builder.parameters.timing(name)

    def function(inputs: tuple[TokenBlock, ...], _: range) -> UnitStep:
        pairs = arithmetic.online_softmax(inputs[0].values, valid=inputs[0].valid())
        weights, factors = (TokenBlock(pairs[..., part]) for part in (0, 1))
        return UnitStep((factors, factors, weights, weights))

    segment = builder.fire(timing, builder.columns, (1,), (1,) * 4)
    return builder.add(Unit(name, "scan", None, function, outputs=4), timing, Block((segment,)), issue="hold_in_turn")
