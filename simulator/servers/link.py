"""Links: bytes move in whole chunks, ``t = t0 + ceil(bytes / chunk) * chunk / BW``, a limited number under way.

A chunk starts when its wire is free and a place in the window of outstanding chunks is; the place is returned when
the chunk has arrived. Time is counted in ticks, a fixed fraction of a cycle, so that rates need not be whole.
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

P_CHUNK_BYTES: Final = 0
P_CHUNK_TICKS: Final = 1
P_TICKS: Final = 2
"""Ticks of a cycle."""
P_LATENCY_TICKS: Final = 3
P_OUTSTANDING: Final = 4
P_DUPLEX: Final = 5
PARAMETERS: Final = 6

S_WIRE_FREE: Final = 0
S_HEAD: Final = 1
S_ARRIVALS: Final = 2
MOST_TICKS: Final = 1 << 16


@dataclass(frozen=True)
class LinkServer:
    """A link, in cycles of the clock it is used with.

    Parameters
    ----------
    chunk_bytes : int
    chunk_cycles : Fraction
        Time of a chunk on the wire; kept to a fraction with a denominator of at most ``MOST_TICKS``.
    latency_cycles : Fraction
        From the end of a chunk on the wire to its arrival, rounded up to ticks.
    outstanding : int
        Chunks under way at most, per direction.
    duplex : bool
        Reads and writes have wires of their own.
    """

    chunk_bytes: int
    chunk_cycles: Fraction
    latency_cycles: Fraction
    outstanding: int
    duplex: bool = True

    def __post_init__(self) -> None:
        problems = [
            f"link: {name} must be at least 1 (got {value})"
            for name, value in (("chunk_bytes", self.chunk_bytes), ("outstanding", self.outstanding))
            if value < 1
        ]
        if self.ticked_chunk <= 0:
            problems.append(f"link: a chunk must take time (got {float(self.chunk_cycles)} cycles)")
        if self.latency_cycles < 0:
            problems.append(f"link: latency_cycles must not be negative (got {float(self.latency_cycles)})")
        if problems:
            raise GraphError(problems)

    @property
    def ticked_chunk(self) -> Fraction:
        """Time of a chunk as it is counted, in cycles."""
        return Fraction(self.chunk_cycles).limit_denominator(MOST_TICKS)

    @property
    def capacity_bytes(self) -> None:
        """No limit of its own: the memory behind it has one."""

    def parameters(self) -> IntArray:
        """Vector of `link_service`, shape ``(PARAMETERS,)``, in the order of the ``P_*`` offsets."""
        chunk = self.ticked_chunk
        p = np.zeros(PARAMETERS, dtype=np.int64)
        p[P_CHUNK_BYTES] = self.chunk_bytes
        p[P_CHUNK_TICKS] = chunk.numerator
        p[P_TICKS] = chunk.denominator
        p[P_LATENCY_TICKS] = -(-self.latency_cycles * chunk.denominator // 1)
        p[P_OUTSTANDING] = self.outstanding
        p[P_DUPLEX] = self.duplex
        return p

    @property
    def state_words(self) -> int:
        """Length of the state, which starts as zeros.

        Per direction, in ticks: when the wire is free, the oldest place of the window, and the arrivals in it.
        """
        return (2 if self.duplex else 1) * (S_ARRIVALS + self.outstanding)


@kernel
def link_service(
    parameters: Words, state: Words, start: int, address: int, size_bytes: int, is_write: int
) -> tuple[int, int]:
    """Move ``size_bytes``, handed over at cycle ``start``; the address does not matter.

    Returns
    -------
    tuple of int
        Cycle from which the wire is free, and the last cycle before the data has arrived: an exclusive transfer
        takes ``completion - start + 1`` cycles.
    """
    chunk, duration, ticks = parameters[P_CHUNK_BYTES], parameters[P_CHUNK_TICKS], parameters[P_TICKS]
    latency, places = parameters[P_LATENCY_TICKS], parameters[P_OUTSTANDING]
    base = (S_ARRIVALS + places) * is_write if parameters[P_DUPLEX] else 0
    wire, head = max(state[base + S_WIRE_FREE], start * ticks), state[base + S_HEAD]
    for _ in range(max(1, (size_bytes + chunk - 1) // chunk)):
        place = base + S_ARRIVALS + head
        wire = max(wire, state[place]) + duration
        state[place] = wire + latency
        head = head + 1 if head + 1 < places else 0
    state[base + S_WIRE_FREE] = wire
    state[base + S_HEAD] = head
    return max(start + 1, (wire + ticks - 1) // ticks), max(start, (wire + latency - 1) // ticks)


MECHANISMS.add(MechanismKind("link", LinkServer, link_service))
