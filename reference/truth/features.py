"""Memories of features in float64, each from its definition and with plain loops.

No shared helper with what is checked; partitions are tried one by one where the project computes the best.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import ArrayLike

from reference.truth.oracle import FloatArray


def merged_neighbours(features: ArrayLike, count: int) -> FloatArray:
    """MovieChat's consolidation: average the most similar neighbours until so many are left (arXiv:2307.16449)."""
    items = [np.asarray(item, dtype=np.float64).ravel() for item in np.asarray(features)]
    while len(items) > count:
        likeness = [float(a @ b) / math.sqrt(float(a @ a) * float(b @ b)) for a, b in itertools.pairwise(items)]
        first = likeness.index(max(likeness))
        items[first : first + 2] = [(items[first] + items[first + 1]) / 2.0]
    return np.array(items)


def best_runs(features: ArrayLike, weights: ArrayLike, clusters: int) -> tuple[float, FloatArray]:
    """Least weighted squared deviation of all partitions into consecutive runs, and the means of its runs."""
    rows = np.asarray(features, dtype=np.float64).reshape(len(np.asarray(features)), -1)
    share = np.asarray(weights, dtype=np.float64)
    best, found = math.inf, rows
    for cuts in itertools.combinations(range(1, len(rows)), clusters - 1):
        total, centres = 0.0, []
        for first, last in itertools.pairwise((0, *cuts, len(rows))):
            mean = sum(share[i] * rows[i] for i in range(first, last)) / share[first:last].sum()
            total += sum(share[i] * float((rows[i] - mean) @ (rows[i] - mean)) for i in range(first, last))
            centres.append(mean)
        if total < best:
            best, found = total, np.array(centres)
    return best, found


def lloyd(features: ArrayLike, weights: ArrayLike, clusters: int, rounds: int) -> FloatArray:
    """Weighted k-means from the first items as centres: assign, average, so many times; empty clusters go."""
    rows = np.asarray(features, dtype=np.float64).reshape(len(np.asarray(features)), -1)
    share = np.asarray(weights, dtype=np.float64)
    centres = [row.copy() for row in rows[:clusters]]
    members: list[list[int]] = []
    for _ in range(rounds):
        members = [[] for _ in centres]
        for i, row in enumerate(rows):
            distances = [float((row - centre) @ (row - centre)) for centre in centres]
            members[distances.index(min(distances))].append(i)
        for k, own in enumerate(members):
            if own:
                centres[k] = sum(share[i] * rows[i] for i in own) / sum(share[i] for i in own)
    return np.array([centre for centre, own in zip(centres, members, strict=True) if own])


def attention_rows(q: ArrayLike, k: ArrayLike, v: ArrayLike, heads: int) -> FloatArray:
    """Softmax attention of every query to all keys, head by head and row by row."""
    q, k, v = (np.asarray(x, dtype=np.float64) for x in (q, k, v))
    width = q.shape[1] // heads
    out = np.zeros((len(q), v.shape[1]))
    for head in range(heads):
        own = slice(head * width, (head + 1) * width)
        for i, row in enumerate(q):
            shares = np.array([math.exp(float(row[own] @ key[own]) / math.sqrt(width)) for key in k])
            out[i, own] = shares @ v[:, own] / shares.sum()
    return out


def recurrent_unit(frames: ArrayLike, weights: ArrayLike) -> FloatArray:
    """State `(tokens, width)` of a gated recurrent unit after all frames `(frames, tokens, width)`, from zero."""
    frames, weights = np.asarray(frames, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    width = frames.shape[-1]
    state = np.zeros(frames.shape[1:])
    for frame in frames:
        for token in range(len(frame)):
            x, h = frame[token], state[token].copy()
            update, reset = (
                np.array([1.0 / (1.0 + math.exp(-float(x @ w[:width, j] + h @ w[width:, j]))) for j in range(width)])
                for w in weights[:2]
            )
            new = np.tanh(x @ weights[2][:width] + (reset * h) @ weights[2][width:])
            state[token] = h + update * (new - h)
    return state


def nearest_read(queries: ArrayLike, keys: ArrayLike, values: ArrayLike, top: int) -> FloatArray:
    """XMem's readout with shrinkage and selection of one: softmax of negative squared distances of the nearest keys."""
    queries, keys, values = (np.asarray(x, dtype=np.float64) for x in (queries, keys, values))
    out = np.zeros((len(queries), values.shape[1]))
    for i, query in enumerate(queries):
        near = sorted(range(len(keys)), key=lambda j: (float((keys[j] - query) @ (keys[j] - query)), j))[:top]
        shares = np.array([math.exp(-float((keys[j] - query) @ (keys[j] - query))) for j in near])
        out[i] = shares @ values[near] / shares.sum()
    return out
