"""Flash behind a controller: pages sensed by planes, sectors moved over an interface, commands in a queue.

A read senses the whole page, whatever is asked of it, and moves the sectors touched; consecutive pages lie in
consecutive planes, and a plane is taken until its register is drained. Writes are buffered by the controller, which
fills pages one after the other wherever their address is (a log), so that a sector costs its share of a program; the
buffer's place is held until the array has the data. Interface and command rate pace the start of commands.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np

from simulator.errors import GraphError
from simulator.firing import IntArray
from simulator.servers.kernel import Words, kernel
from simulator.servers.mechanisms import MECHANISMS, MechanismKind

P_PAGE_BYTES: Final = 0
P_SECTOR_BYTES: Final = 1
P_PLANES: Final = 2
P_DEPTH: Final = 3
P_TICKS: Final = 4
"""Ticks of a cycle; the times below are in ticks."""
P_READ: Final = 5
P_PROGRAM: Final = 6
"""Programming one sector's share of a page."""
P_SECTOR_READ: Final = 7
P_SECTOR_WRITE: Final = 8
P_COMMAND: Final = 9
P_LATENCY: Final = 10
PARAMETERS: Final = 11

S_COMMAND: Final = 0
"""Tick at which the controller can start the next command."""
S_READ_BUS: Final = 1
S_WRITE_BUS: Final = 2
S_WRITE_PLANE: Final = 3
S_WRITE_FILL: Final = 4
"""Sectors in the page that is being filled."""
S_HEAD: Final = 5
S_PLACES: Final = 6

TICKS: Final = 1 << 10
"""Ticks of a cycle."""


@dataclass(frozen=True)
class FlashServer:
    """A drive, in cycles of the clock it is used with; times are fractions of cycles, rounded to ticks.

    Parameters
    ----------
    page_bytes, sector_bytes : int
        What is sensed at once; the unit of transfers, a divisor of the page.
    planes, queue_depth : int
        Pages sensed side by side; commands under way.
    read_cycles, program_cycles : Fraction
        Array times of a page.
    sector_read_cycles, sector_write_cycles : Fraction
        A sector on the interface.
    command_cycles : Fraction
        Between two commands.
    latency_cycles : Fraction
        Controller and link.
    """

    page_bytes: int
    sector_bytes: int
    planes: int
    queue_depth: int
    read_cycles: Fraction
    program_cycles: Fraction
    sector_read_cycles: Fraction
    sector_write_cycles: Fraction
    command_cycles: Fraction
    latency_cycles: Fraction

    def __post_init__(self) -> None:
        whole = ("page_bytes", "sector_bytes", "planes", "queue_depth")
        problems = [
            f"flash: {name} must be {'at least 1' if name in whole else 'greater than 0'} (got {float(value):g})"
            for name, value in vars(self).items()
            if value <= 0 and name != "latency_cycles"
        ]
        if not problems and self.page_bytes % self.sector_bytes:
            problems.append(f"flash: pages of {self.page_bytes} bytes are no whole sectors of {self.sector_bytes}")
        if problems:
            raise GraphError(problems)

    @property
    def capacity_bytes(self) -> None:
        """No limit of its own: a log takes any address."""

    def parameters(self) -> IntArray:
        """Vector of `flash_service`, shape ``(PARAMETERS,)``, in the order of the ``P_*`` offsets."""
        p = np.zeros(PARAMETERS, dtype=np.int64)
        p[P_PAGE_BYTES] = self.page_bytes
        p[P_SECTOR_BYTES] = self.sector_bytes
        p[P_PLANES] = self.planes
        p[P_DEPTH] = self.queue_depth
        p[P_TICKS] = TICKS
        times = {
            P_READ: self.read_cycles,
            P_PROGRAM: self.program_cycles * self.sector_bytes / self.page_bytes,
            P_SECTOR_READ: self.sector_read_cycles,
            P_SECTOR_WRITE: self.sector_write_cycles,
            P_COMMAND: self.command_cycles,
            P_LATENCY: self.latency_cycles,
        }
        for at, cycles in times.items():
            p[at] = round(cycles * TICKS)
        return p

    @property
    def state_words(self) -> int:
        """Length of the state, which starts as zeros: the ``S_*`` words, a place per command, a time per plane."""
        return S_PLACES + self.queue_depth + self.planes


@kernel
def flash_service(
    parameters: Words, state: Words, start: int, address: int, size_bytes: int, is_write: int
) -> tuple[int, int]:
    """Read or write the bytes ``[address, address + size_bytes)``, asked for at cycle ``start``, page by page.

    Returns
    -------
    tuple of int
        Cycle from which the next command can start, and the last cycle before all data has arrived (read) or is
        safe in the controller (write).
    """
    page, ticks = parameters[P_PAGE_BYTES], parameters[P_TICKS]
    at, end, done = address, address + size_bytes, 0
    while at < end:
        stop = min(end, (at // page + 1) * page)
        sectors = (stop - 1) // parameters[P_SECTOR_BYTES] - at // parameters[P_SECTOR_BYTES] + 1
        if is_write:
            done = max(done, _write(parameters, state, start * ticks, sectors))
        else:
            done = max(done, _read(parameters, state, start * ticks, at // page, sectors))
        at = stop
    return max(start + 1, (state[S_COMMAND] + ticks - 1) // ticks), max(start, (done - 1) // ticks)


@kernel
def _begin(p: Words, s: Words, now: int, bus: int, transfer: int) -> int:
    """Start of a command: controller, interface and a place in the queue are free."""
    begin = max(max(now, s[S_COMMAND]), max(s[bus], s[S_PLACES + s[S_HEAD]]))
    s[S_COMMAND] = begin + p[P_COMMAND]
    s[bus] = begin + transfer
    return begin


@kernel
def _end(p: Words, s: Words, clock: int) -> None:
    """The command's place is free again at ``clock``."""
    s[S_PLACES + s[S_HEAD]] = clock
    s[S_HEAD] = s[S_HEAD] + 1 if s[S_HEAD] + 1 < p[P_DEPTH] else 0


@kernel
def _read(p: Words, s: Words, now: int, page: int, sectors: int) -> int:
    """Read sectors of one page; time of arrival in ticks."""
    transfer = sectors * p[P_SECTOR_READ]
    begin = _begin(p, s, now, S_READ_BUS, transfer)
    plane = S_PLACES + p[P_DEPTH] + page % p[P_PLANES]
    s[plane] = max(begin, s[plane]) + p[P_READ] + transfer
    done = s[plane] + p[P_LATENCY]
    _end(p, s, done)
    return done


@kernel
def _write(p: Words, s: Words, now: int, sectors: int) -> int:
    """Write sectors into the log; time at which the controller has them in ticks."""
    transfer = sectors * p[P_SECTOR_WRITE]
    begin = _begin(p, s, now, S_WRITE_BUS, transfer)
    plane = S_PLACES + p[P_DEPTH] + s[S_WRITE_PLANE]
    s[plane] = max(begin + transfer, s[plane]) + sectors * p[P_PROGRAM]
    _end(p, s, s[plane])
    s[S_WRITE_FILL] += sectors
    if s[S_WRITE_FILL] * p[P_SECTOR_BYTES] >= p[P_PAGE_BYTES]:
        s[S_WRITE_FILL] = 0
        s[S_WRITE_PLANE] = (s[S_WRITE_PLANE] + 1) % p[P_PLANES]
    return begin + transfer + p[P_LATENCY]


MECHANISMS.add(MechanismKind("flash", FlashServer, flash_service))
