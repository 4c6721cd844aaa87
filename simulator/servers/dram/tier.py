"""A DRAM tier, cycle by cycle: requests in, acceptance and completion clocks out.

`run_dram` takes a whole list of requests. An event engine uses `RunningTier` instead, or its functions directly:
``offer`` hands over a request, ``advance_tier`` runs all channels to a clock, ``next_event`` says when that is worth
while, and the output record of a request tells whether it is done, and when.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np

from simulator.engines.progress import report
from simulator.errors import CapacityError, NoProgressError, SimulatorError
from simulator.firing import IntArray
from simulator.servers.dram import layout
from simulator.servers.dram.parameters import DramDescription
from simulator.servers.dram.service import (
    advance_tier,
    next_event,
    offer,
    open_requests,
    reset,
    run_independent,
    run_shared,
)

LossCause = Literal["source", "queue", "command_spacing", "turnaround", "faw", "row_cycle", "refresh"]
LOSS_CAUSES: Final[tuple[LossCause, ...]] = (
    "source",
    "queue",
    "command_spacing",
    "turnaround",
    "faw",
    "row_cycle",
    "refresh",
)
"""Causes of idle data buses, in the order of the counters: no request; full queues or a command slot taken;
distance between column commands; read/write or rank turnaround; four-activation window; opening rows; refresh."""

RING_SEGMENTS = 1024
SLICE_WORK = 1 << 20
"""Visits and column commands of all channels after which Python runs for a moment, so that Ctrl-C arrives."""
LEAST_SLICE = 1 << 13
PATIENCE_VISITS = 1 << 20
"""Visits of a channel without an access or an acceptance, although it has work, after which it has no future.

A visit is at least a clock, so that this is more than any wait for timings: a refresh takes some thousand clocks.
"""


@dataclass(frozen=True)
class Requests:
    """A list of requests to a memory tier.

    Parameters
    ----------
    address_bytes, size_bytes : int array, shape ``(requests,)``
    stride_bytes : int array, shape ``(requests,)``
        0: the bytes are contiguous. Else each transaction of the request lies that far behind the one before it.
    is_write : int array, shape ``(requests,)``
    arrival_clock : int array, shape ``(requests,)``
        First clock at which the request may be accepted; must not decrease.
    """

    address_bytes: IntArray
    size_bytes: IntArray
    stride_bytes: IntArray
    is_write: IntArray
    arrival_clock: IntArray

    @classmethod
    def of(
        cls,
        address_bytes: IntArray,
        size_bytes: int | IntArray,
        stride_bytes: int | IntArray = 0,
        is_write: int | IntArray = 0,
        arrival_clock: int | IntArray = 0,
    ) -> Requests:
        """Requests from arrays, numbers standing for arrays of one value."""
        shape = np.shape(address_bytes)

        def column(values: int | IntArray) -> IntArray:
            return np.ascontiguousarray(np.broadcast_to(np.asarray(values, dtype=np.int64), shape))

        return cls(*(column(v) for v in (address_bytes, size_bytes, stride_bytes, is_write, arrival_clock)))

    def check(self, description: DramDescription) -> None:
        """Raise if a request cannot be served by the tier.

        Raises
        ------
        CapacityError
            An address outside the tier.
        SimulatorError
            Sizes below 1, negative strides, or arrivals out of order.
        """
        if self.address_bytes.size == 0:
            return
        unit = description.organisation.transaction_bytes
        strided = ((self.size_bytes + unit - 1) // unit - 1) * self.stride_bytes + unit
        reach = np.where(self.stride_bytes > 0, strided, self.size_bytes)
        if np.min(self.size_bytes) < 1 or np.min(self.stride_bytes) < 0:
            raise SimulatorError("requests must have at least one byte and strides must not be negative")
        if np.any(np.diff(self.arrival_clock) < 0) or self.arrival_clock[0] < 0:
            raise SimulatorError("requests must be sorted by arrival, from clock 0 on")
        capacity = description.organisation.capacity_bytes
        last = int(np.max(self.address_bytes + reach))
        if last > capacity or np.min(self.address_bytes) < 0:
            raise CapacityError(
                f"requests reach byte {last} of a tier of {capacity} bytes: {last - capacity} bytes do not fit"
            )


@dataclass(frozen=True)
class DramCounters:
    """Counts of all channels of a tier together; clocks are summed over the data buses."""

    clocks: int
    bus_clocks: int
    busy_clocks: int
    lost_clocks: dict[LossCause, int]
    activations: int
    precharges: int
    refreshes: int
    bank_refreshes: int
    read_commands: int
    write_commands: int
    read_hits: int
    write_hits: int
    misses: int
    conflicts: int
    reads: int
    writes: int
    forwarded: int
    merged: int
    read_clocks: int
    """Sum of return minus acceptance over all reads (transactions)."""
    last_return: int
    last_write: int

    @classmethod
    def from_state(cls, parameters: IntArray, state: IntArray, clocks: int) -> DramCounters:
        """Counters of the channels in ``state``, shape ``(channels, state_words)``, which ran to clock ``clocks``."""
        s = state.sum(axis=0)
        buses = int(parameters[layout.P_BUSES])
        bus_free = state[:, layout.BUS_FREE : layout.BUS_FREE + buses]
        lost = {cause: int(s[layout.LOSS + index]) for index, cause in enumerate(LOSS_CAUSES)}
        # what follows the last burst is want of requests; a burst that reaches beyond the end is cut there
        lost["source"] += int(np.maximum(clocks - bus_free, 0).sum())
        columns = int(s[layout.N_READ_COMMANDS] + s[layout.N_WRITE_COMMANDS])
        busy = columns * int(parameters[layout.P_BURST]) - int(np.maximum(bus_free - clocks, 0).sum())
        return cls(
            clocks=clocks,
            bus_clocks=clocks * buses * state.shape[0],
            busy_clocks=busy,
            lost_clocks=lost,
            activations=int(s[layout.N_ACTIVATES]),
            precharges=int(s[layout.N_PRECHARGES]),
            refreshes=int(s[layout.N_REFRESHES]),
            bank_refreshes=int(s[layout.N_BANK_REFRESHES]),
            read_commands=int(s[layout.N_READ_COMMANDS]),
            write_commands=int(s[layout.N_WRITE_COMMANDS]),
            read_hits=int(s[layout.N_READ_HITS]),
            write_hits=int(s[layout.N_WRITE_HITS]),
            misses=int(s[layout.N_MISSES]),
            conflicts=int(s[layout.N_CONFLICTS]),
            reads=int(s[layout.N_READS]),
            writes=int(s[layout.N_WRITES]),
            forwarded=int(s[layout.N_FORWARDED]),
            merged=int(s[layout.N_MERGED]),
            read_clocks=int(s[layout.N_SUM_RETURN] - s[layout.N_SUM_ACCEPT]),
            last_return=int(state[:, layout.N_LAST_RETURN].max()),
            last_write=int(state[:, layout.N_LAST_WRITE].max()),
        )

    @property
    def mean_read_clocks(self) -> float:
        """Mean clocks from the acceptance of a read transaction to its data (0 without reads)."""
        return self.read_clocks / self.reads if self.reads else 0.0


@dataclass(frozen=True)
class DramRun:
    """Outcome of a list of requests.

    Parameters
    ----------
    accept_clock, done_clock : int array, shape ``(requests,)``
        Clock at which the first transaction of a request was accepted, and at which its last data was back (reads) or
        taken over by the controller (writes are posted).
    counters : DramCounters
    """

    accept_clock: IntArray
    done_clock: IntArray
    counters: DramCounters


def initial_state(description: DramDescription) -> IntArray:
    """State rows of all channels at clock 0, shape ``(channels, state_words)``."""
    policy, parameters = description.policy, description.parameters()
    state = np.zeros((description.organisation.channels, policy.state_words), dtype=np.int64)
    for channel in state:
        reset(parameters, channel)
        policy.reset(parameters, channel)
    return state


def run_dram(description: DramDescription, requests: Requests, channels: range | None = None) -> DramRun:
    """Serve a list of requests on an idle tier.

    Parameters
    ----------
    channels : range, optional
        Channels to count, when the others get no requests; all if not given.

    Raises
    ------
    CapacityError, SimulatorError
        See `Requests.check`.
    """
    requests.check(description)
    tier = RunningTier(description, requests=requests.address_bytes.shape[0])
    p = tier.parameters
    columns = (requests.address_bytes, requests.size_bytes, requests.stride_bytes)
    open_requests(p, tier.out, *columns)
    run = run_shared if description.controller.shared_source else run_independent
    at = np.zeros(layout.CURSOR_WORDS, dtype=np.int64)
    arrays = (tier.advance_address, p, tier.state, tier.rings, tier.out, at, *columns)
    watchdog = _Watchdog(tier.state)
    last = layout.RUNNING
    while last == layout.RUNNING:
        tier.begin_slice()
        last = int(run(*arrays, requests.is_write, requests.arrival_clock))
        watchdog.look()
        report("requests", int(at[layout.AT_REQUEST]), requests.address_bytes.shape[0])
    out = tier.out.reshape(-1, layout.OUTPUT_WORDS)
    counted = tier.state if channels is None else tier.state[channels.start : channels.stop : channels.step]
    counters = DramCounters.from_state(p, counted, int(last) + 1)
    return DramRun(out[:, layout.O_ACCEPT].copy(), out[:, layout.O_DONE].copy(), counters)


class _Watchdog:
    """Looks between slices whether channels that have work do any.

    Parameters
    ----------
    state : int array, shape ``(channels, state_words)``
        State rows, looked at as they are.
    """

    def __init__(self, state: IntArray) -> None:
        self._state = state
        self._done = self._served()
        self._since = state[:, layout.N_VISITS].copy()

    def look(self) -> None:
        """Raise NoProgressError if a channel has come to a state in which its requests wait for ever."""
        state, visits, done = self._state, self._state[:, layout.N_VISITS], self._served()
        waiting = (state[:, layout.H_IN_HEAD] != state[:, layout.H_IN_TAIL]) | (state[:, layout.H_IN_FLIGHT] > 0)
        self._since = np.where((done != self._done) | ~waiting, visits, self._since)
        self._done = done
        stuck = waiting & ((visits - self._since >= PATIENCE_VISITS) | (state[:, layout.H_NOW] >= layout.FAR))
        if np.any(stuck):
            channel = int(np.flatnonzero(stuck)[0])
            reads, writes = (int(state[channel, word]) for word in (layout.H_IN_FLIGHT, layout.H_WRITES))
            looked = int(visits[channel] - self._since[channel])
            raise NoProgressError(
                f"channel {channel} of the memory makes no progress: {reads} reads and {writes} writes wait, and no "
                f"access was possible in {looked:,} clocks that were looked at; refreshes may take all the time "
                "(refi must be longer than rfc), or the queue policy waits for what never comes"
            )

    def _served(self) -> IntArray:
        """Accesses and acceptances of every channel so far."""
        words = [layout.N_READ_COMMANDS, layout.N_WRITE_COMMANDS, layout.H_TAKEN]
        served: IntArray = self._state[:, words].sum(axis=1)
        return served


@dataclass
class RunningTier:
    """The arrays of a running tier, and its service functions as methods.

    Parameters
    ----------
    description : DramDescription
    requests : int
        Requests the output table has room for; they are numbered from 0.
    """

    description: DramDescription
    requests: int
    parameters: IntArray = field(init=False)
    state: IntArray = field(init=False)
    rings: IntArray = field(init=False)
    out: IntArray = field(init=False)
    advance_address: int = field(init=False)

    def __post_init__(self) -> None:
        channels = self.description.organisation.channels
        self.advance_address = self.description.policy.address
        self.parameters = self.description.parameters()
        self.state = initial_state(self.description)
        self.rings = np.zeros((channels, RING_SEGMENTS * layout.INPUT_WORDS), dtype=np.int64)
        self.out = np.zeros(max(1, self.requests) * layout.OUTPUT_WORDS, dtype=np.int64)
        self.out[layout.O_LEFT :: layout.OUTPUT_WORDS] = -1

    def begin_slice(self) -> None:
        """Let runs without a last clock go on for another slice of work."""
        state = self.state
        words = [layout.N_VISITS, layout.N_READ_COMMANDS, layout.N_WRITE_COMMANDS]
        state[:, layout.H_SLICE_END] = state[:, words].sum(axis=1) + max(SLICE_WORK // len(state), LEAST_SLICE)

    def offer(self, request: int, address: int, size: int, clock: int, stride: int = 0, is_write: bool = False) -> bool:
        """Hand over a request at ``clock``; False when the input rings have no room for it now.

        Clocks of successive offers must not decrease, and must not lie before a clock the tier has been run to.
        """
        return bool(
            offer(
                self.parameters, self.state, self.rings, self.out, request, address, size, stride, int(is_write), clock
            )
        )

    def next_event(self) -> int:
        """Earliest clock at which anything can happen (``dram_layout.FAR`` when the tier is idle for good)."""
        return int(next_event(self.parameters, self.state))

    def advance(self, clock: int) -> None:
        """Run all channels through ``clock``."""
        advance_tier(self.advance_address, self.parameters, self.state, self.rings, self.out, clock)

    def done_clock(self, request: int) -> int | None:
        """Clock at which the last data of ``request`` is back, once that is known."""
        at = request * layout.OUTPUT_WORDS
        return int(self.out[at + layout.O_DONE]) if self.out[at + layout.O_LEFT] == 0 else None
