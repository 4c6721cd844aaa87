"""A queue policy is one module: a third one, from outside, is found, runs on both engines and keeps DRAM's laws."""

from __future__ import annotations

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from simulator import DramServer, Graph, Unit, simulate
from simulator.errors import GraphError
from simulator.firing import Block, FiringTable, Segment, uniform
from simulator.servers.dram.controllers import CONTROLLERS, QueuePolicy
from simulator.servers.dram.devices import FIELD_KINDS, AddressField, Organisation, Timing
from simulator.servers.dram.layout import H_OWN, MOST_WORDS, OWN
from simulator.servers.dram.parameters import Controller, DramDescription
from simulator.servers.dram.tier import Requests, RunningTier, run_dram

TIMING = Timing(
    cl=7, cwl=4, rcd_read=6, rcd_write=5, rp=6, ras=14, rc=20, rrd_s=3, rrd_l=4, faw=17, ccd_s=2, ccd_l=4,
    rtp=3, wtr_s=3, wtr_l=5, wr=6, burst=2, rfc=40, refi=400, rp_all=7,
)  # fmt: skip
ORGANISATION = Organisation(
    channels=2, ranks=2, sids=1, bank_groups=2, banks_per_group=2, rows=32, columns=16, transaction_bytes=64
)
ACT, PRE, READ, WRITE, REFRESH = range(5)


@pytest.fixture(scope="module")
def first_come():
    """The policy of the module beside this one, registered by its import as any plug-in's."""
    folder = str(Path(__file__).parent)
    sys.path.insert(0, folder)
    try:
        import first_come
    finally:
        sys.path.remove(folder)
    return first_come


def describe(**controller):
    fields = tuple(AddressField(kind, ORGANISATION.size(kind)) for kind in reversed(FIELD_KINDS))
    settings = {"read_depth": 8, "write_depth": 8} | controller
    return DramDescription(ORGANISATION, TIMING, Controller("first_come", **settings), fields)


def requests(seed, count=250, gap=3):
    rng = np.random.default_rng(seed)
    address = rng.integers(ORGANISATION.capacity_bytes // 64, size=count) * 64
    arrival = np.cumsum(rng.integers(0, gap, size=count))
    return Requests.of(address, 64, 0, (rng.random(count) < 0.4).astype(np.int64), arrival)


def commands(first_come, seed):
    """Commands of every channel in order, as (clock, kind, bank), for random requests."""
    asked = requests(seed)
    tier = RunningTier(describe(), asked.address_bytes.size)
    columns = (asked.address_bytes, asked.size_bytes, asked.arrival_clock, asked.is_write)
    for number, (address, size, clock, write) in enumerate(zip(*columns, strict=True)):
        assert tier.offer(number, address, size, clock, is_write=bool(write))
    tier.advance(20_000)
    assert all(tier.done_clock(number) is not None for number in range(asked.address_bytes.size))
    logs = [row[OWN : OWN + 3 * int(row[H_OWN])].reshape(-1, 3).tolist() for row in tier.state]
    assert all(0 < len(log) < first_come.LOGGED for log in logs)
    return logs


def relation(first, second):
    """How near two banks are: the same, of one group, of one rank, or neither."""
    if first == second:
        return "bank"
    if first // 2 == second // 2:
        return "group"
    return "rank" if first // 4 == second // 4 else "channel"


def least_distance(before, after, near):
    """Clocks that JEDEC asks for between two commands, by the formulas of its standards; 0 where it asks for none."""
    t = TIMING.filled()
    one_group = near in ("bank", "group")
    turn = t.cl + t.burst + t.turnaround - t.cwl
    if near == "channel":
        return {(READ, READ): t.burst + t.rank_switch, (WRITE, WRITE): t.burst}.get((before, after), 0)
    found = {
        (ACT, ACT): t.rrd_l if one_group else t.rrd_s,
        (READ, READ): t.ccd_l if one_group else t.ccd_s,
        (WRITE, WRITE): t.ccd_l if one_group else t.ccd_s,
        (READ, WRITE): turn,
        (WRITE, READ): t.cwl + t.burst + (t.wtr_l if one_group else t.wtr_s),
    }
    if near == "bank":
        found |= {
            (ACT, ACT): t.rc,
            (ACT, READ): t.rcd_read,
            (ACT, WRITE): t.rcd_write,
            (ACT, PRE): t.ras,
            (READ, PRE): t.rtp,
            (WRITE, PRE): t.cwl + t.burst + t.wr,
            (PRE, ACT): t.rp,
        }
    return found.get((before, after), 0)


@pytest.mark.parametrize("seed", range(3))
def test_no_command_of_the_third_policy_comes_too_early(first_come, seed):
    checked = 0
    for log in commands(first_come, seed):
        assert [clock for clock, _, _ in log] == sorted({clock for clock, _, _ in log}), "one command bus"
        banks = [entry for entry in log if entry[1] != REFRESH]
        for number, (clock, kind, bank) in enumerate(banks):
            for earlier, before, other in banks[max(0, number - 40) : number]:
                least = least_distance(before, kind, relation(other, bank))
                assert clock - earlier >= least, (before, kind, relation(other, bank))
                checked += least > 0
        for rank in range(2):
            opened = [clock for clock, kind, bank in log if kind == ACT and bank // 4 == rank]
            assert all(fifth - first >= TIMING.faw for first, fifth in zip(opened, opened[4:], strict=False))
            refreshes = [clock for clock, kind, of in log if kind == REFRESH and of == rank]
            assert refreshes
            assert all(clock - done >= TIMING.rfc for done in refreshes for clock in opened if clock > done)
    assert checked > 1000


def test_rows_are_opened_and_closed_in_turn(first_come):
    for log in commands(first_come, 3):
        is_open = dict.fromkeys(range(8), False)
        for _, kind, bank in log:
            if kind == REFRESH:
                assert not any(is_open[each] for each in range(4 * bank, 4 * bank + 4))
            else:
                assert is_open[bank] == (kind != ACT)
                is_open[bank] = kind != PRE


def test_what_comes_first_is_served_first(first_come):
    asked = requests(5)
    run = run_dram(describe(), asked)
    assert run.counters.reads + run.counters.writes == asked.address_bytes.size
    assert run.counters.read_commands == run.counters.reads, "nothing is answered from a queue"
    transactions_per_channel = ORGANISATION.capacity_bytes // 64 // ORGANISATION.channels
    for channel in range(ORGANISATION.channels):
        reads = (asked.is_write == 0) & (asked.address_bytes // 64 // transactions_per_channel == channel)
        assert reads.sum() > 20
        assert np.all(np.diff(run.done_clock[reads]) > 0)
    lost = sum(run.counters.lost_clocks.values())
    assert run.counters.busy_clocks + lost == run.counters.bus_clocks


def test_the_third_policy_serves_a_graph_alike_on_both_engines(first_come):
    graph = Graph("first come")
    graph.add_server(DramServer("memory", describe(), Fraction(3, 2), outstanding=3))
    for number in range(2):
        rows = Segment(40, (), (1,), request_bytes=192, address=number * 4096, address_step=320)
        load = graph.add(Unit(f"load{number}", "load", FiringTable((Block((rows,)),)), server="memory"))
        graph.connect(load, graph.add(Unit(f"use{number}", "sink", uniform(40, take=(1,), ii=2))))
    graph = graph.freeze()
    results = [simulate(graph, engine=engine) for engine in ("compiled", "simpy")]
    assert results[0].schedule_digest == results[1].schedule_digest
    assert results[0].servers[0].tier == results[1].servers[0].tier
    assert results[0].servers[0].bytes == 2 * 40 * 192


def test_a_policy_of_another_distribution_is_found_by_its_entry_point(tmp_path):
    source = Path(__file__).with_name("first_come.py").read_text(encoding="utf-8")
    (tmp_path / "elsewhere.py").write_text(source.replace('"first_come"', '"elsewhere"'), encoding="utf-8")
    about = tmp_path / "elsewhere-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[attnflow.dram_controllers]\nelsewhere = elsewhere\n")
    code = "from simulator.servers.dram.controllers import CONTROLLERS; print(*CONTROLLERS.names())"
    root = Path(__file__).parents[4]
    found = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{tmp_path}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.split() == ["dramsim3", "elsewhere", "ramulator2"]


def test_policies_that_cannot_be_are_refused(first_come):
    policy = first_come.FIRST_COME
    with pytest.raises(GraphError, match="own_words must be between 0"):
        QueuePolicy("mine", policy.advance, policy.reset, policy.rules, own_words=MOST_WORDS)
    dramsim3 = CONTROLLERS.get("dramsim3")
    with pytest.raises(GraphError, match="'dramsim3' is registered by both"):
        CONTROLLERS.add(QueuePolicy("dramsim3", policy.advance, policy.reset, policy.rules))
    assert CONTROLLERS.get("dramsim3") is dramsim3
    with pytest.raises(GraphError, match="'dramsim'; did you mean 'dramsim3'"):
        CONTROLLERS.get("dramsim")
