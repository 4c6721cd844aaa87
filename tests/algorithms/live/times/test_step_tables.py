"""Step times read from a table: exact at its points, near in between, and the same whatever was asked before."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorithms.live.blocks import BlockPool
from algorithms.live.requests import Request
from algorithms.live.schedulers.vllm import ContinuousBatching
from algorithms.live.serve import serve
from algorithms.live.steps import Part
from algorithms.live.times.table import Grids, TableTimes, grid, table_error


class Source:
    """A machine: weights are read once, tokens cost products, attention costs what it reads or multiplies."""

    def __init__(self):
        self.asked = 0

    def tokens_s(self, tokens):
        self.asked += 1
        return max(5e-3, tokens * 2e-5) + 1e-4

    def made_s(self, sequences):
        self.asked += 1
        return 3e-4 + 1e-6 * sequences

    def host_s(self, parts):
        return 1e-3 * parts

    def decode_s(self, sequences, context_tokens):
        self.asked += 1
        return 2e-6 * sequences**0.5 + 4e-8 * context_tokens

    def prefill_s(self, new_tokens, cached_tokens):
        self.asked += 1
        return 1e-6 + 3e-10 * new_tokens * (cached_tokens + new_tokens / 2)


def test_grids_hold_all_small_numbers_and_go_on_evenly():
    points = grid(1 << 20, 4)
    assert points[:8] == list(range(1, 9))
    assert points == sorted(set(points))
    assert points[-1] >= 1 << 20
    ratios = [b / a for a, b in itertools.pairwise(points[8:])]
    assert max(ratios) < 1.26


@given(
    st.integers(1, 300),
    st.integers(1, 50_000),
    st.lists(st.tuples(st.integers(1, 4096), st.integers(0, 9_999)), max_size=3),
)
def test_what_is_read_is_near_what_the_source_says(sequences, mean, drawn):
    parts = tuple(Part(new, cached) for new, cached in drawn)
    times = TableTimes(Source(), overhead_s=1e-4)
    read, exact = (ask(sequences, sequences * mean, parts) for ask in (times.mixed, times.exact_mixed))
    assert abs(read - exact) <= 0.03 * exact
    if not parts:
        (alone,) = times.decode(sequences, np.array([sequences * mean]))
        assert alone == read


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 9_000)), min_size=2, max_size=8), st.randoms())
def test_a_time_does_not_depend_on_what_was_asked_before_or_together(asked, random):
    shuffled = list(asked)
    random.shuffle(shuffled)
    one, other = TableTimes(Source()), TableTimes(Source())
    first = {key: int(one.decode(key[0], np.array([key[0] * key[1]]))[0]) for key in asked}
    assert first == {key: int(other.decode(key[0], np.array([key[0] * key[1]]))[0]) for key in shuffled}
    contexts = np.array([40 * mean for _, mean in asked])
    together = TableTimes(Source()).decode(40, contexts)
    assert together.tolist() == [int(one.decode(40, contexts[i : i + 1])[0]) for i in range(len(contexts))]


def test_an_exact_table_reads_nothing_between_points():
    times = TableTimes(Source(), overhead_s=1e-4, exact=True)
    parts = (Part(1234, 0), Part(77, 4321))
    assert times.mixed(101, 101 * 977, parts) == times.exact_mixed(101, 101 * 977, parts)
    contexts = np.array([101 * 977, 101 * 978])
    assert times.decode(101, contexts).tolist() == [times.exact_mixed(101, int(each), ()) for each in contexts]
    assert TableTimes(Source(), overhead_s=1e-4).mixed(101, 101 * 977, parts) != times.mixed(101, 101 * 977, parts)


def test_a_step_takes_no_less_than_the_host_needs_to_launch_it():
    times, parts = TableTimes(Source()), tuple(Part(1, 8) for _ in range(30))
    assert times.mixed(4, 400, parts) == 31_000_000
    assert times.mixed(4, 400, parts[:1]) < 31_000_000


def test_a_table_is_filled_once_and_a_finer_one_errs_less():
    source = Source()
    times = TableTimes(source)
    requests = [Request(i, 40_000_000 * i, 300 + 37 * i % 900, 60 + 13 * i % 90) for i in range(200)]

    def run(skip):
        return serve(requests, lambda: ContinuousBatching(BlockPool(4000), 64, 1024), times, skip=skip)

    quick = run(True)
    asked = source.asked
    assert asked == times.filled < 400
    single = run(False)
    assert source.asked == asked, "everything is in the table"
    assert [each.last_token_ns for each in quick.requests] == [each.last_token_ns for each in single.requests]
    steps = [(n, 700 * n, (Part(5 * n, 40 * n),)) for n in range(9, 64)]
    coarse = table_error(TableTimes(Source(), Grids(1, 1, 1)), steps)
    fine = table_error(TableTimes(Source(), Grids(8, 8, 8)), steps)
    assert coarse.compositions == fine.compositions == 32
    assert 0 < fine.largest < coarse.largest < 0.1
    assert table_error(times, steps[:3]).compositions == 3
    assert table_error(times, []).mean == pytest.approx(0)
