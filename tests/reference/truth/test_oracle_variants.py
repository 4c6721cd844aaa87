"""The oracles of latent attention and compressive memory against properties that follow from their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from reference.truth import oracle, oracle_variants


def test_latent_attention_with_identity_projections_is_attention_on_the_latent():
    rng = np.random.default_rng(0)
    q_nope, q_rope = rng.standard_normal((1, 2, 3, 4)), rng.standard_normal((1, 2, 3, 2))
    latent, rope_key = rng.standard_normal((1, 5, 4)), rng.standard_normal((1, 5, 2))
    identity = np.broadcast_to(np.eye(4), (2, 4, 4))
    out, lse = oracle_variants.latent_attention(q_nope, q_rope, latent, rope_key, identity, identity)
    q, k = np.concatenate([q_nope, q_rope], axis=-1), np.concatenate([latent, rope_key], axis=-1)[:, None]
    want, want_lse = oracle.attention(q, k, latent[:, None], mask="causal")
    np.testing.assert_allclose(out, want, rtol=1e-12)
    np.testing.assert_allclose(lse, want_lse, rtol=1e-12)


def draw(length):
    rng = np.random.default_rng(1)
    return [rng.standard_normal((1, 2, length, 4)) for _ in range(3)]


@pytest.mark.parametrize("delta", [False, True])
def test_compressive_attention_with_a_closed_gate_or_one_segment_is_local(delta):
    q, k, v = draw(10)
    closed = oracle_variants.compressive_attention(q, k, v, segment=5, gate=[-1e3, -1e3], delta=delta)
    for tokens in (slice(0, 5), slice(5, 10)):
        local, _ = oracle.attention(q[:, :, tokens], k[:, :, tokens], v[:, :, tokens], mask="causal")
        np.testing.assert_allclose(closed[:, :, tokens], local, rtol=1e-12)
    half = oracle_variants.compressive_attention(q, k, v, segment=10, gate=[0.0, 0.0], delta=delta)
    np.testing.assert_allclose(half, oracle.attention(q, k, v, mask="causal")[0] / 2, rtol=1e-12)


def test_an_open_gate_recalls_the_only_value_written():
    q, k, v = draw(3)
    v[:] = v[:, :, :1]
    out = oracle_variants.compressive_attention(q, k, v, segment=1, gate=[1e3, 1e3])
    np.testing.assert_allclose(out[:, :, 1:], v[:, :, 1:], rtol=1e-12)
    assert np.all(out[:, :, 0] == 0)


def test_the_delta_rule_writes_nothing_that_is_known():
    """A key-value pair written twice leaves the delta memory as after the first time, the linear one doubled."""
    q, k, v = draw(3)
    k[:], v[:] = k[:, :, :1], v[:, :, :1]
    once = oracle_variants.compressive_attention(
        q[:, :, :2], k[:, :, :2], v[:, :, :2], segment=1, gate=[1e3, 1e3], delta=True
    )
    np.testing.assert_allclose(once[:, :, 1], v[:, :, 0], rtol=1e-12)
    rows = oracle_variants._delta_recall(np.abs(q), np.abs(k), v, 1)
    # After two writes the normaliser has doubled and the matrix has not.
    np.testing.assert_allclose(rows[:, :, 2], v[:, :, 0] / 2, rtol=1e-12)


def test_segments_have_a_length():
    with pytest.raises(ValueError, match="segment must be at least 1"):
        oracle_variants.compressive_attention(*draw(3), segment=0, gate=[0.0, 0.0])
