"""Fewer items for many: similar neighbours averaged, clusters in order, clusters in space, and trees of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from algorithms.state.features.block import Array, FeatureBlock, Held, Items, kept
from algorithms.state.features.queues import cosine
from hwmodels.reading.errors import InputError, Problem


@dataclass(frozen=True)
class MergeNeighbours(FeatureBlock):
    """What arrives together leaves as a few: the most similar neighbours are averaged until there are no more.

    (MovieChat, Song et al. 2024, arXiv:2307.16449, algorithm 1.)

    Parameters
    ----------
    items
        Number that leaves of what arrives together.
    weighted
        Whether an average counts the frames that items stand for; the paper's does not.
    """

    sized: ClassVar[tuple[str, ...]] = ("items",)
    items: int
    weighted: bool = False

    def push(self, held: Held, items: Items) -> tuple[Held, Items]:
        return held, self.merged(items)

    def merged(self, items: Items) -> Items:
        """The items that are left."""
        while len(items) > self.items:
            features = items.features
            pairs = [cosine(features[i], features[i + 1]) for i in range(len(items) - 1)]
            items = joined_pair(items, int(np.argmax(pairs)), weighted=self.weighted)
        return items

    def most_elements(self, tokens: int, width: int) -> int:
        return 0


def joined_pair(items: Items, first: int, *, weighted: bool = True) -> Items:
    """Items with one and its successor averaged."""
    pair = items[slice(first, first + 2)]
    shares = pair.weights / pair.weights.sum() if weighted else np.full(2, 0.5)
    mean = Items((shares[:, None, None] * pair.features).sum(axis=0, keepdims=True), pair.weights.sum(keepdims=True))
    return items[slice(0, first)] + mean + items[slice(first + 2, None)]


@dataclass(frozen=True)
class SimilarNeighbours(FeatureBlock):
    """A bounded list in order of time: when it is full, its most similar neighbours become one.

    Parameters
    ----------
    items
        Number that is kept.
    weighted
        Whether an average counts the frames that items stand for.
    """

    sized: ClassVar[tuple[str, ...]] = ("items",)
    items: int
    weighted: bool = True

    def push(self, held: Held, items: Items) -> tuple[Held, Items]:
        merged = MergeNeighbours(self.items, self.weighted).merged(self.read(held) + items)
        return kept(merged), items[:0]

    def most_elements(self, tokens: int, width: int) -> int:
        return self.items * tokens * width


@dataclass(frozen=True)
class OrderedClusters(FeatureBlock):
    """Consecutive items as clusters whose squared deviation is least (ordered k-means, arXiv:2506.23825).

    Parameters
    ----------
    clusters
        Number that is kept.
    """

    sized: ClassVar[tuple[str, ...]] = ("clusters",)
    clusters: int

    def push(self, held: Held, items: Items) -> tuple[Held, Items]:
        joined = self.read(held) + items
        return kept(means(joined, ordered_labels(joined, self.clusters), min(self.clusters, len(joined)))), items[:0]

    def most_elements(self, tokens: int, width: int) -> int:
        return self.clusters * tokens * width


def ordered_labels(items: Items, clusters: int) -> NDArray[np.int64]:
    """Cluster of each item in the partition into consecutive runs with the least weighted squared deviation.

    Dynamic programming over the ends of runs, exact.
    """
    count = len(items)
    clusters = min(clusters, count)
    flat, weights = items.features.reshape(count, math.prod(items.features.shape[1:])), items.weights
    sums = np.concatenate([np.zeros((1, flat.shape[1])), np.cumsum(weights[:, None] * flat, axis=0)])
    squares = np.concatenate([[0.0], np.cumsum(weights * (flat * flat).sum(axis=1))])
    totals = np.concatenate([[0.0], np.cumsum(weights)])

    def cost(first: int, last: int) -> float:
        total = sums[last] - sums[first]
        return float(squares[last] - squares[first] - total @ total / (totals[last] - totals[first]))

    best = np.full((clusters + 1, count + 1), np.inf)
    best[0, 0] = 0.0
    cut = np.zeros((clusters + 1, count + 1), dtype=np.int64)
    for k in range(1, clusters + 1):
        # all but one item per cluster that is still to come may be taken; a run is no shorter than one
        for last in range(k, count - (clusters - k) + 1):
            starts = range(k - 1, last)
            found = [best[k - 1, first] + cost(first, last) for first in starts]
            best[k, last], cut[k, last] = min(found), starts[int(np.argmin(found))]
    labels, last = np.zeros(count, dtype=np.int64), count
    for k in range(clusters, 0, -1):
        labels[cut[k, last] : last] = k - 1
        last = int(cut[k, last])
    return labels


def means(items: Items, labels: NDArray[np.int64], clusters: int) -> Items:
    """Weighted mean of each cluster; those without items are left out."""
    used = [k for k in range(clusters) if (labels == k).any()]
    weights = np.array([items.weights[labels == k].sum() for k in used])
    features = [
        (items.weights[labels == k, None, None] * items.features[labels == k]).sum(axis=0) / total
        for k, total in zip(used, weights, strict=True)
    ]
    return Items(np.array(features).reshape(len(used), *items.features.shape[1:]), weights)


@dataclass(frozen=True)
class Clusters(FeatureBlock):
    """Weighted k-means over what is kept and what comes, from the kept ones as first centres (arXiv:2406.08085).

    Parameters
    ----------
    clusters
        Number that is kept.
    iterations
        Rounds of assigning and averaging after each push.
    """

    sized: ClassVar[tuple[str, ...]] = ("clusters", "iterations")
    clusters: int
    iterations: int = 2

    def push(self, held: Held, items: Items) -> tuple[Held, Items]:
        joined = self.read(held) + items
        return kept(k_means(joined, self.clusters, self.iterations)), items[:0]

    def most_elements(self, tokens: int, width: int) -> int:
        return self.clusters * tokens * width


def k_means(items: Items, clusters: int, iterations: int) -> Items:
    """Items as at most so many weighted means; the first ones are the first centres, ties go to the first of them."""
    if len(items) <= clusters:
        return items
    flat = items.features.reshape(len(items), -1)
    centres: Array = flat[:clusters]
    labels = np.zeros(len(items), dtype=np.int64)
    for _ in range(iterations):
        labels = np.argmin(((flat[:, None] - centres) ** 2).sum(axis=-1), axis=1)
        found = means(items, labels, clusters)
        filled = np.unique(labels)
        centres = centres.copy()
        centres[filled] = found.features.reshape(len(filled), -1)
    return means(items, labels, clusters)


@dataclass(frozen=True)
class ClusterTree(FeatureBlock):
    """Levels of clusters: so many items of a level become a few of the next (StreamChat, arXiv:2501.13468).

    Parameters
    ----------
    interval
        Items of a level that are clustered together.
    clusters
        Means that they leave one level higher.
    levels
        Levels; the highest keeps its oldest items merged, so that the tree is bounded.
    """

    sized: ClassVar[tuple[str, ...]] = ("interval", "clusters", "levels")
    interval: int = 10
    clusters: int = 5
    levels: int = 3

    def start(self, tokens: int, width: int) -> Held:
        return {**super().start(tokens, width), "level": np.zeros(0)}

    def push(self, held: Held, items: Items) -> tuple[Held, Items]:
        everything = self.read(held)
        levels = [self._level(everything, held["level"], number) for number in range(self.levels)]
        levels[0] = levels[0] + items
        for number in range(self.levels):
            while len(levels[number]) >= self.interval:
                together, rest = levels[number][: self.interval], levels[number][self.interval :]
                few = k_means(together, self.clusters, 2)
                higher = min(number + 1, self.levels - 1)
                levels[number] = rest
                levels[higher] = few + levels[higher] if higher == number else levels[higher] + few
        joined = sum(reversed(levels[:-1]), levels[-1])
        marks = [np.full(len(level), number) for number, level in enumerate(levels)]
        return {**kept(joined), "level": np.concatenate(marks[::-1]).astype(np.float64)}, items[:0]

    @staticmethod
    def _level(items: Items, marks: Array, number: int) -> Items:
        own = marks == number
        return Items(items.features[own], items.weights[own])

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.clusters >= self.interval:
            message = f"must be fewer than the interval, {self.interval} (got {self.clusters})"
            raise InputError(Problem(message, field="clusters"))

    def most_elements(self, tokens: int, width: int) -> int:
        return self.levels * (self.interval - 1) * tokens * width
