"""Description of a DRAM tier, and its translation into the parameter vector of the service kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from simulator.errors import GraphError
from simulator.firing import IntArray
from simulator.servers.dram import layout
from simulator.servers.dram.controllers import CONTROLLERS, QueuePolicy
from simulator.servers.dram.devices import (
    FIELD_KINDS,
    REFRESHES,
    AddressField,
    FieldKind,
    Organisation,
    Refresh,
    Timing,
)

__all__ = ["AddressField", "Controller", "DramDescription", "FieldKind", "Organisation", "Timing"]

Page = Literal["open", "close"]


@dataclass(frozen=True)
class Controller:
    """Queueing, scheduling and refresh of a channel, and the front end that feeds it.

    Parameters
    ----------
    policy : str
        Name of a queue policy, see `simulator.servers.dram.controllers`.
    read_depth, write_depth, bank_depth : int
        Queue depths in transactions (`bank_depth` of each bank's own queue, where the policy has one).
    hit_cap : int
        Row hits after which an older conflict may close a row that still has pending hits.
    drain_high, drain_low : int
        Buffered writes at which draining starts, and the lower mark whose meaning is the policy's.
    dual_command_bus, half_clock, split_activate : bool
        One row and one column command per clock (HBM); row commands on both clock edges (HBM3, HBM4); activation in
        two halves and a strobe that has to be started (LPDDR5).
    protect_hits : bool
        A precharge waits for older row hits of its bank.
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

    policy: str
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

    @property
    def policy(self) -> QueuePolicy:
        """Queue policy of the controller."""
        return CONTROLLERS.get(self.controller.policy)

    def parameters(self) -> IntArray:
        """The parameter vector of the service kernels, shape ``(PARAMETERS,)``."""
        p = np.zeros(layout.PARAMETERS, dtype=np.int64)
        _write_geometry(p, self.organisation)
        _write_controller(p, self)
        _write_fields(p, self)
        self.policy.rules(p, self.organisation, self.timing.filled(), self.controller.refresh)
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
    known = CONTROLLERS.names()
    if controller.policy not in known:
        problems.append(f"dram: policy must be one of {', '.join(known)} (got {controller.policy})")
    if controller.refresh not in REFRESHES:
        problems.append(f"dram: refresh must be one of {', '.join(REFRESHES)} (got {controller.refresh})")
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
    if controller.policy in known and controller.drain_low < description.policy.least_drain_low:
        least = description.policy.least_drain_low
        message = f"dram: policy {controller.policy} takes a drain_low of at least {least} (got {controller.drain_low})"
        problems.append(f"{message}: it would never go back from writes to reads")
    banks = description.organisation.banks
    if controller.policy in known and banks > description.policy.most_banks:
        most = description.policy.most_banks
        problems.append(f"dram: policy {controller.policy} takes {most} banks a channel at most (got {banks})")
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
    p[layout.P_REFRESH_MODE] = REFRESHES.index(controller.refresh)


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
