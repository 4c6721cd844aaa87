"""Whatever chip is shipped, attention runs on it, within its bounds and its power."""

from __future__ import annotations

import pytest

from algorithms.chip.algorithm import get_chip_algorithm
from algorithms.chip.timing.energy import energy_of
from algorithms.chip.timing.mapping import time_plan
from algorithms.workload.shape import Workload
from hwmodels.chips.accelerator import accelerator_names, load_accelerator

HEADS = {"heads": 8, "kv_heads": 2, "head_dim": 64, "dtype": "float16"}
PREFILL = Workload(name="prompt", phase="prefill", q_len=256, kv_len=256, **HEADS)
DECODE = Workload(name="token", phase="decode", q_len=1, kv_len=4096, **HEADS)
CASES = {"flash.q_outer": PREFILL, "decode.split_kv": DECODE}


def run_of(algorithm_name, chip):
    algorithm = get_chip_algorithm(algorithm_name)
    workload = CASES[algorithm_name]
    plan = algorithm.plan(workload, algorithm.parameters(), chip)
    return plan, time_plan(plan, chip)


@pytest.mark.parametrize("name", accelerator_names())
@pytest.mark.parametrize("algorithm_name", CASES)
def test_attention_runs_within_bounds_and_power(algorithm_name, name):
    chip = load_accelerator(name)
    plan, run = run_of(algorithm_name, chip)
    bounds = run.bounds
    assert run.seconds >= max(bounds.roofline_s, bounds.exp_s) * (1 - 1e-9)
    energy_j = energy_of(plan, chip, run.tier_bytes, run.seconds)
    assert all(value >= 0 for value in energy_j.values())
    assert energy_j["matrix"] > 0 and energy_j["static"] > 0
    if chip.power_w is not None:
        assert sum(energy_j.values()) / run.seconds < chip.power_w


@pytest.mark.parametrize("name", ["h100", "tpu_v5e", "u280", "m4_max"])
def test_more_bandwidth_never_slows_decode_down(name):
    chip = load_accelerator(name)
    path = f"{chip.memory.name}.bytes_per_second"
    seconds = [
        run_of("decode.split_kv", chip.with_(**{path: factor * chip.memory.bytes_per_second}))[1].seconds
        for factor in (0.25, 1, 4)
    ]
    assert seconds == sorted(seconds, reverse=True)
    assert seconds[0] > seconds[1]
