"""State that finds a steady state: references to compare with, and the units whose pace the engine looks at.

Without servers the engine looks after visits to the unit with the most firings (within a row), and after laps of the
unit without outputs (from row to row). While that unit rests for long (a row fills a FIFO before it), another one
that moves takes its place. Units that wait for servers are not visited but granted, one at a time: there
the engine looks between two decisions, when every unit has gone as far as it can, after a grant of the unit with the
most firings; and only once as many grants have passed as half of the units, so that looking costs less than simulating.
Where tables have rows, the outer reference goes from lap to lap. Where they are one long list of runs (the tiles of a
core's items), the inner reference is dropped when any unit begins another run, since only states within the
present runs can recur soon, and the outer one is kept for what recurs over many runs (items that are alike).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simulator.engines.compiled.machine import Machine
from simulator.engines.compiled.records import (
    Records,
)
from simulator.engines.compiled.rings import WINDOWS
from simulator.firing import IntArray

PENDING_LIMIT = 4096
"""Most times of a channel that are kept because its peak occupancy is not known yet."""
SHORTEST_LAP_FIRINGS = 256
UNITS_PER_GRANT = 2
"""Units of the graph for each grant between two looks: comparing a unit takes less time than firing it."""

LEAST_PATIENCE, VISITS_PER_UNIT = 256, 16
"""Visits to other units for which the inner pacer may rest: so many, and for every unit so many more."""

# fields of Watch.counts
BASE, JUMPS, SKIPPED_FIRINGS, DECISION, COUNTS = range(5)
# fields of Watch.pacers
INNER_UNIT, OUTER_UNIT, LAP, GRANTED_UNIT, LEAST_GRANTS, GRANTS, DUE, PATIENCE, RESTED, PACERS = range(10)
# fields of Reference.numbers
TAKEN, POWER, SAMPLES, PAUSE, NOW, BASE_THEN, DECISION_THEN, REFERENCE_NUMBERS = range(8)


class Reference(NamedTuple):
    """A remembered state; ``words`` holds stalls and live times in the order in which they are compared.

    ``numbers`` are: how much of it has been taken, the number of samples until it is replaced (powers of two, Brent
    1980), samples since then, looks to let pass, the time of the clock that all others are relative to, what local
    times were relative to, and when a server had decided last.
    """

    units: Records
    channels: Records
    servers: Records
    words: IntArray
    numbers: IntArray


class Watch(NamedTuple):
    """References for what recurs soon and what recurs over long; counts of the run; whose pace the engine looks at.

    ``counts`` are: what local times are relative to, jumps, firings in them, and the time of the last decision of any
    server. ``pacers`` are: the units after whose visits, laps and grants the engine looks (-1 for none), the iterations
    of a lap, the grants between two looks, grants since the last one, whether one is due, and for how many visits
    to others the first of them may rest before another takes its place, and how many there were.
    """

    inner: Reference
    outer: Reference
    counts: IntArray
    pacers: IntArray


def build_watch(
    machine: Machine, *, enabled: bool, before: Watch | None = None, pacers: IntArray | None = None
) -> Watch:
    """References for ``machine``, keeping the counts of ``before``; without ``enabled`` nothing is looked at.

    ``pacers`` are those of a machine like this one, which follow from its units alone, if they are known.
    """
    units, channels = machine.units, machine.channels
    stalls = int((units["in_end"] - units["in_ptr"] + units["out_end"] - units["out_ptr"] + 2).sum())
    live = int((channels["slots"] + 2 * np.minimum(channels["mask"] + 1, PENDING_LIMIT) + WINDOWS).sum())
    size = stalls + live + int(machine.servers["ports"].sum()) if enabled else 0
    counts = np.zeros(COUNTS, np.int64) if before is None else before.counts
    if before is not None:
        pacers = before.pacers
    elif pacers is None:
        pacers = _pacers(machine) if enabled else np.full(PACERS, -1, np.int64)

    def reference() -> Reference:
        numbers = np.zeros(REFERENCE_NUMBERS, np.int64)
        numbers[POWER] = 1
        return Reference(units.copy(), channels.copy(), machine.servers.copy(), np.zeros(size, np.int64), numbers)

    return Watch(reference(), reference(), counts, pacers)


def _pacers(machine: Machine) -> IntArray:
    """Choose the units whose pace to look at.

    The inner pacer is the unit with the most firings (the last of them), the outer one the unit without outputs that
    has the fewest. The outer one looks once per lap: an iteration (or several short ones), or where rows grow within a
    head, a head. The grants of the unit with the most firings that uses a server count too, instead of the inner one's
    visits if that is the same unit, instead of the outer one's laps if tables have a single iteration.
    """
    units = machine.units
    inner = _most(units["firings"])
    sinks = np.flatnonzero(units["out_ptr"] == units["out_end"])
    outer = int(sinks[np.argmin(units["firings"][sinks])]) if len(sinks) else inner
    growing = units["ramp"][units["grows"] == 1]
    per_iteration = int(units["firings"][inner]) // max(int(units["iterations"][outer]), 1)
    short = -(-SHORTEST_LAP_FIRINGS // max(per_iteration, 1))
    lap = int(growing.max()) if len(growing) else short
    served, single = units["server"] >= 0, int(units["iterations"].max(initial=0)) <= 1
    granted = -1
    if served[inner] or (single and served.any()):
        granted = _most(np.where(served, units["firings"], -1))
    if granted >= 0 and single:
        outer = -1
    else:
        units["lap_at"][outer] = lap
    pacers = np.zeros(PACERS, np.int64)
    pacers[INNER_UNIT], pacers[OUTER_UNIT] = -1 if served[inner] else inner, outer
    pacers[LAP], pacers[GRANTED_UNIT] = lap, granted
    pacers[LEAST_GRANTS] = len(units) // UNITS_PER_GRANT
    pacers[PATIENCE] = LEAST_PATIENCE + VISITS_PER_UNIT * len(units)
    return pacers


def _most(firings: IntArray) -> int:
    """The last of the units with the most firings."""
    return len(firings) - 1 - int(np.argmax(firings[::-1]))
