"""Every timing of every DRAM preset is tight: the command may not go one clock earlier, and may go then.

Distances are written here as the standards state them, in clocks between the commands' first clocks; a command that
takes several counts from its last one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from algorithms.memory.binding import dram_description
from hwmodels.tiers.text import load_tier, tier_names
from simulator.servers.dram import timing as bank_state
from simulator.servers.dram.mapping import encode
from simulator.servers.dram.refresh import refresh_due
from simulator.servers.dram.tier import Requests, initial_state, layout, run_dram

START = 10_000
TIERS = [name for name in tier_names("dram") if name != "ddr4_3200_group_low"]


@dataclass(frozen=True)
class Device:
    """One channel of a preset, whose commands are issued by hand."""

    name: str
    closing: bool = False
    per_bank: bool = False

    def __post_init__(self):
        tier = load_tier(self.name)
        controller = replace(
            tier.standard.controller,
            page="close" if self.closing else "open",
            refresh="per_bank" if self.per_bank else tier.standard.controller.refresh,
        )
        tier = replace(tier, standard=replace(tier.standard, controller=controller))
        put = object.__setattr__
        put(self, "tier", tier)
        put(self, "p", dram_description(tier).parameters())
        put(self, "s", initial_state(dram_description(tier))[0])

    def bank(self, rank=0, sid=0, group=0, bank=0):
        o = self.tier.organisation
        return ((rank * o.sids + sid) * o.bank_groups + group) * o.banks_per_group + bank

    def issue(self, command, bank, clock=START):
        p, s, rank = self.p, self.s, self.s[layout.B_RANK + bank]
        match command:
            case "ACT":
                bank_state.activate(p, s, bank, 0, clock)
            case "RD" | "WR":
                bank_state.access(p, s, bank, int(command == "WR"), clock)
            case "PRE":
                bank_state.precharge(p, s, bank, clock)
            case "PREA":
                bank_state.precharge_all(p, s, rank, clock)
            case "REF":
                bank_state.refresh(p, s, rank, clock)
            case "REFpb":
                bank_state.refresh_bank(p, s, bank, clock)

    def earliest(self, command, bank):
        p, s, rank = self.p, self.s, self.s[layout.B_RANK + bank]
        match command:
            case "ACT":
                return bank_state.activate_at(p, s, bank)
            case "RD":
                return bank_state.read_at(s, bank)
            case "WR":
                return bank_state.write_at(s, bank)
            case "PRE":
                return bank_state.precharge_at(s, bank)
            case "PREA":
                return bank_state.precharge_all_at(s, rank)
            case "REF":
                return bank_state.refresh_at(s, rank)
        return bank_state.bank_refresh_at(s, bank)

    def clocks(self, command):
        """Clocks that a command takes on its bus."""
        return {
            "ACT": self.p[layout.P_ACT_CLOCKS],
            "RD": self.p[layout.P_CAS_CLOCKS],
            "WR": self.p[layout.P_CAS_CLOCKS],
        }.get(command, 1)

    def bus(self, first, second):
        """Distance that the command bus alone asks for; commands of a single clock are kept apart by the controller."""
        rows = {"ACT": True, "RD": False, "WR": False}
        if self.clocks(first) == 1 or (
            rows.get(first, True) != rows.get(second, True) and self.tier.standard.bus.dual_command_bus
        ):
            return 0
        return self.clocks(first)


# Where the second command goes, seen from the first: the same bank, another bank of the group, another group,
# another stack id, another rank or pseudo-channel.
PLACES = {"bank": {}, "group": {"bank": 1}, "sid": {"group": 1}, "rank": {"sid": 1}, "channel": {"rank": 1}}


def column_distance(device, first, second, place):
    """Between two column commands."""
    t, b = device.tier.standard.timing, device.tier.standard.bus
    seed = device.tier.standard.controller.policy == "dramsim3"
    near = place in ("bank", "group")
    if place == "channel" and device.tier.organisation.rank_owns_bus:
        return 0
    match first, second, place:
        case "RD", "RD", "channel":
            return t.burst + t.rank_switch
        case "WR", "WR", "channel":
            return t.burst
        case "RD", "RD", "rank":
            return max(t.burst, t.ccd_r or t.ccd_s)
        case "RD", "RD", _:
            return max(t.burst, t.ccd_l if near else t.ccd_s)
        case "WR", "WR", _:
            return max(t.burst, (t.ccd_l_write or t.ccd_l) if near else (t.ccd_s_write or t.ccd_s))
        case "RD", "WR", "channel":
            return t.burst + t.rank_switch + (t.cl - t.cwl if seed else 0)
        case "RD", "WR", _:
            return t.rtw or t.cl + t.burst - t.cwl + (t.rank_switch if seed else t.turnaround)
        case "WR", "RD", "channel":
            return t.burst + t.rank_switch + (t.cl - t.cwl if b.slow_rank_write_to_read else t.cwl - t.cl)
        case _:
            return t.cwl + ((t.burst_same_group or t.burst) + t.wtr_l if near else t.burst + t.wtr_s)


ROW_DISTANCES = {
    ("ACT", "ACT", "bank"): lambda t: t.rc,
    ("ACT", "ACT", "group"): lambda t: t.rrd_l,
    ("ACT", "ACT", "sid"): lambda t: t.rrd_s,
    ("ACT", "ACT", "rank"): lambda t: t.rrd_s,
    ("ACT", "ACT", "channel"): lambda t: 0,
    ("ACT", "RD", "bank"): lambda t: t.rcd_read,
    ("ACT", "WR", "bank"): lambda t: t.rcd_write,
    ("ACT", "PRE", "bank"): lambda t: t.ras,
    ("ACT", "PREA", "bank"): lambda t: t.ras,
    ("RD", "PRE", "bank"): lambda t: t.rtp,
    ("RD", "PREA", "bank"): lambda t: t.rtp,
    ("WR", "PRE", "bank"): lambda t: t.cwl + t.burst + t.wr,
    ("WR", "PREA", "bank"): lambda t: t.cwl + t.burst + t.wr,
    ("PRE", "ACT", "bank"): lambda t: t.rp,
    ("PREA", "ACT", "group"): lambda t: t.rp_all or t.rp,
    ("PRE", "PRE", "sid"): lambda t: t.ppd,
    ("PRE", "REF", "bank"): lambda t: t.rp,
    ("REF", "ACT", "sid"): lambda t: t.rfc,
}


def has(name, place):
    """Whether the preset has several of what the place tells apart."""
    organisation = load_tier(name).organisation
    return {"rank": organisation.sids, "channel": organisation.ranks}.get(place, 2) > 1


ONE_DISTANCE = [
    *((name, *places) for name in TIERS for places in ROW_DISTANCES if has(name, places[-1])),
    *(
        (name, first, second, place)
        for name in TIERS
        for first in ("RD", "WR")
        for second in ("RD", "WR")
        for place in PLACES
        if has(name, place)
    ),
]


def check(device, first, second, place, nominal):
    """The command may go at its distance, which a command of several clocks counts from its last, and not before."""
    ticks = device.tier.standard.bus.ticks_per_clock
    start, target = device.bank(), device.bank(**PLACES[place])
    adjusted = nominal * ticks + device.clocks(first) - device.clocks(second) if nominal else 0
    if first == second == "ACT":
        adjusted = nominal * ticks
    expected = max(adjusted, device.bus(first, second))
    device.issue(first, start)
    if expected <= 0:
        assert device.earliest(second, target) <= START
        return
    assert not device.earliest(second, target) <= START + expected - 1
    assert device.earliest(second, target) <= START + expected


@pytest.mark.parametrize(("name", "first", "second", "place"), ONE_DISTANCE)
def test_not_a_clock_earlier_and_then_at_once(name, first, second, place):
    device = Device(name)
    row = ROW_DISTANCES.get((first, second, place))
    nominal = row(device.tier.standard.timing) if row else column_distance(device, first, second, place)
    check(device, first, second, place, nominal)


@pytest.mark.parametrize("name", TIERS)
def test_the_fifth_activation_waits_for_the_window(name):
    device = Device(name)
    t, organisation = device.tier.standard.timing, device.tier.organisation
    window = t.faw * device.tier.standard.bus.ticks_per_clock
    for count in range(4):
        assert device.earliest("ACT", device.bank(bank=3)) < START + window
        device.issue("ACT", device.bank(group=count % organisation.bank_groups, bank=count // organisation.bank_groups))
    fifth = device.bank(bank=3)
    assert not device.earliest("ACT", fifth) <= START + window - 1
    assert device.earliest("ACT", fifth) <= START + window
    if organisation.ranks > 1:
        # windows belong to a rank
        assert device.earliest("ACT", device.bank(rank=1)) <= START + device.bus("ACT", "ACT")


@pytest.mark.parametrize("name", TIERS)
@pytest.mark.parametrize("command", ["RD", "WR"])
def test_an_access_that_closes_its_row(name, command):
    device = Device(name, closing=True)
    t = device.tier.standard.timing
    if command == "WR":
        nominal = t.cwl + t.burst + t.wr + t.rp
    else:
        # DRAMsim3 counts a read with precharge from the end of its burst
        nominal = t.rtp + t.rp + (t.burst if device.tier.standard.controller.policy == "dramsim3" else 0)
    check(device, command, "ACT", "bank", nominal)


PER_BANK = [name for name in TIERS if load_tier(name).standard.timing.rfc_bank]


@pytest.mark.parametrize("name", PER_BANK)
@pytest.mark.parametrize(
    ("first", "second", "place", "timing"),
    [
        ("REFpb", "ACT", "bank", "rfc_bank"),
        ("REFpb", "ACT", "sid", "rrefd"),
        ("REFpb", "REFpb", "sid", "bank_refresh_spacing"),
        ("ACT", "REFpb", "bank", "rc"),
        ("ACT", "REFpb", "sid", "rrd_s"),
        ("PRE", "REFpb", "bank", "rp"),
    ],
)
def test_refreshes_of_single_banks(name, first, second, place, timing):
    device = Device(name, per_bank=True)
    t = device.tier.standard.timing
    check(device, first, second, place, getattr(t, timing) or t.rrefd)


@pytest.mark.parametrize(("name", "per_bank"), [*((n, False) for n in TIERS), *((n, True) for n in PER_BANK)])
def test_refreshes_are_due_at_their_interval(name, per_bank):
    device = Device(name, per_bank=per_bank)
    t, controller = device.tier.standard.timing, device.tier.standard.controller
    organisation = device.tier.organisation
    # each rank, or each bank of a channel, has its turn once in the interval
    turns = organisation.banks if per_bank else organisation.ranks if controller.refresh == "staggered" else 1
    interval = t.refi * device.tier.standard.bus.ticks_per_clock // turns
    for number in (1, 2, 3):
        before = device.s[layout.H_REFRESH_COUNT]
        refresh_due(device.p, device.s, number * interval - 1)
        assert device.s[layout.H_REFRESH_COUNT] == before
        refresh_due(device.p, device.s, number * interval)
        assert device.s[layout.H_REFRESH_COUNT] > before


# ---- the same through requests ---------------------------------------------------------------------------------------


def pair(name, **second):
    """Ticks between the data of two reads that arrive together, the second at other coordinates, refresh apart."""
    tier = load_tier(name)
    tier = replace(tier, standard=replace(tier.standard, controller=replace(tier.standard.controller, refresh="none")))
    description = dram_description(tier)
    kinds = ("channel", "rank", "sid", "group", "bank", "row", "column")
    addresses = []
    for coordinates in ({}, second):
        values = np.asarray([coordinates.get(kind, 0) for kind in kinds] + [0] * 9, dtype=np.int64)
        addresses.append(int(encode(description.parameters(), values)) * tier.organisation.transaction_bytes)
    run = run_dram(description, Requests.of(np.asarray(addresses), tier.organisation.transaction_bytes))
    return tier.standard, int(run.done_clock[1] - run.done_clock[0])


@pytest.mark.parametrize("name", TIERS)
def test_two_reads_are_as_far_apart_as_the_binding_rule(name):
    standard, hit = pair(name, column=1)
    t, ticks = standard.timing, standard.bus.ticks_per_clock
    activate, column = standard.bus.activate_ticks, standard.bus.column_ticks
    assert hit == max(t.burst, t.ccd_l) * ticks
    # the first access also starts the strobe that the second finds running
    strobe = standard.bus.split_activate
    assert pair(name, group=1)[1] == max(t.rrd_s * ticks - strobe, t.ccd_s * ticks, t.burst * ticks)
    assert pair(name, bank=1)[1] == max(t.rrd_l * ticks - strobe, t.ccd_l * ticks, t.burst * ticks)
    # a row conflict: activate, read, precharge, activate again
    through_read = (t.rcd_read + t.rtp + t.rp) * ticks
    through_restore = max(t.rc, t.ras + t.rp) * ticks
    rounded = -(-max(through_read, through_restore) // ticks) * ticks
    assert rounded <= pair(name, row=1)[1] <= rounded + activate + column
