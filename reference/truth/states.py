"""Attention with a constant state in float64, each from its definition and token by token, written to be read.

No chunk, no shared helper with what is checked: sums over all earlier tokens where there is such a form, dense matrices
where the papers write rank-one updates, and derivatives by complex steps where the papers write gradients. One stream:
queries `(n, key_dim)`, keys `(n, key_dim)`, values `(n, value_dim)`, gates `(n,)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reference.truth.oracle import FloatArray

ComplexArray = NDArray[np.complex128]


def kernel_attention(
    q: ArrayLike, k: ArrayLike, v: ArrayLike, similarity: Callable[[FloatArray, FloatArray], float], *, normalised: bool
) -> FloatArray:
    """Every query's sum of all values up to its own, weighted by a similarity of query and key.

    Linear attention is this sum with the dot product of features as its similarity (arXiv:2006.16236, equation 4).
    """
    q, k, v = (np.asarray(x, dtype=np.float64) for x in (q, k, v))
    out = np.zeros((len(q), v.shape[1]))
    for i, query in enumerate(q):
        weights = np.array([similarity(query, key) for key in k[: i + 1]])
        total = sum(weight * value for weight, value in zip(weights, v[: i + 1], strict=True))
        out[i] = total / weights.sum() if normalised else total
    return out


def linear_attention(q: ArrayLike, k: ArrayLike, v: ArrayLike, rows: int = 512) -> FloatArray:
    """`kernel_attention` with the dot product of `elu + 1` features, normalised: all pairs, by rows of queries.

    For sequences too long for a loop over pairs in Python; no sum is carried from one query to the next.
    """
    q, k, v = (np.asarray(x, dtype=np.float64) for x in (q, k, v))
    features = [np.where(x > 0.0, x + 1.0, np.exp(np.minimum(x, 0.0))) for x in (q, k)]
    out = np.zeros((len(q), v.shape[1]))
    for start in range(0, len(q), rows):
        weights = features[0][start : start + rows] @ features[1].T
        weights = weights * (np.arange(len(k)) <= np.arange(start, start + len(weights))[:, None])
        out[start : start + rows] = (weights / weights.sum(axis=1, keepdims=True)) @ v
    return out


def elu_similarity(x: FloatArray, y: FloatArray) -> float:
    """Dot product of `elu + 1` features."""

    def feature(z: float) -> float:
        return z + 1.0 if z > 0 else math.exp(z)

    return math.fsum(feature(a) * feature(b) for a, b in zip(x, y, strict=True))


def taylor_similarity(x: FloatArray, y: FloatArray) -> float:
    """`1 + s + s^2 / 2` with `s = x . y / sqrt(d)`: the exponential to second order (arXiv:2402.18668)."""
    scaled = math.fsum(a * b for a, b in zip(x, y, strict=True)) / math.sqrt(len(x))
    return 1.0 + scaled + scaled * scaled / 2.0


def decayed_sums(q: ArrayLike, k: ArrayLike, v: ArrayLike, decay: ArrayLike) -> FloatArray:
    """State space dual: each value fades by the decays of all tokens after it (arXiv:2405.21060, equation 6)."""
    q, k, v, decay = (np.asarray(x, dtype=np.float64) for x in (q, k, v, decay))
    out = np.zeros((len(q), v.shape[1]))
    for i in range(len(q)):
        for j in range(i + 1):
            out[i] += math.prod(decay[j + 1 : i + 1]) * (q[i] @ k[j]) * v[j]
    return out


def delta_rule(q: ArrayLike, k: ArrayLike, v: ArrayLike, strength: ArrayLike, decay: ArrayLike) -> FloatArray:
    """`S_t = a_t (1 - b_t k_t k_t^T) S_(t-1) + b_t k_t v_t^T`, dense transition (arXiv:2412.06464, equation 10)."""
    q, k, v, strength, decay = (np.asarray(x, dtype=np.float64) for x in (q, k, v, strength, decay))
    state = np.zeros((k.shape[1], v.shape[1]))
    out = np.zeros((len(q), v.shape[1]))
    for i in range(len(q)):
        transition = decay[i] * (np.eye(k.shape[1]) - strength[i] * np.outer(k[i], k[i]))
        state = transition @ state + strength[i] * np.outer(k[i], v[i])
        out[i] = state.T @ q[i]
    return out


def routed_memories(
    q: ArrayLike,
    k: ArrayLike,
    v: ArrayLike,
    strength: ArrayLike,
    decay: ArrayLike,
    logits: ArrayLike,
    top: int,
) -> FloatArray:
    """Mixture of memories (arXiv:2502.13685): each memory is the delta rule over the tokens that were sent to it.

    Keys and values are `(memories + 1, n, dim)`, the shared memory last; `logits` is `(n, memories)`.
    """
    q, k, v, strength, decay, logits = (np.asarray(x, dtype=np.float64) for x in (q, k, v, strength, decay, logits))
    out = np.zeros((len(q), v.shape[2]))
    for i in range(len(q)):
        chosen = sorted(range(logits.shape[1]), key=lambda memory: (-logits[i, memory], memory))[:top]
        total = math.fsum(math.exp(logits[i, memory]) for memory in chosen)
        for memory in (*chosen, len(k) - 1):
            share = 1.0 if memory == len(k) - 1 else math.exp(logits[i, memory]) / total
            seen = [
                j
                for j in range(i + 1)
                if memory == len(k) - 1
                or memory in sorted(range(logits.shape[1]), key=lambda each: (-logits[j, each], each))[:top]
            ]
            out[i] += share * delta_rule(q[seen], k[memory, seen], v[memory, seen], strength[seen], decay[seen])[-1]
    return out


def three_memories(
    q: ArrayLike, k: ArrayLike, v: ArrayLike, decay: ArrayLike, sizes: tuple[int, int, int, int], threshold: float
) -> FloatArray:
    """B'MOJO (arXiv:2407.06324): softmax over a window, eidetic tokens and fading summaries, listed anew per query.

    `sizes` are the window, the eidetic tokens, the tokens of a segment and the fading tokens.
    """
    q, k, v, decay = (np.asarray(x, dtype=np.float64) for x in (q, k, v, decay))
    window, eidetic, segment, fading = sizes

    def recalled(key: FloatArray, at: int, upto: int) -> FloatArray:
        """What the fading memory returns at token `at` of the tokens before `upto`."""
        total = np.zeros(v.shape[1])
        for j in range(upto):
            total += math.prod(decay[j + 1 : at + 1]) * (key @ k[j]) * v[j]
        return total

    missed = [v[j] - recalled(k[j], j, j) for j in range(len(k))]
    surprising = [j for j in range(len(k)) if missed[j] @ missed[j] > threshold * (v[j] @ v[j])]
    out = np.zeros((len(q), v.shape[1]))
    for i in range(len(q)):
        summaries = [e for e in range(i + 1) if (e + 1) % segment == 0][-fading:]
        stored = [j for j in surprising if j <= i - window][-eidetic:] + list(range(max(0, i - window + 1), i + 1))
        keys = np.array([k[j] for j in summaries + stored])
        values = np.array([recalled(k[e], e, e + 1) for e in summaries] + [v[j] for j in stored])
        weights = np.exp(keys @ q[i] / math.sqrt(q.shape[1]))
        out[i] = weights @ values / weights.sum()
    return out


def legendre_window(u: ArrayLike, order: int, window: float) -> FloatArray:
    """Coefficients `(n, order)` of a signal that is held during each step (Voelker et al. 2019).

    A step is a rational function of the continuous system, exact to rounding: the eigenvectors of high orders are too
    close to each other to be a basis.
    """
    u = np.asarray(u, dtype=np.float64)
    a = np.array(
        [[(2 * i + 1) * (-1.0 if i < j else (-1.0) ** (i - j + 1)) for j in range(order)] for i in range(order)]
    )
    b = np.array([(2 * i + 1) * (-1.0) ** i for i in range(order)])
    keep = _rational_exponential(a / window)
    enter = np.linalg.solve(a, (keep - np.eye(order)) @ b)
    state = np.zeros(order)
    out = np.zeros((len(u), order))
    for i, value in enumerate(u):
        state = keep @ state + enter * value
        out[i] = state
    return out


def _rational_exponential(matrix: FloatArray) -> FloatArray:
    """`exp(matrix)` as the diagonal Pade quotient of degree 13, of a part of the matrix, squared (Higham 2005)."""
    degree = 13
    halvings = max(0, math.ceil(math.log2(max(float(np.abs(matrix).sum(axis=0).max()) / 4.0, 1.0))))
    part = matrix / 2.0**halvings
    above, below, power = np.zeros_like(part), np.zeros_like(part), np.eye(len(part))
    for j in range(degree + 1):
        share = math.comb(degree, j) * math.factorial(2 * degree - j) / math.factorial(2 * degree)
        above, below, power = above + share * power, below + (-1) ** j * share * power, power @ part
    found: FloatArray = np.linalg.solve(below, above).astype(np.float64, copy=False)
    for _ in range(halvings):
        found = found @ found
    return found


def neural_memory(
    q: ArrayLike,
    k: ArrayLike,
    v: ArrayLike,
    gates: tuple[ArrayLike, ArrayLike, ArrayLike],
    weights: Sequence[ArrayLike],
    batch: int,
) -> FloatArray:
    """Titans' memory (arXiv:2501.00663, equations 13 and 14), gradients taken at the weights that began a batch.

    `gates` are decay `1 - alpha`, strength `theta` and momentum `eta`; a derivative is the imaginary part of the loss
    after a complex step, exact to rounding.
    """
    q, k, v = (np.asarray(x, dtype=np.float64) for x in (q, k, v))
    decay, strength, momentum = (np.asarray(gate, dtype=np.float64) for gate in gates)
    now = [np.array(layer, dtype=np.float64) for layer in weights]
    change = [np.zeros_like(layer) for layer in now]
    anchor = [layer.copy() for layer in now]
    out = np.zeros((len(q), v.shape[1]))
    for i in range(len(q)):
        if i % batch == 0:
            anchor = [layer.copy() for layer in now]
        for layer in range(len(now)):
            gradient = _loss_gradient(anchor, layer, k[i], v[i])
            change[layer] = momentum[i] * change[layer] - strength[i] * gradient
            now[layer] = decay[i] * now[layer] + change[layer]
        out[i] = _network([layer.astype(np.complex128) for layer in now], q[i]).real
    return out


def _network(weights: Sequence[ComplexArray], x: FloatArray) -> ComplexArray:
    rows = x.astype(np.complex128)
    for layer, matrix in enumerate(weights):
        rows = (rows / (1.0 + np.exp(-rows)) if layer else rows) @ matrix
    return rows


def _loss_gradient(weights: Sequence[FloatArray], layer: int, key: FloatArray, value: FloatArray) -> FloatArray:
    step = 1e-40
    gradient = np.zeros_like(weights[layer])
    for place in np.ndindex(gradient.shape):
        moved = [matrix.astype(np.complex128) for matrix in weights]
        moved[layer][place] += 1j * step
        missed = _network(moved, key) - value
        gradient[place] = (missed * missed).sum().imag / step
    return gradient
