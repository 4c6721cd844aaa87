"""When the ring of an unbounded channel is too small for the engine to go on."""

from __future__ import annotations

from simulator.machine import UNBOUNDED, Machine
from simulator.servers.kernel import kernel


@kernel
def ring_is_full(channel):
    """Whether the ring of an unbounded channel, not its depth, may keep a unit from firing."""
    queued = channel.pushed - channel.popped
    noted = channel.popped - channel.measured_pop
    return channel.depth == UNBOUNDED and 2 * max(queued, noted) >= channel.slots


@kernel
def full_ring(channels):
    """Number of a channel whose ring has to be enlarged before the engine may decide anything, or -1."""
    for number in range(channels.shape[0]):
        if ring_is_full(channels[number]):
            return number
    return -1


def full_rings(machine: Machine) -> list[int]:
    """Channels whose rings have to be enlarged."""
    return [number for number in range(len(machine.channels)) if ring_is_full(machine.channels[number])]
