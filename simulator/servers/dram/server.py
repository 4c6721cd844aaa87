"""A DRAM tier as a server of a graph: requests go in at firing starts, data comes back when the banks deliver it.

Unlike a `simulator.servers.contract.Server`, which grants one request after another, a tier takes every request at once
and answers it later; requests overlap, and how long one takes depends on those that follow. A firing of a unit that
uses such a tier (a ``load`` or ``store`` unit) therefore starts like any other,

    S(u,n) = max( the terms of the recurrence, answer(u, n - outstanding) )
    answer(u,n) = max( answer(u,n-1), S(u,n) + 1, cycle of the last data of its request )
    visible(token) = max( visible(previous token), answer(u,n) + latency + channel latency )

so that at most ``outstanding`` firings of a unit wait for data, and answers return in order. Slots are reserved at the
start, as everywhere (I3). A unit is ready again only when its last request is answered. Requests of one cycle are
handed over in the order in which units were added to the graph (I4). A firing without bytes is answered at its start.

The tier has its own clock. A request that starts in cycle t arrives at clock ``ceil(t * clocks_per_cycle)``, and data
of clock c can be used from cycle ``ceil(c / clocks_per_cycle)`` on. Writes are answered once the controller holds them.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from simulator.errors import GraphError
from simulator.servers.dram.parameters import DramDescription
from simulator.servers.dram.tier import DramCounters
from simulator.servers.kernel import inlined

MOST_CLOCK_DENOMINATOR = 1_000_000


@dataclass(frozen=True)
class DramServer:
    """A DRAM tier shared by the units of a graph.

    Parameters
    ----------
    name : str
    description : DramDescription
        Organisation, timings, controller and address mapping.
    clocks_per_cycle : Fraction
        Command clocks of the tier per cycle of the graph.
    outstanding : int
        Firings of one unit that may wait for their data at a time.
    """

    name: str
    description: DramDescription
    clocks_per_cycle: Fraction = Fraction(1)
    outstanding: int = 16

    def __post_init__(self) -> None:
        problems = []
        if self.outstanding < 1:
            problems.append(f"server {self.name}: outstanding must be at least 1 (got {self.outstanding})")
        if self.clocks_per_cycle <= 0 or self.clocks_per_cycle.denominator > MOST_CLOCK_DENOMINATOR:
            problems.append(
                f"server {self.name}: clocks_per_cycle must be a positive fraction with a denominator of at most "
                f"{MOST_CLOCK_DENOMINATOR} (got {self.clocks_per_cycle})"
            )
        if self.description.controller.shared_source:
            problems.append(f"server {self.name}: in a graph every channel is fed from its own list (shared_source)")
        if problems:
            raise GraphError(problems)

    @property
    def settings(self) -> str:
        """Settings that matter most, in one line, for people."""
        organisation, controller = self.description.organisation, self.description.controller
        return (
            f"DRAM, channels {organisation.channels}, policy {controller.policy}, "
            f"clocks_per_cycle {self.clocks_per_cycle}, outstanding {self.outstanding}"
        )

    @property
    def service(self) -> int:
        """Address of what runs its channels."""
        return self.description.policy.address

    @property
    def capacity_bytes(self) -> int:
        """Bytes that it holds."""
        return self.description.organisation.capacity_bytes

    @property
    def numerator(self) -> int:
        """Clocks in `denominator` cycles."""
        return self.clocks_per_cycle.numerator

    @property
    def denominator(self) -> int:
        """Cycles in `numerator` clocks."""
        return self.clocks_per_cycle.denominator

    def busy_cycles(self, counters: DramCounters) -> int:
        """Cycles in which all data buses together could have moved what they moved."""
        buses = counters.bus_clocks // counters.clocks if counters.clocks else 1
        return -(-counters.busy_clocks * self.denominator // (self.numerator * max(buses, 1)))


@inlined
def clock_of(cycle: int, numerator: int, denominator: int) -> int:
    """Clock at which a request that starts in ``cycle`` arrives."""
    return (cycle * numerator + denominator - 1) // denominator


@inlined
def cycle_of(clock: int, numerator: int, denominator: int) -> int:
    """First cycle in which data of ``clock`` can be used."""
    return (clock * denominator + numerator - 1) // numerator
