"""Values of attention blocks: every order of latent attention, held against each other and the float64 oracle."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from algorithms.chip.algorithm import get_chip_algorithm
from algorithms.chip.latent.attend import KeyCuts, attend, split_spans
from algorithms.chip.latent.fit import BlockParameters
from algorithms.chip.latent.orders import ORDERS, latent_program, latent_program_of, plain_program, sizes_of
from algorithms.chip.latent.values import compute, draw, draw_step, past_of, rotate
from algorithms.workload.shape import LatentAttention, Workload
from algorithms.workload.text import load_tensors, load_workload, workload_of_tensors
from reference.captures import capture_path
from reference.truth.metrics import max_abs
from reference.truth.oracle import attention
from reference.truth.oracle_variants import latent_attention

EXACT = 1e-12


def small(q_rank: int | None = 12, **changes: object) -> Workload:
    """A block of DeepSeek's structure, small enough to compute many times."""
    latent = LatentAttention(kv_lora_rank=10, qk_rope_head_dim=4, q_lora_rank=q_rank)
    base = Workload("small", "decode", 4, 4, 2, 13, 9, v_head_dim=7, mask="causal", batch=2, hidden=16, latent=latent)
    return base.with_(**changes) if changes else base


@pytest.mark.parametrize("mask", ["causal", "full"])
@pytest.mark.parametrize("q_rank", [12, None], ids=["query-latent", "direct-queries"])
@pytest.mark.parametrize(("q_len", "kv_len"), [(1, 1), (1, 13), (3, 13), (13, 13)])
def test_all_orders_make_the_same_hidden_state(mask, q_rank, q_len, kv_len):
    workload = small(q_rank, mask=mask, q_len=q_len, kv_len=kv_len)
    outs = {}
    for order in ORDERS:
        program = latent_program(order, workload)
        outs[order] = compute(program, *draw_step(program, 5), cuts=KeyCuts(4, 2))["out"]
    assert np.abs(outs["exp"]).max() > 0.1
    for order, out in outs.items():
        assert max_abs(out, outs["exp"]) <= EXACT, order


@given(
    st.integers(1, 3),
    st.integers(1, 6),
    st.integers(0, 20),
    st.integers(1, 9),
    st.integers(1, 5),
    st.sampled_from(["full", "causal"]),
    st.integers(0, 99),
)
@settings(max_examples=25, deadline=None)
def test_orders_equal_the_oracle_for_any_tiles(batch, q_len, earlier, tile_keys, splits, mask, seed):
    workload = small(batch=batch, q_len=q_len, kv_len=q_len + earlier, mask=mask)
    with_queries = latent_program("seq", workload)
    for order in ("exp", "seq", "rc"):
        program = latent_program(order, workload)
        known = compute(program, *draw_step(program, seed), cuts=KeyCuts(tile_keys, splits))
        queries = known if "q_nope" in known else compute(with_queries, *draw_step(with_queries, seed))
        expected, _ = latent_attention(
            queries["q_nope"].transpose(0, 2, 1, 3),
            queries["q_rope"].transpose(0, 2, 1, 3),
            known["latent"],
            known["rope"],
            known["w_uk"],
            known["w_uv"],
            mask=mask,
        )
        assert max_abs(known["heads"], expected.transpose(0, 2, 1, 3)) <= EXACT


def test_a_decode_step_continues_a_prompt():
    whole, step = small(q_len=13, phase="prefill"), small(q_len=2)
    for order in ORDERS:
        program, later = latent_program(order, whole), latent_program(order, step)
        tensors = draw(program, 3)
        prompt = compute(program, tensors)["out"]
        past = past_of(later, tensors, tensors["x"][:, :11])
        out = compute(later, {**tensors, "x": tensors["x"][:, 11:]}, past)["out"]
        assert max_abs(out, prompt[:, 11:]) <= EXACT, order


def test_a_block_without_tokens_is_empty():
    workload = small()
    for order in ORDERS:
        program = latent_program_of(order, {**sizes_of(workload), "s": 0, "l": 0}, workload)
        assert compute(program, draw(program, 0))["out"].shape == (2, 0, 16)


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_a_plain_block_is_grouped_query_attention_between_projections(kv_heads):
    workload = small(latent=None, kv_heads=kv_heads, head_dim=6, v_head_dim=6)
    program = plain_program(workload)
    known = compute(program, *draw_step(program, 1), cuts=KeyCuts(4, 3))
    q, k, v = (known[name].transpose(0, 2, 1, 3) for name in ("q", "k_plain", "v_plain"))
    expected, _ = attention(q, k, v, mask="causal")
    assert max_abs(known["heads"].transpose(0, 2, 1, 3), expected) <= EXACT
    out = np.einsum("bhsv,hvd->bsd", expected, known["w_o"])
    assert max_abs(known["out"], out) <= EXACT


def test_ragged_sequences_and_poison_behind_their_ends():
    rng = np.random.default_rng(0)
    q, k, v = rng.standard_normal((3, 4, 2, 5)), rng.standard_normal((3, 2, 11, 5)), rng.standard_normal((3, 2, 11, 6))
    lengths = [11, 2, 0]
    for row, length in enumerate(lengths):
        k[row, :, length:] = np.nan
        v[row, :, length:] = np.nan
    for mask in ("causal", "full"):
        out, lse = attend([(q, k)], v, 5**-0.5, mask, KeyCuts(4, 2), lengths)
        for row, length in enumerate(lengths):
            expected, log = attention(q[row], k[row, :, :length], v[row, :, :length], mask=mask)
            assert max_abs(out[row], expected) <= EXACT
            np.testing.assert_allclose(lse[row], log, rtol=0, atol=EXACT)
    assert np.isneginf(lse[2]).all()


@pytest.mark.parametrize(("tiles", "splits"), [(0, 3), (1, 3), (7, 3), (7, 7), (7, 20)])
def test_splits_share_out_all_tiles(tiles, splits):
    spans = split_spans(tiles, splits)
    assert [tile for span in spans for tile in span] == list(range(tiles))
    assert len(spans) == max(1, min(tiles, splits))
    assert max(map(len, spans)) - min(map(len, spans)) <= 1


def test_rotation_keeps_lengths_and_depends_on_distance_alone():
    rng = np.random.default_rng(2)
    q, k = rng.standard_normal((1, 1, 8)), rng.standard_normal((1, 1, 8))
    near = (rotate(q, 7) * rotate(k, 4)).sum()
    far = (rotate(q, 1007) * rotate(k, 1004)).sum()
    assert abs(near - far) < 1e-9
    assert abs(near - (q * k).sum()) > 1e-3
    assert abs((rotate(q, 7) ** 2).sum() - (q**2).sum()) < EXACT


@pytest.mark.parametrize("name", [f"mla.{order}" for order in ORDERS])
def test_registered_orders_compute_what_they_prepare(name):
    algorithm, workload = get_chip_algorithm(name), small(q_len=3)
    parameters = BlockParameters(tile_columns=4, splits=2)
    nothing = (np.empty(0),) * 3
    q, k, v = algorithm.prepared(workload, parameters, nothing)
    assert (q.shape, k.shape, v.shape) == (workload.q_shape, workload.k_shape, workload.v_shape)
    expected, _ = attention(q, k, v, mask="causal")
    assert max_abs(algorithm.values(workload, parameters, (q, k, v)), expected) <= EXACT


@pytest.mark.parametrize("mask", ["full", "causal"])
@pytest.mark.parametrize("kv_heads", [4, 2])
def test_plain_blocks_on_captured_tensors(mask, kv_heads):
    q, k, v = (each[:, :4] for each in load_tensors(capture_path("minilm_l6_layer3")))
    k, v = k[:, :kv_heads], v[:, :kv_heads]
    workload = workload_of_tensors(load_workload("minilm-l6").with_(mask=mask), q, k, v)
    algorithm, parameters = get_chip_algorithm("block.gqa"), BlockParameters(tile_columns=24, splits=3)
    given = algorithm.prepared(workload, parameters, (q, k, v))
    expected, _ = attention(q, k, v, mask=mask)
    assert max_abs(algorithm.values(workload, parameters, given), expected) <= EXACT


def test_values_of_a_block_do_not_depend_on_whose_seed_drew_other_tensors():
    """Orders share the tensors they have in common, so their results can be compared."""
    workload = small()
    tensors = {order: draw(latent_program(order, workload), 7) for order in ORDERS}
    for order, drawn in tensors.items():
        assert set(drawn) == set(tensors["exp"]), order
        for name, values in drawn.items():
            np.testing.assert_array_equal(values, tensors["exp"][name])
    assert np.abs(draw(latent_program("exp", workload), 8)["x"] - tensors["exp"]["x"]).max() > 0.1
