"""Sums of what a proven schedule of growing rows takes, makes and waits for: closed forms in the number of rows."""

from __future__ import annotations

import numpy as np

from simulator.firing import IntArray
from simulator.growing.affine import Affine, Quadratic
from simulator.growing.proof import Tokens
from simulator.growing.schedule import UnitRows


def firings_between(unit: UnitRows, first: int, end: int) -> int:
    """Firings of a unit in the rows ``first`` to ``end - 1``."""
    return sum(piece.firings.total(first, end) for piece in unit.pieces)


def busy_between(unit: UnitRows, first: int, end: int) -> int:
    """Cycles in which a unit works in these rows."""
    return sum(piece.segment.ii * piece.firings.total(first, end) for piece in unit.pieces)


def stalls_between(unit: UnitRows, clock: Quadratic, causes: int, first: int, end: int) -> list[int]:
    """Cycles in which a unit waits in these rows, by the number of the cause."""
    stalls = [0] * causes
    before = unit.pieces[-1]
    for position, piece in enumerate(unit.pieces):
        ready = before.last.more(before.segment.ii)
        if position == 0:
            ready = ready.before(1).minus(clock.since(1))
        if piece.cause:
            others = piece.firings.more(-1).times(piece.step - piece.segment.ii)
            stalls[piece.cause] += piece.start.minus(ready).plus(others).total(first, end)
        before = piece
    return stalls


def last_start(unit: UnitRows, clock: Quadratic, row: int) -> int:
    """Start of the last firing of a unit in a row."""
    return clock.at(row) + unit.pieces[-1].last.at(row)


def runs_of(unit: UnitRows, row: int) -> IntArray:
    """Runs of a unit from ``row`` on, shape ``(runs, 5)``: firings and growth, cycles apart and growth, cause."""
    rows = [
        (one.firings.at(row), one.firings.slope, one.delta.at(row), one.delta.slope, one.cause) for one in unit.runs
    ]
    return np.array(rows, np.int64)


def times_in(tokens: tuple[Tokens, ...], clock: Quadratic, row: int) -> IntArray:
    """Start of the firing of every token of a row, in order."""
    parts = []
    for one in tokens:
        count = one.high.at(row) - one.low.at(row)
        parts.append(clock.at(row) + one.time.at(row) + one.step * np.arange(count, dtype=np.int64))
    return np.concatenate(parts)


def tokens_between(tokens: tuple[Tokens, ...], first: int, end: int) -> int:
    """Tokens of a channel in these rows."""
    per_row: Affine = tokens[-1].high
    return per_row.total(first, end)
