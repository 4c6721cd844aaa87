"""Clusters of keys: segmented spherical k-means, and the index RetroInfer searches."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from algorithms.kv.cache import Array
from algorithms.kv.ranking import IntArray
from algorithms.kv.run.attention import Summaries

_ROWS_AT_ONCE = 512
"""Keys compared with all centroids at once, so that the scores stay in a cache."""


@dataclass(frozen=True, eq=False)
class Clusters:
    """Result of `segment_kmeans`.

    Parameters
    ----------
    assigned
        Cluster of each key `(heads, n)`.
    centroid
        Plain mean of the members `(heads, clusters, head_dim)`.
    value_sum
        Sum of their values `(heads, clusters, value_dim)`.
    size
        Members `(heads, clusters)`.
    """

    assigned: IntArray
    centroid: Array
    value_sum: Array
    size: IntArray


def segment_kmeans(keys: Array, values: Array, clusters: int, segments: int = 1, iterations: int = 10) -> Clusters:
    """Spherical k-means in segments (microsoft/RetrievalAttention 6b1228c, `segment_k_means`).

    Keys are centred on their mean. Centroids start at keys spread evenly over the sequence. In all but the
    last iteration each of the contiguous segments works on its own centroids: a key goes to the largest
    inner product (the first of equal ones), a centroid becomes the mean of its keys at unit length, an
    empty one stays. The last iteration assigns over all keys and centroids and takes plain means.

    Parameters
    ----------
    keys, values
        `(heads, n, dim)`.
    clusters
        Centroids, a multiple of `segments`.
    """
    heads, n, dim = keys.shape
    keys = keys.astype(np.promote_types(keys.dtype, np.float32))
    mean = keys.mean(1, keepdims=True)
    centred = keys - mean
    stride = np.float32(n / clusters)
    first = (np.arange(clusters, dtype=np.float32) * stride + np.float32(n / clusters / 2)).astype(np.int64)
    centroids = centred[:, np.minimum(first, n - 1)]
    per_segment = n // segments
    cut = centred[:, : per_segment * segments].reshape(heads * segments, per_segment, dim)
    centroids = centroids.reshape(heads * segments, clusters // segments, dim)
    for _ in range(iterations - 1):
        sums, counts = _assign(cut, centroids)[1:]
        means = sums / np.maximum(counts, 1)[..., None]
        norms = np.linalg.norm(means, axis=-1, keepdims=True)
        centroids = np.where(counts[..., None] > 0, means / np.where(norms > 0, norms, 1), centroids)
    centroids = centroids.reshape(heads, clusters, dim)
    assigned, sums, counts = _assign(centred, centroids)
    plain = np.where(counts[..., None] > 0, sums / np.maximum(counts, 1)[..., None], centroids)
    return Clusters(assigned, plain + mean, _sum_by(values, assigned, clusters), counts)


def _assign(rows: Array, centroids: Array) -> tuple[IntArray, Array, IntArray]:
    """Nearest centroid of each row by inner product, with sums and counts per centroid."""
    assigned = np.empty(rows.shape[:2], np.int64)
    for head, directions in enumerate(centroids.swapaxes(1, 2)):
        for start in range(0, rows.shape[1], _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            (rows[head, part] @ directions).argmax(-1, out=assigned[head, part])
    clusters = centroids.shape[1]
    counts = np.stack([np.bincount(row, minlength=clusters) for row in assigned])
    return assigned, _sum_by(rows, assigned, clusters), counts


def _sum_by(rows: Array, assigned: IntArray, clusters: int) -> Array:
    """Sum of the rows of each cluster: `(heads, clusters, dim)`."""
    sums = np.zeros((rows.shape[0], clusters, rows.shape[2]), np.promote_types(rows.dtype, np.float32))
    for head, chosen in enumerate(assigned):
        order = np.argsort(chosen, kind="stable")
        present, starts = np.unique(chosen[order], return_index=True)
        sums[head, present] = np.add.reduceat(rows[head, order], starts, axis=0)
    return sums


class WaveIndex:
    """Index of all clusters of one layer, segment after segment.

    Parameters
    ----------
    heads
        KV heads.
    """

    def __init__(self, heads: int) -> None:
        self.tokens = 0
        self.sizes: IntArray = np.zeros((heads, 0), np.int64)
        self._centroids: Array = np.zeros((heads, 0, 0))
        self._value_sums: Array = np.zeros((heads, 0, 0))
        self._members: list[list[IntArray]] = [[] for _ in range(heads)]

    @property
    def clusters(self) -> int:
        """Clusters per head."""
        count: int = self.sizes.shape[1]
        return count

    def add(self, found: Clusters, start: int) -> None:
        """Add the clusters of the tokens from position `start` on."""
        count = found.size.shape[1]
        for head, assigned in enumerate(found.assigned):
            order = np.argsort(assigned, kind="stable") + start
            self._members[head] += np.split(order, np.cumsum(found.size[head])[:-1])
        if self.clusters == 0:
            self._centroids, self._value_sums = found.centroid, found.value_sum
        else:
            self._centroids = np.concatenate([self._centroids, found.centroid], 1)
            self._value_sums = np.concatenate([self._value_sums, found.value_sum], 1)
        self.sizes = np.concatenate([self.sizes, found.size.reshape(-1, count)], 1)
        self.tokens += found.assigned.shape[1]

    def rank(self, q: Array) -> IntArray:
        """Clusters of each KV head, best first `(heads, clusters)`, for queries `(query_heads, m, head_dim)`.

        The rank is the softmax over centroids summed over the queries of the group; empty clusters come last.
        """
        heads = self.sizes.shape[0]
        grouped = q.reshape(heads, -1, q.shape[-1])
        logits = grouped @ self._centroids.swapaxes(1, 2) / math.sqrt(q.shape[-1])
        logits = np.where(self.sizes[:, None, :] > 0, logits, -np.inf)
        weight = np.exp(logits - logits.max(-1, keepdims=True))
        score = (weight / weight.sum(-1, keepdims=True)).sum(1)
        return np.argsort(-np.where(self.sizes > 0, score, -1.0), axis=1, kind="stable")

    def members(self, head: int, clusters: list[int]) -> IntArray:
        """Positions of the keys in `clusters`."""
        if not clusters:
            return np.empty(0, np.int64)
        return np.concatenate([self._members[head][cluster] for cluster in clusters])

    def summaries(self, clusters: IntArray) -> Summaries:
        """Summary entries of `clusters` `(heads, n)`; -1 stands for none."""
        rows = np.arange(clusters.shape[0])[:, None]
        size = np.where(clusters >= 0, self.sizes[rows, clusters], 0)
        return Summaries(self._centroids[rows, clusters], self._value_sums[rows, clusters], size)
