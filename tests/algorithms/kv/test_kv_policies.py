"""What single policies do that the golden cases and the common invariants do not show."""

import numpy as np
import pytest

from algorithms.kv.budget import KVBudget
from algorithms.kv.cost import CacheShape
from algorithms.kv.parts.memory import feature
from algorithms.kv.parts.quantize import compression_ratio, low_bit_bytes, quantize_rows
from algorithms.kv.placement import Placement
from algorithms.kv.run.account import Accounting
from algorithms.kv.run.attention import Visible, attend
from algorithms.kv.run.stream import KVStack, KVStream
from algorithms.kv.text import parse_policy
from hwmodels.reading.errors import InputError

SHAPE = CacheShape(2, 2, 4)


def tensors(tokens, seed=0, shape=SHAPE):
    rng = np.random.default_rng(seed)
    q = rng.standard_normal((shape.query_heads, tokens, shape.head_dim))
    k, v = rng.standard_normal((2, shape.kv_heads, tokens, shape.head_dim))
    return q, k, v


def run(text, data, budget=None, shape=SHAPE, prefill=0, details=None, **options):
    """Feed `data` token by token after a prefill; the stream and all results."""
    q, k, v = data
    budget = None if budget is None else KVBudget(tokens=budget)
    stream = KVStream(parse_policy(text), shape, budget, **options)
    results = stream.prefill(q[:, :prefill], k[:, :prefill], v[:, :prefill]) if prefill else []
    for at in range(prefill, k.shape[1]):
        one = slice(at, at + 1)
        extra = {} if details is None else details(at)
        results.append(stream.step(q[:, one], k[:, one], v[:, one], **extra))
    return stream, results


def works(result, what):
    return [work for work in result.cost.work if work.what == what]


# windows


def test_a_union_keeps_what_streaming_llm_keeps():
    data = tensors(40)
    one, _ = run("streaming_llm(sink=4,recent=8)", data)
    other, _ = run("sink(4) + window(8)", data)
    assert [row.tolist() for row in one.kept()] == [row.tolist() for row in other.kept()]


def test_heads_of_a_split_have_their_own_lengths():
    stream, results = run("duo_attention(retrieval=0.5,sink=2,recent=6)", tensors(30))
    assert [row.size for row in stream.kept()] == [30, 8]
    assert results[-1].cost.attended == (30, 9)
    nested, _ = run("duo_attention(pattern=[[0,1]],sink=2,recent=6) | every(4)", tensors(30))
    assert nested.kept()[1].size == 30
    assert 8 <= nested.kept()[0].size <= 11


def test_streaming_vlm_has_a_window_per_modality():
    modality = np.array([0] * 5 + [1] * 10 + [0] * 6 + [1] * 4)
    stream, _ = run(
        "streaming_vlm(text_sink=2,text_window=3,vision_window=5)",
        tensors(25),
        details=lambda at: {"modality": modality[at : at + 1]},
    )
    assert stream.kept()[0].tolist() == [0, 1, 14, 18, 19, 20, 21, 22, 23, 24]


def test_sirllm_makes_room_before_a_prompt_and_needs_information():
    information = np.arange(30, dtype=float)[::-1]
    stream, _ = run(
        "sirllm(sink=2,entropy=6)", tensors(20), details=lambda at: {"information": information[at : at + 1]}
    )
    # the most informative came first; the last token came into the room made for it
    assert stream.kept()[0].tolist() == [0, 1, 2, 3, 4, 17, 18, 19]
    with pytest.raises(InputError, match="self-information"):
        run("sirllm(sink=2,entropy=6)", tensors(3))


# scores


def test_the_masked_variant_of_h2o_overlooks_one_key_for_one_step():
    data = tensors(30)
    masked, results = run("h2o_masked(heavy=3,recent=4)", data)
    real, _ = run("h2o(heavy=3,recent=4)", data)
    assert masked.kept()[0].size == 30
    assert real.kept()[0].size == 7
    seen = results[-1].selected[0]
    # three heavy keys, then the new one and the three before it; the key at 25 is in neither part
    assert seen.size == 7
    assert seen[-4:].tolist() == [26, 27, 28, 29]
    assert 25 not in seen[:-4].tolist()


def test_tova_waits_for_all_heads_and_h2o_for_its_group_only():
    shape = CacheShape(4, 2, 4)
    data = tensors(20, shape=shape)
    assert run("tova", data, 8, shape)[1][-1].cost.barrier == "layer"
    assert run("h2o", data, 8, shape)[1][-1].cost.barrier == "group"
    assert run("window", data, 8, shape)[1][-1].cost.barrier == "none"


def test_probabilities_that_leave_the_kernel_are_accounted_for():
    shape = CacheShape(4, 2, 4)
    data = tensors(20, shape=shape)
    export = run("h2o", data, 8, shape)[1][-1].cost.export
    keys = 2 * 9
    assert (export.rows, export.macs) == (1, keys * 2 * 4)
    assert export.key_bytes == keys * 4 * 2
    assert export.column_bytes == keys * 2 * 4
    assert run("streaming_llm", data, 8, shape)[1][-1].cost.export is None


def test_one_shot_policies_choose_once_and_then_grow():
    stream, results = run("snapkv(window=4)", tensors(40), 12, prefill=30)
    assert stream.kept()[0].size == 12 + 10
    assert stream.kept()[0][-14:].tolist() == list(range(26, 40))
    assert results[0].cost.copies[0].tokens == 2 * 12
    bounded, _ = run("snapkv(window=4) | every(5)", tensors(40), 12, prefill=30)
    assert bounded.kept()[0].size == 12


def test_pyramid_budgets_fall_from_layer_to_layer_and_keep_their_mean():
    shape = CacheShape(2, 2, 4, layers=5)
    data = tensors(60, shape=shape)
    for variant, mean in (("kvpress", 20), ("factory", 20 + 2)):
        sizes = [
            run(f"pyramidkv(window=2,beta=4,variant={variant})", data, 20, shape, prefill=60, layer=layer)[0]
            .kept()[0]
            .size
            for layer in range(5)
        ]
        assert sizes == sorted(sizes, reverse=True)
        assert abs(np.mean(sizes) - mean) <= 2


def test_layers_may_have_budgets_of_their_own():
    shape = CacheShape(2, 2, 4, layers=2)
    sizes = [run("h2o | per_layer([5,9])", tensors(20), None, shape, layer=layer)[0].kept()[0].size for layer in (0, 1)]
    assert sizes == [5, 9]
    with pytest.raises(InputError, match="2 budgets for 1 layers"):
        run("h2o | per_layer([5,9])", tensors(20))


def test_evict3r_shares_the_budget_over_layers_by_their_variance():
    shape = CacheShape(2, 2, 4, layers=2)
    flat, peaked = tensors(40, 1, shape), tensors(40, 2, shape)
    peaked = (peaked[0] * 4, peaked[1] * 4, peaked[2])
    stack = KVStack(parse_policy("evict3r(frame=5,special=1,temperature=0.5)"), shape, KVBudget(tokens=20))
    for start in range(0, 40, 5):
        rows = slice(start, start + 5)
        results = stack.step(
            [tuple(t[:, rows] for t in layer) for layer in (flat, peaked)], phase="frame", causal=False
        )
    sizes = [stream.kept()[0].size for stream in stack.streams]
    assert sizes[0] > sizes[1]
    assert abs(sum(sizes) - 40) <= 2
    assert set(range(5)) <= set(stack.streams[1].kept()[0].tolist())
    assert results[0].cost.barrier == "model"


# memories


def test_attendre_lets_queries_wait_for_later_keys():
    data = tensors(12)
    _, results = run("attendre_like(query_memory=3)", data, 12)
    assert [result.answered.tolist() for result in results[:5]] == [[], [], [], [0], [1]]
    q, k, v = data
    later = attend(q[:, :1], np.array([3]), Visible(k[:, :4], v[:, :4], np.arange(4)[None])).output
    np.testing.assert_allclose(results[3].output, later, atol=1e-12)
    assert results[0].output is None
    assert results[0].cost.attention_macs == 0
    stream, _ = run("attendre_like(rule=fifo)", data, 5)
    assert stream.kept()[0].tolist() == [7, 8, 9, 10, 11]


def test_lra_and_lfa_evict_by_time_and_by_count():
    rng = np.random.default_rng(1)
    q, k, v = tensors(40)
    k[:, 3] = 8 * q[:, 3]  # asked for early and often
    q[:, 3:20] = q[:, 3:4] + 0.01 * rng.standard_normal((2, 17, 4))
    q[:, 20:] = -q[:, 3:4]
    lfa, _ = run("attendre_like(rule=lfa,top=1)", (q, k, v), 6)
    lra, _ = run("attendre_like(rule=lra,top=1)", (q, k, v), 6)
    assert 3 in lfa.kept()[0]
    assert 3 not in lra.kept()[0]


@pytest.mark.parametrize("name", ["moviechat_like", "flash_vstream_like"])
def test_merged_frames_are_averages(name):
    q, k, v = tensors(24)
    stream, _ = run(f"{name}(frame=4,short=1,long=2)", (q, k, v))
    cache = stream.caches[0]
    counts = cache.column("count")[0].reshape(-1, 4)[:, 0]
    assert counts.sum() == 6
    assert cache.count == 12
    # every value of the stream is still there, by its weight
    total = (cache.values * cache.column("count")[:, :, None]).sum(1)
    np.testing.assert_allclose(total, v.sum(1), atol=1e-9)


def test_moviechat_merges_the_most_alike_neighbours():
    q, k, v = tensors(20)
    k[:, 8:12] = k[:, 4:8]
    stream, _ = run("moviechat_like(frame=4,short=2,long=2)", (q, k, v))
    assert sorted({int(p) // 4 for p in stream.kept()[0]}) == [0, 1, 3, 4]


def test_xmem_potentiates_values_of_new_prototypes():
    q, k, v = tensors(13)
    stream, _ = run("xmem_like(working_share=0.5)", (q, k, v), 12)
    cache = stream.caches[0]
    made = cache.column("0.prototype" if cache.has("0.prototype") else "prototype")[0] > 0
    assert made.sum() == 6
    assert not np.allclose(cache.values[0, made], v[0, cache.positions[0, made]])
    assert np.array_equal(cache.values[0, ~made], v[0, cache.positions[0, ~made]])


def test_streammem_drops_repeated_frames_first():
    q, k, v = tensors(24)
    k[:, 4:8] = k[:, 0:4]
    stream = KVStream(parse_policy("streammem_like(frame=4,queries=4)"), SHAPE, KVBudget(tokens=20))
    for start in range(0, 24, 4):
        rows = slice(start, start + 4)
        stream.step(q[:, rows], k[:, rows], v[:, rows], phase="frame", causal=False)
    kept = stream.kept()[0]
    # all that is left of the repeated frame is its prototype
    assert np.isin(kept, range(4, 8)).sum() <= 1


def test_balancing_keeps_attention_close_and_counts_double():
    rng = np.random.default_rng(3)
    q, k, v = (0.3 * t for t in tensors(256, 3))
    stream, results = run("balancekv(sink=8,window=8,block=32)", (q, k, v), 136, prefill=255)
    cache = stream.caches[0]
    assert set(np.round(np.exp(cache.column("bias"))).ravel()) == {1.0, 2.0}
    full = attend(q[:, -1:], np.array([255]), Visible(k, v, np.arange(256)[None])).output
    balanced = np.linalg.norm(results[-1].output - full) / np.linalg.norm(full)
    guesses = []
    for _ in range(20):
        rows = np.sort(rng.permutation(240)[:120] + 8)
        rows = np.concatenate([np.arange(8), rows, np.arange(248, 256)])
        picked = Visible(k[:, rows], v[:, rows], rows[None])
        guesses.append(np.linalg.norm(attend(q[:, -1:], np.array([255]), picked).output - full))
    assert balanced < np.mean(guesses) / np.linalg.norm(full)
    assert works(results[0], "balancing walk")[0].serial_depth == 32


def test_linear_attention_is_its_recurrence():
    q, k, v = tensors(9)
    _, one = run("linear_attention", (q, k, v))
    stream = KVStream(parse_policy("linear_attention"), SHAPE)
    at_once = stream.step(q, k, v).output
    matrix, weight = np.zeros((2, 4, 4)), np.zeros((2, 4))
    for at in range(9):
        mapped = feature(k[:, at])
        matrix += mapped[:, :, None] * v[:, at, None, :]
        weight += mapped
        asked = feature(q[:, at])
        expected = np.einsum("hd,hde->he", asked, matrix) / (asked * weight).sum(-1, keepdims=True)
        np.testing.assert_allclose(one[at].output[:, 0], expected, atol=1e-6)
        np.testing.assert_allclose(at_once[:, at], expected, atol=1e-6)
    assert stream.kept()[0].size == 0


def test_constant_states_do_not_grow():
    for text in ("linear_attention", "infini_attention(segment=8)"):
        _, results = run(text, tensors(64))
        state = [result.cost.held("HBM").state_bytes for result in results]
        assert len(set(state[16:])) == 1
        assert max(result.cost.attended[0] for result in results) <= 8


# retrieval


def test_the_oracle_sees_what_the_query_attends():
    q, k, v = tensors(50)
    _, results = run("oracle", (q, k, v), 10)
    for head in range(2):
        logits = k[head] @ q[head, -1]
        assert results[-1].selected[head].tolist() == sorted(np.argsort(-logits)[:10].tolist())


def test_quest_finds_the_page_of_a_needle_and_reads_whole_pages():
    q, k, v = tensors(65)
    k[:, 21] = 12 * q[:, -1]
    _, results = run("quest(page=8,recent=4)", (q, k, v), 20)
    for row in results[-1].selected:
        assert set(range(16, 24)) <= set(row.tolist())
        assert row.size == 20
    read = results[-1].cost.reads[0]
    assert read.runs.length.min() >= 4
    # sixty-one keys behind the recent ones make eight pages; two bounds of four numbers each, two heads
    assert works(results[-1], "page bounds")[0].read_bytes == 8 * 2 * 4 * 2 * 2


def test_infllm_fetches_through_its_cache_and_counts_hits():
    text = "infllm(init=2,local=8,block=4,blocks=2,representatives=1,cached=3,chunk=8)"
    stream, results = run(text, tensors(60), prefill=32, placement=Placement(("HBM", "DRAM")))
    hits = sum(result.cost.hits for result in results)
    misses = sum(result.cost.misses for result in results)
    assert hits > 0
    fetched = sum(t.bytes for r in results for t in r.cost.transfers if (t.source, t.target) == ("DRAM", "HBM"))
    assert fetched == misses * 2 * 4 * SHAPE.token_bytes
    last = results[-1].cost
    assert last.held("DRAM").logical_bytes == 60 * 2 * SHAPE.token_bytes
    assert last.held("HBM").logical_bytes < last.held("DRAM").logical_bytes
    assert len(stream.states[0].memory.tiers.resident()) <= 3


def test_rekv_asks_once_per_question():
    q, k, v = tensors(50)
    k[:, 12:16] = 6 * q[:, 40:41]
    _, results = run(
        "rekv(frame=4,frames=2,local=8)",
        (q, k, v),
        details=lambda at: {"phase": "frame" if at < 40 else "decode", "question": at == 40},
    )
    assert results[39].selected[0].tolist() == list(range(31, 40))
    for result in results[40:]:
        assert set(range(12, 16)) <= set(result.selected[0].tolist())
    assert [bool(works(result, "frame scores")) for result in results[40:44]] == [True, False, False, False]
    assert results[40].cost.misses == 2
    assert results[41].cost.misses == 0


def test_retroinfer_estimates_with_little_error_and_few_bytes():
    rng = np.random.default_rng(5)
    centres = 3 * rng.standard_normal((2, 12, 4))
    k = centres[:, rng.integers(0, 12, 400)] + 0.1 * rng.standard_normal((2, 400, 4))
    q, _, v = tensors(400, 6)
    text = "retroinfer(sink=2,local=16,cluster=8,segment=400,retrieve=0.1,estimate=0.9,update=16)"
    _, results = run(text, (q, k, v), prefill=399)
    _, blind = run(text.replace("estimate=0.9", "estimate=0"), (q, k, v), prefill=399)
    full = attend(q[:, -1:], np.array([399]), Visible(k, v, np.arange(400)[None])).output
    error = np.linalg.norm(results[-1].output - full)
    assert error < 0.05 * np.linalg.norm(full)
    assert error < np.linalg.norm(blind[-1].output - full)
    assert results[-1].cost.attended[0] < 120


def test_specache_prefetches_one_step_ahead():
    text = "specache(bits=2,group=4,residual=4,top=3)"
    stream, results = run(text, tensors(40), placement=Placement(("HBM", "DRAM")))
    ahead = [t for t in results[-1].cost.transfers if t.speculative]
    assert {t.needed_at for t in ahead} == {40}
    assert sum(t.bytes for t in ahead) <= 3 * 2 * SHAPE.token_bytes
    fast = results[-1].cost.held("HBM")
    coded = stream.states[0].coded
    assert fast.logical_bytes == (40 - coded + 3) * 2 * SHAPE.token_bytes
    assert fast.state_bytes == 2 * coded * low_bit_bytes(8, 2, 4)
    assert results[-1].cost.read_bytes < 40 * 2 * SHAPE.token_bytes


def test_a_better_copy_gives_a_better_answer():
    shape = CacheShape(2, 2, 64)
    data = tensors(200, 8, shape)
    full = attend(data[0][:, -1:], np.array([199]), Visible(*data[1:], np.arange(200)[None])).output
    errors = [
        np.linalg.norm(run(f"specache(bits={bits},top=1)", data, None, shape, prefill=199)[1][-1].output - full)
        for bits in (1, 2, 8)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.02 * np.linalg.norm(full)


def test_quantisation_errs_by_half_a_bin_at_most():
    rows = np.random.default_rng(0).standard_normal((1, 10, 6))
    for along, axis in (("channel", 1), ("token", 2)):
        back = quantize_rows(rows, 3, 4, along)
        for cut in (range(4), range(4, min(8, rows.shape[axis]))):
            group, restored = np.take(rows, cut, axis), np.take(back, cut, axis)
            span = group.max(axis, keepdims=True) - group.min(axis, keepdims=True)
            assert (np.abs(restored - group) <= span / 16 + 1e-12).all()
    assert np.array_equal(quantize_rows(np.full((1, 4, 2), 3.0), 1, 4, "channel"), np.full((1, 4, 2), 3.0))
    assert compression_ratio(1, 64) == pytest.approx(32 / 3)


def test_ltri_cuts_spans_where_neighbours_differ_most():
    q, k, v = tensors(40)
    for start in range(0, 40, 8):
        k[:, start : start + 8] = k[:, start : start + 1] + 0.01 * k[:, start : start + 8]
    stream, results = run("ltri_like(init=0,local=8,span=8,spans=2,chunk=32,cached=4)", (q, k, v))
    assert stream.states[0].bounds == [0, 8, 16, 24, 32]
    assert results[-1].selected[0].size == 2 * 8 + 8
    assert np.array_equal(*results[-1].selected)


def test_livevlm_keeps_every_part_of_the_past():
    stream, _ = run("livevlm_like(buckets=4,short_share=0.5)", tensors(200), 40)
    old = stream.kept()[0][:20]
    assert all(np.isin(old, range(start, start + 60)).any() for start in range(0, 180, 60))


# accounting


def test_pages_stay_while_anything_in_them_lives():
    accounting = Accounting(page_tokens=4)
    shared = Accounting(page_tokens=4, pages_shared_by_heads=True)
    packed = Accounting(page_tokens=4, layout="shift")
    held = [
        run("random | every(16)", tensors(80), 16, accounting=how)[1][-17].cost.held("HBM")
        for how in (accounting, shared, packed)
    ]
    assert held[0].logical_bytes == held[1].logical_bytes == held[2].logical_bytes
    assert held[1].physical_bytes >= held[0].physical_bytes >= held[2].physical_bytes


def test_holes_are_reused_or_closed_as_the_layout_says():
    costs = {
        layout: run("random", tensors(60), 16, accounting=Accounting(layout=layout))[1][-1].cost
        for layout in ("slots", "shift", "rewrite")
    }
    assert not costs["slots"].copies
    assert costs["rewrite"].copies[0].tokens == 2 * 16
    assert 0 < costs["shift"].copies[0].tokens <= 2 * 16


def test_attention_work_is_counted_pair_by_pair():
    shape = CacheShape(4, 2, 4)
    stream = KVStream(parse_policy("full"), shape)
    q, k, v = tensors(10, shape=shape)
    first = stream.step(q[:, :6], k[:, :6], v[:, :6], phase="prefill", closes=True).cost
    second = stream.step(q[:, 6:], k[:, 6:], v[:, 6:]).cost
    assert first.attention_exps == 4 * 21
    assert second.attention_exps == 4 * (7 + 8 + 9 + 10)
    assert second.attention_macs == second.attention_exps * 8
    assert second.read_bytes == 10 * 2 * shape.token_bytes


@pytest.mark.parametrize(
    ("text", "budget", "message"),
    [
        ("h2o", None, "h2o needs a budget"),
        ("streaming_llm(sink=4)", 4, "4 tokens are fewer than the 5 that streaming_llm always keeps"),
        ("streaming_llm(sink=4,recent=20)", 10, "10 tokens are fewer than the 24"),
        ("window", 100, "100 tokens are more than the context of 50"),
        ("sink(4) + window(100)", None, "104 tokens are more than the context of 50"),
        ("snapkv(window=32)", 20, "20 tokens are fewer than the 33"),
    ],
)
def test_budgets_that_cannot_hold_are_one_line(text, budget, message):
    given = None if budget is None else KVBudget(tokens=budget)
    with pytest.raises(InputError) as error:
        KVStream(parse_policy(text), SHAPE, given, context_tokens=50)
    assert message in str(error.value)
    assert len(error.value.problems) == 1


def test_a_budget_is_given_once():
    with pytest.raises(InputError, match="either tokens or fraction_kept"):
        KVBudget()
    with pytest.raises(InputError, match=r"must be in \(0, 1\]"):
        KVBudget(fraction_kept=1.5)
    assert KVBudget(fraction_kept=1 - 0.7).capacity(10) == int(10 * (1 - 0.7))
    assert KVBudget(fraction_kept=0.01).capacity(10) == 1


@pytest.mark.parametrize(
    ("mask", "found"), [(np.ones(3, bool), "bool of shape (3,)"), (np.ones((2, 4)), "float64 of shape (2, 4)")]
)
def test_a_mask_that_cannot_be_is_told_to_the_author_of_the_policy(mask, found, monkeypatch):
    policy = parse_policy("window(8)")
    stream = KVStream(policy, SHAPE)
    monkeypatch.setattr(type(policy.start(stream.layer)), "keep", lambda self, step, cache: mask)
    q, k, v = tensors(4)
    expected = (
        f"keep of KV policy 'window' must return None or bool of shape (2 heads or 1, 4 keys), it returned {found}"
    )
    with pytest.raises(InputError) as error:
        stream.step(q, k, v)
    assert str(error.value) == expected
