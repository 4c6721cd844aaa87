"""The best designs of a study as a table for the terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from studies.tables import table
from studies.words import count, setting

if TYPE_CHECKING:
    from studies.points.point import Scalar
    from studies.report.columns import Column
    from studies.report.points import Points

MOST_SHOWN = 20
_FEWEST_DIGITS = 4


def front_table(points: Points, numbers: Sequence[int], most: int = MOST_SHOWN) -> str:
    """Designs in the order given: what was chosen, and the objectives, with a count of those left out.

    Parameters
    ----------
    numbers
        Points of the front.
    most
        Lines of the table.
    """
    axes = [axis for axis in points.axes if axis.role != "run"] or list(points.axes)
    header = (*(axis.name for axis in axes), *(column.shown for column in points.objectives))
    shown_numbers = numbers[:most]
    columns = [[_setting(axis, axis.values[i]) for i in shown_numbers] for axis in axes]
    columns += [_marked(points, column, shown_numbers) for column in points.objectives]
    body = list(zip(*columns, strict=True))
    hidden = len(numbers) - len(body)
    shown = f"front: {count(len(numbers), 'design')}\n{table(header, body)}"
    shown += f"\nand {hidden:,} more" if hidden > 0 else ""
    told = dict.fromkeys(points.estimate(i, column.name) for i in shown_numbers for column in points.objectives)
    resting = ", or ".join(f"on an {estimate}" for estimate in told if estimate)
    return shown + (f"\n† rests {resting}" if resting else "")


def front_of(points: Points) -> list[int]:
    """Numbers of the points of the front, the best by the first objective first."""
    if not points.objectives:
        return []
    first = points.objectives[0]
    members = [i for i, kept in enumerate(points.front) if kept]

    def cost(i: int) -> float:
        value = first.values[i]
        number = float(value) if isinstance(value, int | float) else 0.0
        return -number if first.goal == "max" else number

    return sorted(members, key=cost)


def _marked(points: Points, column: Column, numbers: Sequence[int]) -> list[str]:
    """Values of an objective, those that rest on an estimate with a dagger."""
    values = zip(numbers, _told_apart(column, numbers), strict=True)
    return [f"{text} †" if points.estimate(i, column.name) else text for i, text in values]


def _told_apart(column: Column, numbers: Sequence[int]) -> list[str]:
    """Values of an objective, with as many digits as it takes where rounded ones would look alike."""
    values = [column.values[i] for i in numbers]
    texts = [column.words(value) for value in values]
    for digits in range(_FEWEST_DIGITS, sys.float_info.dig + 3):
        if len(set(texts)) == len(set(values)):
            break
        texts = [_exact(value, digits, column.unit) for value in values]
    return texts


def _exact(value: Scalar, digits: int, unit: str) -> str:
    """A whole number as it is, another one with so many digits."""
    if isinstance(value, float):
        return f"{value:,.{digits}g} {unit}".strip()
    return f"{value:,} {unit}".strip() if isinstance(value, int) else str(value)


def _setting(axis: Column, value: Scalar) -> str:
    """A value of an axis as it could be written back."""
    return "" if value is None else axis.words(value) if axis.automatic else setting(value, axis.unit)
