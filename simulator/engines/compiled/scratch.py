"""Arrays that a run of the compiled engine hands to its kernels beside the machine."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simulator.engines.compiled.records import NEVER
from simulator.engines.compiled.watch import Watch
from simulator.firing import IntArray

SCRATCH_FIRINGS = 1024
"""Most firings of one batch."""


class Options(NamedTuple):
    """Records to keep besides times and stall sums: 0 or 1 each."""

    digest: int
    occupancy: int
    trace: int


class Scratch(NamedTuple):
    """Working storage of a run.

    Parameters
    ----------
    queue, queued : int array, shape ``(units,)``
        Ring of the units to visit, and marks of its members.
    start, cause : int array, shape ``(SCRATCH_FIRINGS,)``
        Start times and stall causes of a batch of firings.
    options : Options
    trace : int array, shape ``(firings, 4)``
        Start, cause, wait and cause of the wait of every firing, if the options ask for it.
    watch : Watch
    horizon : int array, shape ``(1,)``
        Earliest cycle at which a memory tier can answer.
    """

    queue: IntArray
    queued: IntArray
    start: IntArray
    cause: IntArray
    options: Options
    trace: IntArray
    watch: Watch
    horizon: IntArray


def build_scratch(units: int, options: Options, trace: IntArray, watch: Watch) -> Scratch:
    """Working storage for so many units."""
    queue, queued = np.zeros(units, np.int64), np.zeros(units, np.int64)
    start, cause = np.zeros(SCRATCH_FIRINGS, np.int64), np.zeros(SCRATCH_FIRINGS, np.int64)
    return Scratch(queue, queued, start, cause, options, trace, watch, np.full(1, NEVER, np.int64))
