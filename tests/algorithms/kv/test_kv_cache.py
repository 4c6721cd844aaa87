"""The resident set against a model of plain lists, for every treatment of holes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from algorithms.kv.cache import PAD, KVCache

HEADS, DIM = 3, 2


class Model:
    """What a cache should hold: per head a list of (position, column value)."""

    def __init__(self):
        self.rows = [[] for _ in range(HEADS)]

    def append(self, positions):
        for row in self.rows:
            row += [(int(position), -1.0) for position in positions]

    def retain(self, mask):
        self.rows = [
            [entry for entry, kept in zip(row, flags, strict=False) if kept]
            for row, flags in zip(self.rows, mask, strict=True)
        ]


steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 9)),
        st.tuples(st.just("retain"), st.integers(0, 10**6)),
        st.tuples(st.just("shared"), st.integers(0, 10**6)),
        st.tuples(st.just("compact"), st.integers(0, 10**6)),
    ),
    min_size=1,
    max_size=14,
)


def key_of(position):
    return np.array([position, -position], float)


@settings(deadline=None, max_examples=120)
@given(steps=steps, layout=st.sampled_from(["slots", "shift", "rewrite"]), sourced=st.booleans())
def test_cache_behaves_like_lists(steps, layout, sourced):
    stream = np.stack([key_of(at) for at in range(200)])
    source = (np.broadcast_to(stream, (HEADS, 200, DIM)), np.broadcast_to(2 * stream, (HEADS, 200, DIM)))
    cache, model, seen = KVCache(HEADS, layout, source if sourced else None), Model(), 0
    for kind, number in steps:
        if kind == "append":
            positions = np.arange(seen, seen + number)
            rows = (None, None) if sourced else tuple(tensor[:, positions] for tensor in source)
            written = cache.append(positions, *rows)
            model.append(positions)
            seen += number
            assert written.shape == (HEADS, number)
        elif cache.count:
            rng = np.random.default_rng(number)
            mask = rng.random((1 if kind == "shared" else HEADS, cache.count)) < 0.6
            before = sum(len(row) for row in model.rows)
            dropped = cache.retain(mask, compact=kind == "compact")
            model.retain(np.broadcast_to(mask, (HEADS, mask.shape[1])))
            assert sum(dropped.tokens) == before - sum(len(row) for row in model.rows)
        scores = cache.column("score", -1.0)
        if seen:
            check(cache, model, scores, layout)


def check(cache, model, scores, layout):
    assert cache.lengths.tolist() == [len(row) for row in model.rows]
    for head, row in enumerate(model.rows):
        length = len(row)
        positions = [position for position, _ in row]
        assert cache.positions[head, :length].tolist() == positions
        assert (cache.positions[head, length:] == PAD).all()
        assert positions == sorted(set(positions))
        assert np.array_equal(cache.keys[head, :length], np.array([key_of(p) for p in positions]).reshape(-1, DIM))
        assert np.array_equal(cache.values[head, :length] / 2, cache.keys[head, :length])
        assert (scores[head, :length] == -1.0).all()
        slots = cache.slots[head, :length].tolist()
        assert len(set(slots)) == length
        if layout != "slots":
            assert slots == list(range(length))


def test_columns_follow_their_keys_and_new_keys_start_at_the_fill():
    cache = KVCache(2)
    rows = np.zeros((2, 6, 1))
    cache.append(np.arange(6), rows, rows)
    cache.column("score", 5.0)[:] = np.arange(12).reshape(2, 6)
    mask = np.array([[1, 0, 1, 0, 1, 0], [0, 1, 0, 1, 0, 1]], bool)
    cache.retain(mask)
    cache.append(np.arange(6, 8), rows[:, :2], rows[:, :2])
    assert cache.column("score").tolist() == [[0, 2, 4, 5, 5], [7, 9, 11, 5, 5]]


def test_freed_slots_are_used_again_before_new_ones():
    cache = KVCache(1)
    rows = np.zeros((1, 4, 1))
    cache.append(np.arange(4), rows, rows)
    assert cache.retain(np.array([[True, False, False, True]])).moved == 0
    assert cache.append(np.arange(4, 7), rows[:, :3], rows[:, :3]).tolist() == [[1, 2, 4]]
    assert cache.slots.tolist() == [[0, 3, 1, 2, 4]]


@pytest.mark.parametrize(("layout", "moved"), [("slots", 0), ("shift", 2), ("rewrite", 4)])
def test_rows_moved_by_closing_a_hole(layout, moved):
    cache = KVCache(1, layout)
    rows = np.zeros((1, 6, 1))
    cache.append(np.arange(6), rows, rows)
    assert cache.retain(np.array([[True, True, False, True, True, False]])).moved == moved


def test_compaction_after_a_prefill_copies_what_is_kept_and_renumbers_slots():
    cache = KVCache(1)
    rows = np.zeros((1, 6, 1))
    cache.append(np.arange(6), rows, rows)
    dropped = cache.retain(np.array([[False, True, False, True, False, True]]), compact=True)
    assert dropped.moved == 3
    assert cache.slots.tolist() == [[0, 1, 2]]
    assert cache.append(np.array([6]), rows[:, :1], rows[:, :1]).tolist() == [[3]]


def test_pages_hold_whole_slots_and_shared_ones_all_heads():
    cache = KVCache(2)
    rows = np.zeros((2, 8, 1))
    cache.append(np.arange(8), rows, rows)
    assert cache.pages(4, shared_by_heads=False) == 4
    # head 0 empties its second page, head 1 only half of it
    cache.retain(np.array([[1, 1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 0, 0]], bool))
    assert cache.pages(4, shared_by_heads=False) == 3
    assert cache.pages(4, shared_by_heads=True) == 4
    # one live key per page keeps every page
    cache.retain(np.array([[1, 0, 0, 0, 0, 0], [1, 0, 0, 0, 1, 0]], bool))
    assert cache.pages(4, shared_by_heads=False) == 3
    assert cache.lengths.tolist() == [1, 2]


def test_nothing_is_copied_from_a_source_until_something_is_dropped():
    stream = np.random.default_rng(0).random((1, 50, 3))
    cache = KVCache(1, source=(stream, stream))
    cache.append(np.arange(40))
    assert np.shares_memory(cache.keys, stream)
    cache.retain(np.arange(40)[None] % 2 == 0)
    assert not np.shares_memory(cache.keys, stream)
    cache.append(np.arange(40, 42))
    assert np.array_equal(cache.keys[0, -2:], stream[0, 40:42])


def test_a_cache_without_rows_says_so():
    cache = KVCache(1)
    with pytest.raises(RuntimeError, match="needs keys and values"):
        cache.append(np.arange(2))
