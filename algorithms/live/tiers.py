"""KV blocks below the memory of chips: what leaves that memory goes down tier by tier, and comes back over links.

A tier holds contents, not owners: a block of which the near memory forgets the content is written to the first tier;
where that is full its oldest content goes to the next, and from the last one it is lost. Content that is found again is
read into the near memory and leaves its tier, so every content is in one place. Each tier has a link of its own that
reads and writes at the same time; what a step moves runs beside it, and the step ends when both are done (as caches
that load layer by layer beside the computation do: CachedAttention, Gao et al., USENIX ATC 2024; Mooncake, Qin et al.,
FAST 2025).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from algorithms.live.requests import nanoseconds
from hwmodels.reading.errors import InputError, Problem

IntArray = NDArray[np.int64]
Name = int | tuple[int, int]
"""What stands for the content of a block and everything before it: a hash, or the place in one sequence alone."""


@dataclass(frozen=True)
class FarTier:
    """A tier as one replica sees it.

    Parameters
    ----------
    name
        ``host``, ``nvme``, ``pool``...
    blocks
        Blocks that it holds.
    block_ns, latency_ns
        Time of one block on its link, and of the first of a step in addition, either way.

    Raises
    ------
    InputError
        No block, or negative times.
    """

    name: str
    blocks: int
    block_ns: int
    latency_ns: int = 0

    def __post_init__(self) -> None:
        problems = [
            Problem(f"must be at least {low} (got {value})", field=f"{self.name}.{name}")
            for name, value, low in (
                ("blocks", self.blocks, 1),
                ("block_ns", self.block_ns, 0),
                ("latency_ns", self.latency_ns, 0),
            )
            if value < low
        ]
        if problems:
            raise InputError(problems)

    @classmethod
    def of_bytes(cls, name: str, capacity: float, rate: float, latency_s: float, block_bytes: int) -> FarTier:
        """A tier of a capacity in bytes and a rate in bytes per second.

        Raises
        ------
        InputError
            A capacity in which no block fits, or a rate that is not above 0.
        """
        problems = []
        if not capacity >= block_bytes:
            message = f"holds no KV block of {block_bytes:,} B on each chip (got {capacity:,.0f} B)"
            problems.append(Problem(message, field="tiers"))
        if not rate > 0:
            problems.append(Problem(f"{name}: its rate must be above 0 (got {rate:g})", field="tiers"))
        if problems:
            raise InputError(problems)
        return cls(name, int(capacity // block_bytes), nanoseconds(block_bytes / rate), nanoseconds(latency_s))

    def moving_ns(self, blocks: IntArray) -> IntArray:
        """Times of steps that move so many blocks one way."""
        return np.where(blocks > 0, self.latency_ns + blocks * self.block_ns, 0)


@dataclass
class _Held:
    """What lies in a tier, oldest first, and what was moved."""

    tier: FarTier
    names: OrderedDict[Name, None] = field(default_factory=OrderedDict)
    most: int = 0
    read: int = 0
    written: int = 0
    reading: int = 0
    writing: int = 0


class FarBlocks:
    """Contents of blocks in tiers, near to far."""

    def __init__(self, tiers: Sequence[FarTier]) -> None:
        self._held = [_Held(tier) for tier in tiers]

    @property
    def traffic(self) -> list[tuple[FarTier, int, int, int]]:
        """Every tier with the blocks that were read from it, written to it, and that it held at most."""
        return [(each.tier, each.read, each.written, each.most) for each in self._held]

    def __contains__(self, name: Name) -> bool:
        return any(name in each.names for each in self._held)

    def push(self, name: Name) -> None:
        """Content that the near memory forgets."""
        for each in self._held:
            each.names[name] = None
            each.writing += 1
            if len(each.names) <= each.tier.blocks:
                each.most = max(each.most, len(each.names))
                return
            each.most = each.tier.blocks
            name, _ = each.names.popitem(last=False)

    def pull(self, name: Name) -> None:
        """Content that goes back to the near memory; it must be here."""
        for each in self._held:
            if name in each.names:
                del each.names[name]
                each.reading += 1
                return
        raise KeyError(name)

    def drop(self, name: Name) -> None:
        """Content that is of no use here any more, or lies in the near memory again."""
        for each in self._held:
            each.names.pop(name, None)

    def moved_ns(self) -> int:
        """Time of everything that was moved since it was last asked."""
        most = 0
        for each in self._held:
            moves = each.tier.moving_ns(np.array([each.reading, each.writing], dtype=np.int64))
            most = max(most, int(moves.max()))
            each.read, each.written = each.read + each.reading, each.written + each.writing
            each.reading = each.writing = 0
        return most

    def pushing_ns(self, pushed: IntArray) -> IntArray:
        """Times of the moves of steps that push so many contents `(steps,)` one after the other; nothing is moved."""
        longest = np.zeros(len(pushed), dtype=np.int64)
        reached = np.cumsum(pushed)
        for each in self._held:
            longest = np.maximum(longest, each.tier.moving_ns(np.diff(reached, prepend=0)))
            reached = np.maximum(reached - (each.tier.blocks - len(each.names)), 0)
        return longest
