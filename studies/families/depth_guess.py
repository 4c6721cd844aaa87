"""A guess at the FIFO depths of a long sequence: those of two short ones, carried on in a straight line.

FIFOs that hold a row grow with it, and all others are as deep for any length. That is no more than a guess, which
`simulator.explain.depths.advise_depths` proves or refutes on the graph itself.
"""

from __future__ import annotations

from dataclasses import replace

from simulator.explain.depths import Depths, advise_depths
from studies.families.family import Family
from studies.points.point import DesignPoint

SHORT = 256
"""Tokens of the shorter of the two; the other has twice as many."""
LEAST_LENGTH = 16 * SHORT
"""Of a sequence for which a guess is worth its time."""


def guessed_depths(point: DesignPoint, family: Family) -> tuple[Depths, Depths] | None:
    """Smallest depths without deadlock, and at full rate, for `point`; None where it is short, or no plain sequence.

    Raises
    ------
    InputError, simulator.errors.SimulatorError
        As `Family.graph` and `advise_depths`.
    """
    work = point.workload
    if work is None or work.q_len != work.kv_len or work.kv_len < LEAST_LENGTH:
        return None
    lengths = SHORT, 2 * SHORT
    graphs = [
        family.graph(replace(point, workload=work.with_(q_len=length, kv_len=length))).freeze() for length in lengths
    ]
    if any(graph.servers for graph in graphs) or len({len(graph.channels) for graph in graphs}) != 1:
        return None
    near, far = (advise_depths(graph).channels for graph in graphs)

    def further(short: int, long: int) -> int:
        return max(1, short + (long - short) * (work.kv_len - SHORT) // SHORT)

    least = {a.name: further(a.min_depth, b.min_depth) for a, b in zip(near, far, strict=True)}
    full = {a.name: further(a.full_rate_depth, b.full_rate_depth) for a, b in zip(near, far, strict=True)}
    return least, full
