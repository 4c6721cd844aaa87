"""DRAM channels always come to an end, or say that they never will; and Python runs in between."""

from __future__ import annotations

import signal
import threading
from dataclasses import replace

import numpy as np
import pytest

from simulator.errors import GraphError, NoProgressError
from simulator.servers.dram import tier as module
from simulator.servers.dram.parameters import (
    FIELD_KINDS,
    AddressField,
    Controller,
    DramDescription,
    Organisation,
    Timing,
)
from simulator.servers.dram.tier import Requests, layout, run_dram

TIMING = Timing(
    cl=7, cwl=4, rcd_read=6, rcd_write=5, rp=6, ras=14, rc=20, rrd_s=3, rrd_l=4, faw=17, ccd_s=2, ccd_l=4,
    rtp=3, wtr_s=3, wtr_l=5, wr=6, burst=2, rfc=40, refi=400, rfc_bank=16, refi_bank=60, rrefd=4, rp_all=7,
)  # fmt: skip
ORGANISATION = Organisation(
    channels=1, ranks=1, sids=1, bank_groups=2, banks_per_group=2, rows=1024, columns=16, transaction_bytes=64
)
POOL = Controller(policy="ramulator2", drain_high=13, drain_low=4, refresh="none", page="close")
QUEUES = Controller(policy="dramsim3", refresh="none")


def describe(controller=POOL, timing=TIMING, **organisation):
    shape = replace(ORGANISATION, **organisation)
    fields = tuple(AddressField(kind, shape.size(kind)) for kind in reversed(FIELD_KINDS))
    return DramDescription(shape, timing, controller, fields)


def mixed(seed, count, lines, writes):
    rng = np.random.default_rng(seed)
    return Requests.of(rng.integers(lines, size=count) * 64, 64, 0, (rng.random(count) < writes).astype(np.int64))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("count", "lines", "writes"), [(400, 128, 0.3), (4000, 4096, 0.3), (4000, 4096, 0.05)])
def test_reads_and_writes_of_closed_pages_all_come_back(count, lines, writes, seed):
    asked = mixed(seed, count, lines, writes)
    run = run_dram(describe(), asked)
    assert run.counters.reads + run.counters.writes == count
    assert np.all(run.done_clock >= 0)
    # every access opens a row and closes it again; the last writes may still be buffered
    accesses = run.counters.read_commands + run.counters.write_commands
    assert run.counters.activations == run.counters.precharges == accesses


def test_a_pool_that_would_never_go_back_to_reads_is_refused():
    with pytest.raises(GraphError, match=r"drain_low of at least 1 \(got 0\): it would never go back from writes"):
        describe(replace(POOL, drain_low=0))
    assert describe(replace(QUEUES, drain_low=0))


@pytest.mark.parametrize("policy", ["ramulator2", "dramsim3"])
def test_refreshes_that_take_all_the_time_are_an_error_instead_of_an_endless_loop(policy):
    always = replace(TIMING, rfc=400, refi=400)
    description = describe(Controller(policy=policy, drain_low=1), always)
    requests = Requests.of(np.arange(300) * 4096, 64, 0, 0, np.arange(300) * 20)
    with pytest.raises(NoProgressError, match=r"makes no progress: .*\(refi must be longer than rfc\)"):
        run_dram(description, requests)


RUNS = {
    "mixed": (POOL, mixed(1, 3000, 4096, 0.4)),
    "open pages": (replace(POOL, page="open", refresh="together"), mixed(2, 3000, 4096, 0.4)),
    "queues": (QUEUES, mixed(3, 3000, 4096, 0.2)),
    "one source": (replace(QUEUES, shared_source=True, refresh="staggered"), mixed(4, 1500, 4096, 0.2)),
    "streams": (replace(QUEUES, refresh="staggered"), Requests.of(np.arange(4) * 65536, 65536)),
    "sparse": (POOL, Requests.of(np.arange(200) * 640, 64, 0, 0, np.arange(200) * 1000)),
}


@pytest.mark.parametrize("name", RUNS)
def test_slices_change_nothing(name, monkeypatch):
    controller, asked = RUNS[name]
    description = describe(controller, channels=2)
    whole = run_dram(description, asked)
    slices = []
    monkeypatch.setattr(module, "SLICE_WORK", 1)
    monkeypatch.setattr(module, "LEAST_SLICE", 7)
    begin = module.RunningTier.begin_slice
    monkeypatch.setattr(module.RunningTier, "begin_slice", lambda self: (slices.append(1), begin(self)))
    cut = run_dram(description, asked)
    assert len(slices) > 20
    assert np.array_equal(whole.accept_clock, cut.accept_clock)
    assert np.array_equal(whole.done_clock, cut.done_clock)
    assert whole.counters == cut.counters


def test_a_long_list_says_how_far_it_is(monkeypatch):
    told = []
    monkeypatch.setattr(module, "report", lambda *each: told.append(each))
    monkeypatch.setattr(module, "SLICE_WORK", 1)
    run_dram(describe(replace(QUEUES, refresh="none")), mixed(6, 60_000, 16384, 0))
    assert len(told) > 2
    assert told == sorted(told)
    assert told[-1] == ("requests", 60_000, 60_000)


def test_ctrl_c_arrives_while_a_long_list_is_served(monkeypatch):
    """The list is interrupted between two slices, not served to its end first."""
    description = describe(replace(QUEUES, refresh="none"))
    seen = []
    begin = module.RunningTier.begin_slice

    def interrupted(self):
        seen.append(int(self.state[:, layout.N_READ_COMMANDS].sum()))
        if len(seen) == 3:
            signal.raise_signal(signal.SIGINT)
        begin(self)

    assert threading.current_thread() is threading.main_thread()
    monkeypatch.setattr(module, "SLICE_WORK", 1)
    monkeypatch.setattr(module.RunningTier, "begin_slice", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_dram(description, mixed(5, 60_000, 16384, 0))
    assert 0 < seen[-1] < 60_000
