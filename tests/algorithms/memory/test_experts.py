"""Experts on tiers: residency against a list that is searched, miss rates against closed forms, sizes of models."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorithms.memory.experts import ExpertMemory, dense_parameters, draw_requests, serve
from algorithms.workload.text import load_workload
from hwmodels.reading.errors import InputError


def memory(resident: int) -> ExpertMemory:
    return ExpertMemory(10.0, 10.0 * resident, 5.0, 1.0)


@given(st.lists(st.integers(0, 8), max_size=60), st.integers(1, 9))
def test_residency_is_that_of_the_last_distinct_requests(trace, resident):
    misses = 0
    for now, expert in enumerate(trace):
        latest = list(dict.fromkeys(reversed(trace[:now])))[:resident]
        misses += expert not in latest
    run = serve(memory(resident), trace, run_s=2.0)
    assert (run.requests, run.misses) == (len(trace), misses)
    assert run.seconds == pytest.approx(2.0 * len(trace) + 3.0 * misses)


def test_uniform_requests_miss_as_often_as_experts_are_absent():
    run = serve(memory(37), draw_requests(150, 40_000, seed=1), run_s=0.0)
    assert run.miss_rate == pytest.approx(1 - 37 / 150, abs=0.01)


def test_skewed_requests_miss_as_che_approximates():
    skew, experts, resident = 0.9, 150, 30
    popularity = np.arange(1, experts + 1) ** -skew
    popularity /= popularity.sum()
    low, high = 0.0, 1e6  # characteristic time: that many requests touch `resident` distinct experts
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if (1 - np.exp(-popularity * middle)).sum() < resident else (low, middle)
    expected = (popularity * np.exp(-popularity * low)).sum()
    run = serve(memory(resident), draw_requests(experts, 60_000, seed=2, skew=skew), run_s=0.0)
    assert run.miss_rate == pytest.approx(expected, rel=0.02)


def test_requests_in_a_circle_always_miss_when_one_expert_does_not_fit():
    circle = list(range(5)) * 10
    assert serve(memory(4), circle, 0.0).miss_rate == 1.0
    assert serve(memory(5), circle, 0.0).misses == 5


def test_models_have_their_published_sizes():
    assert dense_parameters(load_workload("llama2-7b"), 11008, 32000) == 6_738_415_616
    assert dense_parameters(load_workload("llama3-8b"), 14336, 128256) == 8_030_261_248


def test_impossible_memories_are_refused():
    with pytest.raises(InputError, match="fast_bytes"):
        ExpertMemory(10.0, 9.0, 1.0)
    with pytest.raises(InputError, match="expert_bytes") as refused:
        ExpertMemory(0.0, 9.0, 0.0)
    assert len(refused.value.problems) == 2
