"""Axes that changed nothing: what a study varied to no effect is said, instead of being read as an answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from studies.study.question import Question

MOST_POINTS = 20_000
"""Grids up to here are looked at: a few seconds at the most."""
SEEDS = "workload.seed"


def idle_axes(question: Question, told: Mapping[str, str]) -> dict[str, int]:
    """Axes along which no metric differs anywhere, with the number of points that say so.

    Parameters
    ----------
    told
        Of finished points, by key, the digest of what their metrics say (`studies.points.writing.told_by`); an axis
        with a failed or missing point beside it is not judged by that pair.

    Returns
    -------
    dict
        Empty for studies of too many points, and for axes that are never varied alone.
    """
    if question.space.size > MOST_POINTS:
        return {}
    choices = list(question.space.choices())
    keys = [point.key for point in question.points]
    found: dict[str, int] = {}
    for axis in question.space.axes:
        if axis.name == SEEDS or len(axis.values) < 2:
            continue
        groups: dict[object, list[str]] = defaultdict(list)
        for choice, key in zip(choices, keys, strict=True):
            if axis.name in choice and key in told:
                others = tuple((name, value) for name, value in choice.items() if name != axis.name)
                groups[others].append(key)
        compared = [group for group in groups.values() if len(group) > 1]
        if compared and all(told[key] == told[group[0]] for group in compared for key in group):
            found[axis.name] = sum(map(len, compared))
    return found
