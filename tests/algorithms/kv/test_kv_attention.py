"""Attention over selected keys against loops written out."""

import numpy as np
import pytest

from algorithms.kv.run import attention as kv_attention
from algorithms.kv.run.attention import Summaries, Visible, attend, merge_partials


def plain(q, query_positions, visible, causal=True):
    """One query and key at a time."""
    heads, n = visible.keys.shape[:2]
    group = q.shape[0] // heads
    output = np.zeros((*q.shape[:2], visible.values.shape[-1]))
    columns = np.zeros((q.shape[0], n))
    for head in range(q.shape[0]):
        row = head // group
        for m, position in enumerate(query_positions):
            logits = np.full(n, -np.inf)
            for key in range(n):
                if causal and visible.positions[row % len(visible.positions), key] > position:
                    continue
                if visible.valid is not None and not visible.valid[row, key]:
                    continue
                logits[key] = q[head, m] @ visible.keys[row, key] / np.sqrt(q.shape[2])
                if visible.bias is not None:
                    logits[key] += visible.bias[row, key]
                if visible.pair_bias is not None:
                    logits[key] += visible.pair_bias[m, key]
            weights = np.exp(logits - logits.max())
            weights /= weights.sum()
            factor = 1.0 if visible.value_weight is None else visible.value_weight[row]
            output[head, m] = (weights * factor) @ visible.values[row]
            columns[head] += weights if visible.pair_count is None else weights * visible.pair_count[m]
    return output, columns


def tensors(rng, heads=2, group=2, m=5, n=9, d=4):
    q = rng.standard_normal((heads * group, m, d))
    keys, values = rng.standard_normal((2, heads, n, d))
    return q, keys, values


@pytest.mark.parametrize("block", [1, 1 << 23])
def test_everything_a_key_can_carry(monkeypatch, block):
    monkeypatch.setattr(kv_attention, "_BLOCK_SCORES", block)
    rng = np.random.default_rng(3)
    q, keys, values = tensors(rng)
    visible = Visible(
        keys,
        values,
        np.stack([np.arange(9), np.arange(1, 10)]),
        valid=np.arange(9) < np.array([[9], [7]]),
        bias=rng.standard_normal((2, 9)),
        value_weight=rng.standard_normal((2, 9)),
        pair_bias=np.log(rng.integers(1, 3, (5, 9))),
        pair_count=rng.random((5, 9)),
    )
    positions = np.arange(4, 9)
    got = attend(q, positions, visible, column_sums=True, last_probabilities=True)
    output, columns = plain(q, positions, visible)
    np.testing.assert_allclose(got.output, output, atol=1e-12)
    np.testing.assert_allclose(got.column_sums, columns, atol=1e-12)
    last, _ = plain(
        q[:, -1:],
        positions[-1:],
        Visible(
            keys,
            np.broadcast_to(np.eye(9), (2, 9, 9)),
            visible.positions,
            visible.valid,
            visible.bias,
            None,
            visible.pair_bias[-1:],
        ),
    )
    np.testing.assert_allclose(got.last_probabilities, last[:, 0], atol=1e-12)


def test_tokens_of_a_frame_see_each_other():
    rng = np.random.default_rng(4)
    q, keys, values = tensors(rng)
    visible = Visible(keys, values, np.arange(9)[None])
    got = attend(q, np.arange(4, 9), visible, causal=False).output
    np.testing.assert_allclose(got, plain(q, np.arange(4, 9), visible, causal=False)[0], atol=1e-12)


def test_a_summary_counts_as_often_as_its_size():
    rng = np.random.default_rng(5)
    q, keys, values = tensors(rng, m=1)
    merged = Summaries(keys[:, :2], np.stack([values[:, 0] * 3, values[:, 1] * 1], 1), np.array([[3, 1], [3, 0]]))
    got = attend(q, np.array([9]), Visible(keys[:, 2:], values[:, 2:], np.arange(2, 9)[None], summaries=merged))
    repeated = [np.r_[0, 0, 0, 1, 2:9], np.r_[0, 0, 0, 2:9]]
    for head in range(4):
        rows = repeated[head // 2]
        one = Visible(keys[head // 2][rows][None], values[head // 2][rows][None], rows[None])
        np.testing.assert_allclose(
            got.output[head], attend(q[head : head + 1], np.array([9]), one).output[0], atol=1e-12
        )


def test_split_softmax_merges_exactly():
    rng = np.random.default_rng(6)
    q, keys, values = tensors(rng, m=1)
    parts = [
        attend(q, np.array([9]), Visible(keys[:, cut], values[:, cut], np.arange(9)[cut][None]))
        for cut in (slice(0, 6), slice(6, 9))
    ]
    output, alpha = merge_partials(parts[0].output, parts[0].log_sum_exp, parts[1].output, parts[1].log_sum_exp)
    whole = attend(q, np.array([9]), Visible(keys, values, np.arange(9)[None]))
    np.testing.assert_allclose(output, whole.output, atol=1e-12)
    assert ((alpha > 0) & (alpha < 1)).all()


def test_a_query_that_sees_nothing_gets_zeros():
    rng = np.random.default_rng(7)
    q, keys, values = tensors(rng, m=1)
    got = attend(q, np.array([0]), Visible(keys, values, np.arange(5, 14)[None]))
    assert not got.output.any()
    assert np.isneginf(got.log_sum_exp).all()
