"""Queue policies of DRAM controllers, by name: one folder each, whose module ``controller`` registers it.

The rooms beside the folders know the banks, the front end and the life of a request, but no policy. A policy brings

- ``advance``, which runs a channel: it accepts transactions (`simulator.servers.dram.intake.accept`, given the
  policy's own way to queue a segment and to answer a transaction from its queues), issues commands
  (`simulator.servers.dram.timing`, `simulator.servers.dram.refresh`) and reports what they serve
  (`simulator.servers.dram.segments`);
- ``rules``, which turns timings into distances between commands;
- ``reset`` and ``own_words`` for what it keeps in a state row behind the shared words.

Engines call ``advance`` through its address, so that they are compiled once for all policies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from numba import types

from simulator.errors import GraphError
from simulator.firing import IntArray
from simulator.register import Register
from simulator.servers.dram.devices import Organisation, Refresh, Timing
from simulator.servers.dram.layout import MAX_BANKS, MOST_WORDS, OWN
from simulator.servers.kernel import WORDS, Kernel, address_of, by_address, called_through

Rules = Callable[[IntArray, Organisation, Timing, Refresh], None]
_ADVANCE: Final = types.void(WORDS, WORDS, WORDS, WORDS, types.int64)


@dataclass(frozen=True)
class QueuePolicy:
    """A way to queue, order and issue the requests of a DRAM channel.

    Parameters
    ----------
    name : str
        Name in a controller's description.
    advance : Kernel[..., Any]
        ``advance(p, s, inp, out, end)`` runs one channel. ``p``, ``s``: parameter vector and state row; ``inp``, shape
        ``(2**k * INPUT_WORDS,)``: ring of segments offered to the channel; ``out``, shape
        ``(requests * OUTPUT_WORDS,)``: one record per request; ``end``: last clock to run, or ``UNTIL_ACCEPTED``, or
        ``UNTIL_RETURNED``.
    reset : Kernel[..., Any]
        ``reset(p, s)`` brings the policy's own words, which are 0, to clock 0.
    rules : callable
        ``rules(p, organisation, timing, refresh)`` writes the distances between commands into ``p``.
    own_words : int
        Words of a state row from ``layout.OWN`` on that are the policy's own.
    most_banks : int
        Banks that a channel may have.
    least_drain_low : int
        Smallest ``drain_low`` with which it always comes back from writes to reads.
    """

    name: str
    advance: Kernel[..., Any]
    reset: Kernel[..., Any]
    rules: Rules
    own_words: int = 0
    most_banks: int = MAX_BANKS
    least_drain_low: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.own_words <= MOST_WORDS - OWN:
            raise GraphError(
                f"queue policy {self.name}: own_words must be between 0 and {MOST_WORDS - OWN} (got {self.own_words})"
            )

    @property
    def source(self) -> str:
        """Module of the policy."""
        return self.advance.__module__

    @property
    def state_words(self) -> int:
        """Length of a channel's state row."""
        return OWN + self.own_words

    @property
    def address(self) -> int:
        """Address of ``advance`` for `call_advance`; compiles it, or loads it from the cache, the first time."""
        return address_of(self.advance, _ADVANCE)


@by_address
def call_advance(_context: Any, _address: Any, _p: Any, _s: Any, _inp: Any, _out: Any, _end: Any) -> Any:
    """Run a channel by the policy at ``address``: ``call_advance(address, p, s, inp, out, end)``, for kernels."""
    return called_through(_ADVANCE)


CONTROLLERS: Final = Register[QueuePolicy](
    "queue policy of a DRAM controller", "simulator.servers.dram", "attnflow.dram_controllers", "controller"
)
"""All queue policies."""
