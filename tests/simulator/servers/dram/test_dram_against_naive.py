"""The compiled DRAM channel equals a naive model of the same rules, which looks at every request in every clock.

The naive model shares nothing with the kernels but the description: it keeps the clock of every command ever issued
per bank, and asks for each candidate whether the distance to all of them is large enough.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

import numpy as np
import pytest

from simulator.servers.dram.parameters import (
    AddressField,
    Controller,
    DramDescription,
    Organisation,
    Timing,
)
from simulator.servers.dram.tier import Requests, run_dram

TIMING = Timing(
    cl=7,
    cwl=4,
    rcd_read=6,
    rcd_write=5,
    rp=6,
    ras=14,
    rc=20,
    rrd_s=3,
    rrd_l=4,
    faw=17,
    ccd_s=2,
    ccd_l=4,
    rtp=3,
    wtr_s=3,
    wtr_l=5,
    wr=6,
    burst=2,
    rfc=40,
    refi=400,
)


def describe(organisation, timing, controller):
    """A description whose mapping runs through groups, columns, ranks, stack ids, banks and rows."""
    order = ("group", "column", "rank", "sid", "bank", "row", "channel")
    fields = tuple(AddressField(kind, organisation.size(kind)) for kind in order)
    return DramDescription(organisation, timing, controller, fields)


@dataclass
class Transaction:
    number: int
    is_write: bool
    bank: tuple  # rank, sid, group, bank
    row: int
    column: int
    accepted: int = -1

    @property
    def place(self):
        return (*self.bank, self.row, self.column)


class NaiveDevice:
    """Distances between commands, looked up in the history of every bank."""

    def __init__(self, description):
        self.t = description.timing.filled()
        self.policy = description.controller.policy
        self.shared_bus = not description.organisation.rank_owns_bus
        self.two_buses = description.controller.dual_command_bus
        self.several_sids = description.organisation.sids > 1
        self.last = {}
        self.rows = {}
        self.activations = {}

    def clocks(self, command):
        if self.policy == "dramsim3":
            return 1
        return {"ACT": self.t.act_clocks, "RD": self.t.cas_clocks, "WR": self.t.cas_clocks}.get(command, 1)

    def relation(self, first, second):
        """What two banks have in common: their bank, group, stack id, rank, or nothing."""
        for shared, name in ((4, "bank"), (3, "group"), (2, "sid"), (1, "rank")):
            if first[:shared] == second[:shared]:
                return name
        return "channel"

    def distance(self, before, after, relation):
        """Clocks from command ``before`` to ``after`` of banks in ``relation``, or None."""
        t, ds3 = self.t, self.policy == "dramsim3"
        near = relation in ("bank", "group")
        same_rank = relation != "channel"
        sibling = relation == "rank" and self.several_sids
        pair = before + after
        if pair == "RDRD":
            if not same_rank:
                return t.burst + t.rank_switch if self.shared_bus else None
            return max(t.burst, t.ccd_l if near else t.ccd_r if sibling else t.ccd_s, 0 if sibling else t.ccd_s)
        if pair == "WRWR":
            if not same_rank:
                return t.burst if self.shared_bus else None
            if sibling and not ds3:
                return t.burst
            column = t.ccd_l_write if near else t.ccd_r if sibling else t.ccd_s_write
            return max(t.burst, column, 0 if sibling else t.ccd_s_write)
        if pair == "RDWR":
            if not same_rank:
                if not self.shared_bus:
                    return None
                return t.cl - t.cwl + t.burst + t.rank_switch if ds3 else t.burst + t.rank_switch
            return t.rtw or t.cl + t.burst - t.cwl + (t.rank_switch if ds3 else t.turnaround)
        if pair == "WRRD":
            if not same_rank:
                return t.cwl - t.cl + t.burst + t.rank_switch if self.shared_bus else None
            return t.cwl + t.burst + (t.wtr_l if near else t.wtr_s)
        if pair == "ACTACT" and same_rank:
            return t.rc if relation == "bank" else t.rrd_l if near else t.rrd_s
        if pair == "PREPRE" and same_rank and t.ppd and (relation != "bank" or not ds3):
            return t.ppd
        if relation == "bank":
            own = {
                "ACTRD": t.rcd_read,
                "ACTWR": t.rcd_write,
                "ACTPRE": t.ras,
                "PREACT": t.rp,
                "RDPRE": t.rtp,
                "WRPRE": t.cwl + t.burst + t.wr,
                "REFACT": t.rfc,
                # accesses that close their row themselves
                "RDAACT": t.rtp + t.rp,
                "WRAACT": t.cwl + t.burst + t.wr + t.rp,
            }
            return own.get(pair)
        return None

    def ready(self, command, bank, clock):
        for (before, other), at in self.last.items():
            distance = self.distance(before, command, self.relation(bank, other))
            if distance is not None and clock < at + distance + self.clocks(before) - self.clocks(command):
                return False
            if self.on_same_bus(before, command) and clock < at + self.clocks(before):
                return False
        recent = self.activations.get(bank[0], [])
        return command != "ACT" or len(recent) < 4 or clock >= recent[-4] + self.t.faw

    def on_same_bus(self, before, command):
        if self.policy == "dramsim3":
            # one command per clock and bus is the controller's business, which drops a second one of the same kind
            return False
        if not self.two_buses:
            return True
        return (before in ("RD", "WR")) == (command in ("RD", "WR"))

    def rank_ready(self, rank, banks, clock):
        """Whether all banks of the rank, closed, may be refreshed."""
        for bank in banks:
            limits = [("PRE", self.t.rp), ("REF", self.t.rfc if self.policy == "dramsim3" else 0)]
            if self.policy == "ramulator2":
                limits.append(("ACT", self.t.rc + self.clocks("ACT") - 1))
                limits.append(("RDA", self.t.rtp + self.t.rp))
                limits.append(("WRA", self.t.cwl + self.t.burst + self.t.wr + self.t.rp))
            for before, distance in limits:
                if clock < self.last.get((before, bank), -(10**9)) + distance:
                    return False
        busy = [at for (b, _), at in self.last.items() if b == "ACT" and clock < at + self.clocks("ACT")]
        return not busy

    def issue(self, command, bank, clock, row=-1):
        self.last[(command, bank)] = clock
        if command == "ACT":
            self.rows[bank] = row
            self.activations.setdefault(bank[0], []).append(clock)
        elif command == "PRE":
            self.rows[bank] = -1


class Naive:
    """What both policies share: the trace, the device, the clock."""

    def __init__(self, description, transactions):
        self.d = description
        self.c = description.controller
        self.device = NaiveDevice(description)
        self.pending = deque(transactions)
        o = description.organisation
        self.banks = [
            (r, s, g, b)
            for r in range(o.ranks)
            for s in range(o.sids)
            for g in range(o.bank_groups)
            for b in range(o.banks_per_group)
        ]
        self.done = {}
        self.log = []

    def command_for(self, transaction):
        row = self.device.rows.get(transaction.bank, -1)
        if row == transaction.row:
            return "WR" if transaction.is_write else "RD"
        return "PRE" if row >= 0 else "ACT"

    def issue(self, command, bank, clock, row=-1):
        self.device.issue(command, bank, clock, row)
        self.log.append((clock, command, bank))

    def run(self):
        clock = 0
        while self.pending or self.reads_under_way():
            self.tick(clock)
            for _ in range(self.c.width):
                if not self.pending or not self.accept(self.pending[0], clock):
                    break
                self.pending.popleft()
            clock += 1
        return self.done


class NaiveBankQueues(Naive):
    """Policy ``dramsim3``."""

    def __init__(self, *args):
        super().__init__(*args)
        self.reads, self.writes, self.draining = [], [], 0
        self.queues = {bank: [] for bank in self.banks}
        self.hits = dict.fromkeys(self.banks, 0)
        self.turn = 0
        self.due = []
        self.next_rank = 0

    def reads_under_way(self):
        return self.reads or any(not t.is_write for queue in self.queues.values() for t in queue)

    def accept(self, t, clock):
        queue, depth = (self.writes, self.c.write_depth) if t.is_write else (self.reads, self.c.read_depth)
        if len(queue) >= depth:
            return False
        queue.append(t)
        t.accepted = clock
        return True

    def tick(self, clock):
        interval = self.d.timing.refi // self.d.organisation.ranks
        if self.c.refresh != "none" and clock and clock % interval == 0:
            self.due.append(self.next_rank)
            self.next_rank = (self.next_rank + 1) % self.d.organisation.ranks
        kind = self.refresh(clock) if self.due else None
        kind = kind or self.issue_next(clock, None)
        if kind and self.c.dual_command_bus:
            self.issue_next(clock, kind)
        self.move()

    def refresh(self, clock):
        mine = [bank for bank in self.banks if bank[0] == self.due[0]]
        for bank in mine:
            if self.device.rows.get(bank, -1) >= 0 and self.device.ready("PRE", bank, clock):
                self.close(bank, clock)
                return "row"
        if all(self.device.rows.get(b, -1) < 0 for b in mine) and self.device.rank_ready(self.due[0], mine, clock):
            for bank in mine:
                self.issue("REF", bank, clock)
            self.due.pop(0)
            return "row"
        return None

    def close(self, bank, clock):
        self.issue("PRE", bank, clock)
        self.hits[bank] = 0

    def issue_next(self, clock, taken):
        for _ in self.banks:
            self.turn = (self.turn + 1) % len(self.banks)
            bank = self.banks[self.turn]
            if self.due and bank[0] == self.due[0]:
                continue
            found = self.first_ready(bank, clock)
            if found is None:
                continue
            command, t = found
            kind = "column" if command in ("RD", "WR") else "row"
            if kind == taken:
                return None
            if command == "PRE":
                self.close(bank, clock)
            else:
                self.issue(command, bank, clock, t.row)
            if kind == "column":
                self.hits[bank] += 1
                self.queues[bank].remove(t)
                if not t.is_write:
                    self.done[t.number] = clock + self.d.timing.cl + self.d.timing.burst
            return kind
        return None

    def first_ready(self, bank, clock):
        queue = self.queues[bank]
        for place, t in enumerate(queue):
            command = self.command_for(t)
            if not self.device.ready(command, bank, clock):
                continue
            if command == "PRE":
                hit = any(other.row == self.device.rows[bank] for other in queue[place:])
                if place > 0 or (hit and self.hits[bank] < self.c.hit_cap):
                    continue
            return command, t
        return None

    def move(self):
        queued = any(self.queues.values())
        if not self.draining and (
            len(self.writes) >= self.c.drain_high or (len(self.writes) > self.c.drain_low and not queued)
        ):
            self.draining = len(self.writes)
        source = self.writes if self.draining else self.reads
        for t in source:
            if len(self.queues[t.bank]) < self.c.bank_depth:
                if self.draining:
                    if any(r.place == t.place and not r.is_write for r in (*self.reads, *self.queues[t.bank])):
                        self.draining = 0
                        return
                    self.draining -= 1
                source.remove(t)
                self.queues[t.bank].append(t)
                return


class NaivePool(Naive):
    """Policy ``ramulator2``."""

    def __init__(self, *args):
        super().__init__(*args)
        self.reads, self.writes, self.owners, self.due = [], [], [], []
        self.write_mode = False
        self.edge = (-1, None, None)

    def reads_under_way(self):
        return self.reads or any(not t.is_write for t in self.owners)

    def accept(self, t, clock):
        pool, depth = (self.writes, self.c.write_depth) if t.is_write else (self.reads, self.c.read_depth)
        if len(pool) >= depth:
            return False
        pool.append(t)
        t.accepted = clock
        return True

    def tick(self, clock):
        if self.c.refresh != "none" and clock and clock % self.d.timing.refi == 0:
            self.due += range(self.d.organisation.ranks)
        if not self.c.dual_command_bus:
            self.slot(clock, "any")
            return
        rising = not self.c.half_clock or clock % 2
        if rising:
            self.slot(clock, "column")
        issued = self.slot(clock, "row")
        if issued and self.c.half_clock and rising:
            command, bank = issued
            self.edge = (clock + (3 if command == "ACT" else 1), bank[0], None if len(bank) == 1 else bank)

    def allowed(self, command, bank, clock, slot):
        if slot == "any":
            return True
        if (slot == "column") != (command in ("RD", "WR")):
            return False
        if not self.c.half_clock or clock % 2:
            return True
        if command not in ("PRE", "PREALL"):
            return False
        if clock != self.edge[0] or bank[0] != self.edge[1]:
            return True
        return command == "PRE" and self.edge[2] is not None and self.edge[2] != bank

    def slot(self, clock, slot):
        if slot != "row":
            t = self.best(self.owners, clock, slot)
            if t:
                return self.serve(t, self.owners, clock)
        if self.due:
            return self.refresh(clock, slot) if slot != "column" else None
        if self.write_mode:
            if len(self.writes) < self.c.drain_low and self.reads:
                self.write_mode = False
        elif len(self.writes) >= self.c.drain_high or not self.reads:
            self.write_mode = True
        pool = self.writes if self.write_mode else self.reads
        t = self.best(pool, clock, slot)
        return self.serve(t, pool, clock) if t else None

    def best(self, pool, clock, slot):
        hit_since = {}
        for t in pool:
            if self.command_for(t) in ("RD", "WR"):
                hit_since[t.bank] = min(hit_since.get(t.bank, 10**9), t.accepted)
        chosen = None
        for t in pool:
            command = self.command_for(t)
            closes = command == "PRE" or (self.c.page == "close" and pool is not self.owners)
            owned = closes and any(o.bank == t.bank for o in self.owners)
            kept = self.c.protect_hits and command == "PRE" and hit_since.get(t.bank, 10**9) <= t.accepted
            if owned or kept or not self.allowed(command, t.bank, clock, slot):
                continue
            if self.device.ready(command, t.bank, clock) and (chosen is None or t.accepted < chosen.accepted):
                chosen = t
        return chosen

    def serve(self, t, pool, clock):
        command = self.command_for(t)
        self.issue(command, t.bank, clock, t.row)
        if command == "ACT":
            pool.remove(t)
            self.owners.append(t)
        elif command in ("RD", "WR"):
            pool.remove(t)
            if not t.is_write:
                self.done[t.number] = clock + self.d.timing.cl + self.d.timing.burst
            if self.c.page == "close":
                self.device.last[(f"{command}A", t.bank)] = clock
                self.device.rows[t.bank] = -1
        return command, t.bank

    def refresh(self, clock, slot):
        rank = self.due[0]
        mine = [bank for bank in self.banks if bank[0] == rank]
        if any(self.device.rows.get(bank, -1) >= 0 for bank in mine):
            if any(o.bank[0] == rank for o in self.owners) or not self.allowed("PREALL", (rank,), clock, slot):
                return None
            # before a precharge of all banks: everything that any one of them would have to wait for
            if not all(self.device.ready("PRE", bank, clock) for bank in mine):
                return None
            for bank in mine:
                self.issue("PRE", bank, clock)
            return "PREALL", (rank,)
        if self.device.rank_ready(rank, mine, clock) and self.allowed("REF", (rank,), clock, slot):
            for bank in mine:
                self.issue("REF", bank, clock)
            self.due.pop(0)
            return "REF", (rank,)
        return None


def trace(description, seed, count, writes, locality):
    """Random transactions, a share of them close to the one before; all addresses differ."""
    rng = np.random.default_rng(seed)
    o = description.organisation
    total = o.capacity_bytes // o.transaction_bytes
    numbers, at = [], 0
    taken = set()
    while len(numbers) < count:
        at = (at + 1) % total if rng.random() < locality else int(rng.integers(total))
        if at not in taken:
            taken.add(at)
            numbers.append(at)
    return np.array(numbers), (rng.random(count) < writes).astype(np.int64)


def naive_transactions(description, numbers, is_write):
    o = description.organisation
    for index, (number, write) in enumerate(zip(numbers, is_write, strict=True)):
        digits, rest = {}, int(number)
        for field in description.fields:
            digits[field.kind], rest = rest % field.size, rest // field.size
        bank = (digits["rank"], digits["sid"], digits["group"], digits["bank"])
        assert rest == 0 and digits["channel"] < o.channels
        yield Transaction(index, bool(write), bank, digits["row"], digits["column"])


def small(**changes):
    base = Organisation(
        channels=1, ranks=1, sids=1, bank_groups=2, banks_per_group=2, rows=16, columns=8, transaction_bytes=64
    )
    return replace(base, **changes)


BANK_QUEUES = Controller(
    policy="dramsim3", read_depth=8, write_depth=8, bank_depth=4, drain_high=8, drain_low=3, refresh="staggered"
)
POOL = Controller(policy="ramulator2", read_depth=8, write_depth=8, drain_high=7, drain_low=2, refresh="together")
HBM = {"dual_command_bus": True, "one_command_bus": False}
MACHINES = {
    "bank_queues": (small(bank_groups=4), TIMING, BANK_QUEUES),
    "bank_queues_two_ranks": (small(ranks=2), TIMING, BANK_QUEUES),
    "bank_queues_dual_bus": (small(bank_groups=4), TIMING, replace(BANK_QUEUES, dual_command_bus=True)),
    "bank_queues_precharge_spacing": (small(ranks=2), replace(TIMING, ppd=3), BANK_QUEUES),
    "bank_queues_one_at_a_time": (small(), TIMING, replace(BANK_QUEUES, bank_depth=1, width=1, hit_cap=1)),
    "pool": (small(bank_groups=4), TIMING, POOL),
    "pool_two_ranks": (small(ranks=2), TIMING, POOL),
    "pool_closed_pages": (small(), TIMING, replace(POOL, page="close")),
    "pool_closed_pages_two_ranks": (small(ranks=2, rows=4), TIMING, replace(POOL, page="close", refresh="none")),
    "pool_protected_hits": (small(), TIMING, replace(POOL, protect_hits=True)),
    "pool_long_commands": (small(), replace(TIMING, act_clocks=2, cas_clocks=2, ppd=2), POOL),
    "pool_pseudo_channels": (
        small(ranks=2, rank_owns_bus=True),
        replace(TIMING, act_clocks=2),
        replace(POOL, **HBM),
    ),
    "pool_half_clocks": (
        small(ranks=2, sids=2, rank_owns_bus=True),
        replace(TIMING, act_clocks=3, cas_clocks=2, ccd_r=3, rtw=9, ppd=2),
        replace(POOL, **HBM, half_clock=True),
    ),
}


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize(("writes", "locality"), [(0.0, 0.0), (0.0, 0.9), (0.4, 0.5), (0.6, 0.9)])
def test_every_read_returns_when_the_naive_model_says(name, writes, locality):
    description = describe(*MACHINES[name])
    for seed in range(3):
        numbers, is_write = trace(description, seed, 220, writes, locality)
        run = run_dram(description, Requests.of(numbers * 64, 64, is_write=is_write))
        naive = NaiveBankQueues if description.controller.policy == "dramsim3" else NaivePool
        model = naive(description, list(naive_transactions(description, numbers, is_write)))
        expected = model.run()
        reads = np.flatnonzero(is_write == 0)
        assert [int(run.done_clock[i]) for i in reads] == [expected[i] for i in reads]
        assert run.counters.activations >= sum(command == "ACT" for _, command, _ in model.log) - 8


def test_the_naive_model_would_notice_a_timing_that_is_off_by_one():
    organisation, timing, controller = MACHINES["pool"]
    numbers, is_write = trace(describe(organisation, timing, controller), 1, 100, 0.3, 0.5)
    done = []
    for faw in (timing.faw, timing.faw + 1):
        description = describe(organisation, replace(timing, faw=faw), controller)
        done.append(run_dram(description, Requests.of(numbers * 64, 64, is_write=is_write)).done_clock)
    assert not np.array_equal(*done)
