"""Mechanisms: memories and links that serve one request after another, by name; a module of this package each.

A mechanism is a frozen value whose numbers a compiled function works with. Engines call that function through its
address, so that they are compiled once for all mechanisms, those of other distributions included.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from numba import types

from simulator.errors import GraphError
from simulator.firing import IntArray
from simulator.register import Register
from simulator.servers.kernel import WORDS, Kernel, address_of, by_address, called_through

_SERVICE: Final = types.UniTuple(types.int64, 2)(WORDS, WORDS, types.int64, types.int64, types.int64, types.int64)


class Mechanism(Protocol):
    """A memory or link, in cycles of the clock it is used with."""

    @property
    def capacity_bytes(self) -> int | None:
        """Bytes that it holds, as far as that is its own."""

    @property
    def state_words(self) -> int:
        """Length of the state of its service function, which starts as zeros."""

    def parameters(self) -> IntArray:
        """Static integers of its service function."""


@dataclass(frozen=True)
class MechanismKind:
    """One way of serving requests.

    Parameters
    ----------
    name : str
        Name of the mechanism; the kind of the tiers that it simulates.
    type : type
        Class of its values, called with its settings.
    service : Kernel[..., Any]
        ``service(parameters, state, start, address, size_bytes, is_write)`` serves the bytes ``[address, address +
        size_bytes)`` handed over at cycle ``start`` and returns the cycle from which the next request can be taken,
        after ``start``, and the last cycle before all data has arrived, not before ``start``.
    """

    name: str
    type: Callable[..., Mechanism]
    service: Kernel[..., Any]

    @property
    def source(self) -> str:
        """Module of the mechanism."""
        return self.type.__module__

    @property
    def address(self) -> int:
        """Address of `service`; compiles it, or loads it from the cache, the first time."""
        return address_of(self.service, _SERVICE)


@by_address
def call_service(
    _context: Any, _service: Any, _parameters: Any, _state: Any, _start: Any, _address: Any, _size: Any, _write: Any
) -> Any:
    """Serve by the mechanism at an address: ``call_service(service, parameters, state, start, ...)``, for kernels."""
    return called_through(_SERVICE)


MECHANISMS: Final = Register[MechanismKind]("mechanism", "simulator.servers", "attnflow.mechanisms")
"""All mechanisms."""


def kind_of(mechanism: Mechanism) -> MechanismKind:
    """Registered kind of a mechanism.

    Raises
    ------
    GraphError
        If its class is not registered.
    """
    for name in MECHANISMS.names():
        if MECHANISMS.get(name).type is type(mechanism):
            return MECHANISMS.get(name)
    raise GraphError(
        f"{type(mechanism).__name__} is no registered mechanism; there are {', '.join(MECHANISMS.names())}"
    )
