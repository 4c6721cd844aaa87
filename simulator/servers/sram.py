"""Banked SRAM: words in banks, conflicts, double buffering.

Consecutive words lie in consecutive banks. The interface issues `lanes` words a cycle; those that meet in one bank
are served `ports` at a time, and the next group issues when all words of this one have been. With several buffers
each has banks of its own, so that filling one does not disturb the use of another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from simulator.errors import GraphError
from simulator.firing import IntArray
from simulator.servers.kernel import Words, kernel
from simulator.servers.mechanisms import MECHANISMS, MechanismKind

P_BANKS: Final = 0
"""Banks of one buffer."""
P_PORTS: Final = 1
P_WIDTH: Final = 2
P_LANES: Final = 3
P_LATENCY: Final = 4
P_BUFFERS: Final = 5
P_BUFFER_BYTES: Final = 6
PARAMETERS: Final = 7


@dataclass(frozen=True)
class SramServer:
    """An SRAM macro, in cycles of its clock.

    Parameters
    ----------
    capacity_bytes : int
    banks, ports : int
        Banks, and accesses that each can serve per cycle.
    width_bytes : int
        Word of a bank.
    lanes : int
        Words the interface issues per cycle.
    latency_cycles : int
        From the cycle that serves a word to its data; 0 is the same cycle.
    buffers : int
        Equal parts with their own banks.
    """

    capacity_bytes: int
    banks: int
    ports: int
    width_bytes: int
    lanes: int
    latency_cycles: int
    buffers: int = 1

    def __post_init__(self) -> None:
        problems = [
            f"sram: {name} must be at least {low} (got {value})"
            for name, value in vars(self).items()
            if value < (low := 0 if name == "latency_cycles" else 1)
        ]
        if not problems and self.banks % self.buffers:
            problems.append(f"sram: {self.banks} banks cannot be shared by {self.buffers} buffers")
        if not problems and self.capacity_bytes % (self.banks * self.width_bytes):
            problems.append(f"sram: {self.capacity_bytes} bytes are no whole number of words in every bank")
        if problems:
            raise GraphError(problems)

    def parameters(self) -> IntArray:
        """Vector of the service functions, shape ``(PARAMETERS,)``, in the order of the ``P_*`` offsets."""
        p = np.zeros(PARAMETERS, dtype=np.int64)
        p[P_BANKS] = self.banks // self.buffers
        p[P_PORTS] = self.ports
        p[P_WIDTH] = self.width_bytes
        p[P_LANES] = self.lanes
        p[P_LATENCY] = self.latency_cycles
        p[P_BUFFERS] = self.buffers
        p[P_BUFFER_BYTES] = self.capacity_bytes // self.buffers
        return p

    @property
    def state_words(self) -> int:
        """Length of the state, which starts as zeros: per bank the first free slot, ``cycle * ports + used``."""
        return self.banks


@kernel
def sram_service(
    parameters: Words, state: Words, start: int, address: int, size_bytes: int, is_write: int
) -> tuple[int, int]:
    """Serve the bytes ``[address, address + size_bytes)`` from cycle ``start`` on; reads and writes cost the same.

    Returns
    -------
    tuple of int
        Cycle from which the interface is free, and the cycle in which the last data is there.
    """
    width = parameters[P_WIDTH]
    first = address // width
    words = (address + size_bytes - 1) // width - first + 1
    return sram_access(parameters, state, start, first * width, words, width)


@kernel
def sram_access(
    parameters: Words, state: Words, start: int, address: int, words: int, stride_bytes: int
) -> tuple[int, int]:
    """Serve ``words`` words that lie ``stride_bytes`` apart; returns what `sram_service` does."""
    banks, ports, lanes = parameters[P_BANKS], parameters[P_PORTS], parameters[P_LANES]
    cycle, done, issued = start, start, 0
    for index in range(words):
        if issued == lanes:
            cycle, issued = done + 1, 0
        at = address + index * stride_bytes
        buffer = at // parameters[P_BUFFER_BYTES] % parameters[P_BUFFERS]
        bank = buffer * banks + at // parameters[P_WIDTH] % banks
        slot = max(state[bank], cycle * ports)
        state[bank] = slot + 1
        done = max(done, slot // ports)
        issued += 1
    return done + 1, done + parameters[P_LATENCY]


MECHANISMS.add(MechanismKind("sram", SramServer, sram_service))
