"""Blocks of frames made from noise one after the other, over the keys of blocks that are done.

A causal video model denoises a block in a few passes; in each of them the block sees itself and the cached keys and
values of blocks before it: the first ones for good (sinks) and the latest ones (a window). Behind the last pass, one
more over the clean block writes its keys and values (Self Forcing, arXiv:2506.08009, algorithm 2; with sinks: Deep
Forcing, MotionStream). Where every step has a cache of its own, blocks leave in each step the keys that they had there,
and no pass over the clean block is made (Live2Diff, arXiv:2407.08701, section 4.2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from algorithms.state.rings.ring import Array
from hwmodels.reading.errors import InputError, Problem

Pair = tuple[Array, Array]
"""Keys and values `(tokens, width)` of a block."""


class Denoiser(Protocol):
    """A model of one block of tokens."""

    def keys_values(self, tokens: Array, step: int) -> Pair:
        """Keys and values of tokens `(tokens, width)` at a step; the number behind the last is that of clean ones."""

    def denoised(self, tokens: Array, step: int, keys: Array, values: Array) -> Array:
        """The tokens behind a pass, in which they see `keys` and `values` `(seen, width)`, their own last."""


@dataclass(frozen=True)
class BlockDiffusion:
    """How blocks are made.

    Parameters
    ----------
    steps
        Passes in which a block is denoised.
    sinks
        First blocks whose keys stay.
    window
        Latest blocks before a block that it sees beside them.
    cache_per_step
        Whether every step has a cache of its own.

    Raises
    ------
    InputError
        Without steps, or a memory of no block.
    """

    steps: int
    sinks: int = 0
    window: int = 1
    cache_per_step: bool = False

    def __post_init__(self) -> None:
        problems = [
            Problem(f"must be at least {least} (got {getattr(self, name)})", field=name)
            for name, least in (("steps", 1), ("sinks", 0), ("window", 0))
            if getattr(self, name) < least
        ]
        if self.sinks + self.window < 1:
            problems.append(Problem("a memory needs at least 1 block, as a sink or in the window", field="window"))
        if problems:
            raise InputError(problems)

    @property
    def passes(self) -> int:
        """Through the model for every block, the one that writes the cache included."""
        return self.steps if self.cache_per_step else self.steps + 1

    def seen_blocks(self, number: int) -> tuple[int, ...]:
        """Blocks before block `number` that it sees: sinks, then the window."""
        first = max(number - self.window, 0)
        return (*range(min(self.sinks, first)), *range(first, number))

    def seen_tokens(self, number: int, tokens: int) -> int:
        """Keys that each pass of block `number` reads, its own included."""
        return tokens * (len(self.seen_blocks(number)) + 1)

    def held_elements(self, tokens: int, width: int) -> int:
        """Most numbers that are kept of keys and values of one layer, however many blocks have passed."""
        caches = self.steps if self.cache_per_step else 1
        return caches * (self.sinks + self.window) * 2 * tokens * width

    def attention_flops(self, blocks: int, tokens: int, width: int) -> int:
        """Of one layer for the first blocks: two products over the keys seen, in each pass."""
        return self.passes * sum(4 * tokens * self.seen_tokens(each, tokens) * width for each in range(blocks))


@dataclass
class BlockStream:
    """A stream of blocks while they are made.

    Parameters
    ----------
    diffusion, model
        How blocks are made, and by what.
    """

    diffusion: BlockDiffusion
    model: Denoiser
    made: int = 0
    caches: dict[int, dict[int, Pair]] = field(default_factory=dict)

    def reset(self) -> None:
        """Forget everything."""
        self.made = 0
        self.caches = {}

    @property
    def elements(self) -> int:
        """Numbers that are kept."""
        return sum(part.size for cache in self.caches.values() for pair in cache.values() for part in pair)

    def push(self, noise: Array) -> Array:
        """The clean block that noise `(tokens, width)` becomes."""
        plan, tokens = self.diffusion, np.array(noise)
        for step in range(plan.steps):
            own = self.model.keys_values(tokens, step)
            keys, values = self._seen(step, own)
            if plan.cache_per_step:
                self._keep(step, own)
            tokens = self.model.denoised(tokens, step, keys, values)
        if not plan.cache_per_step:
            self._keep(0, self.model.keys_values(tokens, plan.steps))
        self.made += 1
        return tokens

    def _seen(self, step: int, own: Pair) -> Pair:
        cache = self.caches.get(step if self.diffusion.cache_per_step else 0, {})
        pairs = [*(cache[block] for block in self.diffusion.seen_blocks(self.made)), own]
        return np.concatenate([pair[0] for pair in pairs]), np.concatenate([pair[1] for pair in pairs])

    def _keep(self, cache: int, own: Pair) -> None:
        """The block's own, without those that no later block sees."""
        later = self.diffusion.seen_blocks(self.made + 1)
        before = self.caches.get(cache, {})
        self.caches[cache] = {block: pair for block, pair in {**before, self.made: own}.items() if block in later}


@dataclass(frozen=True, eq=False)
class OneLayer:
    """The smallest denoiser with a memory: attention whose result is mixed into the tokens by the step's share.

    Parameters
    ----------
    projections
        `(4, width, width)`: for queries, keys, values and outputs.
    times
        `(steps + 1, width)`: added to the tokens at each step, the last one for clean tokens.
    shares
        `(steps,)`: of the result in what leaves a step.
    """

    projections: Array
    times: Array
    shares: Sequence[float]

    def keys_values(self, tokens: Array, step: int) -> Pair:
        """Of tokens at a step."""
        moved = tokens + self.times[step]
        return moved @ self.projections[1], moved @ self.projections[2]

    def denoised(self, tokens: Array, step: int, keys: Array, values: Array) -> Array:
        """The tokens behind a pass."""
        scores = (tokens + self.times[step]) @ self.projections[0] @ keys.T / math.sqrt(tokens.shape[1])
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        mixed = (weights / weights.sum(axis=1, keepdims=True)) @ values @ self.projections[3]
        share = self.shares[step]
        made: Array = (1 - share) * tokens + share * mixed
        return made
