"""A launch as arrays: its items in order, their different steps, and all counts once, for closed forms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from algorithms.chip.plan.plan import Launch, TileStep, WorkItem

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class LaunchWork:
    """A launch and what closed forms ask of it again and again.

    Parameters
    ----------
    launch
        The launch itself.
    steps
        Different tile steps.
    counts
        How often each item takes each step, `(items, steps)`.
    first_steps
        Number of each item's first step, `(items,)`.
    times
        How often each item stands there, `(items,)`.
    first_load_bytes, last_vector_ops, last_store_bytes
        Work of each item, `(items,)`.
    load_bytes, store_bytes
        Sum over all of them.
    """

    launch: Launch
    steps: tuple[TileStep, ...]
    counts: Numbers
    first_steps: NDArray[np.int64]
    times: NDArray[np.int64]
    first_load_bytes: Numbers
    last_vector_ops: Numbers
    last_store_bytes: Numbers
    load_bytes: int
    store_bytes: int

    @classmethod
    def of(cls, launch: Launch) -> LaunchWork:
        """Of a launch; an item without a step is one with an empty step."""
        place: dict[int, int] = {}
        steps: list[TileStep] = []
        same: dict[TileStep, int] = {}
        rows = []
        for item, _ in launch.items:
            row: dict[int, int] = {}
            for step, times in item.steps or ((TileStep(), 1),):
                if id(step) not in place:  # by identity first, since comparing steps takes longer
                    number = same.setdefault(step, len(steps))
                    if number == len(steps):
                        steps.append(step)
                    place[id(step)] = number
                row[place[id(step)]] = row.get(place[id(step)], 0) + times
            rows.append(row)
        counts = np.zeros((len(rows), len(steps)))
        for number, row in enumerate(rows):
            counts[number, list(row)] = list(row.values())
        items = [item for item, _ in launch.items]
        times_of = np.array([times for _, times in launch.items], dtype=np.int64)
        loads = counts @ np.array([float(step.load_bytes) for step in steps]) + _each(items, "first_load_bytes")
        stores = counts @ np.array([float(step.store_bytes) for step in steps]) + _each(items, "last_store_bytes")
        return cls(
            launch,
            tuple(steps),
            counts,
            np.array([next(iter(row)) for row in rows], dtype=np.int64),
            times_of,
            _each(items, "first_load_bytes"),
            _each(items, "last_vector_ops"),
            _each(items, "last_store_bytes"),
            round(float(loads @ times_of)),
            round(float(stores @ times_of)),
        )

    @property
    def item_count(self) -> int:
        """Work items."""
        return int(self.times.sum())


def _each(items: list[WorkItem], name: str) -> Numbers:
    return np.array([float(getattr(item, name)) for item in items])
