"""What is said of all points of a study too large for its page: counts, density, front and effects, from arrays.

A page about a million points holds those of the front and a sample. Whatever it says of all of them is computed here
from one number per point and objective, which a store yields without making design points and results of its rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from algorithms.figures import Goal
from studies.points.point import Json, Scalar
from studies.report.columns import State
from studies.search.pareto import clear_front, non_dominated
from studies.study.goals import Objective

STATES: tuple[State, ...] = ("done", "infeasible", "deadlock", "failed", "pending")
"""What becomes of points; arrays have their places here."""
CELLS = (160, 90)
"""Cells of a density across and up."""
LOGARITHMIC_FROM = 5
"""Largest over smallest value from which an axis of a density is logarithmic, as in the charts of the page."""
MOST_OF_BEST = 20
"""Designs kept that are best by an objective, within the tolerance, on one workload."""
LEAST_OF_STRATUM = 4
STRATA = 10
"""Parts of equally many points by the first objective that a sample is drawn from."""

Numbers = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class AxisCodes:
    """A setting of all points: `codes` `(points,)` are places in `values`."""

    name: str
    of_workload: bool
    numeric: bool
    codes: Indices
    values: tuple[Scalar, ...]


@dataclass(frozen=True)
class Arrays:
    """All points of a study as arrays of shape `(points,)`, in grid order.

    Parameters
    ----------
    positions
        Places in the grid.
    ranks
        Numbers drawn by chance that stay with their points: the beginnings of keys, which are digests.
    states
        Places in `STATES`.
    workloads
        Numbers of workloads, in order of appearance.
    objectives, values
        What is wanted, and `(objectives, points)` its values; not a number where there is none.
    axes
        Settings in which points differ.
    broken
        Points beyond each constraint.
    """

    positions: Indices
    ranks: Indices
    states: Indices
    workloads: Indices
    objectives: tuple[Objective, ...]
    values: Numbers
    axes: tuple[AxisCodes, ...]
    broken: Mapping[str, int] = field(default_factory=dict)

    @property
    def costs(self) -> Numbers:
        """Values of `(points, objectives)`, less is better."""
        signs = np.array([-1.0 if each.goal == "max" else 1.0 for each in self.objectives])
        turned: Numbers = self.values * signs[:, None]
        return turned.T


@dataclass(frozen=True)
class Density:
    """How many points lie where: `counts` of `(up, across)` cells between edges, for two objectives."""

    across: str
    up: str
    edges: tuple[Numbers, Numbers]
    counts: Indices

    def describe(self) -> dict[str, Json]:
        """For the page: edges, and cells with their counts where there are any."""
        filled = np.flatnonzero(self.counts)
        return {
            "x": self.across,
            "y": self.up,
            "edges": [[float(f"{edge:.7g}") for edge in edges] for edges in self.edges],
            "cells": filled.tolist(),
            "counts": self.counts.ravel()[filled].tolist(),
        }


@dataclass(frozen=True)
class Census:
    """All points of a study whose page shows a part of them.

    Parameters
    ----------
    total, states, broken
        Points, by what became of them, and beyond each constraint.
    front
        Points on the fronts of all workloads.
    ties
        By objective, points of the largest workload that are as good as the best, within the tolerance.
    shown
        Places in the grid of the points that the page shows: all that no other point beats, the best, the worst, one
        for each value of an axis, and a sample.
    densities
        For pairs of objectives.
    effects
        By objective and axis: value, least, median and greatest.
    """

    total: int
    states: Mapping[State, int]
    broken: Mapping[str, int]
    front: int
    ties: Mapping[str, int]
    shown: tuple[int, ...]
    densities: tuple[Density, ...] = ()
    effects: Mapping[str, Mapping[str, Sequence[Json]]] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """How many points there are, and which of them are shown."""
        return f"{self.total:,} points; the table shows {len(self.shown):,}: all of the front and a sample"


def census_of(arrays: Arrays, tolerance: float, sample: int) -> Census:
    """Count, compare and draw: everything that a page says of all points.

    Parameters
    ----------
    tolerance
        Share of a value within which designs are equally good by it.
    sample
        Points to show, if those that have to be shown are not more.
    """
    groups = list(_groups(arrays))
    front, kept = _fronts(arrays, groups, tolerance)
    ties, best = _best(arrays, groups, tolerance)
    firsts = [np.unique(axis.codes, return_index=True)[1] for axis in arrays.axes if len(axis.values) <= sample // 20]
    needed = np.unique(np.concatenate([front, best, *firsts]).astype(np.int64))
    shown = np.union1d(needed, _sample(arrays, max(sample - len(needed), 0)))
    counts = np.bincount(arrays.states, minlength=len(STATES))
    return Census(
        total=len(arrays.positions),
        states={state: int(counts[i]) for i, state in enumerate(STATES)},
        broken=arrays.broken,
        front=kept,
        ties=ties,
        shown=tuple(arrays.positions[shown].tolist()),
        densities=tuple(_densities(arrays)),
        effects=_effects(arrays, groups),
    )


def _groups(arrays: Arrays) -> Iterator[Indices]:
    """The finished points of each workload."""
    done = np.flatnonzero(arrays.states == STATES.index("done"))
    order = done[np.argsort(arrays.workloads[done], kind="stable")]
    cuts = np.flatnonzero(np.diff(arrays.workloads[order])) + 1
    yield from (group for group in np.split(order, cuts) if len(group))


def _fronts(arrays: Arrays, groups: Sequence[Indices], tolerance: float) -> tuple[Indices, int]:
    """All points that no other of their workload beats, and how many of them differ clearly."""
    costs, found, kept = arrays.costs, [np.empty(0, dtype=np.int64)], 0
    for group in groups if arrays.objectives else ():
        known = group[~np.isnan(costs[group]).any(axis=1)]
        members = known[non_dominated(costs[known])]
        kept += int(clear_front(costs[members], tolerance).sum())
        found.append(members)
    return np.concatenate(found), kept


def _best(arrays: Arrays, groups: Sequence[Indices], tolerance: float) -> tuple[dict[str, int], Indices]:
    """Ties with the best on the largest workload, and the points that pages name: the best of each, and the worst."""
    costs = np.where(np.isnan(arrays.costs), np.inf, arrays.costs)
    ties: dict[str, int] = {}
    named: list[int] = []
    largest = -1.0
    for group in groups:
        winners = [_winners(costs[group, i], tolerance) for i in range(len(arrays.objectives))]
        if not winners or not len(winners[0]):
            continue
        extreme = abs(costs[group[winners[0][0]], 0])
        if extreme > largest:
            largest = extreme
            ties = {each.metric: len(tied) for each, tied in zip(arrays.objectives, winners, strict=True)}
        for i, tied in enumerate(winners):
            rivals = group[tied]
            others = np.delete(costs[rivals], i, axis=1)
            order = np.lexsort((rivals, costs[rivals, i], *others.T[::-1]))
            named += rivals[order[:MOST_OF_BEST]].tolist()
            named += rivals[:1].tolist()  # tells how large a workload is
        finite = group[np.isfinite(costs[group, 0])]
        worst = finite[costs[finite, 0] == costs[finite, 0].max()]
        named.append(int(worst[np.lexsort((worst, *costs[worst, 1:].T[::-1]))[0]]))
    return ties, np.array(named, dtype=np.int64)


def _winners(costs: Numbers, tolerance: float) -> Indices:
    least = costs.min()
    return np.flatnonzero(costs <= least + tolerance * abs(least)) if np.isfinite(least) else np.empty(0, np.int64)


def _sample(arrays: Arrays, count: int) -> Indices:
    """Points of every state, workload and part of the range of the first objective, by chance but always the same."""
    total = len(arrays.positions)
    part = np.zeros(total, dtype=np.int64)
    if len(arrays.objectives):
        first = arrays.values[0]
        known = np.flatnonzero(~np.isnan(first))
        part[known] = np.argsort(np.argsort(first[known], kind="stable"), kind="stable") * STRATA // max(len(known), 1)
    strata = (arrays.workloads * len(STATES) + arrays.states) * STRATA + part
    order = np.lexsort((arrays.ranks, strata))
    _, starts, sizes = np.unique(strata[order], return_index=True, return_counts=True)
    quotas = np.minimum(np.maximum(sizes * count // total, LEAST_OF_STRATUM), sizes)
    chosen = [order[start : start + quota] for start, quota in zip(starts, quotas, strict=True)]
    return np.concatenate(chosen)


def _densities(arrays: Arrays) -> Iterator[Density]:
    done = arrays.states == STATES.index("done")
    for (i, up), (j, across) in itertools.combinations(enumerate(arrays.objectives), 2):
        known = done & ~np.isnan(arrays.values[i]) & ~np.isnan(arrays.values[j])
        if known.any():
            x, y = arrays.values[j][known], arrays.values[i][known]
            edges = _edges(x, CELLS[0]), _edges(y, CELLS[1])
            counts = np.histogram2d(y, x, bins=(edges[1], edges[0]))[0].astype(np.int64)
            yield Density(across.metric, up.metric, edges, counts)


def _edges(values: Numbers, cells: int) -> Numbers:
    """Ends of cells of equal width, on a logarithmic axis where values are far apart; none outside."""
    least, most = float(values.min()), float(values.max())
    if least == most:
        most = least + (abs(least) or 1.0)
    if least > 0 and most / least >= LOGARITHMIC_FROM:
        edges = np.geomspace(least, most, cells + 1)
    else:
        edges = np.linspace(least, most, cells + 1)
    edges[0], edges[-1] = least, most  # rounding must not lose a point
    return edges


def _effects(arrays: Arrays, groups: Sequence[Indices]) -> dict[str, dict[str, Sequence[Json]]]:
    """Least, median and greatest value at every place of the axes; of several workloads against the best of each."""
    found: dict[str, dict[str, Sequence[Json]]] = {}
    for objective, values in zip(arrays.objectives, arrays.values, strict=True):
        relative = _relative(values, groups, objective.goal) if len(groups) > 1 else values
        chosen = [values if axis.of_workload else relative for axis in arrays.axes]
        done = (arrays.states == STATES.index("done")) & ~np.isnan(values)
        found[objective.metric] = {
            axis.name: _profile(axis, each, done) for axis, each in zip(arrays.axes, chosen, strict=True)
        }
    return found


def _relative(values: Numbers, groups: Sequence[Indices], goal: Goal) -> Numbers:
    """Values over the best value of their workload."""
    found = values.copy()
    for group in groups:
        known = values[group][~np.isnan(values[group])]
        if len(known):
            found[group] /= (known.max() if goal == "max" else known.min()) or 1.0
    return found


def _profile(axis: AxisCodes, values: Numbers, chosen: NDArray[np.bool_]) -> Sequence[Json]:
    """Value, least, median and greatest at each place of an axis: numbers in order, words as they came."""
    codes, found = axis.codes[chosen], values[chosen]
    order = np.lexsort((found, codes))
    codes, found = codes[order], found[order]
    places, starts, sizes = np.unique(codes, return_index=True, return_counts=True)
    lines: list[tuple[Scalar, float, float, float]] = []
    for place, start, size in zip(places.tolist(), starts.tolist(), sizes.tolist(), strict=True):
        if axis.values[place] is not None:
            middle = float(found[start + (size - 1) // 2] + found[start + size // 2]) / 2
            lines.append((axis.values[place], float(found[start]), middle, float(found[start + size - 1])))
    if axis.numeric:
        lines.sort(key=lambda line: float(line[0] or 0))
    return lines
