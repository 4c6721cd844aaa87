"""The contract of blocks of a feature memory: items enter, some stay, some go on to the next block.

An item is what a frame (or segment) left: some tokens of a width, and a weight, the frames that it stands for. A chain
of blocks is a memory: what one block emits enters the next one, and what all hold together is what a model reads.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hwmodels.reading.errors import InputError, Problem

Array = NDArray[np.float64]
Held = Mapping[str, Array]
"""What a block keeps, by name. Blocks return a new one and leave the old one as it is."""


@dataclass(frozen=True)
class Items:
    """Items, oldest first.

    Parameters
    ----------
    features
        `(items, tokens, width)`.
    weights
        `(items,)`: frames that each stands for.
    """

    features: Array
    weights: Array

    @classmethod
    def of(cls, features: Array) -> Items:
        """Frames as they come, each standing for itself."""
        return cls(features, np.ones(len(features)))

    @classmethod
    def none(cls, tokens: int, width: int) -> Items:
        """No items of a shape."""
        return cls(np.zeros((0, tokens, width)), np.zeros(0))

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, which: slice) -> Items:
        return Items(self.features[which], self.weights[which])

    def __add__(self, later: Items) -> Items:
        """These and later ones."""
        return Items(np.concatenate([self.features, later.features]), np.concatenate([self.weights, later.weights]))


class FeatureBlock(ABC):
    """One block of a memory; a subclass is a frozen dataclass of its sizes."""

    sized: ClassVar[tuple[str, ...]] = ()
    """Parameters that are numbers of items, tokens or slots: a memory of none is refused."""

    def __post_init__(self) -> None:
        problems = [
            Problem(f"a memory needs at least 1 (got {getattr(self, name)})", field=name)
            for name in self.sized
            if getattr(self, name) < 1
        ]
        if problems:
            raise InputError(problems)

    def start(self, tokens: int, width: int) -> Held:
        """What is kept before the first item of so many tokens of a width."""
        nothing = Items.none(tokens, width)
        return {"features": nothing.features, "weights": nothing.weights}

    @abstractmethod
    def push(self, held: Held, items: Items) -> tuple[Held, Items]:
        """What is kept after more items, and those that go on."""

    def read(self, held: Held) -> Items:
        """The items that are kept."""
        return Items(held["features"], held["weights"])

    @abstractmethod
    def most_elements(self, tokens: int, width: int) -> int:
        """Most numbers that are kept, whatever has entered."""

    def emits(self, tokens: int) -> int:
        """Tokens of an item that goes on."""
        return tokens


def kept(items: Items) -> Held:
    """Items as what a block keeps."""
    return {"features": items.features, "weights": items.weights}


class FeatureMemory:
    """A chain of blocks while frames pass.

    Parameters
    ----------
    blocks
        First to last.
    tokens, width
        Shape of a frame's features.

    Raises
    ------
    InputError
        Without blocks, or for frames without tokens.
    """

    def __init__(self, blocks: Sequence[FeatureBlock], tokens: int, width: int) -> None:
        problems = [] if blocks else [Problem("a memory needs at least 1 block", field="blocks")]
        for name, size in (("tokens", tokens), ("width", width)):
            if size < 1:
                problems.append(Problem(f"must be at least 1 (got {size})", field=name))
        if problems:
            raise InputError(problems)
        self.blocks = tuple(blocks)
        self._tokens, self._width = tokens, width
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        sizes = tokens_between(self.blocks, self._tokens)
        self.held = [block.start(size, self._width) for block, size in zip(self.blocks, sizes, strict=False)]

    @property
    def elements(self) -> int:
        """Numbers of features that are kept now."""
        return sum(held["features"].size for held in self.held)

    def push(self, frames: Array) -> Items:
        """Take frames `(frames, tokens, width)`, one after the other; what falls out of the last block."""
        fallen: list[Items] = []
        for number in range(len(frames)):
            items = Items.of(frames[number : number + 1])
            for place, block in enumerate(self.blocks):
                self.held[place], items = block.push(self.held[place], items)
            fallen.append(items)
        empty = Items.none(tokens_between(self.blocks, self._tokens)[-1], self._width)
        return sum(fallen, empty)

    def read(self) -> Array:
        """All tokens that are kept, `(tokens, width)`: of the last block first, as it holds the oldest."""
        parts = [block.read(held).features for block, held in zip(self.blocks, self.held, strict=True)]
        return np.concatenate([part.reshape(-1, self._width) for part in reversed(parts)])


def tokens_between(blocks: Sequence[FeatureBlock], tokens: int) -> list[int]:
    """Tokens of an item before the first block, between blocks, and behind the last one."""
    sizes = [tokens]
    for block in blocks:
        sizes.append(block.emits(sizes[-1]))
    return sizes


def most_elements(blocks: Sequence[FeatureBlock], tokens: int, width: int) -> int:
    """Most numbers of features that a chain keeps, however many frames have passed."""
    sizes = tokens_between(blocks, tokens)
    return sum(block.most_elements(size, width) for block, size in zip(blocks, sizes, strict=False))
