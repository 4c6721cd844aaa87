"""Plans for hundreds of thousands of tokens: exact, and little work, since what recurs is skipped."""

from __future__ import annotations

from dataclasses import replace

import pytest

from algorithms.chip.algorithm import get_chip_algorithm
from algorithms.chip.timing.mapping import REPRESENTATIVES, ChipRun, time_plan
from algorithms.workload.text import load_workload
from hwmodels.chips.accelerator import load_accelerator
from simulator import simulate

K = 1024
MOST_SIMULATED = 1_000_000
"""Firings: a second of simulation at most, whatever the length."""


def run_of(name: str, chip: str, preset: str = "llama3-8b", **changes: object) -> ChipRun:
    """A run on a chip."""
    algorithm, on, work = get_chip_algorithm(name), load_accelerator(chip), load_workload(preset)
    return time_plan(algorithm.plan(work.with_(**changes), algorithm.parameters(), on), on)


def simulated(run: ChipRun) -> int:
    """Firings that were not skipped: what a run costs."""
    return sum(each.firings - each.skipped.firings for each in run.results)


def skipped_share(run: ChipRun) -> float:
    """Of all firings."""
    return sum(each.skipped.firings for each in run.results) / sum(each.firings for each in run.results)


@pytest.mark.parametrize("mask", ["causal", "full"])
@pytest.mark.parametrize(("chip", "length"), [("h100_sxm5_80g", 20 * K), ("mi300x", 12 * K), ("tpu_v5p", 40 * K)])
def test_skipping_changes_nothing(chip, length, mask):
    run = run_of("flash.q_outer", chip, q_len=length, kv_len=length, mask=mask)
    (launch,) = run.launches
    complete = simulate(launch.graph, timing_only=True, skip=False, clock_hz=launch.result.clock_hz)
    skipping = simulate(launch.graph, timing_only=True, clock_hz=launch.result.clock_hz)
    assert skipped_share(run) > 0.7
    untimed = {"wall_s": 0.0, "compile_s": 0.0, "skipped": complete.skipped}
    assert replace(skipping, **untimed) == replace(complete, **untimed)  # the digest of all start times, too
    assert replace(launch.result, schedule_digest=complete.schedule_digest, **untimed) == replace(complete, **untimed)


@pytest.mark.parametrize("chip", ["h100_sxm5_80g", "mi300x", "tpu_v5p"])
def test_prefill_of_256k_tokens(chip):
    run = run_of("flash.q_outer", chip, q_len=256 * K, kv_len=256 * K)
    assert simulated(run) < MOST_SIMULATED
    assert skipped_share(run) > 0.95
    assert run.seconds > run.bounds.seconds


@pytest.mark.slow
@pytest.mark.parametrize("mask", ["causal", "full"])
@pytest.mark.parametrize("chip", ["h100_sxm5_80g", "mi300x", "tpu_v5p"])
def test_prefill_of_a_million_tokens(chip, mask):
    run = run_of("flash.q_outer", chip, q_len=K * K, kv_len=K * K, mask=mask)
    assert simulated(run) < 6 * MOST_SIMULATED
    assert skipped_share(run) > 0.99


@pytest.mark.parametrize(
    ("name", "preset", "changes"),
    [
        ("decode.split_kv", "llama3-8b", {"phase": "decode", "q_len": 1, "kv_len": 10 * K * K}),
        ("decode.split_kv", "llama3-8b", {"phase": "decode", "q_len": 2 * K, "kv_len": K * K}),
        ("flash.q_outer", "llama3-8b", {"q_len": 8 * K, "kv_len": K * K}),
        ("flash.kv_outer", "llama3-8b", {"q_len": 128 * K, "kv_len": 128 * K}),
        ("flash.training", "llama3-8b", {"q_len": 64 * K, "kv_len": 64 * K}),
        ("mla.exp", "deepseek-v3", {"q_len": 64 * K, "kv_len": 64 * K}),
    ],
)
def test_other_long_sequences(name, preset, changes):
    run = run_of(name, "h100_sxm5_80g", preset, **changes)
    assert simulated(run) < MOST_SIMULATED
    assert skipped_share(run) > 0.8


@pytest.mark.parametrize("length", [32 * K, 128 * K])
def test_tables_grow_with_items_not_with_steps(length):
    run = run_of("flash.q_outer", "h100_sxm5_80g", q_len=length, kv_len=length)
    (launch,) = run.launches
    items = launch.waves * REPRESENTATIVES  # at most, on the cores that stand for all
    tables = {id(unit.table): unit.table for unit in launch.graph.units}.values()
    kinds = len({unit.kind.rstrip("0123456789") for unit in launch.graph.units})
    assert sum(len(block.segments) for table in tables for block in table.blocks) < 2 * kinds * items
    assert launch.result.firings > 100 * items
