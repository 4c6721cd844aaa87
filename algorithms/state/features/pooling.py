"""Fewer tokens of an item: carriers of a frame, budgets of tokens over rounds, and one token per place in space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from algorithms.state.features.block import Array, FeatureBlock, Held, Items


@dataclass(frozen=True)
class Carrier(FeatureBlock):
    """A frame as few tokens, each the mean of as many neighbours (VideoScan's semantic carrier, arXiv:2503.09387).

    Parameters
    ----------
    tokens
        Tokens that go on.
    """

    sized: ClassVar[tuple[str, ...]] = ("tokens",)
    tokens: int = 1

    def push(self, held: Held, items: Items) -> tuple[Held, Items]:
        parts = np.array_split(items.features, self.emits(items.features.shape[1]), axis=1)
        return held, Items(np.stack([part.mean(axis=1) for part in parts], axis=1), items.weights)

    def emits(self, tokens: int) -> int:
        return min(self.tokens, tokens)

    def most_elements(self, tokens: int, width: int) -> int:
        return 0


@dataclass(frozen=True)
class RoundBudget(FeatureBlock):
    """All rounds within a budget of tokens: tokens of the oldest rounds are averaged in pairs (arXiv:2505.05467).

    Parameters
    ----------
    tokens
        Budget of all rounds together.
    """

    sized: ClassVar[tuple[str, ...]] = ("tokens",)
    tokens: int

    def start(self, tokens: int, width: int) -> Held:
        return {**super().start(1, width), "round": np.zeros(0), "passed": np.zeros(1)}

    def push(self, held: Held, items: Items) -> tuple[Held, Items]:
        features, weights, rounds = held["features"], held["weights"], held["round"]
        passed = held["passed"][0]
        for item, weight in zip(items.features, items.weights, strict=True):
            features = np.concatenate([features, item[:, None]])
            weights = np.concatenate([weights, np.full(len(item), weight)])
            rounds = np.concatenate([rounds, np.full(len(item), passed)])
            passed += 1.0
            features, weights, rounds = self._within(features, weights, rounds)
        return {"features": features, "weights": weights, "round": rounds, "passed": np.array([passed])}, items[:0]

    def _within(self, features: Array, weights: Array, rounds: Array) -> tuple[Array, Array, Array]:
        """Pairs of the oldest rounds that have any become one; where all rounds have a token left, the oldest go."""
        while len(features) > self.tokens:
            pairs = np.flatnonzero(rounds[:-1] == rounds[1:])
            if not len(pairs):
                left = len(features) - self.tokens
                return features[left:], weights[left:], rounds[left:]
            oldest = np.flatnonzero(rounds == rounds[pairs[0]])
            excess = len(features) - self.tokens
            for first in oldest[: 2 * min(excess, len(oldest) // 2) : 2][::-1]:
                total = weights[first] + weights[first + 1]
                mean = (weights[first] * features[first] + weights[first + 1] * features[first + 1]) / total
                features = np.concatenate([features[:first], mean[None], features[first + 2 :]])
                weights = np.concatenate([weights[:first], [total], weights[first + 2 :]])
                rounds = np.delete(rounds, first + 1)
        return features, weights, rounds

    def most_elements(self, tokens: int, width: int) -> int:
        return self.tokens * width


@dataclass(frozen=True)
class Voxels(FeatureBlock):
    """One token per cube of space, the newest: the first three numbers of a token say where it is (StreamVLN, LONG3R).

    Parameters
    ----------
    size
        Edge of a cube.
    tokens
        Most tokens; the oldest go when there are more cubes.
    """

    sized: ClassVar[tuple[str, ...]] = ("tokens",)
    tokens: int
    size: float = 1.0

    def start(self, tokens: int, width: int) -> Held:
        return super().start(1, width)

    def push(self, held: Held, items: Items) -> tuple[Held, Items]:
        width = items.features.shape[-1]
        features = np.concatenate([held["features"][:, 0], items.features.reshape(-1, width)])
        tokens = items.features.shape[1]
        weights = np.concatenate([held["weights"], np.repeat(items.weights, tokens)])
        cubes = np.floor(features[:, :3] / self.size)
        _, last = np.unique(cubes[::-1], axis=0, return_index=True)
        newest = np.sort(len(features) - 1 - last)[-self.tokens :]
        return {"features": features[newest][:, None], "weights": weights[newest]}, items[:0]

    def most_elements(self, tokens: int, width: int) -> int:
        return self.tokens * width


@dataclass(frozen=True)
class Split(FeatureBlock):
    """Every token of an item becomes an item of its own; nothing stays."""

    def push(self, held: Held, items: Items) -> tuple[Held, Items]:
        count, tokens, width = items.features.shape
        return held, Items(items.features.reshape(count * tokens, 1, width), np.repeat(items.weights, tokens))

    def emits(self, tokens: int) -> int:
        return 1

    def most_elements(self, tokens: int, width: int) -> int:
        return 0
