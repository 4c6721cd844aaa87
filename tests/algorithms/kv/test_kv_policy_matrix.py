"""Every registered policy x head grouping x kind of step x wrapper: what must hold whatever the method.

There is no list of policies here: each brings its own `example`, and says what is special about it. Cells that cannot
be (a wrapper that the policy does not go with, a stream too short for a step) are not generated.
"""

import importlib
import zlib
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from algorithms.kv import KVBudget, ScoreState, Union, Wrapper, parse_policy, policy_class, policy_names
from algorithms.kv.cost import CacheShape
from algorithms.kv.policies.adakv import AdaKV
from algorithms.kv.policies.every import Every
from algorithms.kv.policies.once import Once
from algorithms.kv.registry import POLICIES
from algorithms.kv.run.attention import Visible, attend
from algorithms.kv.run.stream import KVStream
from hwmodels.reading.errors import InputError
from studies.quality.line_up import line_up

BUDGET = 12
DIM = 4
FRAME = 4

WRAPPERS = ("", " | every(3)", " | adakv", " | chunk(3)", "+ sink(2)")
SHAPES = {"mha": (2, 2), "gqa": (4, 2)}
STEPS = {"token": 1, "chunk": 5, "frame": FRAME}


def text_of(name, wrapper):
    """The policy's example with the wrapper."""
    return f"({policy_class(name).example}) {wrapper}"


@lru_cache(maxsize=1024)
def fits(name, wrapper):
    """Whether a policy and a wrapper go together; what else is wrong with the policy is for its tests to say."""
    reasons = ("needs a policy with a score", "needs a score of keys", "cannot be united", "is not a wrapper")
    try:
        make(parse_policy(text_of(name, wrapper)), "mha", BUDGET + extra_of(wrapper))
    except InputError as error:
        return not any(reason in str(error) for reason in reasons)
    return True


def extra_of(wrapper):
    """Keys a wrapper adds to the budget."""
    return 2 if wrapper == "+ sink(2)" else 0


def stack_of(policy):
    """A policy and what it wraps, from the outside."""
    while isinstance(policy, Wrapper):
        yield policy
        policy = policy.base
    yield policy
    if isinstance(policy, Union):
        for part in policy.parts:
            yield from stack_of(part)


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


PAIRS = [(name, wrapper) for name in policy_names() for wrapper in WRAPPERS if fits(name, wrapper)]
CELLS = [(*pair, shape, kind) for pair in PAIRS for shape in SHAPES for kind in STEPS]
"""The whole matrix; hypothesis draws streams, and a fixed one goes through every cell."""

any_stream = {"seed": st.integers(0, 2**32 - 1), "tokens": st.integers(1, 60)}


def cell_seed(*cell):
    """A seed of its own for every cell."""
    return zlib.crc32(repr(cell).encode())


def test_the_matrix_covers_whatever_is_registered():
    assert len(policy_names()) >= 44
    assert {name for name, *_ in CELLS} == set(policy_names())
    assert {wrapper for _, wrapper, *_ in CELLS} == set(WRAPPERS)


def check_cell(name, wrapper, shape, kind, seed, tokens):
    """Kept sets are lawful and within the budget, costs agree with them, and permuting heads commutes."""
    policy = parse_policy(text_of(name, wrapper))
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
    stack = list(stack_of(policy))
    shared = any(isinstance(part, AdaKV) for part in stack)
    mirrors = policy.split(stream.shape, 0) is None and not (shared and any(part.ties for part in stack))
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
        check_budget(stream, result, policy, BUDGET + extra_of(wrapper), kind)
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


def check_budget(stream, result, policy, budget, kind):
    """Residents never exceed what the state allows, and that is the budget unless the policy says why not."""
    stack = list(stack_of(policy))
    if not all(part.budgeted for part in stack) or any(isinstance(part, Once) for part in stack):
        return
    limit = budget + policy.spare_tokens()
    if any(part.action != "evict" for part in stack):
        # what is hidden stays resident; the budget limits what is seen, the new tokens apart
        assert max(result.cost.attended) <= limit + STEPS[kind]
        return
    for state, cache in zip(stream.states, stream.caches, strict=True):
        allowed = state.allowance(cache)
        if any(isinstance(part, AdaKV) for part in stack):
            assert cache.lengths.sum() <= allowed * cache.heads
        else:
            assert cache.lengths.max() <= allowed
        # one that drops keys every so many steps holds more between, and layers may get shares of the budget
        if policy.layers_alike() and not any(isinstance(part, Every) for part in stack):
            assert allowed <= limit


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


def exact_tokens(name, wrapper, most):
    """Tokens, at most `most`, up to which a policy equals full attention under a large budget; 0 if it never does."""
    policy = parse_policy(text_of(name, wrapper))
    if not policy_class(name).exact_when_unlimited:
        return 0
    known = policy.exact_tokens()
    return most if known is None else min(most, known)


EXACT = [
    (name, wrapper, shape, kind, tokens)
    for name, wrapper, shape, kind in CELLS
    if (tokens := exact_tokens(name, wrapper, 24)) >= STEPS[kind]
]
"""Cells whose policy equals full attention as long as nothing has to go, and a number of tokens of which that holds."""


@pytest.mark.parametrize(("name", "wrapper", "shape", "kind", "tokens"), EXACT)
def test_evicting_nothing_is_exact(name, wrapper, shape, kind, tokens):
    data = tensors(cell_seed(name, kind), shape, tokens)
    stream = make(parse_policy(text_of(name, wrapper)), shape, budget=400)
    outputs = [result.output for result in feed(stream, data, kind)]
    np.testing.assert_allclose(np.concatenate(outputs, 1), exact(data, kind), atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(cell=st.sampled_from(EXACT), **any_stream)
def test_evicting_nothing_is_exact_on_any_stream(cell, seed, tokens):
    name, wrapper, shape, kind, _ = cell
    tokens = exact_tokens(name, wrapper, tokens)
    assume(tokens >= STEPS[kind])
    data = tensors(seed, shape, tokens)
    stream = make(parse_policy(text_of(name, wrapper)), shape, budget=400)
    outputs = [result.output for result in feed(stream, data, kind)]
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
    kept = list(stream.kept())
    assert kept and all(np.array_equal(row, np.arange(whole)) for row in kept)


@pytest.mark.parametrize("name", policy_names())
def test_a_run_repeats_itself(name):
    data = tensors(5, "gqa", 30)
    runs = [list(feed(make(parse_policy(policy_class(name).example), "gqa", seed=3), data, "token")) for _ in range(2)]
    assert len(runs[0]) == 30
    for one, other in zip(*runs, strict=True):
        assert np.array_equal(one.output, other.output)


def states_of(name):
    """States of a policy's example."""
    return make(parse_policy(policy_class(name).example), "mha").states


SCORING = [name for name in policy_names() if any(isinstance(state, ScoreState) for state in states_of(name))]


def test_some_policies_score_and_all_of_those_drop_keys():
    assert len(SCORING) >= 10
    assert {state.policy.action for name in SCORING for state in states_of(name)} == {"evict"}


NEW_FILE = """
import numpy as np
from algorithms.kv import KVPolicy, PolicyState, kv_policy

@kv_policy("halves")
class Halves(KVPolicy):
    'Keep the oldest and the newest tokens, half and half.'

    example = "halves(tokens=6)"
    tokens: int | None = None

    def fixed_tokens(self):
        return self.tokens

    def start(self, layer):
        return HalvesState(self, layer)

class HalvesState(PolicyState):
    def keep(self, step, cache):
        rank, half = np.arange(cache.count), self.capacity(cache) // 2
        kept = (rank < half) | (rank >= cache.count - half)
        return None if kept.all() else np.broadcast_to(kept, (cache.heads, cache.count))
"""


def test_a_policy_of_a_new_file_takes_part_with_nothing_edited(tmp_path, monkeypatch):
    (tmp_path / "a_policy_from_outside.py").write_text(NEW_FILE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(POLICIES, "_entries", dict(POLICIES._entries))
    importlib.import_module("a_policy_from_outside")
    pairs = [("halves", wrapper) for wrapper in WRAPPERS if fits("halves", wrapper)]
    assert ("halves", "") in pairs and ("halves", " | every(3)") in pairs and ("halves", " | adakv") not in pairs
    for wrapper in (wrapper for _, wrapper in pairs):
        for shape in SHAPES:
            for kind in STEPS:
                check_cell("halves", wrapper, shape, kind, cell_seed("halves", wrapper), 26)
    assert exact_tokens("halves", "", 24) == 6
    assert [entry.policy for entry in line_up(128, 8, 32) if entry.name == "halves"] == ["halves"]
