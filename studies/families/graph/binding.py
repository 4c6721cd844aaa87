"""What holds a graph back, and what its FIFOs cost, in a sentence."""

from __future__ import annotations

from simulator.result import Result, UnitResult
from studies.words import count, listing, percent, quantity

SATURATED = 0.95
"""Share of busy cycles from which a unit counts as never waiting, but for filling and draining the pipeline."""


def total_cycles(unit: UnitResult) -> int:
    """Cycles of the run, as a unit spent them."""
    return unit.busy_cycles + sum(unit.stalled_cycles.values()) + unit.idle_cycles


def what_binds(result: Result) -> str:
    """The units that limit a design, or the wait that keeps its busiest unit from work; empty without cycles."""
    units = sorted((unit for unit in result.units if total_cycles(unit)), key=lambda unit: -unit.busy_cycles)
    if not units:
        return ""
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
        text += f" and {wait_in_words(cause)} for {percent(cycles / total_cycles(busiest))}"
    return text


def _busy(unit: UnitResult) -> float:
    return unit.busy_cycles / total_cycles(unit)


def wait_in_words(cause: str) -> str:
    """A stall cause as a clause.

    >>> wait_in_words("input qk->exp"), wait_in_words("output qk->exp"), wait_in_words("server hbm")
    ('waits for data from qk->exp', 'waits for space in qk->exp', 'waits for hbm')
    """
    kind, _, name = cause.partition(" ")
    words = {"input": "waits for data from", "output": "waits for space in", "server": "waits for"}
    return f"{words[kind]} {name}" if kind in words else f"waits: {cause}"


def fifo_needs(result: Result) -> str:
    """How much memory the FIFOs of a design take, and which takes the most; empty without FIFOs."""
    fifos = result.channels
    if not fifos:
        return ""
    unbounded = [fifo.name for fifo in fifos if fifo.capacity_bytes is None]
    if unbounded:
        return f"without bound: {listing(unbounded)}"
    deepest = max(fifos, key=lambda fifo: fifo.capacity_bytes or 0)
    whole = sum(fifo.capacity_bytes or 0 for fifo in fifos)
    return (
        f"{quantity(whole, 'B')} in {count(len(fifos), 'FIFO')}; the largest, {deepest.name}, takes"
        f" {quantity(deepest.capacity_bytes or 0, 'B')}"
        f" and fills {deepest.peak_occupancy:,} of {count(deepest.depth or 0, 'slot')}"
    )
