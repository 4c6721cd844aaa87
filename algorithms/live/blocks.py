"""Blocks of KV memory: a pool, sequences that own blocks, and a cache of prefixes in the blocks that nobody owns.

A block holds a fixed number of tokens of all layers. A full block of a prompt is known by its hash, which stands for
the block and everything before it; a request that begins alike finds it again as long as it is there. A block that
nobody uses any more keeps its content until it is needed: the least recently used one goes first, and of the blocks of
one sequence the last (PagedAttention, Kwon et al. 2023, arXiv:2309.06180; automatic prefix caching of vLLM, version 1).
Where there are tiers below, content that goes is kept there (`algorithms.live.tiers`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from algorithms.live.tiers import FarBlocks, IntArray, Name
from hwmodels.reading.errors import InputError, Problem

BELOW = -1
"""In the place of a block whose content lies in a tier below."""


@dataclass
class PrefixCount:
    """Blocks of prompts that were looked for, those that were found, and those of them that lay in tiers below."""

    looked_for: int = 0
    found: int = 0
    below: int = 0

    @property
    def hit_rate(self) -> float:
        """Found over looked for; 0 if none were."""
        return self.found / self.looked_for if self.looked_for else 0.0


@dataclass
class BlockPool:
    """A pool of KV blocks.

    Parameters
    ----------
    blocks
        Size of the pool; None for one without limit.
    block_tokens
        Tokens per block.
    caching
        Whether full prompt blocks are found again.
    far
        Tiers below, which keep what is forgotten here; None for none.

    Raises
    ------
    InputError
        For sizes below 1.
    """

    blocks: int | None
    block_tokens: int = 16
    caching: bool = True
    far: FarBlocks | None = None
    count: PrefixCount = field(default_factory=PrefixCount)
    used: int = field(default=0, init=False)
    most_used: int = field(default=0, init=False)
    _users: dict[int, int] = field(default_factory=dict, init=False)
    _block_of: dict[Name, int] = field(default_factory=dict, init=False)
    _hash_of: dict[int, Name] = field(default_factory=dict, init=False)
    _idle: OrderedDict[int, None] = field(default_factory=OrderedDict, init=False)
    _fresh: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        problems = [
            Problem(f"must be at least 1 (got {value})", field=name)
            for name, value in (("blocks", self.blocks), ("block_tokens", self.block_tokens))
            if value is not None and value < 1
        ]
        if problems:
            raise InputError(problems)

    @property
    def free(self) -> int | None:
        """Blocks that can be taken: those that nobody owns, whatever they still hold; None without limit."""
        return None if self.blocks is None else self.blocks - self.used

    def has(self, blocks: int) -> bool:
        """Whether so many blocks can be taken."""
        return self.blocks is None or blocks <= self.blocks - self.used

    def needed(self, tokens: int) -> int:
        """Blocks of so many tokens."""
        return -(-tokens // self.block_tokens)

    def match(self, prefix: Sequence[Name], most_tokens: int) -> list[int]:
        """Blocks that hold the beginning of a prompt, at most so many tokens of it, or `BELOW`; not taken yet."""
        if not self.caching:
            return []
        found: list[int] = []
        for name in prefix[: most_tokens // self.block_tokens]:
            block = self._block_of.get(name)
            if block is None:
                if self.far is None or name not in self.far:
                    break
                block = BELOW
            found.append(block)
        return found

    def fetch(self, found: Sequence[int], names: Sequence[Name]) -> list[int]:
        """Matched blocks that are shared already, with blocks taken for those `BELOW`; raises as `take`."""
        below = [name for block, name in zip(found, names, strict=False) if block == BELOW]
        if self.far is None or not below:
            return list(found)
        for name in below:  # before blocks are taken, which may push others down
            self.far.pull(name)
        fresh = iter(self.take(len(below)))
        blocks = []
        for block, name in zip(found, names, strict=False):
            blocks.append(next(fresh) if block == BELOW else block)
            self.remember(blocks[-1], name)
        return blocks

    def idle_among(self, blocks: Sequence[int]) -> int:
        """How many of these blocks nobody owns: taking them leaves so many fewer free."""
        return sum(1 for block in blocks if block in self._idle)

    def share(self, blocks: Sequence[int]) -> None:
        """Use blocks that were matched."""
        for block in blocks:
            if block in self._idle:
                del self._idle[block]
                self.used += 1
            self._users[block] = self._users.get(block, 0) + 1
        self.most_used = max(self.most_used, self.used)

    def take(self, count: int) -> list[int]:
        """So many blocks; what the oldest idle ones held is forgotten.

        Raises
        ------
        MemoryError
            There are not so many: see `has`.
        """
        if not self.has(count):
            raise MemoryError(f"{count} blocks of {self.free} free ones")
        fresh = count if self.blocks is None else min(count, self.blocks - self._fresh)
        taken = list(range(self._fresh, self._fresh + fresh))
        self._fresh += fresh
        oldest = self._idle.popitem
        taken += [oldest(last=False)[0] for _ in range(count - fresh)]
        if self._hash_of:
            for block in taken[fresh:]:
                self._forget(block)
        self._users.update(dict.fromkeys(taken, 1))
        self.used += count
        self.most_used = max(self.most_used, self.used)
        return taken

    def remember(self, block: int, name: Name) -> None:
        """A block now holds all tokens that its hash stands for; the first block of a hash is the one that is found."""
        if self.caching and name not in self._block_of:
            if self.far is not None:
                self.far.drop(name)
            self._block_of[name] = block
            self._hash_of[block] = name

    def disown(self, name: Name) -> None:
        """Nobody asks for this content again, wherever it lies."""
        block = self._block_of.pop(name, None)
        if block is not None:
            del self._hash_of[block]
        if self.far is not None:
            self.far.drop(name)

    def pushed_by(self, taken: IntArray) -> IntArray:
        """Contents that go down in steps that take so many blocks `(steps,)` one after the other; none is taken."""
        if self.blocks is None:
            return np.zeros(len(taken), dtype=np.int64)
        reached = np.cumsum(taken)
        fresh = self.blocks - self._fresh
        most = max(int(reached[-1]) - fresh, 0) if len(reached) else 0
        holds = [block in self._hash_of for block in islice(self._idle, most)]
        lost = np.concatenate(([0], np.cumsum(holds, dtype=np.int64)))
        return np.diff(lost[np.maximum(reached - fresh, 0)], prepend=0)

    def release(self, blocks: Sequence[int]) -> None:
        """One owner less of each; the last block of a sequence becomes the next to be reused."""
        users, idle = self._users, self._idle
        for block in reversed(blocks):
            left = users.pop(block) - 1
            if left:
                users[block] = left
            else:
                idle[block] = None
                self.used -= 1

    def _forget(self, block: int) -> None:
        name = self._hash_of.pop(block, None)
        if name is not None:
            del self._block_of[name]
            if self.far is not None:
                self.far.push(name)
