"""Devices of a DRAM tier: their organisation, timings and address fields.

Everything is in clocks of the command clock (half clocks for standards whose row commands use both edges) and in
transactions; names follow JEDEC without the leading t. `hwmodels.standards` has the same fields as cited data: the two
packages know nothing of each other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Refresh = Literal["none", "staggered", "together", "per_bank"]
FieldKind = Literal["channel", "rank", "sid", "group", "bank", "row", "column"]

REFRESHES: tuple[Refresh, ...] = ("none", "staggered", "together", "per_bank")
FIELD_KINDS: tuple[FieldKind, ...] = ("channel", "rank", "sid", "group", "bank", "row", "column")


@dataclass(frozen=True)
class Organisation:
    """Sizes of a DRAM tier.

    Parameters
    ----------
    channels : int
        Independent channels (each has its own controller).
    ranks : int
        DDR ranks of a channel, or its pseudo-channels when `rank_owns_bus`.
    sids : int
        Stack ids (HBM3, HBM4) of a pseudo-channel.
    bank_groups, banks_per_group, rows, columns : int
        Per rank and stack id; a column here is one transaction.
    transaction_bytes : int
        Bytes moved by one column command.
    rank_owns_bus : bool
        True for pseudo-channels: each has its own half of the data bus.
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
    def groups(self) -> int:
        """Bank groups of a channel."""
        return self.ranks * self.sids * self.bank_groups

    @property
    def banks(self) -> int:
        """Banks of a channel."""
        return self.groups * self.banks_per_group

    @property
    def capacity_bytes(self) -> int:
        """Bytes of the whole tier."""
        return self.channels * self.banks * self.rows * self.columns * self.transaction_bytes

    def size(self, kind: FieldKind) -> int:
        """Number of values of an address field."""
        sizes = (
            self.channels,
            self.ranks,
            self.sids,
            self.bank_groups,
            self.banks_per_group,
            self.rows,
            self.columns,
        )
        return sizes[FIELD_KINDS.index(kind)]


@dataclass(frozen=True)
class Timing:
    """JEDEC timings in clocks; 0 means that the standard does not have the constraint.

    `burst` is the time a transaction holds the data bus, `burst_same_group` the column array cycle that counts for
    write-to-read inside a bank group (LPDDR5), `turnaround` the guard between read and write bursts, `rank_switch`
    the guard between two ranks, `rtw` an explicit read-to-write distance. `act_clocks`, `cas_clocks` are what the
    command takes on its bus; `aad` the longest distance between the two halves of a split activation; `strobe_post`
    how long the write clock runs on after a burst.
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
    refresh_blocks_refresh: bool = False
    slow_rank_write_to_read: bool = False
    act_clocks: int = 1
    cas_clocks: int = 1
    aad: int = 0
    strobe_post: int = 0

    def filled(self) -> Timing:
        """The same timings with the values that default to another one written out."""
        return replace(
            self,
            rp_all=self.rp_all or self.rp,
            ccd_s_write=self.ccd_s_write or self.ccd_s,
            ccd_l_write=self.ccd_l_write or self.ccd_l,
            ccd_r=self.ccd_r or self.ccd_s,
            burst_same_group=self.burst_same_group or self.burst,
        )


@dataclass(frozen=True)
class AddressField:
    """One part of an address, least significant first.

    Parameters
    ----------
    kind : str
        Which coordinate it belongs to.
    size : int
        Number of values of this part.
    xor : bool
        XOR the coordinate with column bits (permutation-based interleaving); the fields marked so use consecutive
        column bits in the order channel, rank, sid, group, bank, row.
    """

    kind: FieldKind
    size: int
    xor: bool = False
