"""Firing tables: the timing data of a unit, run-length coded.

A table is a loop nest of three levels. One *iteration* of the table (in attention graphs: one query row of one head)
is a sequence of *blocks*; a block is a short sequence of *segments*, repeated ``loops`` times; a segment is ``count``
identical firings. Counts and loops may grow affinely with the iteration index, which is how causal masks are stored
without O(N^2) entries. A trace recorded from data is a table with one iteration.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from simulator.errors import GraphError

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Segment:
    """A run of identical firings.

    Parameters
    ----------
    count : int
        Number of firings in the run, in iteration 0.
    take, make : tuple of int
        Tokens taken from each input port and made on each output port by one firing.
    latency : int
        Cycles from the start of a firing until its tokens leave the unit (at least 1).
    ii : int
        Initiation interval in cycles: earliest distance to the next start.
    growth : int
        Added to ``count`` for every further iteration (causal rows).
    request_bytes : int
        Bytes that one firing asks of the unit's server; 0 means the firing does not use the server.
    address, address_step : int
        Byte address of the first request of the run in iteration 0, and its increase from firing to firing.
    address_iteration_step, iterations_per_address : int
        The address grows by the step every so many iterations (the next head follows when all rows of one are done).
    is_write : bool
        Whether the bytes go to the server instead of coming from it.
    """

    count: int
    take: tuple[int, ...] = ()
    make: tuple[int, ...] = ()
    latency: int = 1
    ii: int = 1
    growth: int = 0
    request_bytes: int = 0
    address: int = 0
    address_step: int = 0
    address_iteration_step: int = 0
    iterations_per_address: int = 1
    is_write: bool = False

    def address_of(self, iteration: int, index: int) -> int:
        """Byte address that firing ``index`` of the run asks for in ``iteration``."""
        turn = iteration // self.iterations_per_address
        return self.address + self.address_step * index + self.address_iteration_step * turn

    def same_firing(self, other: Segment) -> bool:
        """Whether one firing of either segment is indistinguishable from one of the other."""
        return (
            (self.take, self.make, self.latency, self.ii) == (other.take, other.make, other.latency, other.ii)
            and self.request_bytes == other.request_bytes == 0
            and self.growth == other.growth == 0
        )


@dataclass(frozen=True)
class Block:
    """``loops + growth * iteration`` repetitions of a sequence of segments."""

    segments: tuple[Segment, ...]
    loops: int = 1
    growth: int = 0


@dataclass(frozen=True)
class FiringTable:
    """Everything the engines need to know about the timing of one unit.

    Parameters
    ----------
    blocks : tuple of Block
        One iteration of the table.
    iterations : int
        How often the table is run through.
    ramp_length : int
        The iteration index that growth sees starts again from 0 every ``ramp_length`` iterations (the rows of one
        head); 0 means never.
    """

    blocks: tuple[Block, ...]
    iterations: int = 1
    ramp_length: int = 0
    _ports: tuple[int, int] = field(init=False, repr=False, compare=False, default=(0, 0))

    def __post_init__(self) -> None:
        segments = [segment for block in self.blocks for segment in block.segments]
        if not segments:
            raise GraphError("a firing table needs at least one segment")
        object.__setattr__(self, "_ports", (len(segments[0].take), len(segments[0].make)))
        self._check(segments)

    def _check(self, segments: Sequence[Segment]) -> None:
        problems: list[str] = []
        if self.iterations < 0:
            problems.append(f"iterations must not be negative (got {self.iterations})")
        if self.ramp_length < 0:
            problems.append(f"ramp_length must not be negative (got {self.ramp_length})")
        for segment in segments:
            if (len(segment.take), len(segment.make)) != self._ports:
                problems.append("all segments of a table must have the same number of ports")
            if segment.iterations_per_address < 1:
                problems.append(f"iterations_per_address must be at least 1 (got {segment.iterations_per_address})")
            if segment.latency < 1:
                problems.append(f"latency must be at least 1 cycle (got {segment.latency})")
            if segment.ii < 0:
                problems.append(f"initiation interval must not be negative (got {segment.ii})")
            if min((*segment.take, *segment.make, segment.request_bytes), default=0) < 0:
                problems.append("token counts and request bytes must not be negative")
        last = max(self._ramp_span() - 1, 0)
        for block in self.blocks:
            ends = [(block.loops, block.growth), *((s.count, s.growth) for s in block.segments)]
            if any(min(base, base + growth * last) < 0 for base, growth in ends):
                problems.append("a segment or block count becomes negative along the iterations")
        if problems:
            raise GraphError(sorted(set(problems)))

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{block.loops}{block.growth:+d}i</td><td>{s.count}{s.growth:+d}i</td><td>{s.take}</td>"
            f"<td>{s.make}</td><td>{s.latency}</td><td>{s.ii}</td></tr>"
            for block in self.blocks
            for s in block.segments
        )
        return (
            f"{self.iterations} iterations i of<table><tr><th>loops</th><th>firings</th><th>take</th><th>make</th>"
            f"<th>latency</th><th>interval (cycles)</th></tr>{rows}</table>"
        )

    def _ramp_span(self) -> int:
        return min(self.ramp_length, self.iterations) if self.ramp_length else self.iterations

    @property
    def inputs(self) -> int:
        """Number of input ports."""
        return self._ports[0]

    @property
    def outputs(self) -> int:
        """Number of output ports."""
        return self._ports[1]

    @cached_property
    def grows(self) -> bool:
        """Whether any count depends on the iteration index."""
        return any(b.growth or any(s.growth for s in b.segments) for b in self.blocks)

    @property
    def uses_server(self) -> bool:
        """Whether any firing sends a request to a server."""
        return any(kind.request_bytes for kind in self.kinds)

    @property
    def kinds(self) -> tuple[Segment, ...]:
        """One segment of each kind of firing, addresses apart, in the order in which they first appear."""
        return tuple(segment for segment, _ in self._kinds)

    @property
    def firings_by_kind(self) -> tuple[tuple[Segment, int], ...]:
        """Pairs of `kinds` and the number of such firings."""
        return self._kinds

    @cached_property
    def _kinds(self) -> tuple[tuple[Segment, int], ...]:
        """One segment of each kind of firing, and the number of such firings; there are far fewer than segments."""
        found: dict[tuple[object, ...], tuple[Segment, int]] = {}
        for block in self.blocks:
            for segment in block.segments:
                kind = (segment.take, segment.make, segment.latency, segment.ii, segment.request_bytes)
                first, firings = found.get(kind, (segment, 0))
                found[kind] = first, firings + self._firings_of(segment, block)
        return tuple(found.values())

    def _firings_of(self, segment: Segment, block: Block) -> int:
        """Firings of one segment over the whole table: the sum of (c + g i)(l + h i) over all iterations, exactly."""
        if not (segment.growth or block.growth):
            return segment.count * block.loops * self.iterations
        total = 0
        span = self._ramp_span()
        full, rest = divmod(self.iterations, span) if span else (0, 0)
        for length, times in ((span, full), (rest, 1)):
            ones = length
            firsts = length * (length - 1) // 2
            squares = (length - 1) * length * (2 * length - 1) // 6
            total += times * (
                segment.count * block.loops * ones
                + (segment.count * block.growth + segment.growth * block.loops) * firsts
                + segment.growth * block.growth * squares
            )
        return total

    @property
    def firings(self) -> int:
        """Total number of firings, in closed form."""
        return sum(firings for _, firings in self._kinds)

    def taken(self, port: int) -> int:
        """Total number of tokens taken from input ``port``."""
        return sum(firings * kind.take[port] for kind, firings in self._kinds)

    def made(self, port: int) -> int:
        """Total number of tokens made on output ``port``."""
        return sum(firings * kind.make[port] for kind, firings in self._kinds)

    @property
    def requested_bytes(self) -> int:
        """Total bytes asked of the server."""
        return sum(firings * kind.request_bytes for kind, firings in self._kinds)

    def runs(self) -> Iterator[tuple[Segment, int]]:
        """Yield ``(segment, firings)`` in order, with growth applied and empty runs left out."""
        for _, segment, count in self.runs_by_iteration():
            yield segment, count

    def runs_by_iteration(self) -> Iterator[tuple[int, Segment, int]]:
        """The same with the iteration in front."""
        for iteration in range(self.iterations):
            index = iteration % self.ramp_length if self.ramp_length else iteration
            for block in self.blocks:
                for _ in range(block.loops + block.growth * index):
                    for segment in block.segments:
                        count = segment.count + segment.growth * index
                        if count:
                            yield iteration, segment, count

    def tokens_per_iteration(self, port: int, *, made: bool) -> IntArray:
        """Tokens made on output (or taken from input) ``port`` in each iteration, shape ``(iterations,)``."""
        index = np.arange(self.iterations, dtype=np.int64)
        if self.ramp_length:
            index %= self.ramp_length
        total = np.zeros(self.iterations, dtype=np.int64)
        for block in self.blocks:
            loops = block.loops + block.growth * index
            for segment in block.segments:
                tokens = segment.make[port] if made else segment.take[port]
                total += loops * (segment.count + segment.growth * index) * tokens
        return total

    def expand(self) -> ExpandedTable:
        """All firings as flat arrays; only for traces and small graphs, memory is O(firings)."""
        segments: list[Segment] = []
        counts: list[int] = []
        for segment, count in self.runs():
            segments.append(segment)
            counts.append(count)
        repeats = np.asarray(counts, dtype=np.int64)

        def column(values: list[int]) -> IntArray:
            return np.repeat(np.asarray(values, dtype=np.int64), repeats)

        return ExpandedTable(
            latency=column([s.latency for s in segments]),
            ii=column([s.ii for s in segments]),
            take=tuple(column([s.take[p] for s in segments]) for p in range(self.inputs)),
            make=tuple(column([s.make[p] for s in segments]) for p in range(self.outputs)),
        )


@dataclass(frozen=True)
class ExpandedTable:
    """A firing table with one entry per firing; every array has shape ``(firings,)``."""

    latency: IntArray
    ii: IntArray
    take: tuple[IntArray, ...]
    make: tuple[IntArray, ...]


def uniform(
    count: int,
    take: Sequence[int] = (),
    make: Sequence[int] = (),
    *,
    latency: int = 1,
    ii: int = 1,
    growth: int = 0,
    iterations: int = 1,
    ramp_length: int = 0,
) -> FiringTable:
    """A table whose firings are all alike: ``count + growth * iteration`` of them in every iteration."""
    segment = Segment(count, tuple(take), tuple(make), latency, ii, growth)
    return FiringTable((Block((segment,)),), iterations, ramp_length)


def recorded(segments: Sequence[Segment]) -> FiringTable:
    """Run-length code a recorded trace: neighbouring equal firings become one segment."""
    merged: list[Segment] = []
    for segment in segments:
        if segment.count == 0:
            continue
        if merged and merged[-1].same_firing(segment):
            previous = merged.pop()
            segment = Segment(previous.count + segment.count, segment.take, segment.make, segment.latency, segment.ii)
        merged.append(segment)
    if not merged and segments:
        merged.append(segments[0])
    return FiringTable((Block(tuple(merged)),))
