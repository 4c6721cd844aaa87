"""DRAM standards: organisation, timings, command buses, and the controller that each is usually driven by.

The types mirror what a service kernel needs (`simulator.servers.dram.devices`) but know nothing of it:
`algorithms.memory.binding` joins the two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Annotated, Literal

from pydantic import AfterValidator

from hwmodels.standards.policies.policy import queue_policy

QueuePolicyName = Annotated[str, AfterValidator(lambda name: queue_policy(name).name)]
Refresh = Literal["none", "staggered", "together", "per_bank"]
Page = Literal["open", "close"]
Coordinate = Literal["channel", "rank", "sid", "group", "bank", "row", "column"]

COORDINATES: tuple[Coordinate, ...] = ("channel", "rank", "sid", "group", "bank", "row", "column")
"""The coordinates of a transaction; the order is that in which XORed ones take their column bits."""


@dataclass(frozen=True)
class DramOrganisation:
    """Sizes of one device: a stack, or the devices behind one controller.

    Parameters
    ----------
    channels
        Independent channels.
    ranks
        DDR ranks of a channel, or pseudo-channels when `rank_owns_bus`.
    sids
        Stack ids of a pseudo-channel (HBM3, HBM4).
    bank_groups, banks_per_group, rows, columns
        Per rank and stack id; a column here is one transaction.
    transaction_bytes
        Bytes that one column command moves.
    rank_owns_bus
        True for pseudo-channels, each of which has its own half of the data bus.
    """

    channels: int
    ranks: int
    sids: int
    bank_groups: int
    banks_per_group: int
    rows: int
    columns: int
    transaction_bytes: int
    rank_owns_bus: bool = False

    @property
    def data_buses(self) -> int:
        """Data buses of all channels."""
        return self.channels * (self.ranks if self.rank_owns_bus else 1)

    @property
    def banks(self) -> int:
        """Banks of a channel."""
        return self.ranks * self.sids * self.bank_groups * self.banks_per_group

    @property
    def row_bytes(self) -> int:
        """Bytes that one activation opens."""
        return self.columns * self.transaction_bytes

    @property
    def capacity_bytes(self) -> int:
        """Bytes of the device."""
        return self.channels * self.banks * self.rows * self.row_bytes

    def size(self, coordinate: Coordinate) -> int:
        """Number of values of a coordinate of an address."""
        sizes = {"group": self.bank_groups, "bank": self.banks_per_group, "row": self.rows, "column": self.columns}
        sizes |= {"channel": self.channels, "rank": self.ranks, "sid": self.sids}
        return sizes[coordinate]


@dataclass(frozen=True)
class DramTiming:
    """JEDEC timings in clocks of the command clock CK, without the leading t or n; 0: the standard has no such limit.

    `burst` is the time a transaction holds the data bus, `burst_same_group` the column array cycle that counts for
    write-to-read inside a bank group (LPDDR5), `turnaround` the guard between read and write bursts, `rank_switch`
    that between two ranks, `rtw` an explicit read-to-write distance, `aad` the longest distance of the two halves of
    an activation, `refi_bank` the distance of per-bank refreshes of a channel (0: such that each bank has its turn once
    in `refi`), `strobe_post` how long the write clock runs on behind a burst, `rrefd` and `bank_refresh_spacing`
    the distances behind a per-bank refresh.
    """

    cl: int
    cwl: int
    rcd_read: int
    rcd_write: int
    rp: int
    ras: int
    rc: int
    rrd_s: int
    rrd_l: int
    faw: int
    ccd_s: int
    ccd_l: int
    rtp: int
    wtr_s: int
    wtr_l: int
    wr: int
    burst: int
    rfc: int
    refi: int
    rp_all: int = 0
    ccd_s_write: int = 0
    ccd_l_write: int = 0
    ccd_r: int = 0
    burst_same_group: int = 0
    turnaround: int = 2
    rank_switch: int = 2
    rtw: int = 0
    ppd: int = 0
    rfc_bank: int = 0
    refi_bank: int = 0
    rrefd: int = 0
    bank_refresh_spacing: int = 0
    aad: int = 0
    strobe_post: int = 0

    def at_clock(self, from_s: float, to_s: float) -> DramTiming:
        """The timings of another speed bin: the same nanoseconds, rounded up to clocks of `to_s` seconds.

        What JEDEC counts in clocks (`COUNTED_IN_CLOCKS`) stays; refresh intervals, which are longest times, are
        rounded down; the row cycle is at least restore plus precharge.
        """
        changed = {}
        for name in (field.name for field in fields(self)):
            scaled = getattr(self, name) * from_s / to_s
            if name in LONGEST:
                changed[name] = math.floor(scaled + _ROUNDING)
            elif name not in COUNTED_IN_CLOCKS:
                changed[name] = math.ceil(scaled - _ROUNDING)
        changed["rc"] = max(changed["rc"], changed["ras"] + changed["rp"])
        return replace(self, **changed)


LONGEST = frozenset({"refi", "refi_bank"})
"""Timings that are upper limits."""
COUNTED_IN_CLOCKS = frozenset(
    {
        "burst",
        "burst_same_group",
        "ccd_s",
        "ccd_l",
        "ccd_s_write",
        "ccd_l_write",
        "ccd_r",
        "turnaround",
        "rank_switch",
        "ppd",
        "aad",
        "strobe_post",
    }
)
"""Timings of the bus and the column path, which scale with the clock of a speed bin."""
_ROUNDING = 1e-6


@dataclass(frozen=True)
class DramBus:
    """Rules of the command bus.

    Parameters
    ----------
    ticks_per_clock
        2 where row commands use both edges of the clock: the model then counts half clocks.
    activate_ticks, column_ticks
        How long the commands hold their bus, in ticks.
    dual_command_bus
        Row and column commands have a bus of their own (HBM).
    split_activate
        Activation in two halves, and a data strobe that has to be started (LPDDR5).
    refresh_blocks_refresh, slow_rank_write_to_read
        Details of LPDDR5: a refresh holds back the next one; write to read of another rank counts from the end.
    """

    ticks_per_clock: int = 1
    activate_ticks: int = 1
    column_ticks: int = 1
    dual_command_bus: bool = False
    split_activate: bool = False
    refresh_blocks_refresh: bool = False
    slow_rank_write_to_read: bool = False


@dataclass(frozen=True)
class DramController:
    """Queueing, scheduling and refresh of a channel, and the front end that feeds it.

    The fields are those of `simulator.servers.dram.parameters.Controller` that are no matter of the standard: queue
    `policy` and depths in transactions, write drain marks, row-hit cap and row-hit protection, page and refresh policy,
    transactions accepted per tick (`width`), transactions in flight (`outstanding`, 0: no limit), and whether one
    in-order source feeds all channels.
    """

    policy: QueuePolicyName
    read_depth: int = 32
    write_depth: int = 32
    bank_depth: int = 8
    hit_cap: int = 4
    drain_high: int = 32
    drain_low: int = 8
    protect_hits: bool = False
    page: Page = "open"
    refresh: Refresh = "staggered"
    width: int = 2
    outstanding: int = 0
    shared_source: bool = False


@dataclass(frozen=True)
class MappedField:
    """One part of an address in transactions: a coordinate, or `size` of its values; XORed with column bits or not."""

    coordinate: Coordinate
    size: int
    xor: bool = False


@dataclass(frozen=True)
class DramMapping:
    """Spread of an address over coordinates.

    Parameters
    ----------
    order
        Parts, least significant first. ``"bank"`` takes all values of the coordinate that no other part takes,
        ``"column:4"`` takes 4 of them; parts of one coordinate are listed from its least significant on.
    xor
        Coordinates that are XORed with column bits (permutation-based interleaving).
    """

    order: tuple[str, ...]
    xor: tuple[Coordinate, ...] = ()


@dataclass(frozen=True)
class DramStandard:
    """A standard at one speed bin, with the controller, mapping and queues it is driven by unless told otherwise."""

    name: str
    summary: str
    clock_s: float
    organisation: DramOrganisation
    timing: DramTiming
    bus: DramBus
    controller: DramController
    mapping: DramMapping
    citations: tuple[tuple[str, str], ...] = ()

    @property
    def tick_s(self) -> float:
        """Length of the time step that the model counts in."""
        return self.clock_s / self.bus.ticks_per_clock

    @property
    def peak_bytes_per_second(self) -> float:
        """Rate of all data buses of the device together."""
        buses = self.organisation.data_buses
        return buses * self.organisation.transaction_bytes / (self.timing.burst * self.clock_s)

    def at_clock(self, clock_s: float) -> DramStandard:
        """The standard at another clock, its timings re-derived (`DramTiming.at_clock`)."""
        return replace(self, clock_s=clock_s, timing=self.timing.at_clock(self.clock_s, clock_s))
