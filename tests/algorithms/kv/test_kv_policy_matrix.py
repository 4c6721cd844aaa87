"""Every registered policy x head grouping x kind of step x wrapper: what must hold whatever the method."""

import zlib

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from algorithms.kv.budget import KVBudget
from algorithms.kv.cost import CacheShape
from algorithms.kv.policy import ScoreState
from algorithms.kv.registry import policy_class, policy_names
from algorithms.kv.run.attention import Visible, attend
from algorithms.kv.run.stream import KVStream
from algorithms.kv.text import parse_policy
from hwmodels.reading.errors import InputError

BUDGET = 12
DIM = 4
FRAME = 4

# text of each policy with sizes that fit a budget of 12 keys and streams of some tens
SMALL = {
    "adakv": "snapkv(window=2,kernel=3) | adakv",
    "attendre_like": "attendre_like(top=4)",
    "balancekv": "balancekv(sink=2,window=2,block=4)",
    "block": "keydiff | block(4)",
    "chunk": "h2o_oneshot(window=2) | chunk(3)",
    "deep_forcing_like": "deep_forcing_like(queries=3)",
    "duo_attention": "duo_attention(sink=2,recent=10)",
    "every": "h2o | every(2)",
    "evict3r": f"evict3r(frame={FRAME},special=1)",
    "flash_vstream_like": "flash_vstream_like(frame=2,short=2)",
    "full": "full",
    "h2o": "h2o",
    "h2o_masked": "h2o_masked",
    "h2o_oneshot": "h2o_oneshot(window=3)",
    "infini_attention": "infini_attention",
    "infinipot_v": "infinipot_v(frame=2,system=2)",
    "infllm": "infllm(init=2,local=4,block=2,blocks=none,representatives=1,cached=4,chunk=4)",
    "keydiff": "keydiff",
    "knorm": "knorm",
    "lagkv": "lagkv(sink=2,lag=2)",
    "linear_attention": "linear_attention",
    "livevlm_like": "livevlm_like(buckets=3,page=2)",
    "ltri_like": "ltri_like(init=2,local=2,span=2,chunk=2,spans=none,cached=4)",
    "moviechat_like": "moviechat_like(frame=2,short=2)",
    "observed_attention": "observed_attention",
    "once": "h2o | once",
    "oracle": "oracle",
    "per_head": "per_head([h2o,streaming_llm(sink=2,recent=10)],[0,1])",
    "per_layer": "tova | per_layer([12])",
    "pyramidkv": "pyramidkv(window=2,beta=4)",
    "quest": "quest(page=3,recent=3)",
    "random": "random",
    "rekv": f"rekv(frame={FRAME},frames=none,local=8)",
    "retroinfer": "retroinfer(sink=1,local=2,cluster=2,segment=8,update=2,iterations=3)",
    "sink": "sink(2)",
    "sirllm": "sirllm(sink=2)",
    "snapkv": "snapkv(window=3,kernel=3)",
    "specache": "specache(group=4,residual=2,top=2)",
    "streaming_llm": "streaming_llm(sink=2)",
    "streaming_vlm": "streaming_vlm(text_sink=2,text_window=5)",
    "streammem_like": f"streammem_like(frame={FRAME},queries=3)",
    "tova": "tova",
    "window": "window",
    "xmem_like": "xmem_like",
}
UNBOUNDED = {"full", "specache", "once", "duo_attention", "sink"}
"""Policies whose cache or sight the budget does not limit: exact, low-bit, one-shot by design, or a fixed part."""

MORE = {
    "infinipot_v": 1,  # a frame of two tokens that is still arriving
    "moviechat_like": 1,
    "flash_vstream_like": 1,
    "streammem_like": FRAME - 1,
    "rekv": FRAME + 8,  # its window while encoding, and the frame that is still arriving
    "evict3r": 40,  # layers get shares of the budget
    "pyramidkv": BUDGET,  # so do they here, and the lowest gets most
}
"""Tokens above the budget that a policy may hold or see, and why."""

TIED = {"lagkv", "attendre_like"}
"""Policies whose scores are ranks or counters, equal in many keys."""

WRAPPERS = ("", " | every(3)", " | adakv", " | chunk(3)", "+ sink(2)")
SHAPES = {"mha": (2, 2), "gqa": (4, 2)}
STEPS = {"token": 1, "chunk": 5, "frame": FRAME}


def text_of(name, wrapper):
    """The policy's text with the wrapper."""
    return f"({SMALL[name]}) {wrapper}"


def fits(name, wrapper):
    """Whether a policy and a wrapper go together."""
    reasons = ("needs a policy with a score", "needs a score of keys", "cannot be united", "is not a wrapper")
    try:
        make(parse_policy(text_of(name, wrapper)), "mha", BUDGET + extra_of(wrapper))
    except InputError as error:
        assert any(reason in str(error) for reason in reasons)
        return False
    return True


def extra_of(wrapper):
    """Keys a wrapper adds to the budget."""
    return 2 if wrapper == "+ sink(2)" else 0


def wrapped(name, wrapper):
    """The policy with the wrapper; skips the test where the two do not go together."""
    if not fits(name, wrapper):
        pytest.skip("this policy cannot be wrapped so")
    return parse_policy(text_of(name, wrapper))


def make(policy, shape, budget=BUDGET, **options):
    query_heads, kv_heads = SHAPES[shape]
    return KVStream(policy, CacheShape(query_heads, kv_heads, DIM), KVBudget(tokens=budget), when="step", **options)


def tensors(seed, shape, tokens):
    query_heads, kv_heads = SHAPES[shape]
    rng = np.random.default_rng(seed)
    q = rng.standard_normal((query_heads, tokens, DIM))
    k, v = rng.standard_normal((2, kv_heads, tokens, DIM))
    return q, k, v, rng.gamma(1.5, 2.0, tokens), rng.integers(0, 2, tokens)


def feed(stream, data, kind):
    """All steps of a stream; yields results."""
    q, k, v, information, modality = data
    size, tokens = STEPS[kind], k.shape[1] // STEPS[kind] * STEPS[kind]
    for start in range(0, tokens, size):
        rows = slice(start, start + size)
        yield stream.step(
            q[:, rows],
            k[:, rows],
            v[:, rows],
            phase="frame" if kind == "frame" else "decode",
            causal=kind != "frame",
            information=information[rows],
            modality=modality[rows],
            final=False,
        )


def exact(data, kind):
    """Full attention over the same steps."""
    q, k, v = data[:3]
    tokens = k.shape[1] // STEPS[kind] * STEPS[kind]
    positions = np.arange(tokens)
    if kind == "frame":
        ends = (positions // FRAME + 1) * FRAME - 1
        bias = np.where(positions <= ends[:, None], 0.0, -np.inf)
        visible = Visible(k[:, :tokens], v[:, :tokens], positions[None], pair_bias=bias)
        return attend(q[:, :tokens], positions, visible, causal=False).output
    return attend(q[:, :tokens], positions, Visible(k[:, :tokens], v[:, :tokens], positions[None])).output


CELLS = [(name, wrapper, shape, kind) for name in SMALL for wrapper in WRAPPERS for shape in SHAPES for kind in STEPS]
"""The whole matrix; hypothesis draws streams, and a fixed one goes through every cell."""

any_stream = {"seed": st.integers(0, 2**32 - 1), "tokens": st.integers(1, 60)}


def cell_seed(*cell):
    """A seed of its own for every cell."""
    return zlib.crc32(repr(cell).encode())


def test_the_matrix_covers_whatever_is_registered():
    assert set(SMALL) == set(policy_names())


def check_cell(name, wrapper, shape, kind, seed, tokens):
    """Kept sets are lawful and within the budget, costs agree with them, and permuting heads commutes."""
    policy = wrapped(name, wrapper)
    q, k, v, information, modality = data = tensors(seed, shape, tokens)
    budget = BUDGET + extra_of(wrapper)
    stream = make(policy, shape, budget)
    group = len(q) // len(k)
    order = np.arange(len(k))[::-1]
    q_order = (order[:, None] * group + np.arange(group)).ravel()
    mirrored = make(policy, shape, budget, head_labels=order)
    moved_data = (q[q_order], k[order], v[order], information, modality)
    # a head split names heads by number, and where scores of different heads tie the lower head wins: there
    # the mirror image is another policy
    mirrors = policy.split(stream.shape, 0) is None and not ("adakv" in wrapper and name in TIED)
    mirror = feed(mirrored, moved_data, kind) if mirrors else None
    arrived = 0
    before = stream.kept()
    for result in feed(stream, data, kind):
        kept, new = stream.kept(), np.arange(arrived, arrived + STEPS[kind])
        arrived += STEPS[kind]
        for row in (*kept, *result.selected):
            assert (np.diff(row) > 0).all()
            assert row.size == 0 or (row[0] >= 0 and row[-1] < arrived)
        for was, now, seen in zip(before, kept, result.selected, strict=True):
            # what was dropped never comes back, neither to the cache nor to a query
            assert np.isin(now, np.concatenate([was, new])).all()
            assert np.isin(seen, np.concatenate([was, new])).all()
        before = kept
        check_budget(stream, result, name, wrapper, kind)
        check_cost(stream, result)
        if mirror is not None:
            other = next(mirror)
            for head, moved in enumerate(order):
                assert np.array_equal(result.selected[moved], other.selected[head])
            np.testing.assert_allclose(result.output[q_order], other.output, atol=1e-9)


@pytest.mark.parametrize(("name", "wrapper", "shape", "kind"), CELLS)
def test_what_must_hold_whatever_the_method(name, wrapper, shape, kind):
    check_cell(name, wrapper, shape, kind, cell_seed(name, wrapper, shape, kind), 26)


@pytest.mark.parametrize("name", policy_names())
@settings(max_examples=12, deadline=None)
@given(data=st.data(), **any_stream)
def test_what_must_hold_on_any_stream(name, data, seed, tokens):
    wrapper, shape, kind = (data.draw(st.sampled_from(list(axis))) for axis in (WRAPPERS, SHAPES, STEPS))
    assume(fits(name, wrapper))
    check_cell(name, wrapper, shape, kind, seed, tokens)


def check_budget(stream, result, name, wrapper, kind):
    """Residents never exceed what the state allows, and that is the budget unless the policy says why not."""
    if name in UNBOUNDED:
        return
    extra = MORE.get(name, 0) + extra_of(wrapper)
    if policy_class(name).action != "evict":
        # what is hidden stays resident; the budget limits what is seen, the new tokens apart
        assert max(result.cost.attended) <= BUDGET + STEPS[kind] + extra
        return
    for state, cache in zip(stream.states, stream.caches, strict=True):
        allowed = state.allowance(cache)
        if "adakv" in (name, wrapper.strip(" |")):
            assert cache.lengths.sum() <= allowed * cache.heads
        else:
            assert cache.lengths.max() <= allowed
        if name != "every" and wrapper != " | every(3)":
            assert allowed <= BUDGET + extra


def check_cost(stream, result):
    cost = result.cost
    assert cost.resident == tuple(row.size for row in stream.kept())
    assert cost.attended == tuple(row.size for row in result.selected)
    assert sum(read.runs.tokens for read in cost.reads) == sum(cost.attended)
    assert sum(write.runs.tokens for write in cost.writes) == cost.appended * stream.shape.kv_heads
    for occupancy in cost.occupancy:
        assert occupancy.physical_bytes >= occupancy.logical_bytes >= 0
    for work in cost.work:
        assert min(work.macs, work.exps, work.adds, work.compares, work.serial_depth) >= 0


@pytest.mark.parametrize(("name", "wrapper", "shape", "kind"), CELLS)
def test_evicting_nothing_is_exact(name, wrapper, shape, kind):
    policy = wrapped(name, wrapper)
    if name == "streaming_vlm":
        policy = parse_policy(f"streaming_vlm(text_sink=2,text_window=200) {wrapper}")
    if not policy_class(name).exact_when_unlimited or name in ("sink", "duo_attention", "per_head", "per_layer"):
        pytest.skip("never equal to full attention, or sized by its own parameters")
    if name in ("rekv", "specache"):
        tokens = {"rekv": 8, "specache": 5}[name]  # within the window, within the residual
    else:
        tokens = 24
    data = tensors(cell_seed(name, kind), shape, tokens)
    outputs = [result.output for result in feed(make(policy, shape, budget=400), data, kind)]
    if not outputs:
        pytest.skip("no whole step in so short a stream")
    np.testing.assert_allclose(np.concatenate(outputs, 1), exact(data, kind), atol=1e-9)


ALWAYS_EXACT = sorted(
    name
    for name in SMALL
    if policy_class(name).exact_when_unlimited
    and name not in ("sink", "duo_attention", "per_head", "per_layer", "rekv", "specache", "streaming_vlm")
)
"""Policies that equal full attention as long as the budget is large, at any length."""


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(ALWAYS_EXACT),
    shape=st.sampled_from(list(SHAPES)),
    kind=st.sampled_from(list(STEPS)),
    wrapper=st.sampled_from(WRAPPERS),
    **any_stream,
)
def test_evicting_nothing_is_exact_on_any_stream(name, shape, kind, wrapper, seed, tokens):
    assume(fits(name, wrapper) and tokens >= STEPS[kind])
    data = tensors(seed, shape, tokens)
    outputs = [result.output for result in feed(make(wrapped(name, wrapper), shape, budget=400), data, kind)]
    np.testing.assert_allclose(np.concatenate(outputs, 1), exact(data, kind), atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(shape=st.sampled_from(list(SHAPES)), kind=st.sampled_from(list(STEPS)), **any_stream)
def test_full_is_exact_and_keeps_everything(shape, kind, seed, tokens):
    assume(tokens >= STEPS[kind])
    data = tensors(seed, shape, tokens)
    stream = make(parse_policy("full"), shape)
    outputs = [result.output for result in feed(stream, data, kind)]
    np.testing.assert_allclose(np.concatenate(outputs, 1), exact(data, kind), atol=1e-12)
    whole = tokens // STEPS[kind] * STEPS[kind]
    assert all(np.array_equal(row, np.arange(whole)) for row in stream.kept())


@pytest.mark.parametrize("name", policy_names())
def test_a_run_repeats_itself(name):
    data = tensors(5, "gqa", 30)
    runs = [list(feed(make(parse_policy(SMALL[name]), "gqa", seed=3), data, "token")) for _ in range(2)]
    for one, other in zip(*runs, strict=True):
        assert np.array_equal(one.output, other.output)


@pytest.mark.parametrize("name", policy_names())
def test_a_scoring_policy_says_so_by_its_state(name):
    stream = make(parse_policy(SMALL[name]), "mha")
    for state in stream.states:
        if isinstance(state, ScoreState):
            assert state.policy.action == "evict"
