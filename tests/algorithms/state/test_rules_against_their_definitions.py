"""Every rule of a constant state against an oracle that shares no code with it, in every form."""

from __future__ import annotations

import numpy as np
import pytest

from algorithms.state.legendre import LegendreMemory
from algorithms.state.linear import LinearAttention
from algorithms.state.rule import RULES, Shape, State, StateRule, Tokens, rule_class, rule_names
from algorithms.state.titans import NeuralMemory
from hwmodels.reading.errors import InputError
from reference.truth import states
from reference.truth.oracle_variants import compressive_attention

LENGTH, GROUP, KEYS, VALUES = 21, 2, 4, 3
TOLERANCE = 1e-11


def variants():
    """Every registered rule with its defaults, and with parameters that small streams feel."""
    names = rule_names()
    assert names
    for name in names:
        for parameters in [{}, *rule_class(name).examples]:
            label = ",".join(f"{key}={value}" for key, value in parameters.items())
            yield pytest.param(rule_class(name)(**parameters), id=f"{name}({label})")


ALL = list(variants())


def draw(rule: StateRule, streams: int = 2, length: int = LENGTH, seed: int = 0) -> Tokens:
    rng = np.random.default_rng(seed)
    many = (rule.memories + 1,) if hasattr(rule, "memories") else ()
    gates = {}
    for gate in rule.gates:
        shape = (streams, length, rule.memories) if gate == "route" else (streams, length)
        low, high = {"decay": (0.6, 1.0), "strength": (0.0, 0.05), "momentum": (0.3, 0.9)}.get(gate, (-1.0, 1.0))
        gates[gate] = rng.uniform(low, high, shape)
    return Tokens(
        rng.standard_normal((streams, GROUP, length, KEYS)),
        rng.standard_normal((streams, *many, length, KEYS)),
        rng.standard_normal((streams, *many, length, VALUES)),
        gates,
    )


def definition(rule: StateRule, tokens: Tokens, stream: int, head: int) -> np.ndarray:
    """What the oracle says of one stream and one query head."""
    q, k, v = tokens.q[stream, head], tokens.k[stream], tokens.v[stream]
    gates = {name: gate[stream] for name, gate in tokens.gates.items()}
    ones = np.ones(len(q))
    match rule.name:
        case "linear" | "based" | "prefix_linear":
            similarity = {
                "elu": states.elu_similarity,
                "taylor": states.taylor_similarity,
                "identity": lambda x, y: float(x @ y),
            }[rule.features]
            return states.kernel_attention(q, k, v, similarity, normalised=rule.normalised)
        case "bmojo":
            sizes = (rule.window, rule.eidetic, rule.segment, rule.fading)
            return states.three_memories(q, k, v, gates["decay"], sizes, rule.threshold)
        case "ssd":
            return states.decayed_sums(q, k, v, gates["decay"])
        case "delta":
            return states.delta_rule(q, k, v, gates["strength"], ones)
        case "gated_delta":
            return states.delta_rule(q, k, v, gates["strength"], gates["decay"])
        case "infini":
            whole = (x[None, None] for x in (q, k, v))
            return compressive_attention(*whole, segment=rule.segment, gate=[rule.gate], delta=rule.delta)[0, 0]
        case "legendre":
            columns = [states.legendre_window(column, KEYS, rule.window) for column in v.T]
            return np.stack([(q * column).sum(axis=1) for column in columns], axis=1)
        case "mixture":
            return states.routed_memories(q, k, v, gates["strength"], gates["decay"], gates["route"], rule.top)
        case "titans":
            three = (gates["decay"], gates["strength"], gates["momentum"])
            return states.neural_memory(q, k, v, three, rule.first_weights(KEYS, VALUES), rule.batch)
    raise AssertionError(f"{rule.name} has no oracle: give it one in reference/truth/states.py")


@pytest.mark.parametrize("rule", ALL)
def test_all_forms_and_chunk_sizes_equal_the_definition(rule: StateRule):
    tokens = draw(rule)
    want = np.array([[definition(rule, tokens, stream, head) for head in range(GROUP)] for stream in range(2)])
    got = [State(rule, 2, KEYS, VALUES).advance(tokens, form="recurrent")]
    got += [State(rule, 2, KEYS, VALUES).advance(tokens, chunk=chunk) for chunk in (None, 1, 4, LENGTH - 1, LENGTH + 9)]
    for out in got:
        np.testing.assert_allclose(out, want, rtol=TOLERANCE, atol=TOLERANCE * np.abs(want).max())


@pytest.mark.parametrize("rule", ALL)
def test_a_stream_cut_anywhere_goes_on_as_if_it_had_not_been(rule: StateRule):
    tokens = draw(rule, seed=1)
    whole = State(rule, 2, KEYS, VALUES).advance(tokens, form="recurrent")
    state = State(rule, 2, KEYS, VALUES)
    parts = [
        state.advance(tokens[:3], form="recurrent"),
        state.advance(tokens[3:11], chunk=3),
        state.advance(tokens[11:12]),
        state.advance(tokens[12:], chunk=7),
    ]
    np.testing.assert_allclose(np.concatenate(parts, axis=-2), whole, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("rule", ALL)
def test_a_reset_state_remembers_nothing_and_streams_do_not_touch(rule: StateRule):
    tokens, other = draw(rule, seed=2), draw(rule, seed=3)
    state = State(rule, 2, KEYS, VALUES)
    first = state.advance(tokens)
    state.reset()
    np.testing.assert_array_equal(state.advance(tokens), first)
    mixed = Tokens(
        np.stack([tokens.q[0], other.q[1]]),
        np.stack([tokens.k[0], other.k[1]]),
        np.stack([tokens.v[0], other.v[1]]),
        {name: np.stack([tokens.gates[name][0], other.gates[name][1]]) for name in tokens.gates},
    )
    np.testing.assert_allclose(State(rule, 2, KEYS, VALUES).advance(mixed)[0], first[0], rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("rule", ALL)
def test_what_is_held_does_not_grow_and_is_what_is_counted(rule: StateRule):
    shape = Shape(kv_heads=1, group=GROUP, key_dim=KEYS, value_dim=VALUES)
    state = State(rule, 1, KEYS, VALUES)
    largest = state.elements
    tokens = draw(rule, streams=1, length=60)
    for i in range(60):
        state.advance(tokens[i : i + 1], form="recurrent")
        largest = max(largest, state.elements)
    held = rule.held_elements(shape)
    if rule.name == "infini":  # a full segment has left at the end of its token; a long one does not fill here
        assert largest == held - (KEYS + VALUES) * (rule.segment - min(rule.segment - 1, 60))
    else:
        assert largest == held


@pytest.mark.parametrize("rule", ALL)
def test_work_grows_with_tokens_and_chunks_need_no_more_vector_work(rule: StateRule):
    shape = Shape(kv_heads=2, group=GROUP, key_dim=64, value_dim=64)
    step, chunk = rule.step_work(shape), rule.chunk_work(shape, 64)
    assert step.vector_flops > 0
    assert chunk.matrix_flops > 0
    assert chunk.vector_flops < 64 * step.vector_flops
    assert rule.chunk_work(shape, 128).matrix_flops >= 2 * chunk.matrix_flops * 0.99


@pytest.mark.parametrize("rule", ALL)
def test_products_as_issued_hold_the_counted_flops(rule: StateRule):
    """Squares are issued where a triangle counts: between the count and twice of it."""
    shape = Shape(kv_heads=3, group=GROUP, key_dim=16, value_dim=16)
    issued = 3 * sum(2 * p.rows * p.columns * p.depth * p.times for p in rule.chunk_products(shape, 48))
    counted = rule.chunk_work(shape, 48).matrix_flops
    assert 0.95 * counted <= issued <= 2.1 * counted


def test_a_prefix_is_seen_by_every_token_after_it_in_both_directions():
    rule = rule_class("prefix_linear")()
    tokens = draw(rule)
    state = State(rule, 2, KEYS, VALUES)
    state.memory = rule.begin(state.memory, tokens.k[:, :6], tokens.v[:, :6])
    out = state.advance(tokens[6:])
    keys, values = tokens.k[0], tokens.v[0]
    for i in range(6, LENGTH):
        weights = np.array([states.elu_similarity(tokens.q[0, 0, i], key) for key in keys[: i + 1]])
        np.testing.assert_allclose(out[0, 0, i - 6], weights @ values[: i + 1] / weights.sum(), rtol=TOLERANCE)


def test_chunked_linear_attention_counts_the_flops_that_the_paper_counts():
    """JRT's count (arXiv:2407.05483): `4 N H d D` for the sums and reads of a layer."""
    rule, tokens = LinearAttention(features="taylor"), 1 << 15
    shape = Shape(kv_heads=16, group=1, key_dim=16, value_dim=64)
    features = rule.feature_dim(16)
    assert features == 273
    products = 4 * tokens * 16 * features * (64 + 1)
    assert rule.step_work(shape).vector_flops * tokens == pytest.approx(products, rel=0.02)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: rule_class("infini")(segment=0), "segment"),
        (lambda: rule_class("mixture")(memories=2, top=3), "top"),
        (lambda: rule_class("titans")(depth=0), "depth"),
        (lambda: rule_class("linear")(features="cosine"), "features"),
        (lambda: LegendreMemory(window=0.5), "window"),
        (lambda: State(LinearAttention(), 0, 4, 4), "streams"),
        (lambda: State(LinearAttention(), 1, 4, 4).advance(draw(LinearAttention(), 1), chunk=0), "chunk"),
        (lambda: State(NeuralMemory(), 1, KEYS, VALUES).advance(draw(LinearAttention(), 1)), "decay"),
        (lambda: State(LinearAttention(), 1, KEYS, VALUES).advance(draw(rule_class("ssd")(), 1)), "decay"),
        (lambda: rule_class("gated_deltas"), "rule"),
    ],
)
def test_what_does_not_fit_is_told_with_its_field(make, field):
    with pytest.raises(InputError) as caught:
        make()
    assert field in [problem.field for problem in caught.value.problems]


def test_every_rule_says_what_it_is_in_one_sentence():
    for name in rule_names():
        summary = RULES.get(name).summary
        assert summary.endswith(".")
        assert len(summary) < 120
