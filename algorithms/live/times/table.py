"""Step times from a table that is filled on demand, with the error of reading between its points.

Launches of a step follow each other, so a step is a sum: everything that depends on the number of tokens alone
(products with weights, norms, collectives), the head, which depends on the number of sequences, attention of the
sequences that decode, and attention of each part of a prompt. It takes no less than the host does to launch all of it.
Each term is asked of a source at fixed grid points, when it is first needed, and read linearly between them. Grids are
fixed, so a time does not depend on what was asked before.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from algorithms.live.requests import NANOSECONDS
from algorithms.live.steps import Part
from algorithms.live.tiers import IntArray

FloatArray = NDArray[np.float64]
K = TypeVar("K")
FINEST = 8
"""Up to here every whole number is a grid point."""


class StepSource(Protocol):
    """Terms of a step, in seconds, computed one by one."""

    def tokens_s(self, tokens: int) -> float:
        """Everything but attention and the head, of a step with so many new tokens."""

    def made_s(self, sequences: int) -> float:
        """The head, which makes a token for each of so many sequences."""

    def decode_s(self, sequences: int, context_tokens: int) -> float:
        """Attention of so many sequences with one new token each, which read so many tokens in all."""

    def verify_s(self, sequences: int, context_tokens: int, new_tokens: int) -> float:
        """The same with so many new tokens each, of which each reads all before it."""

    def prefill_s(self, new_tokens: int, cached_tokens: int) -> float:
        """Attention of new tokens of one sequence behind cached ones."""

    def host_s(self, parts: int) -> float:
        """The least time of a step whose attention is of so many parts; what the host takes to launch it."""


class JoinedAttention(Protocol):
    """Attention of whole batches in one launch of every layer, as some stacks call it where a step has prompts."""

    @property
    def gaps_s(self) -> float:
        """Time between launches of a batch, which parts that are timed alone each have."""

    def beside_s(self, sequences: int, context_tokens: int, new_tokens: int) -> float:
        """Of sequences with so many new tokens each, in the kernel of prompts, which all read so many tokens."""

    def together_s(self, sequences: int, context_tokens: int, new_tokens: int, prompts: tuple[Part, ...]) -> float:
        """Of a whole batch."""

    def filled(self, sequences: int, new_tokens: int) -> float:
        """Share of the chip that such sequences keep busy."""

    def passing_s(self, parts: tuple[tuple[int, int], ...]) -> float:
        """What a batch takes beyond its parts, of which each has new tokens of every sequence and sequences."""


class Remembered:
    """A source that computes every term once, for all tables that read it; a `StepSource`."""

    def __init__(self, source: StepSource) -> None:
        self.source = source
        self._known: dict[tuple[str, int, int], float] = {}
        self._verified: dict[tuple[int, int, int], float] = {}

    def tokens_s(self, tokens: int) -> float:
        """See `StepSource`."""
        return _kept(self._known, ("tokens", tokens, 0), lambda key: self.source.tokens_s(key[1]))

    def made_s(self, sequences: int) -> float:
        """See `StepSource`."""
        return _kept(self._known, ("made", sequences, 0), lambda key: self.source.made_s(key[1]))

    def decode_s(self, sequences: int, context_tokens: int) -> float:
        """See `StepSource`."""
        return _kept(self._known, ("decode", sequences, context_tokens), lambda key: self.source.decode_s(*key[1:]))

    def verify_s(self, sequences: int, context_tokens: int, new_tokens: int) -> float:
        """See `StepSource`."""
        return _kept(self._verified, (sequences, context_tokens, new_tokens), lambda key: self.source.verify_s(*key))

    def prefill_s(self, new_tokens: int, cached_tokens: int) -> float:
        """See `StepSource`."""
        return _kept(self._known, ("prefill", new_tokens, cached_tokens), lambda key: self.source.prefill_s(*key[1:]))

    def host_s(self, parts: int) -> float:
        """See `StepSource`."""
        return _kept(self._known, ("host", parts, 0), lambda key: self.source.host_s(key[1]))


def grid(largest: int, steps_per_octave: int) -> list[int]:
    """Whole numbers from 1 to at least ``largest``: all of the small ones, then so many per doubling."""
    points = list(range(1, FINEST + 1))
    for i in itertools.count(1):
        if points[-1] >= largest:
            return points
        point = round(FINEST * 2 ** (i / steps_per_octave))
        if point > points[-1]:
            points.append(point)
    raise AssertionError("a count has no end")


@dataclass(frozen=True)
class Grids:
    """How finely a table is read.

    Parameters
    ----------
    tokens, sequences, context
        Points per doubling of new tokens, of sequences that decode, and of tokens per sequence.
    """

    tokens: int = 4
    sequences: int = 4
    context: int = 2


class TableTimes:
    """Times of steps from a table of a source; a `algorithms.live.steps.StepTimes`.

    Parameters
    ----------
    source
        Where values at grid points come from.
    grids
        How fine it is.
    overhead_s
        Time of a step beside its launches: the scheduler and the host.
    exact
        Nothing is read between points: every composition is computed, and kept.
    queries
        New tokens of each sequence that decodes: several where drafted tokens are verified.
    joined
        Attention of steps with prompts where all of a batch attends in one launch. What such a launch takes is read
        from those of its parts: the longest of them, or all one after the other on the share of the chip that each
        keeps busy, if that is more.
    """

    def __init__(
        self,
        source: StepSource,
        grids: Grids | None = None,
        overhead_s: float = 0.0,
        *,
        exact: bool = False,
        queries: int = 1,
        joined: JoinedAttention | None = None,
    ) -> None:
        self.source = source
        self.queries = queries
        self.joined = joined
        self._beside: dict[tuple[int, int], float] = {}
        self.grids = grids or Grids()
        self.overhead_s = overhead_s
        self.exact = exact
        self._tokens: dict[int, float] = {}
        self._made: dict[int, float] = {}
        self._decode: dict[tuple[int, int], float] = {}
        self._prefill: dict[tuple[int, int], float] = {}

    @property
    def filled(self) -> int:
        """Values that were computed."""
        return len(self._tokens) + len(self._made) + len(self._decode) + len(self._prefill) + len(self._beside)

    def decode(self, sequences: int, context_tokens: IntArray) -> IntArray:
        """Times in nanoseconds of steps in which each sequence makes one token; see `StepTimes`."""
        attention = self.decode_attention(sequences, np.asarray(context_tokens, dtype=np.int64))
        new = sequences * self.queries
        seconds = self.overhead_s + self.rest(new, new) + attention
        seconds = np.maximum(seconds, self.source.host_s(1))
        return np.asarray(np.rint(seconds * NANOSECONDS), dtype=np.int64)

    def mixed(self, sequences: int, context_tokens: int, prefill: tuple[Part, ...]) -> int:
        """Time in nanoseconds of a step with parts of prompts; see `StepTimes`."""
        new = sequences * self.queries
        tokens = new + sum(part.new_tokens for part in prefill)
        terms = [self.overhead_s, self.rest(tokens, new + len(prefill))]
        if self.joined is not None and prefill:
            terms.append(self._together(self.joined, sequences, context_tokens, prefill))
            return self._nanoseconds(terms, sequences, prefill)
        if sequences:
            terms.append(float(self.decode_attention(sequences, np.array([context_tokens]))[0]))
        terms += [self.prefill_attention(part.new_tokens, part.cached_tokens) for part in prefill]
        return self._nanoseconds(terms, sequences, prefill)

    def exact_mixed(self, sequences: int, context_tokens: int, prefill: tuple[Part, ...]) -> int:
        """The time of a step without the table."""
        new = sequences * self.queries
        tokens = new + sum(part.new_tokens for part in prefill)
        terms = [self.overhead_s, self.source.tokens_s(tokens), self.source.made_s(new + len(prefill))]
        if self.joined is not None and prefill:
            terms.append(self.joined.together_s(sequences, context_tokens, self.queries, prefill))
            return self._nanoseconds(terms, sequences, prefill)
        if sequences:
            terms.append(self._ask_decode((sequences, context_tokens)))
        terms += [self.source.prefill_s(part.new_tokens, part.cached_tokens) for part in prefill]
        return self._nanoseconds(terms, sequences, prefill)

    def _together(
        self, joined: JoinedAttention, sequences: int, context_tokens: int, prefill: tuple[Part, ...]
    ) -> float:
        """Attention of a batch in one launch, from its parts."""
        if self.exact:
            return joined.together_s(sequences, context_tokens, self.queries, prefill)
        parts = [
            (self.prefill_attention(part.new_tokens, part.cached_tokens), joined.filled(1, part.new_tokens))
            for part in prefill
        ]
        if sequences:

            def ask(key: tuple[int, int]) -> float:
                return joined.beside_s(*key, self.queries)

            beside = self._over_both(sequences, np.array([context_tokens]), self._beside, ask)
            parts.append((float(beside[0]), joined.filled(sequences, self.queries)))
        sizes = (*((part.new_tokens, 1) for part in prefill), (self.queries, sequences))
        busy = [(max(seconds - joined.gaps_s, 0.0), share) for seconds, share in parts]
        longest = max(seconds for seconds, _ in busy)
        beyond = joined.gaps_s + joined.passing_s(sizes)
        return beyond + max(longest, math.fsum(seconds * share for seconds, share in busy))

    def _nanoseconds(self, terms: list[float], sequences: int, prefill: tuple[Part, ...]) -> int:
        least = self.source.host_s(len(prefill) + (1 if sequences else 0))
        return round(max(math.fsum(terms), least) * NANOSECONDS)

    def rest(self, tokens: int, sequences: int) -> float:
        """Everything but attention."""
        made = self._read(sequences, self._sequence_points, lambda n: _kept(self._made, n, self.source.made_s))
        return made + self._read(tokens, self._token_points, lambda n: _kept(self._tokens, n, self.source.tokens_s))

    def _read(self, value: int, points: list[int], at: Callable[[int], float]) -> float:
        return at(value) if self.exact else _between(value, points, at)

    def decode_attention(self, sequences: int, context_tokens: IntArray) -> FloatArray:
        """Read between numbers of sequences, at the same mean context, and between contexts."""
        if self.exact:
            asked = [_kept(self._decode, (sequences, int(tokens)), self._ask_decode) for tokens in context_tokens]
            return np.array(asked)
        return self._over_both(sequences, context_tokens, self._decode, self._ask_decode)

    def _over_both(
        self,
        sequences: int,
        context_tokens: IntArray,
        known: dict[tuple[int, int], float],
        ask: Callable[[tuple[int, int]], float],
    ) -> FloatArray:
        below, above = _around(sequences, self._sequence_points)
        mean = context_tokens / sequences
        low = self._at_contexts(below, mean, known, ask)
        if above == below:
            return low
        share = (sequences - below) / (above - below)
        return low + share * (self._at_contexts(above, mean, known, ask) - low)

    def _at_contexts(
        self,
        sequences: int,
        mean: FloatArray,
        known: dict[tuple[int, int], float],
        ask: Callable[[tuple[int, int]], float],
    ) -> FloatArray:
        """Attention of a number of sequences that is a grid point, over mean contexts."""
        points = self._context_points
        first = max(bisect.bisect_right(points, float(mean.min())) - 1, 0)
        last = min(bisect.bisect_left(points, float(mean.max())), len(points) - 1)
        used = points[first : max(last, first) + 1]
        values = [_kept(known, (sequences, sequences * point), ask) for point in used]
        return np.asarray(np.interp(mean, used, values), dtype=np.float64)

    def _ask_decode(self, key: tuple[int, int]) -> float:
        """Attention of sequences that read so many tokens in all."""
        return self.source.decode_s(*key) if self.queries == 1 else self.source.verify_s(*key, self.queries)

    def prefill_attention(self, new: int, cached: int) -> float:
        """Read between numbers of new tokens, and between numbers of cached ones."""

        def at(new_point: int) -> float:
            def behind(cached_point: int) -> float:
                return _kept(self._prefill, (new_point, cached_point), lambda key: self.source.prefill_s(*key))

            return self._read(cached, self._cached_points, behind) if cached else behind(0)

        return self._read(new, self._token_points, at)

    @cached_property
    def _token_points(self) -> list[int]:
        return grid(1 << 22, self.grids.tokens)

    @cached_property
    def _sequence_points(self) -> list[int]:
        return grid(1 << 16, self.grids.sequences)

    @cached_property
    def _context_points(self) -> list[int]:
        return grid(1 << 24, self.grids.context)

    @cached_property
    def _cached_points(self) -> list[int]:
        return [0, *(point for point in grid(1 << 24, self.grids.context) if point >= FINEST)]


@dataclass(frozen=True)
class TableError:
    """How far times read from a table are from those of its source.

    Parameters
    ----------
    compositions
        Steps that were computed both ways.
    mean, largest
        Mean and largest of the absolute relative differences.
    """

    compositions: int
    mean: float
    largest: float

    def __add__(self, other: TableError) -> TableError:
        """Of the steps of both."""
        count = self.compositions + other.compositions
        mean = (self.compositions * self.mean + other.compositions * other.mean) / count if count else 0.0
        return TableError(count, mean, max(self.largest, other.largest))


class Judged(Protocol):
    """Step times that are read from tables, and the same without them."""

    def mixed(self, sequences: int, context_tokens: int, prefill: tuple[Part, ...]) -> int:
        """As `algorithms.live.steps.StepTimes`."""

    def exact_mixed(self, sequences: int, context_tokens: int, prefill: tuple[Part, ...]) -> int:
        """Every term computed."""


def table_error(times: Judged, steps: Sequence[tuple[int, int, tuple[Part, ...]]], most: int = 32) -> TableError:
    """Compute steps of a run both ways.

    Parameters
    ----------
    times
        The table.
    steps
        Sequences that decode, tokens that they read, and parts of prompts; evenly spaced ones are taken.
    most
        Steps to take.
    """
    chosen = [steps[i * len(steps) // most] for i in range(most)] if len(steps) > most else list(steps)
    errors = list(_relative_errors(times, chosen))
    return TableError(len(errors), math.fsum(errors) / len(errors) if errors else 0.0, max(errors, default=0.0))


def _relative_errors(times: Judged, steps: Sequence[tuple[int, int, tuple[Part, ...]]]) -> Iterator[float]:
    for sequences, context, parts in steps:
        read = times.mixed(sequences, context, parts)
        exact = times.exact_mixed(sequences, context, parts)
        if exact:
            yield abs(read - exact) / exact


def _kept(values: dict[K, float], key: K, ask: Callable[[K], float]) -> float:
    found = values.get(key)
    if found is None:
        found = values[key] = ask(key)
    return found


def _around(value: int, points: list[int]) -> tuple[int, int]:
    """The grid points on both sides of a value; twice the same where it is one."""
    place = bisect.bisect_left(points, value)
    if points[place] == value:
        return value, value
    return points[place - 1], points[place]


def _between(value: int, points: list[int], at: Callable[[int], float]) -> float:
    """Read linearly between the grid points around a value."""
    below, above = _around(value, points)
    low = at(below)
    return low if above == below else low + (value - below) / (above - below) * (at(above) - low)
