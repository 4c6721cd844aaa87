"""What holds a design back, and what its FIFOs cost, in a sentence."""

from __future__ import annotations

from collections.abc import Sequence

from studies.report.detail import FifoUse, UnitUse, chip_run_of, fifos_of, units_of
from studies.report.words import count, listing, percent, quantity
from studies.store import Outcome

SATURATED = 0.95
"""Share of busy cycles from which a unit counts as never waiting, but for filling and draining the pipeline."""


def what_binds(outcome: Outcome) -> str:
    """The units that limit a design, or the wait that keeps its busiest unit from work; empty without units."""
    units = [unit for unit in units_of(outcome) if unit.total_cycles]
    if not units:
        return _what_binds_on_chip(outcome) or _what_limits_a_tier(outcome)
    units.sort(key=lambda unit: -unit.busy_cycles)
    saturated = [unit for unit in units if _busy(unit) >= SATURATED]
    if len(saturated) == 1:
        return f"{saturated[0].name}, busy {percent(_busy(saturated[0]))} of the cycles; the other units wait for it"
    if saturated:
        names = listing([unit.name for unit in saturated], most=3)
        return f"{names}, each busy at least {percent(_busy(saturated[-1]))} of the cycles"
    busiest = units[0]
    text = f"no unit: the busiest, {busiest.name}, works {percent(_busy(busiest))} of the cycles"
    if busiest.stalled_cycles:
        cause, cycles = max(busiest.stalled_cycles.items(), key=lambda item: item[1])
        text += f" and {wait_in_words(cause)} for {percent(cycles / busiest.total_cycles)}"
    return text


def _what_binds_on_chip(outcome: Outcome) -> str:
    """The largest lower bound of a run on a chip, and how near to it the run is; empty for other points."""
    run = chip_run_of(outcome)
    if run is None or not run.seconds:
        return ""
    least = run.bounds_s.get(run.binding, 0.0)
    return f"{run.binding}, which takes at least {quantity(least, 's')}: {percent(least / run.seconds)} of the time"


def _what_limits_a_tier(outcome: Outcome) -> str:
    """What costs a measured memory tier most of its peak; empty for other points, and where nothing is lost."""
    limiter = outcome.metrics.get("tier.limiter")
    share = outcome.metrics.get(f"tier.lost.{limiter}")
    if not isinstance(limiter, str) or not isinstance(share, int | float):
        return ""
    return f"{limiter.replace('_', ' ')}, which costs {percent(share)} of the peak"


def _busy(unit: UnitUse) -> float:
    return unit.busy_cycles / unit.total_cycles


def wait_in_words(cause: str) -> str:
    """A stall cause as a clause.

    >>> wait_in_words("input qk->exp"), wait_in_words("output qk->exp"), wait_in_words("server hbm")
    ('waits for data from qk->exp', 'waits for space in qk->exp', 'waits for hbm')
    """
    kind, _, name = cause.partition(" ")
    words = {"input": "waits for data from", "output": "waits for space in", "server": "waits for"}
    return f"{words[kind]} {name}" if kind in words else f"waits: {cause}"


def fifo_needs(outcome: Outcome) -> str:
    """How much memory the FIFOs of a design take, and which takes the most; empty without FIFOs."""
    fifos = fifos_of(outcome)
    if not fifos:
        return ""
    unbounded = [fifo.name for fifo in fifos if fifo.capacity_bytes is None]
    if unbounded:
        return f"without bound: {listing(unbounded)}"
    deepest = max(fifos, key=lambda fifo: fifo.capacity_bytes or 0)
    text = f"{quantity(_capacity(fifos), 'B')} in {count(len(fifos), 'FIFO')}"
    return (
        f"{text}; the largest, {deepest.name}, takes {quantity(deepest.capacity_bytes or 0, 'B')}"
        f" and fills {deepest.peak_occupancy:,} of {count(deepest.depth or 0, 'slot')}"
    )


def _capacity(fifos: Sequence[FifoUse]) -> int:
    return sum(fifo.capacity_bytes or 0 for fifo in fifos)
