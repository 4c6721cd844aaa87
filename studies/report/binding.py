"""What holds a design back, and what its FIFOs cost, in a sentence."""

from __future__ import annotations

from collections.abc import Sequence

from studies.families.chip import explain as chip_explain
from studies.report.detail import ChipUse, FifoUse, UnitUse, chip_run_of, fifos_of, units_of
from studies.report.paths import PathPart, TracedPath
from studies.store.store import Outcome
from studies.words import count, listing, percent, quantity

SATURATED = 0.95
"""Share of busy cycles from which a unit counts as never waiting, but for filling and draining the pipeline."""
WORKING = ("compute", "bandwidth", "memory")
"""Parts of a path in which a unit does what its lower bound counts; the others are waits."""


def what_binds(outcome: Outcome, path: TracedPath | None = None) -> str:
    """The units that limit a design, or the wait that keeps its busiest unit from work; empty without units.

    Parameters
    ----------
    outcome
        Of the design.
    path
        Its critical path, if it was followed: on a chip, what most of it goes to comes before a bound of another unit.
    """
    units = [unit for unit in units_of(outcome) if unit.total_cycles]
    if not units:
        return _what_binds_on_chip(outcome, path) or _what_limits_a_tier(outcome)
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


def _what_binds_on_chip(outcome: Outcome, path: TracedPath | None) -> str:
    """What sets the pace of a run on a chip, beside its largest lower bound; empty for other points."""
    run = chip_run_of(outcome)
    if run is None or not run.seconds:
        return ""
    least = run.bounds_s.get(run.binding, 0.0)
    share = percent(least / run.seconds)
    cache = saturated_cache(run)
    elsewhere = _elsewhere(path, run.binding if cache is None else "cache")
    if elsewhere:
        bound = f"the largest lower bound, {run.binding}, takes at least {quantity(least, 's')}: {share} of the time"
        return f"{elsewhere}; {bound}"
    if cache is not None:
        moves = f"the cache, which moves bytes in {percent(cache)} of the time and so sets the pace"
        return f"{moves} (the largest lower bound, {run.binding}, is {share} of the time)"
    return f"{run.binding}, which takes at least {quantity(least, 's')}: {share} of the time"


def saturated_cache(run: ChipUse) -> float | None:
    """What `studies.families.chip.explain.cache_limit` says of an evaluation, for a run as stored."""
    if not run.seconds:
        return None
    share = sum(launch.busy.get("cache", 0.0) * launch.seconds for launch in run.launches) / run.seconds
    return chip_explain.saturated(share, run.bounds_s.get(run.binding, 0.0) / run.seconds)


def _elsewhere(path: TracedPath | None, unit: str) -> str:
    """What most of a critical path goes to, unless that is `unit` at work; empty without a path."""
    largest = path.largest_use if path else None
    if path is None or largest is None or _is_work_of(largest, unit):
        return ""
    return f"{largest.phrase}, {percent(largest.cycles / path.cycles)} of the critical path"


def _is_work_of(part: PathPart, unit: str) -> bool:
    return part.kind in WORKING and part.name == unit


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
