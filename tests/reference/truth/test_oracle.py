"""The oracle against loops written from the definition, and the laws it must obey."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.truth import oracle


def draw(seed: int, batch: int, heads: int, kv_heads: int, q_len: int, kv_len: int, d: int, d_v: int):
    rng = np.random.default_rng(seed)
    return (
        rng.standard_normal((batch, heads, q_len, d)),
        rng.standard_normal((batch, kv_heads, kv_len, d)),
        rng.standard_normal((batch, kv_heads, kv_len, d_v)),
    )


def loops(q, k, v, visible):
    """Attention one scalar at a time, from the definition, without NumPy's linear algebra."""
    batch, heads, q_len, d = q.shape
    group = heads // k.shape[1]
    out, lse = np.zeros((batch, heads, q_len, v.shape[-1])), np.full((batch, heads, q_len), -np.inf)
    for b, h, i in np.ndindex(batch, heads, q_len):
        keys = [j for j in range(k.shape[2]) if visible[i, j]]
        if not keys:
            continue
        scores = [math.fsum(q[b, h, i, x] * k[b, h // group, j, x] for x in range(d)) / math.sqrt(d) for j in keys]
        total = math.fsum(math.exp(score) for score in scores)
        lse[b, h, i] = math.log(total)
        for x in range(v.shape[-1]):
            terms = zip(scores, keys, strict=True)
            out[b, h, i, x] = math.fsum(math.exp(score) * v[b, h // group, j, x] for score, j in terms) / total
    return out, lse


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    kv_heads=st.integers(1, 2),
    group=st.integers(1, 3),
    q_len=st.integers(1, 6),
    kv_len=st.integers(1, 7),
    d=st.integers(1, 4),
    d_v=st.integers(1, 3),
    mask=st.sampled_from(["full", "causal"]),
    window=st.one_of(st.none(), st.integers(1, 4)),
    sinks=st.integers(0, 2),
)
def test_equals_the_definition(seed, kv_heads, group, q_len, kv_len, d, d_v, mask, window, sinks):
    q, k, v = draw(seed, 2, kv_heads * group, kv_heads, q_len, kv_len, d, d_v)
    out, lse = oracle.attention(q, k, v, mask=mask, window=window, sinks=sinks)
    visible = np.zeros((q_len, kv_len), dtype=bool)
    for i, j in np.ndindex(q_len, kv_len):
        position = i + kv_len - q_len
        visible[i, j] = (mask == "full" or j <= position) and (window is None or position - j < window or j < sinks)
    want_out, want_lse = loops(q, k, v, visible)
    np.testing.assert_allclose(out, want_out, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(lse, want_lse, rtol=1e-12, atol=1e-13)


def test_rows_without_a_key_give_zero_and_minus_infinity():
    q, k, v = draw(0, 1, 2, 1, 5, 3, 4, 4)
    out, lse = oracle.attention(q, k, v, mask="causal")
    assert np.all(out[:, :, :2] == 0) and np.all(np.isneginf(lse[:, :, :2]))
    assert np.all(np.isfinite(lse[:, :, 2:])) and np.all(np.any(out[:, :, 2:] != 0, axis=-1))


def test_no_keys_at_all():
    q, k, v = draw(0, 1, 2, 1, 5, 0, 4, 4)
    out, lse = oracle.attention(q, k, v)
    assert out.shape == (1, 2, 5, 4) and np.all(out == 0) and np.all(np.isneginf(lse))


def test_causal_equals_full_on_the_last_row():
    q, k, v = draw(3, 2, 4, 2, 5, 9, 8, 8)
    causal, causal_lse = oracle.attention(q, k, v, mask="causal")
    full, full_lse = oracle.attention(q, k, v)
    np.testing.assert_array_equal(causal[:, :, -1], full[:, :, -1])
    np.testing.assert_array_equal(causal_lse[:, :, -1], full_lse[:, :, -1])
    assert not np.allclose(causal[:, :, 0], full[:, :, 0])


def test_large_scores_do_not_overflow():
    q, k, v = draw(4, 1, 1, 1, 2, 8, 4, 4)
    out, lse = oracle.attention(1e4 * q, k, v)
    assert np.all(np.isfinite(out)) and np.all(np.isfinite(lse))
    best = np.argmax(q[0, 0] @ k[0, 0].T, axis=-1)
    np.testing.assert_allclose(out[0, 0], v[0, 0, best])


def test_a_boolean_mask_is_used_and_anything_else_refused():
    q, k, v = draw(5, 1, 2, 2, 3, 6, 4, 4)
    keep = np.array([True, False, True, True, False, True])
    out, lse = oracle.attention(q, k, v, mask=np.broadcast_to(keep, (3, 6)))
    want, want_lse = oracle.attention(q, k[:, :, keep], v[:, :, keep])
    np.testing.assert_allclose(out, want, rtol=1e-12)
    np.testing.assert_allclose(lse, want_lse, rtol=1e-12)
    with pytest.raises(ValueError, match="boolean"):
        oracle.attention(q, k, v, mask=np.ones((3, 6)))
    with pytest.raises(ValueError, match="'full', 'causal' or a boolean"):
        oracle.attention(q, k, v, mask="triangle")


def test_probabilities_are_the_weights_of_the_output():
    q, k, v = draw(6, 2, 4, 2, 5, 7, 4, 3)
    weights = oracle.probabilities(q, k, mask="causal")
    np.testing.assert_allclose(weights.sum(axis=-1), 1.0, rtol=1e-12)
    out, _ = oracle.attention(q, k, v, mask="causal")
    np.testing.assert_allclose(weights @ np.repeat(v, 2, axis=1), out, rtol=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    cuts=st.lists(st.integers(0, 12), min_size=1, max_size=4),
    order=st.randoms(use_true_random=False),
)
def test_merge_joins_any_split_in_any_order(seed, cuts, order):
    q, k, v = draw(seed, 1, 2, 1, 3, 12, 4, 4)
    whole, whole_lse = oracle.attention(q, k, v)
    edges = [0, *sorted(cuts), 12]
    parts = [oracle.attention(q, k[:, :, a:b], v[:, :, a:b]) for a, b in itertools.pairwise(edges)]
    order.shuffle(parts)
    out, lse = oracle.merge(parts)
    np.testing.assert_allclose(out, whole, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(lse, whole_lse, rtol=1e-12)
    left = oracle.merge([oracle.merge(parts[:2]), *parts[2:]])
    np.testing.assert_allclose(left[0], out, rtol=1e-10, atol=1e-12)


def test_merge_of_empty_parts_is_empty():
    q, k, v = draw(7, 1, 1, 1, 2, 0, 4, 4)
    empty = oracle.attention(q, k, v)
    out, lse = oracle.merge([empty, empty])
    assert np.all(out == 0) and np.all(np.isneginf(lse))


def test_adding_a_constant_to_all_scores_changes_only_the_lse():
    q, k, v = draw(8, 1, 2, 2, 4, 9, 4, 4)
    # One more coordinate with q = 3 and k = 1 adds the constant 3 * scale to each score.
    q_shift = np.concatenate([q, np.full((*q.shape[:-1], 1), 3.0)], axis=-1)
    k_shift = np.concatenate([k, np.ones((*k.shape[:-1], 1))], axis=-1)
    out, lse = oracle.attention(q, k, v, scale=0.5)
    shifted, shifted_lse = oracle.attention(q_shift, k_shift, v, scale=0.5)
    np.testing.assert_allclose(shifted, out, rtol=1e-12)
    np.testing.assert_allclose(shifted_lse, lse + 1.5, rtol=1e-12)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((2, 3, 4), (2, 5, 3), (2, 5, 4)), "head dimension: 4 and 3"),
        (((2, 3, 4), (2, 5, 4), (2, 6, 4)), "k and v differ"),
        (((3, 3, 4), (2, 5, 4), (2, 5, 4)), "3 query heads cannot be grouped over 2"),
        (((1, 2, 3, 4), (2, 2, 5, 4), (2, 2, 5, 4)), "differ in batch"),
        (((3, 4), (2, 5, 4), (2, 5, 4)), "need at least"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(shapes, message):
    with pytest.raises(ValueError, match=message):
        oracle.attention(*(np.zeros(shape) for shape in shapes))


@pytest.mark.parametrize(("window", "sinks", "message"), [(0, 0, "window"), (2, -1, "sink")])
def test_bad_windows_are_refused(window, sinks, message):
    with pytest.raises(ValueError, match=message):
        oracle.visible_keys(3, 3, window=window, sinks=sinks)


def test_merge_refuses_nothing_and_mixed_shapes():
    q, k, v = draw(9, 1, 1, 1, 2, 3, 4, 4)
    part = oracle.attention(q, k, v)
    other = oracle.attention(q[:, :, :1], k, v)
    with pytest.raises(ValueError, match="at least one"):
        oracle.merge([])
    with pytest.raises(ValueError, match="differ in shape"):
        oracle.merge([part, other])
