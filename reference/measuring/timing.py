"""Timing protocol of GPU kernels, apart from which kernel it is.

A case hands in calls that do the same work on different buffers. *Cold* timing rotates through so many
buffers that none of a call's data can be left in the last-level cache; *warm* timing repeats one call.
Calls shorter than `graph_below_us` are timed inside CUDA graphs of many calls, longer ones by a pair of
events each. Every case is measured in several repeats, whose spread is kept; the headline number is the
median of all samples.

The rules follow the differences between Triton's, FlashInfer's, FlashMLA's and nvbench's tools: medians
instead of means, random data (zeros draw less power and run faster), enough warm-up calls, clocks read and
never set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

T = TypeVar("T")
RunCall = Callable[[], object]


@dataclass(frozen=True)
class TimingProtocol:
    """The numbers of the protocol; `version` changes with any of them or with the method.

    Attributes
    ----------
    warmup_calls, timed_calls, repeats
        Calls before timing, samples per repeat, and repeats of the whole measurement.
    graph_below_us, graph_calls
        Calls shorter than the one are timed in graphs of at least the other.
    cold_cache_factor
        Buffers of cold timing together hold at least so many times the last-level cache.
    warm_below_bytes
        Working sets below it are timed warm as well.
    longest_repeat_s
        A repeat takes fewer samples, but at least five, when it would last longer.
    most_copies
        Largest number of buffer sets.
    """

    version: int = 1
    warmup_calls: int = 10
    timed_calls: int = 50
    repeats: int = 3
    graph_below_us: float = 50.0
    graph_calls: int = 20
    cold_cache_factor: int = 5
    warm_below_bytes: int = 100_000_000
    longest_repeat_s: float = 2.0
    most_copies: int = 1024

    def copies(self, working_set_bytes: int, cache_bytes: int, free_bytes: int) -> int:
        """Buffer sets to rotate through for cold timing, as many as needed and as fit."""
        size = max(working_set_bytes, 1)
        needed = max(2, -(-self.cold_cache_factor * cache_bytes // size))
        return max(1, min(needed, free_bytes // size, self.most_copies))

    def samples(self, call_us: float) -> int:
        """Samples per repeat for calls of a given length."""
        affordable = int(self.longest_repeat_s * 1e6 / max(call_us, 1e-3))
        return max(5, min(self.timed_calls, affordable))

    def seconds(self, call_us: float) -> float:
        """Device time that measuring a call of a given length takes, one cache state."""
        per_sample = max(self.graph_calls, 1) if call_us < self.graph_below_us else 1
        calls = self.warmup_calls + self.repeats * self.samples(call_us) * per_sample
        return calls * call_us * 1e-6


class Stopwatch(Protocol):
    """Times calls on a device; one per framework, because streams and graphs differ."""

    def events(self, calls: Sequence[RunCall]) -> list[float]:
        """Microseconds of each call, by a pair of events around it."""
        ...

    def graph(self, calls: Sequence[RunCall], replays: int) -> list[float]:
        """Microseconds of each replay of a graph that holds all calls in order."""
        ...


@dataclass(frozen=True)
class Timing:
    """Samples of one case in one cache state, microseconds per call.

    Attributes
    ----------
    cache
        ``"cold"`` or ``"warm"``.
    method
        ``"events"`` or ``"graph"``.
    copies
        Buffer sets rotated through.
    repeats
        Samples of each repeat.
    """

    cache: str
    method: str
    copies: int
    repeats: tuple[tuple[float, ...], ...]

    def _all(self) -> list[float]:
        return [sample for repeat in self.repeats for sample in repeat]

    @property
    def median_us(self) -> float:
        """Median of all samples, in microseconds."""
        return float(np.median(self._all()))

    @property
    def spread(self) -> float:
        """Largest less smallest median of a repeat, relative to the median: how well the measurement repeats."""
        medians = [float(np.median(repeat)) for repeat in self.repeats]
        return (max(medians) - min(medians)) / self.median_us if self.median_us > 0 else 0.0

    def record(self) -> dict[str, object]:
        """Plain values for a record; samples are kept to a nanosecond."""
        samples = self._all()
        return {
            "cache": self.cache,
            "method": self.method,
            "copies": self.copies,
            "median_us": round(self.median_us, 3),
            "p20_us": round(float(np.percentile(samples, 20)), 3),
            "p80_us": round(float(np.percentile(samples, 80)), 3),
            "min_us": round(min(samples), 3),
            "spread": round(self.spread, 5),
            "repeats_us": [[round(sample, 3) for sample in repeat] for repeat in self.repeats],
        }


def time_calls(stopwatch: Stopwatch, calls: Sequence[RunCall], cache: str, protocol: TimingProtocol) -> Timing:
    """Measure calls that rotate through different buffers (cold), or a single one (warm).

    Raises
    ------
    ValueError
        No call.
    """
    if not calls:
        raise ValueError("there is nothing to time")
    for i in range(protocol.warmup_calls):
        calls[i % len(calls)]()
    probe = float(np.median(stopwatch.events(_cycled(calls, 5))))
    if probe < protocol.graph_below_us:
        in_graph = _cycled(calls, max(protocol.graph_calls, len(calls)))
        repeats = [
            tuple(total / len(in_graph) for total in stopwatch.graph(in_graph, protocol.samples(probe)))
            for _ in range(protocol.repeats)
        ]
        return Timing(cache, "graph", len(calls), tuple(repeats))
    sampled = _cycled(calls, protocol.samples(probe))
    return Timing(cache, "events", len(calls), tuple(tuple(stopwatch.events(sampled)) for _ in range(protocol.repeats)))


def _cycled(items: Sequence[T], count: int) -> list[T]:
    return [items[i % len(items)] for i in range(count)]
