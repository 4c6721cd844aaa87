"""Which points no other point beats, and how much of the space of objectives they dominate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Costs = NDArray[np.float64]

MARGIN = 0.1
"""How far behind the worst values of a front its reference point lies, as a share of the front's extent."""


def non_dominated(costs: Costs) -> NDArray[np.bool_]:
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
    left = _not_clearly_dominated(costs) if len(costs) > MANY else np.arange(len(costs))
    for i in left[np.lexsort(costs[left].T[::-1])]:
        before = front[:size]
        nowhere_better = (before <= costs[i]).all(axis=1)
        somewhere_worse = (before < costs[i]).any(axis=1)
        if not (nowhere_better & somewhere_worse).any():
            marked[i] = True
            front[size] = costs[i]
            size += 1
    return marked


MANY = 5_000
"""Rows from which those that a few good ones dominate are left out at once, before the others are visited."""


def _not_clearly_dominated(costs: Costs) -> NDArray[np.intp]:
    """Rows that none of those of the least sums of scaled costs dominates, in order."""
    extent = np.ptp(costs, axis=0)
    sums = ((costs - costs.min(axis=0)) / np.where(extent > 0, extent, 1.0)).sum(axis=1)
    left = np.arange(len(costs))
    for i in np.argpartition(sums, MANY // 20)[: MANY // 20]:
        others = costs[left]
        dominated = (costs[i] <= others).all(axis=1) & (costs[i] < others).any(axis=1)
        left = left[~dominated]
    return left


def clear_front(costs: Costs, tolerance: float) -> NDArray[np.bool_]:
    """Mark the members of the front that no kept one makes superfluous: all but equal everywhere, clearly better once.

    All but equal is within `tolerance` of a value, clearly better is better by more than that. Differences that no
    model resolves then make no design. Members are kept in the order of the sum of their costs, each scaled to the
    extent of the front: the relation has no order of its own, since small steps may lead far.

    Parameters
    ----------
    costs
        `(points, objectives)`, less is better, all finite.
    tolerance
        Share of a value; 0 keeps the front as it is.

    Returns
    -------
    array of bool, `(points,)`

    >>> clear_front(np.array([[1.0, 125.0], [1.0006, 50.0], [2.0, 30.0], [3.0, 29.9]]), 0.005).tolist()
    [False, True, True, False]
    """
    marked = non_dominated(costs)
    if tolerance <= 0:
        return marked
    front = np.flatnonzero(marked)
    members = costs[front]
    extent = np.ptp(members, axis=0) if len(front) else np.ones(costs.shape[1])
    scaled = ((members - members.min(axis=0, initial=np.inf)) / np.where(extent > 0, extent, 1.0)).sum(axis=1)
    kept: list[int] = []
    for i in np.argsort(scaled, kind="stable"):
        margin = tolerance * np.abs(members[i])
        others = members[kept]
        superfluous = ((others <= members[i] + margin).all(axis=1) & (others < members[i] - margin).any(axis=1)).any()
        if superfluous:
            marked[front[i]] = False
        else:
            kept.append(int(i))
    return marked


def hypervolume(costs: Costs, reference: NDArray[np.float64]) -> float:
    """Volume between a set of points and a reference point that is worse than them.

    Cuts the volume into slices along the last objective and sums up (Fonseca, Paquete, López-Ibáñez, CEC 2006,
    doi:10.1109/CEC.2006.1688440, without its bookkeeping).

    Parameters
    ----------
    costs
        `(points, objectives)`, less is better; points that do not beat the reference add nothing.
    reference
        `(objectives,)`.

    >>> hypervolume(np.array([[1.0, 2.0], [2.0, 1.0]]), np.array([3.0, 3.0]))
    3.0
    """
    inside = costs[(costs < reference).all(axis=1)]
    if not len(inside):
        return 0.0
    if costs.shape[1] == 1:
        return float(reference[0] - inside.min())
    inside = np.unique(inside[non_dominated(inside)], axis=0)
    inside = inside[np.argsort(inside[:, -1], kind="stable")]
    edges = np.append(inside[:, -1], reference[-1])
    return float(
        sum(
            hypervolume(inside[: i + 1, :-1], reference[:-1]) * height
            for i, height in enumerate(np.diff(edges))
            if height > 0
        )
    )


def hypervolume_share(found: Costs, known: Costs) -> float:
    """Hypervolume of `found` over that of `known`, which holds the best there is.

    Each objective is scaled to the extent of the front of `known`; the reference point lies `MARGIN` of it behind
    the front's worst values, so that the ends of the front count and far points do not.

    Parameters
    ----------
    found, known
        `(points, objectives)`, less is better.

    Raises
    ------
    ValueError
        If `known` is empty.
    """
    if not len(known):
        raise ValueError("there is nothing to compare with")
    front = known[non_dominated(known)]
    best, worst = front.min(axis=0), front.max(axis=0)
    extent = np.where(worst > best, worst - best, np.maximum(np.abs(best), 1.0))
    reference = np.full(known.shape[1], 1 + MARGIN)
    scaled = ((found.reshape(-1, known.shape[1]) - best) / extent, (front - best) / extent)
    return hypervolume(scaled[0], reference) / hypervolume(scaled[1], reference)
