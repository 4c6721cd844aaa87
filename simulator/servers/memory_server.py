"""Memories and links that answer one request after another, as servers of a graph.

Granting is that of `simulator.servers.contract`: a firing that requests bytes starts when the server takes it. How
long that occupies the server, and when the data is there, is for the mechanism to say: a link, a banked SRAM or a
flash drive, each with state of its own and each a compiled function that both engines call
(`simulator.servers.mechanisms`).
"""

from __future__ import annotations

from dataclasses import dataclass

from simulator.errors import GraphError
from simulator.firing import IntArray
from simulator.servers.contract import ARBITRATIONS, CONSTANT_RATE, Arbitration, service
from simulator.servers.kernel import Words, kernel
from simulator.servers.mechanisms import Mechanism, MechanismKind, call_service, kind_of


@dataclass(frozen=True)
class MemoryServer:
    """A memory or link shared by the units of a graph.

    Parameters
    ----------
    name : str
    mechanism : Mechanism
        Link, memory or drive that serves the requests, in cycles of the graph.
    arbitration : {"oldest_first", "round_robin", "priority"}
        Who is served among those waiting, see `simulator.servers.contract.Server`.
    """

    name: str
    mechanism: Mechanism
    arbitration: Arbitration = "oldest_first"

    def __post_init__(self) -> None:
        if self.arbitration not in ARBITRATIONS:
            raise GraphError(f"server {self.name}: arbitration must be one of {', '.join(ARBITRATIONS)}")

    @property
    def settings(self) -> str:
        """All settings in one line, for people."""
        given = ", ".join(f"{name} {value}" for name, value in vars(self.mechanism).items())
        return f"{self.kind.name}, {given}, {self.arbitration}"

    @property
    def capacity_bytes(self) -> int | None:
        """Bytes that it holds, as far as that is its own."""
        return self.mechanism.capacity_bytes

    @property
    def ports(self) -> int:
        """Requests taken side by side; overlap is the mechanism's matter."""
        return 1

    @property
    def kind(self) -> MechanismKind:
        """Registered kind of its mechanism."""
        return kind_of(self.mechanism)

    @property
    def service(self) -> int:
        """Address for `serve`."""
        return self.kind.address

    @property
    def state_words(self) -> int:
        """Length of the mechanism's state, which starts as zeros."""
        return self.mechanism.state_words

    def parameters(self) -> IntArray:
        """Static integers of the mechanism."""
        return self.mechanism.parameters()


@kernel
def serve(
    address_of_service: int,
    parameters: Words,
    state: Words,
    start: int,
    address: int,
    request_bytes: int,
    is_write: int,
) -> tuple[int, int]:
    """Serve a request granted at ``start``; return (busy until, time of completion) in cycles."""
    if address_of_service == CONSTANT_RATE:
        return service(parameters, start, request_bytes)
    busy_until, completion = call_service(
        address_of_service, parameters, state, start, address, request_bytes, is_write
    )
    return busy_until, completion
