"""Items handed out: slots that are free at once are taken at once, and get what they get one by one."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from algorithms.chip.cores.dispatch import _dispatched, _dispatched_together, _later_each_time, dispatched
from algorithms.chip.plan.plan import Launch, TileStep, WorkItem

ITEMS = [WorkItem(((TileStep(load_bytes=size), 1),)) for size in range(1, 5)]
LENGTHS = st.sampled_from([0.1, 0.3, 1.0, 1.5, 2.0, 3.0, 0.1 + 0.2])


@given(
    lengths=st.lists(LENGTHS, min_size=4, max_size=4),
    runs=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 60)), min_size=1, max_size=6),
    cores=st.integers(1, 24),
    samples=st.integers(1, 8),
    order=st.sampled_from(["static", "longest_first"]),
)
@example(lengths=[1.0, 2.0, 1.0, 1.0], runs=[(0, 7), (1, 3), (0, 9)], cores=5, samples=3, order="static")
def test_slots_taken_together_get_what_they_get_one_by_one(lengths, runs, cores, samples, order):
    launch = Launch("a", tuple((ITEMS[which], times) for which, times in runs), 0, order)
    by_item = {id(item): length for item, length in zip(ITEMS, lengths, strict=True)}

    def estimate(item):
        return by_item[id(item)]

    together = _dispatched_together(launch, cores, samples, estimate)
    assert together == _dispatched(launch, cores, 1, samples, estimate)
    assert [slot.estimate for slot in together.sample] == [
        slot.estimate for slot in _dispatched(launch, cores, 1, samples, estimate).sample
    ]


@pytest.mark.parametrize("lengths", [(0.0, 1.0), (1e-30, 1.0), (float("inf"), 1.0)])
def test_items_that_take_no_time_are_handed_out_one_by_one(lengths):
    launch = Launch("a", ((ITEMS[0], 5), (ITEMS[1], 4)), 0)

    def estimate(item):
        return lengths[ITEMS.index(item)]

    assert not _later_each_time(launch, estimate)
    assert dispatched(launch, 3, 1, 2, estimate) == _dispatched(launch, 3, 1, 2, estimate)
