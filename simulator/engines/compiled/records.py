"""Records of the compiled engine: static fields and state of a unit, channel or server side by side.

A class below is the one description of a record: Numba gets its dtype from it, kernels and type checkers its fields.
Everything of variable length lives in one array of words, to which the ``*_ptr`` fields point.
"""

from __future__ import annotations

from typing import Any, Final, get_type_hints

import numpy as np
import numpy.typing as npt

Records = npt.NDArray[Any]
"""An array of records; its dtype is one of those below."""
NEVER: Final = 1 << 62
"""A time that never comes, and a count without a limit."""
LONG_AGO: Final = -NEVER


class BlockRecord:
    """A loop over runs of firings: rows ``segment_ptr`` to ``segment_end`` of the segments."""

    loops: int
    growth: int
    segment_ptr: int
    segment_end: int


class SegmentRecord:
    """A run of identical firings; tokens taken and made per port are words."""

    count: int
    growth: int
    latency: int
    ii: int
    request: int
    take_ptr: int
    make_ptr: int
    address: int
    address_step: int
    address_iteration_step: int
    iterations_per_address: int
    is_write: int


class UnitRecord:
    """A unit.

    ``words[in_ptr:in_end]`` and ``words[out_ptr:out_end]`` hold the channel numbers of its ports, ``words[stall_ptr:]``
    its stalls by cause. A unit that reaches iteration ``lap_at`` waits there until the engine has looked at the state
    of the whole graph. A unit that uses a DRAM tier has ``window`` records of ``REQUEST_WORDS`` words from
    ``request_ptr`` on, and the output records of the tier from ``request_id`` on; both are used in turn.
    """

    in_ptr: int
    in_end: int
    out_ptr: int
    out_end: int
    stall_ptr: int
    block_ptr: int
    block_end: int
    issue: int
    server: int
    client: int
    iterations: int
    ramp: int
    grows: int
    firings: int
    block: int
    loops_left: int
    segment: int
    firings_left: int
    iteration: int
    done: int
    block_changes: int
    segment_changes: int
    clock: int
    waiting: int
    arrival: int
    arrival_cause: int
    fired: int
    busy: int
    last_start: int
    issued: int
    issued_ports: int
    issued_cause: int
    trace_ptr: int
    lap_at: int
    run_firings: int
    window: int
    request_ptr: int
    request_id: int
    requested: int
    offered: int
    answered: int
    last_answer: int
    hash_low: np.uint64
    hash_high: np.uint64


class ChannelRecord:
    """A channel.

    Its three rings of visible times, release times and issue times have ``mask + 1`` words each. It is closed when its
    producer is done. Promised tokens have a slot, but the memory tier has not said yet when they come.
    """

    depth: int
    slots: int
    latency: int
    credit: int
    producer: int
    consumer: int
    mask: int
    visible_ptr: int
    release_ptr: int
    issue_ptr: int
    pushed: int
    popped: int
    promised: int
    tail: int
    peak: int
    measured_push: int
    measured_pop: int
    skipped: int
    closed: int


class ServerRecord:
    """A server.

    Of its clients ``words[unit_ptr:]`` holds the unit numbers, ``words[waiting_ptr:]`` flags, ``words[arrival_ptr:]``
    times, the earliest of which, among those that wait, is in the record: ``NEVER`` if none does.
    """

    service: int
    arbitration: int
    clients: int
    unit_ptr: int
    waiting_ptr: int
    arrival_ptr: int
    ports: int
    free_ptr: int
    parameter_ptr: int
    parameter_end: int
    state_ptr: int
    state_end: int
    last: int
    grants: int
    busy: int
    bytes: int
    earliest: int


class TierRecord:
    """A memory tier, the state of which lies in an array that all tiers share.

    Requests of client c of the server, whose unit numbers are ``words[unit_ptr:]`` of the server's record, use output
    records from c * window on.
    """

    server: int
    advance: int
    numerator: int
    denominator: int
    channels: int
    state_words: int
    ring_words: int
    look_ahead: int
    parameter_ptr: int
    parameter_end: int
    state_ptr: int
    state_end: int
    ring_ptr: int
    ring_end: int
    out_ptr: int
    out_end: int


def dtype_of(record: type) -> np.dtype[Any]:
    """Dtype with the fields of a record class, in their order."""
    scalars = {int: np.int64, np.uint64: np.uint64}
    return np.dtype([(name, scalars[kind]) for name, kind in get_type_hints(record).items()], align=True)


BLOCK = dtype_of(BlockRecord)
SEGMENT = dtype_of(SegmentRecord)
UNIT = dtype_of(UnitRecord)
CHANNEL = dtype_of(ChannelRecord)
SERVER = dtype_of(ServerRecord)
TIER = dtype_of(TierRecord)

R_START, R_SEGMENT, R_ADDRESS, R_ANSWER, REQUEST_WORDS = range(5)
"""Words of a request record; the answer is -1 as long as it is not known."""
