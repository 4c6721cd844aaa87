"""Placement of blocks of keys: a chain of tiers, what stays in the fast ones, and what a miss moves.

Selection says *which* blocks a query needs; a `Placement` says *where* they are. The lowest tier holds every
block (keys never change, so a block leaving a fast tier costs nothing); every tier above is a cache with a
capacity in blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from algorithms.kv.cost import Transfer
from hwmodels.reading.errors import InputError, Problem, did_you_mean

IntArray = NDArray[np.int64]
Replacement = Literal["lru", "score_decay"]
"""``lru`` evicts the block used longest ago; ``score_decay`` the one with the least attention, where old
attention fades by a factor per step (InfLLM's ``lru-s``)."""


@dataclass(frozen=True)
class Placement:
    """Tiers from fast to slow, and how much of each upper one caches blocks.

    Parameters
    ----------
    tiers
        Names, the attention's own tier first, e.g. ``("HBM", "DRAM", "flash")``.
    cache_blocks
        Capacity of every tier but the last, in blocks per layer and decision row; None leaves the choice to
        the policy's default for the first tier (and unlimited below).
    replacement, decay
        Rule of the caches, and the factor of ``score_decay`` per step.
    """

    tiers: tuple[str, ...] = ("HBM", "DRAM")
    cache_blocks: tuple[int | None, ...] | None = None
    replacement: Replacement = "lru"
    decay: float = 0.1

    def __post_init__(self) -> None:
        problems = []
        if not self.tiers or len(set(self.tiers)) != len(self.tiers):
            problems.append(Problem("needs at least one tier, each once", field="placement.tiers"))
        if self.cache_blocks is not None and len(self.cache_blocks) != len(self.tiers) - 1:
            problems.append(
                Problem(
                    f"needs {len(self.tiers) - 1} capacities (got {len(self.cache_blocks)})",
                    field="placement.cache_blocks",
                )
            )
        if not 0 <= self.decay <= 1:
            problems.append(Problem(f"must be in [0, 1] (got {self.decay})", field="placement.decay"))
        if problems:
            raise InputError(problems)

    @property
    def fast(self) -> str:
        """The tier attention reads."""
        return self.tiers[0]

    @property
    def home(self) -> str:
        """The tier that holds everything."""
        return self.tiers[-1]

    def capacities(self, default: int) -> tuple[int | None, ...]:
        """Blocks of every tier but the last; `default` for the first where nothing is set."""
        if self.cache_blocks is not None:
            return self.cache_blocks
        return (default, *(None for _ in self.tiers[2:])) if len(self.tiers) > 1 else ()

    def check(self, chip: str, tiers: Sequence[str]) -> None:
        """Check that `chip` has every tier.

        Raises
        ------
        InputError
            One line per tier that the chip lacks.
        """
        missing = [tier for tier in self.tiers if tier not in tiers]
        if missing:
            raise InputError(
                [
                    Problem(
                        f"{chip} has no tier '{tier}'",
                        field="placement.tiers",
                        hint=did_you_mean(tier, tiers) or "it has " + ", ".join(tiers),
                    )
                    for tier in missing
                ]
            )


class BlockCache:
    """Blocks of one decision row that are in one tier.

    Parameters
    ----------
    capacity
        Blocks; None for no limit.
    replacement, decay
        Replacement and decay of scores, as in `Placement`.
    """

    def __init__(self, capacity: int | None, replacement: Replacement = "lru", decay: float = 0.1) -> None:
        self.capacity = capacity
        self.replacement = replacement
        self.decay = decay
        self._uses = 0
        self._worth: dict[int, float] = {}

    @property
    def blocks(self) -> tuple[int, ...]:
        """Resident blocks, ascending."""
        return tuple(sorted(self._worth))

    def __contains__(self, block: int) -> bool:
        return block in self._worth

    def __len__(self) -> int:
        return len(self._worth)

    def request(self, blocks: Sequence[int]) -> list[bool]:
        """Bring `blocks` in and say which were there.

        Room is made among the blocks not requested now, least worth first, oldest arrival first among
        equals. When the request alone exceeds the capacity, the cache holds it until the next request.
        """
        found = [block in self._worth for block in blocks]
        if self.capacity is not None:
            self._make_room(len(self._worth) - self.capacity + found.count(False), set(blocks))
        self._uses += 1
        for block in blocks:
            self._worth[block] = self._uses if self.replacement == "lru" else 0.0
        return found

    def credit(self, blocks: Sequence[int], scores: Sequence[float]) -> None:
        """Let old worth fade and add the attention each block just got; nothing happens under ``lru``."""
        if self.replacement == "lru":
            return
        for block in self._worth:
            self._worth[block] *= self.decay
        for block, score in zip(blocks, scores, strict=True):
            self._worth[block] += score

    def _make_room(self, excess: int, requested: set[int]) -> None:
        if excess <= 0:
            return
        candidates = [block for block in self._worth if block not in requested]
        # sorted() is stable, so equal worth leaves in order of arrival
        for block in sorted(candidates, key=self._worth.__getitem__)[:excess]:
            del self._worth[block]


@dataclass(frozen=True)
class Fetch:
    """Result of one request.

    Parameters
    ----------
    hits, misses
        Blocks found in the fast tier or not.
    hops
        Pairs of neighbouring tiers that blocks had to cross: (source, target, blocks).
    """

    hits: int
    misses: int
    hops: tuple[tuple[str, str, int], ...]


class TieredBlocks:
    """The caches of all decision rows of one layer.

    Parameters
    ----------
    placement
        Tiers that blocks lie in.
    rows
        Rows that choose their own blocks (1 when all heads share a list).
    default_blocks
        Capacity of the fast tier where the placement sets none.
    """

    def __init__(self, placement: Placement, rows: int, default_blocks: int) -> None:
        self.placement = placement
        self._caches = [
            [
                BlockCache(capacity, placement.replacement, placement.decay)
                for capacity in placement.capacities(default_blocks)
            ]
            for _ in range(rows)
        ]

    def resident(self, row: int = 0, level: int = 0) -> tuple[int, ...]:
        """Blocks of `row` in the tier `level`."""
        return self._caches[row][level].blocks

    def fast_blocks(self) -> IntArray:
        """Blocks in the fast tier per row; all are there when there is one tier."""
        return np.array([len(levels[0]) if levels else 0 for levels in self._caches])

    def request(self, chosen: Iterable[Sequence[int]]) -> Fetch:
        """Bring each row's `chosen` blocks to the fast tier."""
        tiers = self.placement.tiers
        crossings = [0] * (len(tiers) - 1)
        hits = misses = 0
        for levels, blocks in zip(self._caches, chosen, strict=True):
            wanted = list(blocks)
            for depth, cache in enumerate(levels):
                found = cache.request(wanted)
                if depth == 0:
                    hits += found.count(True)
                    misses += found.count(False)
                wanted = [block for block, there in zip(wanted, found, strict=True) if not there]
                crossings[depth] += len(wanted)
            if not levels:
                hits += len(wanted)
        hops = tuple((tiers[depth + 1], tiers[depth], blocks) for depth, blocks in enumerate(crossings) if blocks)
        return Fetch(hits, misses, hops[::-1])

    def credit(self, chosen: Iterable[Sequence[int]], scores: Iterable[Sequence[float]]) -> None:
        """Attention each row's blocks got, for ``score_decay``."""
        for levels, blocks, attention in zip(self._caches, chosen, scores, strict=True):
            for cache in levels:
                there = [(b, s) for b, s in zip(blocks, attention, strict=True) if b in cache]
                cache.credit([b for b, _ in there], [s for _, s in there])


def hop_transfers(
    what: str, fetch: Fetch, block_bytes: float, step: int, layer: int, speculative: bool = False
) -> tuple[Transfer, ...]:
    """The transfers of a fetch, slowest hop first; attention of `layer` in `step` waits for them."""
    return tuple(
        Transfer(what, source, target, blocks, blocks * block_bytes, step, layer, speculative)
        for source, target, blocks in fetch.hops
    )
