"""Fronts and hypervolumes, against their definitions."""

import doctest
import importlib
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studies.search.pareto import clear_front, hypervolume, hypervolume_share, non_dominated

COSTS = st.integers(1, 3).flatmap(
    lambda width: st.lists(st.lists(st.integers(0, 4), min_size=width, max_size=width), min_size=1, max_size=8)
)


@pytest.mark.parametrize("name", ["search.pareto", "study.axes", "study.goals"])
def test_examples_in_docstrings(name):
    results = doctest.testmod(importlib.import_module(f"studies.{name}"))
    assert results.attempted > 0
    assert results.failed == 0


@given(st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=3), min_size=1, max_size=40))
def test_the_front_is_what_no_row_dominates(rows):
    costs = np.array(rows, dtype=float)
    expected = [not any((other <= row).all() and (other < row).any() for other in costs) for row in costs]
    assert non_dominated(costs).tolist() == expected


@given(COSTS)
def test_a_hypervolume_is_the_number_of_unit_cells_that_some_point_beats(rows):
    reference = (4,) * len(rows[0])
    cells = itertools.product(*(range(edge) for edge in reference))
    beaten = sum(any(all(a <= b for a, b in zip(row, cell, strict=True)) for row in rows) for cell in cells)
    assert hypervolume(np.array(rows, dtype=float), np.array(reference, dtype=float)) == beaten


def test_the_whole_front_has_all_of_the_volume_and_a_part_of_it_less():
    known = np.array([[1.0, 9.0], [2.0, 5.0], [6.0, 4.0], [9.0, 1.0], [50.0, 50.0]])
    assert hypervolume_share(known, known) == 1.0
    assert hypervolume_share(known[:4][::-1], known) == 1.0
    assert 0 < hypervolume_share(known[:2], known) < hypervolume_share(known[:3], known) < 1
    assert hypervolume_share(known[4:], known) == 0.0
    assert hypervolume_share(np.empty((0, 2)), known) == 0.0
    assert hypervolume_share(np.array([[3.0, 3.0]]), np.array([[3.0, 3.0]])) == 1.0
    with pytest.raises(ValueError, match="nothing to compare"):
        hypervolume_share(known, np.empty((0, 2)))


POSITIVE = st.lists(st.lists(st.floats(1.0, 1.1), min_size=3, max_size=3), min_size=1, max_size=30)


@given(POSITIVE, st.sampled_from([0.001, 0.005, 0.03]))
def test_a_clear_front_leaves_out_what_a_kept_member_makes_superfluous_and_nothing_else(rows, tolerance):
    costs = np.array(rows)
    exact, kept = non_dominated(costs), clear_front(costs, tolerance)
    assert kept.any()
    assert not (kept & ~exact).any()
    for dropped in np.flatnonzero(exact & ~kept):
        margin = tolerance * costs[dropped]
        assert any(
            (costs[i] <= costs[dropped] + margin).all() and (costs[i] < costs[dropped] - margin).any()
            for i in np.flatnonzero(kept)
        )


@given(COSTS)
def test_without_a_tolerance_a_clear_front_is_the_front(rows):
    costs = np.array(rows, dtype=float)
    assert np.array_equal(clear_front(costs, 0.0), non_dominated(costs))
