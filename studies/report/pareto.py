"""Which points no other point beats."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def non_dominated(costs: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Mark the rows of `costs` that no other row dominates.

    A row dominates another when it is nowhere worse and somewhere better; equal rows do not dominate each
    other. Rows are visited in lexicographic order, so only earlier ones can dominate (Kung, Luccio, Preparata,
    J. ACM 22(4), 1975, doi:10.1145/321906.321910).

    Parameters
    ----------
    costs
        `(points, objectives)`, less is better, all finite.

    Returns
    -------
    array of bool, `(points,)`

    >>> non_dominated(np.array([[1.0, 3.0], [2.0, 2.0], [2.0, 3.0], [3.0, 1.0], [1.0, 3.0]])).tolist()
    [True, True, False, True, True]
    """
    marked = np.zeros(len(costs), dtype=bool)
    front = np.empty_like(costs)
    size = 0
    for i in np.lexsort(costs.T[::-1]):
        before = front[:size]
        nowhere_better = (before <= costs[i]).all(axis=1)
        somewhere_worse = (before < costs[i]).any(axis=1)
        if not (nowhere_better & somewhere_worse).any():
            marked[i] = True
            front[size] = costs[i]
            size += 1
    return marked
