"""The tiers between cores and the main memory as a graph of cores sees them, and how long firings that move bytes take.

A firing's bytes, the share of them that a tier moves, and the tier's rate decide on its times: one by one for whoever
draws a graph, and in columns for whoever fills the times of many into one that is drawn already.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from algorithms.chip.cores.core_tables import Fired, Moving
from simulator.firing import IntArray

SHARE_SCALE = 4096
"""Requests and rates of tiers are both multiplied by this, so that a core's share of a tier need not be whole bytes."""

_LARGEST = 2.0**63


@dataclass(frozen=True)
class TierThroughput:
    """A shared tier as the cores of a graph see it.

    Parameters
    ----------
    name
        Name of the server.
    bytes_per_tick
        Rate for all cores of the graph together.
    latency_ticks
        Ticks from the end of a transfer until the data is there.
    """

    name: str
    bytes_per_tick: float
    latency_ticks: int

    @property
    def scaled_rate(self) -> int:
        """Rate of the server that stands for it."""
        return max(1, round(self.bytes_per_tick * SHARE_SCALE))


@dataclass(frozen=True)
class Fabric:
    """Tiers between cores and the main memory.

    Parameters
    ----------
    memory
        The main memory.
    cache
        The caches before it, as one; None when there is none.
    memory_share
        Share of loaded bytes that come from the main memory.
    core_bytes_per_tick
        Most that one core can take in or give out.
    stored_share
        Share of stored bytes that go to the main memory.
    """

    memory: TierThroughput
    cache: TierThroughput | None
    memory_share: float
    core_bytes_per_tick: float
    stored_share: float = 1.0

    @property
    def tiers(self) -> tuple[TierThroughput, ...]:
        """Both, or the one there is."""
        return (self.memory,) if self.cache is None else (self.memory, self.cache)

    @property
    def loads_wait_for_cache(self) -> bool:
        """Whether loads can be held up by the caches at all: when so little comes from the main memory."""
        return self.cache is not None and self.memory_share / self.memory.bytes_per_tick < 1 / self.cache.bytes_per_tick

    def share(self, moving: Moving) -> float:
        """Share of the bytes that the tier of a firing moves."""
        if moving.share == "all":
            return 1
        return self.memory_share if moving.share == "load" else self.stored_share

    def fired(self, moving: Moving) -> Fired:
        """A firing with its times."""
        size = moving.bytes * self.share(moving)
        tier = self.cache if moving.tier == "cache" and self.cache else self.memory
        ii = math.ceil(size / min(tier.bytes_per_tick, self.core_bytes_per_tick))
        behind = self.cache.latency_ticks if moving.behind_cache and self.cache else 0
        latency = 1 + behind + moving.rearrange
        return Fired(moving.take, moving.make, latency, max(1, ii, moving.rearrange), round(size * SHARE_SCALE))


@dataclass(frozen=True, eq=False)
class MovedBytes:
    """Many firings that move bytes, column by column, so that their times are worked out at once.

    Parameters
    ----------
    places
        Position of each firing in the table it is from, `(firings,)`, as all columns.
    sizes, rearranged
        Bytes before the share is taken, and ticks of rearranging.
    cached, behind
        Whether the cache is the tier that moves them, and whether they come through it.
    shares
        0 for all of the bytes, 1 for the share of loads and 2 for that of stores.
    """

    places: IntArray
    sizes: NDArray[np.float64]
    rearranged: IntArray
    cached: NDArray[np.bool_]
    behind: IntArray
    shares: IntArray

    @classmethod
    def of(cls, moving: Sequence[tuple[int, Moving]]) -> MovedBytes:
        """Firings with their positions."""
        return cls(
            places=np.array([place for place, _ in moving], np.int64),
            sizes=np.array([one.bytes for _, one in moving], np.float64),
            rearranged=np.array([one.rearrange for _, one in moving], np.int64),
            cached=np.array([one.tier == "cache" for _, one in moving], np.bool_),
            behind=np.array([one.behind_cache for _, one in moving], np.int64),
            shares=np.array([("all", "load", "store").index(one.share) for _, one in moving], np.int64),
        )

    def times(self, fabric: Fabric) -> tuple[IntArray, IntArray, IntArray]:
        """Latencies, intervals and requests, as `Fabric.fired` has them one by one."""
        moved: NDArray[np.float64] = self.sizes * np.array((1.0, fabric.memory_share, fabric.stored_share))[self.shares]
        cache = fabric.cache or fabric.memory
        rates = [min(tier.bytes_per_tick, fabric.core_bytes_per_tick) for tier in (fabric.memory, cache)]
        ticks = _whole(np.ceil(moved / np.where(self.cached, rates[1], rates[0])))
        latencies = 1 + self.behind * (fabric.cache.latency_ticks if fabric.cache else 0) + self.rearranged
        intervals = np.maximum(np.maximum(ticks, self.rearranged), 1)
        return latencies, intervals, _whole(np.rint(moved * SHARE_SCALE))


def _whole(numbers: NDArray[np.float64]) -> IntArray:
    """Whole numbers as such; raises OverflowError for those that do not fit into a word."""
    if not (numbers < _LARGEST).all():
        raise OverflowError(f"{numbers.max():g} does not fit into 64 bits")
    return numbers.astype(np.int64)
