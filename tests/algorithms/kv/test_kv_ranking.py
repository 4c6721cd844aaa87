"""Top-k with the tie rule, unions of protected keys, pooling: against brute force."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from algorithms.kv.ranking import group_reduce, indices_of, keep_by_score, pool, top_mask


def best_by_sorting(row: np.ndarray, count: int) -> np.ndarray:
    """Highest first, lowest column among equals."""
    order = sorted(range(row.size), key=lambda column: (-row[column], column))
    mask = np.zeros(row.size, bool)
    mask[[column for column in order if row[column] > -np.inf][:count]] = True
    return mask


coarse = st.sampled_from([-np.inf, -2.0, -0.5, 0.0, 0.25, 1.0, 3.0])


@given(rows=st.lists(st.lists(coarse, min_size=9, max_size=9), min_size=1, max_size=4), count=st.integers(0, 12))
def test_ties_go_to_the_lowest_column(rows, count):
    scores = np.array(rows)
    got = top_mask(scores, count)
    for row, mask in zip(scores, got, strict=True):
        assert np.array_equal(mask, best_by_sorting(row, count))


def test_each_row_may_have_its_own_count():
    scores = np.array([[3.0, 1.0, 2.0], [1.0, 1.0, 1.0], [5.0, 4.0, 3.0]])
    got = top_mask(scores, np.array([1, 2, 0]))
    assert got.tolist() == [[True, False, False], [True, True, False], [False, False, False]]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 40000), levels=st.sampled_from([3, 1000, 10**9]))
@example(seed=0, count=13373, levels=3)  # the threshold is a zero, of both signs
def test_radix_selection_of_long_rows_is_exact(seed, count, levels):
    rng = np.random.default_rng(seed)
    scores = (rng.integers(-levels, levels, (2, 40000)) / levels).astype(np.float32)
    scores[0, :5] = -np.inf
    scores[1, 7] = -0.0
    got = top_mask(scores, count)
    for row, mask in zip(scores, got, strict=True):
        threshold = np.sort(row[row > -np.inf])[::-1][min(count, (row > -np.inf).sum()) - 1]
        assert mask.sum() == min(count, (row > -np.inf).sum())
        assert mask[row > threshold].all()
        assert not mask[row < threshold].any()
        level = np.flatnonzero(row == threshold)
        assert np.array_equal(mask[level], np.arange(level.size) < mask[level].sum())


@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(0, 12))
def test_protected_keys_stay_and_the_newest_of_them_when_too_many(seed, capacity, guarded):
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal((2, 12))
    protected = np.zeros((1, 12), bool)
    protected[0, rng.permutation(12)[:guarded]] = True
    kept = keep_by_score(scores, capacity, protected)
    assert (kept.sum(1) == capacity).all()
    where = np.flatnonzero(protected[0])
    for row in kept:
        assert np.array_equal(
            np.flatnonzero(row[where]), np.arange(where.size)[-min(capacity, where.size) :][: where.size]
        )


def test_indices_are_ascending_and_padded():
    mask = np.array([[True, False, True, True], [False, True, False, False]])
    index, lengths = indices_of(mask)
    assert lengths.tolist() == [3, 1]
    assert index[0].tolist() == [0, 2, 3]
    assert index[1, 0] == 1


@pytest.mark.parametrize("kernel", [1, 3, 7])
def test_pooling_is_that_of_torch(kernel):
    row = np.random.default_rng(kernel).random(11)
    side = kernel // 2
    for ii in range(11):
        window = [row[at] if 0 <= at < 11 else 0.0 for at in range(ii - side, ii + side + 1)]
        inside = row[max(0, ii - side) : ii + side + 1]
        assert pool(row[None], kernel, "avgpool")[0, ii] == pytest.approx(sum(window) / kernel)
        assert pool(row[None], kernel, "maxpool")[0, ii] == inside.max()


def test_group_reduction_follows_the_head_mapping():
    scores = np.array([[1.0, 2.0], [3.0, 6.0], [10.0, 0.0], [20.0, 4.0]])
    assert group_reduce(scores, 2, "mean").tolist() == [[2.0, 4.0], [15.0, 2.0]]
    assert group_reduce(scores, 2, "max").tolist() == [[3.0, 6.0], [20.0, 4.0]]
    assert group_reduce(scores, 2, "sum").tolist() == [[4.0, 8.0], [30.0, 4.0]]
    assert group_reduce(scores, 4, "max").tolist() == scores.tolist()
