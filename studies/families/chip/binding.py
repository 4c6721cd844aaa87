"""What sets the pace of a stored run on a chip, in a sentence."""

from __future__ import annotations

from studies.families.chip.evaluation import ChipDetail
from studies.families.chip.explain import LEAST_BINDING_SHARE, busy_cores, saturated
from studies.families.path import PathPart, TracedPath
from studies.words import percent, quantity

WORKING = ("compute", "bandwidth", "memory")
"""Parts of a path in which a unit does what its lower bound counts; the others are waits."""


def what_binds(run: ChipDetail, path: TracedPath | None) -> str:
    """What sets the pace, beside the largest lower bound; empty without work.

    Parameters
    ----------
    path
        Its critical path, if it was followed: what most of it goes to comes before a bound of another unit.
    """
    if not run.seconds:
        return ""
    least, binding = run.bounds.seconds, run.bounds.binding
    share = percent(least / run.seconds)
    cache = saturated_cache(run)
    elsewhere = _elsewhere(path, binding if cache is None else "cache")
    if elsewhere:
        bound = f"the largest lower bound, {binding}, takes at least {quantity(least, 's')}: {share} of the time"
        return f"{elsewhere}; {bound}"
    if cache is not None:
        moves = f"the cache, which moves bytes in {percent(cache)} of the time and so sets the pace"
        return f"{moves} (the largest lower bound, {binding}, is {share} of the time)"
    if least < LEAST_BINDING_SHARE * run.seconds:
        busy = _busy_cores(run)
        why = f"idle cores, {busy}" if busy else "no single unit"
        return f"{why}: the largest lower bound, {binding}, is {share} of the time"
    return f"{binding}, which takes at least {quantity(least, 's')}: {share} of the time"


def saturated_cache(run: ChipDetail) -> float | None:
    """What `studies.families.chip.explain.cache_limit` says of an evaluation, for a run as stored."""
    if not run.seconds:
        return None
    share = sum(launch.busy.get("cache", 0.0) * launch.seconds for launch in run.launches) / run.seconds
    return saturated(share, run.bounds.seconds / run.seconds)


def _busy_cores(run: ChipDetail) -> str:
    """How many cores work in the longest launch, where not nearly all of them do."""
    longest = max(run.launches, key=lambda launch: launch.seconds)
    return busy_cores(longest.cores, run.point.on_chip.accelerator.cores)


def _elsewhere(path: TracedPath | None, unit: str) -> str:
    """What most of a critical path goes to, unless that is `unit` at work; empty without a path."""
    largest = path.largest_use if path else None
    if path is None or largest is None or _is_work_of(largest, unit):
        return ""
    return f"{largest.phrase}, {percent(largest.cycles / path.cycles)} of the critical path"


def _is_work_of(part: PathPart, unit: str) -> bool:
    return part.kind in WORKING and part.name == unit
