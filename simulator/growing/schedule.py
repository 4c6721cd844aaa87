"""The schedule of growing rows as a guess: what a few simulated rows have in common, carried on row by row.

In a row, a unit goes through runs of firings that are equally far apart and have the same stall cause. From row to row
the runs stay the same but for their lengths, which grow by a constant, and the beginning of a row comes later by an
amount that grows by a constant. Whether that holds for all rows is for `simulator.growing.proof` to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from simulator.firing import FiringTable, IntArray, Segment
from simulator.growing.affine import ZERO, Affine, Quadratic, is_never_above, line_through

FITTED_ROWS = 40
"""Simulated rows that a guess has to reproduce, all of them: slots may be as old as that, of one token in a row."""
MOST_RUNS = 24
"""Runs of a unit in a row beyond which its schedule is not one of few constant stretches."""


class Run(NamedTuple):
    """Firings of one unit in a row that are equally far apart.

    Parameters
    ----------
    firings
        How many there are.
    delta
        Cycles since the firing before, of each; grows in runs of a single firing alone.
    cause
        Stall cause of each.
    """

    firings: Affine
    delta: Affine
    cause: int


class Piece(NamedTuple):
    """Firings of one unit in a row that are equally far apart and of one segment of its table.

    Parameters
    ----------
    low, high
        The first, and the one behind the last, counted within the row.
    start
        Start of the first, after the time of the row.
    step
        Cycles between two of them.
    cause
        Stall cause.
    segment
        What they take and make.
    """

    low: Affine
    high: Affine
    start: Affine
    step: int
    cause: int
    segment: Segment

    @property
    def firings(self) -> Affine:
        """How many there are."""
        return self.high.minus(self.low)

    @property
    def last(self) -> Affine:
        """Start of the last."""
        return self.start.plus(self.firings.more(-1).times(self.step))


@dataclass(frozen=True)
class UnitRows:
    """Schedule of one unit."""

    runs: tuple[Run, ...]
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Schedule:
    """Schedule of a graph in growing rows, counted from the first of the fitted ones.

    Parameters
    ----------
    clock
        Time of each row, to which all starts in it are relative.
    units
        Every unit's part of it.
    """

    clock: Quadratic
    units: tuple[UnitRows, ...]


def segments_of(table: FiringTable, row: int) -> list[tuple[Segment, Affine]] | None:
    """Segments of an iteration with their firings, counted from ``row`` on; None if firings are no affine numbers."""
    found = []
    for block in table.blocks:
        looped = (block.loops, block.growth) != (1, 0)
        if looped and (len(block.segments) > 1 or (block.growth and block.segments[0].growth)):
            return None
        for one in block.segments:
            growth = one.count * block.growth + one.growth * block.loops
            count = Affine(one.count * block.loops + growth * row, growth)
            if count != ZERO:
                found.append((one, count))
    return found


def fit(
    tables: Sequence[FiringTable], starts: Sequence[IntArray], causes: Sequence[IntArray], row: int, last: int
) -> Schedule | None:
    """The schedule that rows ``row`` and on are likely to have, by the simulated ones; None if they are not alike.

    Parameters
    ----------
    starts, causes
        Start and stall cause of every firing up to and with row ``row + FITTED_ROWS - 1``.
    last
        Last row that is asked for.
    """
    rows = []
    for table, start, cause in zip(tables, starts, causes, strict=True):
        segments = segments_of(table, row)
        if segments is None or not segments:
            return None
        rows.append(_rows_of(segments, start, cause))
    first_starts = [[int(part[1][0]) for part in parts] for parts in rows if parts]
    if len(first_starts) != len(tables):
        return None
    clock = Quadratic.through(*first_starts[-1][:3])
    units = []
    for table, parts in zip(tables, rows, strict=True):
        segments = segments_of(table, row)
        unit = _fit_unit(segments or [], parts, clock, last - row)
        if unit is None:
            return None
        units.append(unit)
    return Schedule(clock, tuple(units))


def _rows_of(
    segments: list[tuple[Segment, Affine]], start: IntArray, cause: IntArray
) -> list[tuple[int, IntArray, IntArray]]:
    """Of each of the fitted rows, which are the last ones: the start before it, its own starts, its own causes."""
    end, parts = len(start), []
    for row in reversed(range(FITTED_ROWS)):
        count = sum(firings.at(row) for _, firings in segments)
        if count < 1 or end - count < 1:
            return []
        parts.append((int(start[end - count - 1]), start[end - count : end], cause[end - count : end]))
        end -= count
    return parts[::-1]


def _runs(before: int, start: IntArray, cause: IntArray) -> list[tuple[int, int, int]] | None:
    """Runs of a row as counts, distances and causes; the first firing, which waits for the row, is one of its own."""
    deltas = np.diff(start, prepend=before)
    changes = np.flatnonzero((np.diff(deltas) != 0) | (np.diff(cause) != 0)) + 1
    edges = np.unique(np.append(changes, [0, 1, len(start)]))
    if len(edges) > MOST_RUNS + 1:
        return None
    firsts, counts = edges[:-1], np.diff(edges)
    return list(zip(counts.tolist(), deltas[firsts].tolist(), cause[firsts].tolist(), strict=True))


def _fit_unit(
    segments: list[tuple[Segment, Affine]],
    parts: list[tuple[int, IntArray, IntArray]],
    clock: Quadratic,
    last: int,
) -> UnitRows | None:
    found = [_runs(*part) for part in parts]
    if any(runs is None for runs in found):
        return None
    given = [runs for runs in found if runs is not None]
    if len({len(runs) for runs in given}) > 1:
        return None
    runs = []
    for same in zip(*given, strict=True):
        count, delta = line_through([one[0] for one in same]), line_through([one[1] for one in same])
        if count is None or delta is None or len({one[2] for one in same}) > 1:
            return None
        if delta.slope and count != Affine(1):
            return None
        runs.append(Run(count, delta, same[0][2]))
    first = line_through([int(part[1][0]) - clock.at(row) for row, part in enumerate(parts)])
    if first is None:
        return None
    pieces = _pieces(runs, segments, first, last)
    return None if pieces is None else UnitRows(tuple(runs), pieces)


def _pieces(
    runs: list[Run], segments: list[tuple[Segment, Affine]], first: Affine, last: int
) -> tuple[Piece, ...] | None:
    """Runs cut where the segment changes; None where the order of cuts changes before the last row."""
    bounds = (0, last)
    run, part = 0, 0
    run_end, part_end = runs[0].firings, segments[0][1]
    low, start = ZERO, first
    pieces = []
    while True:
        run_first = is_never_above(run_end, part_end, bounds)
        if not run_first and not is_never_above(part_end, run_end, bounds):
            return None
        high = run_end if run_first else part_end
        if not is_never_above(low, high, bounds):
            return None
        step = runs[run].delta.base if runs[run].firings != Affine(1) else 0
        piece = Piece(low, high, start, step, runs[run].cause, segments[part][0])
        if high != low:
            if not is_never_above(low.more(1), high, bounds):
                return None  # an empty piece has no last firing
            pieces.append(piece)
        ends_run, ends_part = high == run_end, high == part_end
        if ends_part:
            part += 1
            if part < len(segments):
                part_end = part_end.plus(segments[part][1])
        if ends_run:
            run += 1
            if run < len(runs):
                run_end = run_end.plus(runs[run].firings)
        if run == len(runs) or part == len(segments):
            return tuple(pieces) if (run, part) == (len(runs), len(segments)) else None
        # the first firing of the next piece comes a distance after the last one of this, whichever run it is of
        if high != low:
            start = piece.last.plus(runs[run].delta)
        low = high
