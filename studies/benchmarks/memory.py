"""Benchmarks of the DRAM model, beside what two simulators written in C++ did on the same patterns."""

from __future__ import annotations

import time

import numpy as np

from algorithms.memory.binding import dram_description
from algorithms.memory.patterns import AddressSpace, make_stream
from hwmodels.tiers.dram import DramTier
from hwmodels.tiers.text import load_tier
from simulator.servers.dram.parameters import DramDescription
from simulator.servers.dram.tier import Requests, run_dram
from studies.benchmarks.register import Figures, benchmark

TRANSACTIONS = 1 << 20
BLOCK_BYTES = 4096
REPEATS = 5

RECORDED_REQUESTS_PER_S = {
    "dramsim3": {"sequential": 305_472.0, "random": 46_898.0, "gather_4k": 211_544.0},
    "ramulator2": {"sequential": 799_476.0, "random": 218_251.0, "gather_4k": 674_741.0},
}
"""Wall-clock rates of the C++ simulators on a virtual machine with two shared cores, single transactions, saturating
input, refresh on. DRAMsim3 (umd-memsys/DRAMsim3 commit 2981759, HBM2_8Gb_x128, 8 channels, 320,000 transactions) as a
library; Ramulator 2.1 (CMU-SAFARI/ramulator2 commit c5b1c3a, HBM2_2000Mbps, MOP4CLXOR, one channel of two
pseudo-channels, 100,000 transactions) with its external front end."""


def hbm2() -> DramDescription:
    """One stack of HBM2 with 8 channels and transactions of 64 bytes."""
    tier = load_tier("hbm2")
    if not isinstance(tier, DramTier):
        raise TypeError("the preset hbm2 must be a DRAM tier")
    return dram_description(tier)


def addresses(description: DramDescription, pattern: str, transactions: int) -> np.ndarray:
    """Addresses of single transactions."""
    organisation = description.organisation
    fields = tuple((field.kind, field.size) for field in description.fields)
    space = AddressSpace(organisation.transaction_bytes, organisation.capacity_bytes, fields, clock_ns=1.0)
    return make_stream(pattern, space, transactions, {"seed": 1, "block": BLOCK_BYTES}).address_bytes


def rates(description: DramDescription, kinds: dict[str, Requests], transactions: int) -> dict[str, float]:
    """Transactions per second of processor time for every kind of requests, each the best of several rounds.

    Processor time of this thread, since others share the machine; the kinds take turns for the same reason.
    """
    best = dict.fromkeys(kinds, float("inf"))
    for _ in range(REPEATS + 1):
        for kind, requests in kinds.items():
            begin = time.thread_time()
            run_dram(description, requests)
            best[kind] = min(best[kind], time.thread_time() - begin)
    return {kind: transactions / seconds for kind, seconds in best.items()}


@benchmark("dram_hbm2", "cycle-level HBM2, one thread: transactions per second beside DRAMsim3 and Ramulator 2.1")
def dram_hbm2() -> Figures:
    """Sequential, random and gathered reads, one by one; gathered reads also as runs of 4 KiB."""
    description = hbm2()
    unit = description.organisation.transaction_bytes
    gathered = addresses(description, "gather", TRANSACTIONS)
    measured = rates(
        description,
        {
            "sequential": Requests.of(addresses(description, "seq_read", TRANSACTIONS), unit),
            "random": Requests.of(addresses(description, "rand64_read", TRANSACTIONS), unit),
            "gather_4k": Requests.of(gathered, unit),
            "gather_4k_runs": Requests.of(gathered[:: BLOCK_BYTES // unit].copy(), BLOCK_BYTES),
        },
        TRANSACTIONS,
    )
    figures = {f"{kind}_requests_per_s": rate for kind, rate in measured.items()}
    figures["runs_over_single_requests"] = measured["gather_4k_runs"] / measured["gather_4k"]
    for simulator, recorded in RECORDED_REQUESTS_PER_S.items():
        for kind, rate in recorded.items():
            figures[f"{simulator}_{kind}_requests_per_s"] = rate
    return figures
