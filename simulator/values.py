"""The value pass: values of all tokens, computed without a clock.

Values never depend on time (Kahn), so they are computed once per algorithm and workload, vectorised, and reused by
every hardware point. Tokens of a channel are handled iteration by iteration (in attention graphs: row by row) as a
:class:`~simulator.tokens.TokenBlock`; a unit's function maps the token blocks of its inputs for some iterations to
those of its outputs.
Iterations are independent of each other: state that a unit carries lives within one iteration.

A unit whose timing depends on data has no firing table; its function returns one along with its tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from simulator.errors import GraphError, ValueCheckError
from simulator.firing import FiringTable, IntArray, Segment, recorded
from simulator.graph import Graph
from simulator.tokens import FloatArray, TokenBlock, UnitStep
from simulator.units import Unit

BLOCK_BYTES = 32 << 20


@dataclass(frozen=True)
class ValuePass:
    """Tokens that reached the sinks, shape ``(tokens, *token_shape)`` each, and the recorded tables by unit."""

    outputs: dict[str, FloatArray]
    tables: dict[str, FiringTable]


def evaluate(graph: Graph) -> ValuePass:
    """Compute all token values of an acyclic graph.

    Raises
    ------
    GraphError
        If a unit has no function, or the graph has a cycle.
    """
    order = _topological(graph)
    missing = [unit.name for unit in order if unit.function is None]
    if missing:
        raise GraphError([f"unit {name}: has no function, so its tokens have no values" for name in missing])
    rows = max((unit.table.iterations for unit in order if unit.table is not None), default=1)
    collected: dict[str, list[FloatArray]] = {unit.name: [] for unit in order if unit.outputs == 0}
    firings: dict[str, list[Segment]] = {unit.name: [] for unit in order if unit.table is None}
    promised = {
        unit.name: [unit.table.tokens_per_iteration(port, made=True) for port in range(unit.outputs)]
        for unit in order
        if unit.table is not None and unit.table.iterations == rows
    }
    made: dict[tuple[str, int], int] = {}
    for block in _row_blocks(graph, rows):
        tokens: dict[tuple[str, int], TokenBlock] = {}
        for unit in order:
            step = _evaluate_unit(graph, unit, tokens, block)
            for port, output in enumerate(step.outputs if unit.outputs else ()):
                if unit.name in promised:
                    _check_count(unit, port, output, promised[unit.name][port], block)
                made[unit.name, port] = made.get((unit.name, port), 0) + int(output.counts().sum())
                tokens[unit.name, port] = output
            if unit.outputs == 0:
                collected[unit.name] += [output.stream() for output in step.outputs]
            if unit.table is None:
                firings[unit.name] += step.firings or ()
    _check_totals(order, made)
    outputs = {name: np.concatenate(parts) for name, parts in collected.items() if parts}
    nothing = {u.name: Segment(0, (0,) * u.inputs, (0,) * u.outputs) for u in order}
    return ValuePass(outputs, {name: recorded(runs or [nothing[name]]) for name, runs in firings.items()})


def _evaluate_unit(graph: Graph, unit: Unit, tokens: dict[tuple[str, int], TokenBlock], block: range) -> UnitStep:
    sources = sorted((c.input, c.producer, c.output) for c in graph.channels if c.consumer == unit.name)
    inputs = tuple(tokens[producer, output] for _, producer, output in sources)
    if unit.function is None:
        raise GraphError(f"unit {unit.name}: has no function")
    # padding of short rows is computed along and thrown away: what overflows there says nothing
    # and what overflows elsewhere is warned of or not, as the caller has it
    padded: Literal["ignore"] | None = "ignore" if any(b.lengths is not None for b in inputs) else None
    with np.errstate(over=padded, invalid=padded, divide=padded):
        step = unit.function(inputs, block)
    if unit.table is None and step.firings is None:
        raise GraphError(f"unit {unit.name}: has no firing table and its function recorded none")
    return step


def _check_count(unit: Unit, port: int, output: TokenBlock, promised: IntArray, block: range) -> None:
    wanted = promised[block.start : block.stop]
    if not np.array_equal(output.counts(), wanted):
        raise ValueCheckError(
            f"unit {unit.name}: its function gives {int(output.counts().sum())} tokens on output {port} in iterations "
            f"{block.start} to {block.stop - 1}, but its firing table makes {int(wanted.sum())}"
        )


def _check_totals(units: list[Unit], made: dict[tuple[str, int], int]) -> None:
    """Hold units whose table counts its rows in another way to their total number of tokens."""
    for unit in units:
        for port in range(unit.outputs if unit.table else 0):
            wanted = unit.table.made(port) if unit.table else 0
            if made.get((unit.name, port), 0) != wanted:
                raise ValueCheckError(
                    f"unit {unit.name}: its function gives {made.get((unit.name, port), 0)} tokens on output {port}, "
                    f"but its firing table makes {wanted}"
                )


def _topological(graph: Graph) -> list[Unit]:
    waiting = {unit.name: {c.producer for c in graph.channels if c.consumer == unit.name} for unit in graph.units}
    order: list[Unit] = []
    ready = [unit for unit in graph.units if not waiting[unit.name]]
    while ready:
        unit = ready.pop(0)
        order.append(unit)
        del waiting[unit.name]
        for other in graph.units:
            if unit.name in waiting.get(other.name, set()):
                waiting[other.name].discard(unit.name)
                if not waiting[other.name]:
                    ready.append(other)
    if waiting:
        raise GraphError(f"the value pass needs an acyclic graph; in a cycle: {', '.join(sorted(waiting))}")
    return order


def _row_blocks(graph: Graph, rows: int) -> Sequence[range]:
    """Blocks of iterations within one group, small enough that the widest channel stays below ``BLOCK_BYTES``."""
    group = graph.rows_per_group or rows
    widest = 1
    tables = {unit.name: unit.table for unit in graph.units}
    for channel in graph.channels:
        table = tables[channel.producer]
        if table is not None:
            tokens = table.made(channel.output) // max(table.iterations, 1) + 1
            widest = max(widest, tokens * channel.token_bytes)
    step = max(1, min(group, BLOCK_BYTES // widest))
    return [
        range(start, min(start + step, first + group, rows))
        for first in range(0, rows, group)
        for start in range(first, min(first + group, rows), step)
    ]
