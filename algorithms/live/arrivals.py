"""Arrivals and lengths that are drawn: when requests come, and how many tokens they bring and ask for.

Everything is drawn from one seed in a fixed order, arrivals first, then lengths, then prefixes: the same seed makes the
same requests.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from algorithms.live.requests import Request, nanoseconds
from hwmodels.reading.errors import InputError, Problem

FloatArray = NDArray[np.float64]
LARGEST_LENGTH = 10**7


@dataclass(frozen=True)
class Process:
    """Times between arrivals.

    Parameters
    ----------
    rate
        Requests per second in the mean.
    variation
        Standard deviation of the times between arrivals over their mean: 1 for a Poisson process, 0 for a clock;
        others are gamma distributed.
    burst_s, pause_s
        Seconds of arrivals and seconds without, in turns; the mean rate is kept. 0: no pauses.

    Raises
    ------
    InputError
        A rate that is not above 0, or a negative spread or time.
    """

    rate: float
    variation: float = 1.0
    burst_s: float = 0.0
    pause_s: float = 0.0

    def __post_init__(self) -> None:
        problems = []
        if not 0 < self.rate < math.inf:
            problems.append(Problem(f"must be above 0 (got {self.rate:g})", field="rate"))
        for name in ("variation", "burst_s", "pause_s"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                problems.append(Problem(f"must not be negative (got {value:g})", field=name.removesuffix("_s")))
        if self.pause_s and not self.burst_s:
            problems.append(Problem("must be above 0 where there are pauses", field="burst"))
        if problems:
            raise InputError(problems)

    def times_s(self, count: int, random: np.random.Generator) -> FloatArray:
        """So many arrivals `(count,)`, the first at 0."""
        busy = self.burst_s / (self.burst_s + self.pause_s) if self.pause_s else 1.0
        mean = busy / self.rate
        if self.variation == 0:
            gaps = np.full(count, mean)
        elif self.variation == 1:
            gaps = random.exponential(mean, count)
        else:
            shape = self.variation**-2
            gaps = random.gamma(shape, mean / shape, count)
        times = np.concatenate(([0.0], np.cumsum(gaps)[: count - 1]))
        if self.pause_s:
            times += np.floor(times / self.burst_s) * self.pause_s
        return times


class Lengths(ABC):
    """Numbers of tokens of requests."""

    @abstractmethod
    def draw(self, count: int, random: np.random.Generator) -> FloatArray:
        """So many lengths `(count,)`, not yet whole."""

    def tokens(self, count: int, random: np.random.Generator) -> list[int]:
        """The same as whole numbers of at least 1."""
        drawn = np.clip(np.rint(self.draw(count, random)), 1, LARGEST_LENGTH)
        return [int(each) for each in drawn]


@dataclass(frozen=True)
class Fixed(Lengths):
    """All alike."""

    value: int

    def draw(self, count: int, random: np.random.Generator) -> FloatArray:
        """See `Lengths`."""
        del random
        return np.full(count, float(self.value))


@dataclass(frozen=True)
class Uniform(Lengths):
    """Evenly from ``least`` to ``most``, both included."""

    least: int
    most: int

    def __post_init__(self) -> None:
        if self.most < self.least:
            raise InputError(Problem(f"must be at least {self.least} (got {self.most})", field="most"))

    def draw(self, count: int, random: np.random.Generator) -> FloatArray:
        """See `Lengths`."""
        return random.integers(self.least, self.most + 1, count).astype(np.float64)


@dataclass(frozen=True)
class LogNormal(Lengths):
    """Log-normal lengths of a mean and a median, none longer than ``most``."""

    mean: float
    median: float
    most: int = LARGEST_LENGTH

    def __post_init__(self) -> None:
        if self.mean < self.median:
            message = f"must be at least the median {self.median:g} (got {self.mean:g})"
            raise InputError(Problem(message, field="mean"))

    def draw(self, count: int, random: np.random.Generator) -> FloatArray:
        """See `Lengths`."""
        spread = math.sqrt(2 * math.log(self.mean / self.median))
        return np.minimum(self.median * np.exp(spread * random.standard_normal(count)), self.most)


@dataclass(frozen=True)
class Quantiles(Lengths):
    """Lengths of a published distribution.

    Parameters
    ----------
    points
        Pairs (per cent, length), both rising, from 0 to 100; evenly on a logarithmic scale in between.

    Raises
    ------
    InputError
        Points that do not rise from 0 to 100.
    """

    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        shares, values = [share for share, _ in self.points], [value for _, value in self.points]
        rising = shares == sorted(set(shares)) and values == sorted(values)
        if len(shares) < 2 or not rising or shares[0] != 0 or shares[-1] != 100 or values[0] < 1:
            raise InputError(Problem("must rise from 0 to 100 per cent, with lengths of at least 1", field="quantiles"))

    def draw(self, count: int, random: np.random.Generator) -> FloatArray:
        """See `Lengths`."""
        shares, values = np.array(self.points, dtype=np.float64).T
        drawn = np.interp(random.random(count) * 100, shares, np.log(values))
        return np.asarray(np.exp(drawn), dtype=np.float64)


@dataclass(frozen=True)
class SharedPrefixes:
    """Prompts that begin like an earlier one, as those of a conversation that goes on.

    Parameters
    ----------
    share
        Share of all blocks of prompts that are found again if nothing is forgotten.
    depth
        Share of its own blocks that a prompt which begins like another has in common with it.
    block_tokens
        Tokens per block.

    Raises
    ------
    InputError
        A share that is not below the depth, or a depth above 1.
    """

    share: float
    depth: float = 0.9
    block_tokens: int = 16

    def __post_init__(self) -> None:
        if not 0 <= self.share < self.depth <= 1:
            message = f"must be at least 0 and below depth = {self.depth:g}, which is at most 1 (got {self.share:g})"
            raise InputError(Problem(message, field="share"))

    def draw(self, prompts: list[int], random: np.random.Generator) -> list[tuple[int, ...]]:
        """Hashes of the blocks of every prompt; a follower begins like the latest prompt that is long enough."""
        chances = random.random(len(prompts)) < self.share / self.depth
        found: list[tuple[int, ...]] = []
        fresh = 0
        recent: list[tuple[int, ...]] = []
        for tokens, follows in zip(prompts, chances, strict=True):
            blocks = -(-tokens // self.block_tokens)
            wanted = round(self.depth * blocks) if follows else 0
            donor = next((each for each in reversed(recent) if len(each) >= wanted), ())[:wanted]
            own = blocks - len(donor)
            hashes = (*donor, *range(fresh, fresh + own))
            fresh += own
            found.append(hashes)
            recent = [each for each in recent if len(each) > blocks] + [hashes]  # longest first: the latest that does
        return found


@dataclass(frozen=True)
class Drawn:
    """Requests that are drawn.

    Parameters
    ----------
    count
        How many.
    process
        When they come.
    prompt, output
        How long they are.
    prefixes
        Beginnings that prompts have in common; None: no such thing.
    """

    count: int
    process: Process
    prompt: Lengths
    output: Lengths
    prefixes: SharedPrefixes | None = None

    def requests(self, seed: int) -> tuple[Request, ...]:
        """All of them, in the order of their arrival."""
        random = np.random.default_rng(seed)
        times = self.process.times_s(self.count, random)
        prompts, outputs = self.prompt.tokens(self.count, random), self.output.tokens(self.count, random)
        hashes = self.prefixes.draw(prompts, random) if self.prefixes else [()] * self.count
        return tuple(
            Request(number, nanoseconds(float(time)), prompt, output, prefix)
            for number, (time, prompt, output, prefix) in enumerate(zip(times, prompts, outputs, hashes, strict=True))
        )
