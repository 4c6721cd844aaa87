"""Proof that a guessed schedule of growing rows is the schedule.

Every firing starts at the latest of the times that it waits for, and each of these times is that of an earlier firing
(`simulator.graph`). So there is one schedule that agrees with this recurrence in all firings, and whatever agrees with
it is that one. In a guess all times are affine in the row and the number within the row, but for the time of the row
itself, which is the same on both sides of a comparison. An affine number is nowhere in a region larger than in its
corners; so a handful of corners proves what holds for all firings of all rows.

Where a FIFO is deeper than what it ever holds, the slots that its depth asks for were free even earlier than those
that its fullest moment asks for: only the latter are looked at, which are a few rows old at most.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from simulator.firing import IntArray
from simulator.graph import FrozenGraph
from simulator.growing.affine import ZERO, Affine, larger, line_through, smaller
from simulator.growing.schedule import FITTED_ROWS, Piece, Schedule

MOST_ROWS_BACK = FITTED_ROWS
"""Rows that a slot may be old: those before were simulated, not guessed."""

Rows = tuple[int, int]
"""First and last row of a statement."""


class Tokens(NamedTuple):
    """Tokens of a channel within a row that firings of one piece make, or take.

    Parameters
    ----------
    low, high
        The first, and the one behind the last, counted within the row.
    time
        Start of the firing of the first, after the time of the row.
    step
        Cycles between two of them.
    """

    low: Affine
    high: Affine
    time: Affine
    step: int


class NotProvenError(Exception):
    """A guess that is wrong, or that nothing here can prove."""


@dataclass(frozen=True)
class Proof:
    """A schedule that holds.

    Parameters
    ----------
    schedule
        The schedule.
    made, taken
        Tokens of every channel, as its producer makes and its consumer takes them.
    peaks
        Most tokens of every channel at a time in a row.
    """

    schedule: Schedule
    made: tuple[tuple[Tokens, ...], ...]
    taken: tuple[tuple[Tokens, ...], ...]
    peaks: tuple[Affine, ...]


def prove(graph: FrozenGraph, schedule: Schedule, peaks: Sequence[Sequence[int]], last: int) -> Proof | None:
    """Proof of a guess for all rows up to ``last``; None if there is none.

    Parameters
    ----------
    peaks
        Most tokens of every channel at a time in each of the fitted rows.
    """
    try:
        return _Prover(graph, schedule, peaks, (FITTED_ROWS, last)).proof()
    except NotProvenError:
        return None


def tokens_of(pieces: tuple[Piece, ...], port: int, *, made: bool) -> tuple[Tokens, ...]:
    """Tokens of a port in a row.

    Raises
    ------
    NotProvenError
        If firings of a longer piece move several at a time: their times are no affine numbers.
    """
    found, low = [], ZERO
    for piece in pieces:
        each = (piece.segment.make if made else piece.segment.take)[port]
        if each == 0:
            continue
        if each > 1 and piece.firings != Affine(1):
            raise NotProvenError
        high = low.plus(piece.firings.times(each))
        found.append(Tokens(low, high, piece.start, piece.step if each == 1 else 0))
        low = high
    return tuple(found)


class _Prover:
    """What is needed to look at one unit after the other."""

    def __init__(self, graph: FrozenGraph, schedule: Schedule, peaks: Sequence[Sequence[int]], rows: Rows) -> None:
        self.graph, self.schedule, self.rows = graph, schedule, rows
        number = {unit.name: n for n, unit in enumerate(graph.units)}
        pieces = [unit.pieces for unit in schedule.units]
        self.made = tuple(tokens_of(pieces[number[c.producer]], c.output, made=True) for c in graph.channels)
        self.taken = tuple(tokens_of(pieces[number[c.consumer]], c.input, made=False) for c in graph.channels)
        lines = [line_through(list(levels)) for levels in peaks]
        self.peaks = tuple(line for line in lines if line is not None)
        self.transport = [_transport(pieces[number[c.producer]], c.output) + c.latency_cycles for c in graph.channels]
        if len(self.peaks) < len(lines):
            raise NotProvenError

    def proof(self) -> Proof:
        """The proof.

        Raises
        ------
        NotProvenError
            If any firing might start at another time, or wait for something else.
        """
        for number, channel in enumerate(self.graph.channels):
            made, taken, peak = self.made[number], self.taken[number], self.peaks[number]
            _demand(bool(made) and bool(taken) and made[-1].high == taken[-1].high)
            _demand(channel.depth is not None and not channel.initial_tokens)
            for tokens in (made, taken):
                _demand(all(one.step >= 0 for one in tokens))
            # no firing of the producer finds more than the peak, and one of the last row finds as many
            _demand(all(gap <= 0 for gap in self._slots(number, peak, made)))
            if peak.slope > 0:
                final = (self.rows[1], self.rows[1])
                _demand(any(gap > 0 for gap in self._slots(number, peak.more(-1), made, final)))
        for number in range(len(self.graph.units)):
            self._check_unit(number)
        return Proof(self.schedule, self.made, self.taken, self.peaks)

    def _check_unit(self, number: int) -> None:
        pieces = self.schedule.units[number].pieces
        inputs, outputs = self.graph.input_channels[number], self.graph.output_channels[number]
        offsets = dict.fromkeys((*(("in", c) for c in inputs), *(("out", c) for c in outputs)), ZERO)
        before = pieces[-1]
        for position, piece in enumerate(pieces):
            ready = before.last.more(before.segment.ii)
            if position == 0:
                ready = ready.before(1).minus(self.schedule.clock.since(1))
            self._check_clock(piece, piece.start.minus(ready))
            for port, channel in enumerate(inputs):
                each = piece.segment.take[port]
                if each:
                    _demand(each == 1 or piece.firings == Affine(1))
                    asked = _asked(piece, offsets["in", channel], each)
                    self._check_port(piece, 1 + port, self._visible(channel, asked))
                    offsets["in", channel] = asked.high
            for port, channel in enumerate(outputs):
                each = piece.segment.make[port]
                if each:
                    asked = _asked(piece, offsets["out", channel], each)
                    self._check_output(piece, 1 + len(inputs) + port, channel, asked)
                    offsets["out", channel] = asked.high
            before = piece

    def _check_clock(self, piece: Piece, late: Affine) -> None:
        """The firing before: it is what is waited for if the cause says so, and earlier otherwise."""
        interval = piece.segment.ii
        for row in self.rows:
            first, several = late.at(row), piece.firings.at(row) > 1
            if piece.cause == 0:
                _demand(first == 0 and (not several or piece.step == interval))
            else:
                _demand(first > 0 and (not several or piece.step > interval))

    def _check_port(self, piece: Piece, code: int, gaps: Iterator[int]) -> None:
        """The times of a port after the starts of firings: 0 if it is the cause, less if a later port is."""
        seen = False
        for gap in gaps:
            seen = True
            if code == piece.cause:
                _demand(gap == 0)
            else:
                _demand(gap < 0 if code < piece.cause else gap <= 0)
        _demand(seen or code != piece.cause)

    def _check_output(self, piece: Piece, code: int, number: int, asked: Tokens) -> None:
        channel, peak = self.graph.channels[number], self.peaks[number]
        depth = channel.depth or 0
        if peak == Affine(depth):
            self._check_port(piece, code, self._slots(number, peak, (asked,)))
            return
        # slots beyond the peak were free before those of the peak, which `proof` has looked at; that may be just in
        # time, which matters where a later port is the cause
        spare = int(code < piece.cause)
        _demand(code != piece.cause and all(peak.at(row) + spare <= depth for row in self.rows))
        if spare:
            self._check_port(piece, code, self._slots(number, peak.more(1), (asked,)))

    def _visible(self, channel: int, asked: Tokens) -> Iterator[int]:
        """Times at which tokens are seen, after the starts of the firings that take them, in all corners."""
        for made in self.made[channel]:
            seen = made._replace(time=made.time.more(self.transport[channel]))
            yield from _corners(seen, asked, self.rows)

    def _slots(self, number: int, depth: Affine, asked: tuple[Tokens, ...], rows: Rows | None = None) -> Iterator[int]:
        """Times at which slots are free with this depth, after the starts of the firings that need them."""
        rows = rows or self.rows
        taken, credit = self.taken[number], self.graph.channels[number].credit_latency_cycles
        per_row = taken[-1].high
        for one in asked:
            # the token whose slot it is, counted within its row, is `moved` behind that which is made
            moved, covered = ZERO.minus(depth), False
            for back in range(MOST_ROWS_BACK + 1):
                if back:
                    moved = moved.plus(per_row.before(back))
                earlier = self.schedule.clock.since(back)
                there = one._replace(low=one.low.plus(moved), high=one.high.plus(moved))
                for pop in taken:
                    free = Tokens(
                        pop.low.before(back),
                        pop.high.before(back),
                        pop.time.before(back).minus(earlier).more(credit),
                        pop.step,
                    )
                    yield from _corners(free, there, rows)
                if all(there.low.at(row) >= 0 for row in rows):
                    covered = True
                    break
            _demand(covered)


def _asked(piece: Piece, low: Affine, each: int) -> Tokens:
    """Tokens that firings of a piece ask for, the last one of each firing."""
    high = low.plus(piece.firings.times(each))
    first = low if each == 1 else high.more(-1)
    return Tokens(first, high, piece.start, piece.step if each == 1 else 0)


def _corners(given: Tokens, asked: Tokens, rows: Rows) -> Iterator[int]:
    """Times of ``given`` after those of ``asked`` in the corners of the region of tokens in both."""
    low, high = larger(given.low, asked.low, rows), smaller(given.high, asked.high, rows)
    if low is None or high is None:
        raise NotProvenError
    if all(low.at(row) >= high.at(row) for row in rows):
        return
    _demand(all(low.at(row) < high.at(row) for row in rows))
    for row in rows:
        for token in (low.at(row), high.at(row) - 1):
            here = given.time.at(row) + given.step * (token - given.low.at(row))
            wanted = asked.time.at(row) + asked.step * (token - asked.low.at(row))
            yield here - wanted


def _transport(pieces: tuple[Piece, ...], port: int) -> int:
    """Latency of all firings that make tokens on a port; tokens overtake each other unless it is the same for all."""
    latencies = {piece.segment.latency for piece in pieces if piece.segment.make[port]}
    _demand(len(latencies) == 1)
    return latencies.pop()


def _demand(holds: bool) -> None:
    if not holds:
        raise NotProvenError


def row_peaks(pushes: IntArray, releases: IntArray, ends: Sequence[int]) -> list[int]:
    """Most slots in use at a push of each row.

    Parameters
    ----------
    pushes, releases
        When each slot was taken and when it was free again, in order.
    ends
        First push of the first row, and of every row the one behind its last.
    """
    levels = np.arange(1, len(pushes) + 1) - np.searchsorted(releases, pushes, side="right")
    return [int(levels[low:high].max()) for low, high in pairwise(ends)]
