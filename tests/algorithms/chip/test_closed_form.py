"""Launches in closed form: handing out, traffic of copies, and how far from the simulation they are."""

from __future__ import annotations

import heapq

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from algorithms.chip.plan.kernels import load_kernel
from algorithms.chip.plan.profile import UNFITTED
from algorithms.chip.timing.closed_form import LISTED_WAVES, estimate_launch, handed_out_s
from algorithms.chip.timing.launch_work import LaunchWork
from algorithms.chip.timing.mapping import time_plan
from algorithms.workload.shape import Workload
from hwmodels.chips.accelerator import load_accelerator

H100 = load_accelerator("h100")


def greedy(lengths, times, places, copies):
    ends = [0.0] * places
    for _ in range(copies):
        for length, count in zip(lengths, times, strict=True):
            for _ in range(count):
                heapq.heapreplace(ends, ends[0] + length)
    return max(ends)


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(1, 4)), min_size=1, max_size=8),
    st.integers(1, 9),
    st.integers(1, 3),
)
@settings(max_examples=200, deadline=None)
def test_few_items_are_handed_out_exactly(items, places, copies):
    lengths = np.array([float(length) for length, _ in items])
    times = np.array([count for _, count in items], dtype=np.int64)
    found = handed_out_s(lengths, times, places, copies)
    exact = greedy(lengths, times, places, copies)
    if copies * times.sum() <= LISTED_WAVES * places:
        assert found == pytest.approx(exact)
    else:  # what is not listed shares the places evenly
        assert abs(found - exact) <= lengths.max()
    assert found >= copies * float(lengths @ times) / places - 1e-9


def workload(**changes):
    shape = {"batch": 2, "heads": 16, "kv_heads": 16, "q_len": 2048, "kv_len": 2048, "head_dim": 128}
    return Workload("test", "prefill", mask="causal", dtype="bfloat16", **(shape | changes))


def launches(kernel, work, chip):
    return kernel.algorithm.plan(work, kernel.parameters(work), chip).launches


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"head_dim": 64, "q_len": 4096, "kv_len": 4096},
        {"batch": 1, "heads": 64, "kv_heads": 8},
        {"mask": "full"},
    ],
)
def test_a_launch_takes_about_as_long_as_simulated(changes):
    kernel = load_kernel("fa3_hopper")
    mask = changes.pop("mask", "causal")
    work = workload(**changes).with_(mask=mask)
    (launch,) = launches(kernel, work, H100)
    simulated = time_plan(kernel.algorithm.plan(work, kernel.parameters(work), H100), H100, kernel.profile)
    estimated = estimate_launch(LaunchWork.of(launch), H100, kernel.profile)
    # loads of a wave are exposed in step here, and drift apart there
    assert estimated.seconds == pytest.approx(simulated.launches[0].seconds, rel=0.2)


def test_short_items_wait_for_loads_in_step_which_simulated_cores_spread():
    """Where items are a few tiles each, what all cores load at once takes longer here, by no more than half."""
    kernel = load_kernel("fa3_hopper")
    work = workload(batch=16, q_len=512, kv_len=512)
    (launch,) = launches(kernel, work, H100)
    simulated = time_plan(kernel.algorithm.plan(work, kernel.parameters(work), H100), H100, kernel.profile)
    ratio = estimate_launch(LaunchWork.of(launch), H100, kernel.profile).seconds / simulated.launches[0].seconds
    assert 1.0 < ratio < 1.5


def test_heads_as_copies_are_the_launch_of_all_heads():
    kernel = load_kernel("fa3_hopper")
    work = workload(heads=32, kv_heads=8)
    (whole,) = launches(kernel, work, H100)
    (one,) = launches(kernel, work.with_(batch=1, heads=4, kv_heads=1), H100)
    found = estimate_launch(LaunchWork.of(one), H100, kernel.profile, copies=2 * 8)
    expected = estimate_launch(LaunchWork.of(whole), H100, kernel.profile)
    assert found.moved == expected.moved
    assert found.seconds == pytest.approx(expected.seconds, rel=0.02)


def test_counts_are_those_of_the_launch():
    kernel = load_kernel("fa3_hopper")
    (launch,) = launches(kernel, workload(), H100)
    work = LaunchWork.of(launch)
    assert (work.load_bytes, work.store_bytes) == (launch.total("load_bytes"), launch.total("store_bytes"))
    assert work.item_count == launch.item_count
    assert work.counts.sum(axis=1).tolist() == [item.step_count for item, _ in launch.items]


def test_what_the_caches_hold_from_before_moves_nothing():
    kernel = load_kernel("fa3_hopper")
    (launch,) = launches(kernel, workload(), H100)
    cold, warm = (estimate_launch(LaunchWork.of(launch), H100, UNFITTED, warm=hot) for hot in (False, True))
    assert cold.moved.memory_bytes > 0
    assert (warm.moved.memory_bytes, warm.memory_s) == (0, 0.0)
    assert warm.seconds < cold.seconds
