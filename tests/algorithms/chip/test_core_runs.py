"""Launches told apart by what decides their time: what is shared between designs is what each has by itself."""

from __future__ import annotations

import random

import pytest

from algorithms.chip.algorithm import get_chip_algorithm
from algorithms.chip.cores import core_runs
from algorithms.chip.cores.core_runs import Cycles
from algorithms.chip.plan.profile import UNFITTED, KernelProfile
from algorithms.chip.timing.mapping import forget_launches, time_launch
from algorithms.workload.text import load_workload
from hwmodels.chips.accelerator import Accelerator, load_accelerator

DECODE = load_workload("llama3-8b").with_(phase="decode", q_len=1, kv_len=1500, batch=2)
PREFILL = load_workload("llama3-8b").with_(phase="prefill", q_len=700, kv_len=700, heads=4, kv_heads=2)
CASES = [
    ("decode.split_kv", DECODE),
    ("flash.q_outer", PREFILL),
    ("flash.kv_outer", PREFILL),
    ("eager.forward", PREFILL),
]


def some_chip(draw: random.Random) -> Accelerator:
    """A chip with other numbers of all that launches see."""
    chip = load_accelerator(draw.choice(["h100", "a100", "tpu_v5p", "flat_cloud"]))
    memory = chip.memory.name
    return chip.with_(
        **{
            "cores": draw.choice([4, 9, 60]),
            "clock_hz": draw.choice([1e9, 1.37e9]),
            f"{memory}.bytes_per_second": chip.memory.bytes_per_second * draw.choice([0.5, 1, 1.7]),
            f"{memory}.latency_s": draw.choice([1e-7, 9e-7]),
            "core.exp_per_cycle": draw.choice([4, 16]),
            "core.sram_bytes_per_cycle": draw.choice([64, 128]),
        }
    )


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(("name", "work"), CASES)
def test_launches_count_what_their_graphs_count_by_themselves(name, work, seed):
    draw = random.Random(seed)
    algorithm = get_chip_algorithm(name)
    profile = draw.choice([UNFITTED, KernelProfile(exposed_softmax=0.3, tiles_in_flight=3, next_item="ahead")])
    for _ in range(3):
        chip = some_chip(draw)
        launches = algorithm.plan(work, algorithm.parameters(), chip).launches
        assert launches
        for launch in launches:
            run = time_launch(launch, chip, profile, "symmetric")
            alone = Cycles.of(run.result)
            assert run.simulated.cycles() == alone
            assert run.seconds == run.result.seconds
            assert (run.firings, run.skipped_firings) == (run.result.firings, run.result.skipped.firings)


def test_designs_that_differ_in_times_alone_share_what_was_flattened():
    algorithm, work = get_chip_algorithm("flash.q_outer"), PREFILL
    chips = [load_accelerator("h100").with_(clock_hz=1e9 + 1e6 * step) for step in range(20)]
    forget_launches()
    plan = algorithm.plan(work, algorithm.parameters(), chips[0])
    seconds = {time_launch(plan.launches[0], chip, UNFITTED, "symmetric").seconds for chip in chips}
    assert len(seconds) == 20
    assert len(core_runs._MOULDS) <= 3


UNSEEN = {
    "core.sram_bytes": 100_000,
    "core.register_bytes": 12345,
    "core.sram_banks": 7,
    "hbm.capacity_bytes": 5e9,
    "hbm.j_per_bit": 1e-12,
    "power_w": 100,
    "price_usd": 3,
    "node_nm": 7,
    "energy.static_w": 5,
}


def test_what_no_launch_sees_of_a_chip_does_not_simulate_it_again():
    chip, algorithm = load_accelerator("h100"), get_chip_algorithm("flash.q_outer")
    launch = algorithm.plan(PREFILL, algorithm.parameters(), chip).launches[0]
    first = time_launch(launch, chip, UNFITTED, "symmetric")
    for path, value in UNSEEN.items():
        assert time_launch(launch, chip.with_(**{path: value}), UNFITTED, "symmetric") is first
    for path, value in {"cores": 100, "clock_hz": 1e9, "l2.capacity_bytes": 1e6, "hbm.latency_s": 1e-6}.items():
        assert time_launch(launch, chip.with_(**{path: value}), UNFITTED, "symmetric") is not first
