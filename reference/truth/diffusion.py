"""Blocks of frames made from noise in float64, with plain loops: every key is made anew wherever it is seen."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from reference.truth.oracle import FloatArray


def blocks_from_noise(
    noise: ArrayLike,
    projections: ArrayLike,
    times: ArrayLike,
    shares: Sequence[float],
    *,
    sinks: int,
    window: int,
    own_steps: bool,
) -> FloatArray:
    """Blocks `(blocks, tokens, width)` denoised one after the other (arXiv:2506.08009, algorithm 2).

    A token of block n at a step sees all tokens of its own block at that step, and of the first ``sinks`` blocks and
    the ``window`` blocks before it what they became, or, with ``own_steps``, what they were at that step.
    """
    start = np.asarray(noise, dtype=np.float64)
    ask, key, value, out = np.asarray(projections, dtype=np.float64)
    shift = np.asarray(times, dtype=np.float64)
    steps = len(shares)
    history: list[list[FloatArray]] = []  # of every block, what it was before each step and behind the last
    for number, block in enumerate(start):
        states = [block]
        for step in range(steps):
            current = states[-1]
            seen: list[FloatArray] = []
            for before in range(number):
                if before < sinks or before >= number - window:
                    at = step if own_steps else steps
                    seen += [row + shift[at] for row in history[before][at]]
            seen += [row + shift[step] for row in current]
            made = np.zeros_like(current)
            for i, row in enumerate(current):
                query = (row + shift[step]) @ ask
                scores = [float(query @ (each @ key)) / math.sqrt(len(row)) for each in seen]
                most = max(scores)
                weights = [math.exp(score - most) for score in scores]
                total = math.fsum(weights)
                for weight, each in zip(weights, seen, strict=True):
                    made[i] += weight / total * (each @ value)
                made[i] = (1 - shares[step]) * row + shares[step] * (made[i] @ out)
            states.append(made)
        history.append(states)
    return np.array([states[-1] for states in history])
