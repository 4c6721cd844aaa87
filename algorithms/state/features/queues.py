"""Queues of items: the last ones, batches that go on together, every so-manieth, and those that are told apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from algorithms.state.features.block import FeatureBlock, Held, Items, kept


@dataclass(frozen=True)
class Fifo(FeatureBlock):
    """The last items; the oldest goes on when a new one finds no room.

    Parameters
    ----------
    items
        Number that is kept.
    """

    sized: ClassVar[tuple[str, ...]] = ("items",)
    items: int

    def push(self, held: Held, items: Items) -> tuple[Held, Items]:
        joined = self.read(held) + items
        left = max(0, len(joined) - self.items)
        return kept(joined[left:]), joined[:left]

    def most_elements(self, tokens: int, width: int) -> int:
        return self.items * tokens * width


@dataclass(frozen=True)
class Batch(FeatureBlock):
    """Items that wait until there are enough of them, and then go on together.

    Parameters
    ----------
    items
        Number that goes on.
    """

    sized: ClassVar[tuple[str, ...]] = ("items",)
    items: int

    def push(self, held: Held, items: Items) -> tuple[Held, Items]:
        joined = self.read(held) + items
        whole = len(joined) // self.items * self.items
        return kept(joined[whole:]), joined[:whole]

    def most_elements(self, tokens: int, width: int) -> int:
        """One fewer than goes on: the last of a batch does not stay."""
        return (self.items - 1) * tokens * width


@dataclass(frozen=True)
class Every(FeatureBlock):
    """Every so-manieth item goes on, the first of all among them; nothing stays.

    Parameters
    ----------
    items
        Distance of those that go on.
    """

    sized: ClassVar[tuple[str, ...]] = ("items",)
    items: int

    def start(self, tokens: int, width: int) -> Held:
        return {**super().start(tokens, width), "passed": np.zeros(1)}

    def push(self, held: Held, items: Items) -> tuple[Held, Items]:
        passed = int(held["passed"][0])
        first = -passed % self.items
        return {**held, "passed": held["passed"] + len(items)}, items[slice(first, None, self.items)]

    def most_elements(self, tokens: int, width: int) -> int:
        return 0


@dataclass(frozen=True)
class Distinct(FeatureBlock):
    """Items that resemble the last one that went on stop here; the others go on.

    Parameters
    ----------
    similarity
        Cosine from which an item tells nothing new.
    """

    similarity: float = 0.95

    def push(self, held: Held, items: Items) -> tuple[Held, Items]:
        last = self.read(held)
        passed = items[:0]
        for number in range(len(items)):
            item = items[number : number + 1]
            if not len(last) or cosine(last.features[0], item.features[0]) < self.similarity:
                last, passed = item, passed + item
        return kept(last), passed

    def read(self, held: Held) -> Items:
        """The last item that went on."""
        return super().read(held)

    def most_elements(self, tokens: int, width: int) -> int:
        return tokens * width


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    """Cosine of the angle between two arrays, 0 where one is zero."""
    norms = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float((one * other).sum()) / norms if norms else 0.0
