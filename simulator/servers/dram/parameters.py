"""What a DRAM tier is made of, and its translation into the parameter vector of the service kernels.

Everything is in clocks of the command clock (half clocks for standards whose row commands use both edges) and in
transactions; names follow JEDEC without the leading t.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from simulator.errors import GraphError
from simulator.firing import IntArray
from simulator.servers.dram import layout
from simulator.servers.dram.rules import dramsim3_rules, ramulator2_rules

Policy = Literal["dramsim3", "ramulator2"]
Refresh = Literal["none", "staggered", "together", "per_bank"]
Page = Literal["open", "close"]
FieldKind = Literal["channel", "rank", "sid", "group", "bank", "row", "column"]

FIELD_KINDS: tuple[FieldKind, ...] = ("channel", "rank", "sid", "group", "bank", "row", "column")
_POLICIES: tuple[Policy, ...] = ("dramsim3", "ramulator2")
_REFRESHES: tuple[Refresh, ...] = ("none", "staggered", "together", "per_bank")


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
class Controller:
    """Queueing, scheduling and refresh of a channel, and the front end that feeds it.

    Parameters
    ----------
    policy : {"dramsim3", "ramulator2"}
        ``dramsim3``: a shared transaction queue in front of one command queue per bank, banks served in turn, rows
        stay open for pending hits up to `hit_cap` accesses, refresh stops one rank. ``ramulator2``: one pool per
        direction served first ready, first come; a row just opened belongs to the request that opened it; a pending
        refresh stops all reads and writes of the channel.
    read_depth, write_depth, bank_depth : int
        Queue depths in transactions (`bank_depth` for ``dramsim3`` alone).
    drain_high, drain_low : int
        Buffered writes at which draining starts; the number below which (``ramulator2``) it stops or above which
        (``dramsim3``) it also starts when nothing else is queued.
    dual_command_bus, half_clock, split_activate : bool
        One row and one column command per clock (HBM); row commands on both clock edges (HBM3, HBM4); activation in
        two halves and a strobe that has to be started (LPDDR5).
    protect_hits : bool
        A precharge waits for older row hits of its bank (``ramulator2``'s row-hit scheduler).
    page : {"open", "close"}
        ``close`` precharges with every access.
    refresh : {"none", "staggered", "together", "per_bank"}
    width : int
        Transactions accepted per clock, per channel or by the one shared source.
    outstanding : int
        Transactions a source may have in flight, returned in order (a reorder buffer); 0: no limit.
    shared_source : bool
        One in-order source for all channels instead of one per channel.
    """

    policy: Policy
    read_depth: int = 32
    write_depth: int = 32
    bank_depth: int = 8
    hit_cap: int = 4
    drain_high: int = 32
    drain_low: int = 8
    dual_command_bus: bool = False
    half_clock: bool = False
    split_activate: bool = False
    one_command_bus: bool = True
    protect_hits: bool = False
    page: Page = "open"
    refresh: Refresh = "staggered"
    width: int = 2
    outstanding: int = 0
    shared_source: bool = False


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


@dataclass(frozen=True)
class DramDescription:
    """A DRAM tier, complete."""

    organisation: Organisation
    timing: Timing
    controller: Controller
    fields: tuple[AddressField, ...]

    def __post_init__(self) -> None:
        problems = [*_organisation_problems(self.organisation), *_controller_problems(self), *_field_problems(self)]
        if problems:
            raise GraphError(problems)

    def parameters(self) -> IntArray:
        """The parameter vector of the service kernels, shape ``(PARAMETERS,)``."""
        p = np.zeros(layout.PARAMETERS, dtype=np.int64)
        _write_geometry(p, self.organisation)
        _write_controller(p, self)
        _write_fields(p, self)
        rules = dramsim3_rules if self.controller.policy == "dramsim3" else ramulator2_rules
        rules(p, self.organisation, self.timing.filled(), self.controller.refresh)
        p[layout.P_EVEN_READS] = _even_reads(p, self.organisation.groups)
        return p


def _organisation_problems(organisation: Organisation) -> list[str]:
    problems = [
        f"dram: {name} must be at least 1 (got {value})"
        for name, value in vars(organisation).items()
        if name != "rank_owns_bus" and value < 1
    ]
    limits = (
        ("banks of a channel", organisation.banks, layout.MAX_BANKS),
        ("bank groups of a channel", organisation.groups, layout.MAX_GROUPS),
        ("ranks or pseudo-channels of a channel", organisation.ranks, layout.MAX_RANKS),
        ("columns of a row", organisation.columns, layout.MAX_COLUMNS),
    )
    problems += [f"dram: at most {limit} {what} (got {value})" for what, value, limit in limits if value > limit]
    return problems


def _controller_problems(description: DramDescription) -> list[str]:
    controller = description.controller
    problems = []
    if controller.policy not in _POLICIES:
        problems.append(f"dram: policy must be one of {', '.join(_POLICIES)} (got {controller.policy})")
    if controller.refresh not in _REFRESHES:
        problems.append(f"dram: refresh must be one of {', '.join(_REFRESHES)} (got {controller.refresh})")
    bounds = (
        ("read_depth", controller.read_depth, 1, 512),
        ("write_depth", controller.write_depth, 1, 512),
        ("bank_depth", controller.bank_depth, 1, 8),
        ("width", controller.width, 1, 512),
        ("outstanding", controller.outstanding, 0, layout.WINDOW),
    )
    problems += [
        f"dram: {name} must be between {low} and {high} (got {value})"
        for name, value, low, high in bounds
        if not low <= value <= high
    ]
    banks = description.organisation.banks
    if controller.policy == "dramsim3" and banks > layout.MAX_QUEUED_BANKS:
        problems.append(f"dram: policy dramsim3 takes {layout.MAX_QUEUED_BANKS} banks a channel at most (got {banks})")
    if controller.split_activate and controller.dual_command_bus:
        problems.append("dram: split_activate needs a single command bus")
    return problems


def _field_problems(description: DramDescription) -> list[str]:
    organisation = description.organisation
    problems = []
    for kind in FIELD_KINDS:
        covered = 1
        for field in description.fields:
            if field.kind == kind:
                covered *= field.size
        if covered != organisation.size(kind):
            problems.append(f"dram: address mapping covers {covered} of the {organisation.size(kind)} values of {kind}")
    if len(description.fields) > layout.MAX_FIELDS:
        problems.append(f"dram: at most {layout.MAX_FIELDS} address fields (got {len(description.fields)})")
    for field in description.fields:
        if field.xor and (
            field.kind == "column" or organisation.size(field.kind) & (organisation.size(field.kind) - 1)
        ):
            problems.append(f"dram: {field.kind} cannot be XORed with column bits (its size must be a power of two)")
    return problems


def _even_reads(p: IntArray, groups: int) -> int:
    """The burst length, if a read may always follow another one right behind its burst; else 0."""
    size = layout.MAX_GROUPS
    distances = p[layout.P_AFTER_READ : layout.P_AFTER_READ + 2 * size * size].reshape(size, size, 2)[
        :groups, :groups, 0
    ]
    burst = int(p[layout.P_BURST])
    single = p[layout.P_BUSES] == 1 and p[layout.P_CAS_CLOCKS] == 1
    return burst if single and np.all(distances == burst) else 0


def _write_geometry(p: IntArray, organisation: Organisation) -> None:
    p[layout.P_CHANNELS] = organisation.channels
    p[layout.P_RANKS] = organisation.ranks
    p[layout.P_GROUPS] = organisation.groups
    p[layout.P_BANKS] = organisation.banks
    p[layout.P_BANKS_PER_GROUP] = organisation.banks_per_group
    p[layout.P_BANKS_PER_RANK] = organisation.banks // organisation.ranks
    p[layout.P_BUSES] = organisation.ranks if organisation.rank_owns_bus else 1
    p[layout.P_TRANSACTION_BYTES] = organisation.transaction_bytes
    for index, kind in enumerate(FIELD_KINDS):
        p[layout.P_ORGANISATION + index] = organisation.size(kind)


def _write_controller(p: IntArray, description: DramDescription) -> None:
    controller, timing = description.controller, description.timing
    p[layout.P_POLICY] = _POLICIES.index(controller.policy)
    p[layout.P_READ_DEPTH] = controller.read_depth
    p[layout.P_WRITE_DEPTH] = controller.write_depth
    p[layout.P_BANK_DEPTH] = controller.bank_depth
    p[layout.P_HIT_CAP] = controller.hit_cap
    p[layout.P_DRAIN_HIGH] = controller.drain_high
    p[layout.P_DRAIN_LOW] = controller.drain_low
    p[layout.P_DUAL_BUS] = controller.dual_command_bus
    p[layout.P_HALF_CLOCK] = controller.half_clock
    p[layout.P_SPLIT_ACTIVATE] = controller.split_activate
    p[layout.P_PROTECT_HITS] = controller.protect_hits
    p[layout.P_CLOSE_PAGE] = controller.page == "close"
    p[layout.P_WIDTH] = controller.width
    p[layout.P_OUTSTANDING] = controller.outstanding
    p[layout.P_SHARED_SOURCE] = controller.shared_source
    p[layout.P_BURST] = timing.burst
    p[layout.P_ACT_CLOCKS] = timing.act_clocks
    p[layout.P_CAS_CLOCKS] = timing.cas_clocks
    p[layout.P_ONE_COMMAND_BUS] = controller.one_command_bus
    p[layout.P_ACT2_DEADLINE] = timing.aad
    if timing.strobe_post:
        p[layout.P_CLOCK_EXPIRY_READ] = timing.cl + timing.burst + timing.strobe_post
        p[layout.P_CLOCK_EXPIRY_WRITE] = timing.cwl + timing.burst + timing.strobe_post
    p[layout.P_REFRESH_MODE] = _REFRESHES.index(controller.refresh)


def _write_fields(p: IntArray, description: DramDescription) -> None:
    scale = dict.fromkeys(FIELD_KINDS, 1)
    shifts = _xor_shifts(description)
    p[layout.P_FIELDS] = len(description.fields)
    for index, field in enumerate(description.fields):
        at = layout.P_FIELD + layout.FIELD_WORDS * index
        p[at + layout.F_KIND] = FIELD_KINDS.index(field.kind)
        p[at + layout.F_SIZE] = field.size
        p[at + layout.F_SCALE] = scale[field.kind]
        # the XOR is applied once per coordinate, at its first part
        p[at + layout.F_XOR_SHIFT] = shifts.pop(field.kind, -1)
        p[at + layout.F_LOG] = field.size.bit_length() - 1 if field.size & (field.size - 1) == 0 else -1
        scale[field.kind] *= field.size


def _xor_shifts(description: DramDescription) -> dict[FieldKind, int]:
    """First column bit that each XORed coordinate uses."""
    marked = {field.kind for field in description.fields if field.xor}
    shifts: dict[FieldKind, int] = {}
    bit = 0
    for kind in FIELD_KINDS:
        if kind in marked:
            shifts[kind] = bit
            bit += description.organisation.size(kind).bit_length() - 1
    return shifts
