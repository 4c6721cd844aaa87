"""Outcome of a run: the same plain lists from both engines, so that results are assembled in one place."""

from __future__ import annotations

from dataclasses import dataclass, field

from simulator.firing import Segment
from simulator.result import Skipped, Trace
from simulator.servers.dram.tier import DramCounters


@dataclass(frozen=True)
class Outcome:
    """State of a graph when nothing moves any more; lists run over units, channels or servers.

    Attributes
    ----------
    stall : list of list of int
        Per unit, stalled cycles by cause code.
    hashes : list of (int, int)
        Per unit, the schedule fingerprint.
    segment : list of Segment or None
        The run of firings each unit is in, None when its table is over.
    holding : list of bool
        Whether the unit holds a result that it could not issue.
    issued_ports : list of int
        How many outputs have taken the held result already (units that issue in turn).
    tiers : list of DramCounters or None
        What happened on a memory tier; None for other servers.
    """

    fired: list[int]
    busy: list[int]
    clock: list[int]
    stall: list[list[int]]
    hashes: list[tuple[int, int]]
    segment: list[Segment | None]
    holding: list[bool]
    issued_ports: list[int]
    pushed: list[int]
    popped: list[int]
    peak: list[int]
    grants: list[int]
    server_busy: list[int]
    server_bytes: list[int]
    tiers: list[DramCounters | None]
    trace: Trace | None = None
    skipped: Skipped = field(default_factory=Skipped)
