"""The critical path of a run on a chip: launches one after the other, with the gaps before them."""

from __future__ import annotations

from algorithms.chip.timing.mapping import ChipRun, LaunchRun
from algorithms.chip.timing.throughput import TICKS_PER_CYCLE
from studies.families.path import LAUNCH, PathPart, StartTimes, TracedPath, merged, parts_of


def path_of(run: ChipRun, starts: StartTimes) -> TracedPath:
    """The path in cycles of a core's clock; raises as `StartTimes.path`."""
    several = len({launch.name for launch in run.launches}) > 1
    seen: dict[int, tuple[list[PathPart], str]] = {}
    parts: list[PathPart] = []
    notes: dict[str, None] = {}
    for launch, wait_s in zip(run.launches, run.exchange.waits_s, strict=True):
        alike = id(launch.simulated)  # launches that are alike are simulated once
        if alike not in seen:
            seen[alike] = _of_launch(launch, several, starts)
        found, note = seen[alike]
        parts += found
        notes |= {note: None} if note else {}
        parts.append(PathPart("gap", launch.name, (launch.gap_s - wait_s) * run.clock_hz))
        parts.append(PathPart("transfer", launch.name, wait_s * run.clock_hz))
    return merged(parts, "; ".join(notes))


def _of_launch(launch: LaunchRun, several: bool, starts: StartTimes) -> tuple[list[PathPart], str]:
    frozen = launch.graph.freeze()
    path = starts.path(frozen)
    where = f"{LAUNCH}{launch.name})" if several else ""
    parts = [
        PathPart(part.kind, f"{part.name}{where}", part.cycles / TICKS_PER_CYCLE)
        for part in parts_of(frozen, path, of_cores=True)
    ]
    return parts, path.note
