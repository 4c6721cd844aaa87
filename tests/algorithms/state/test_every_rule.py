"""Whatever is registered as a rule of a constant state: both forms agree however a stream is cut, and nothing grows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from algorithms.state.rule import Shape, State, StateRule, Tokens, rule_class, rule_names

RANGES = {"decay": (0.6, 1.0), "strength": (0.0, 0.05), "momentum": (0.3, 0.9), "route": (-1.0, 1.0)}
MEMBERS = [
    pytest.param(rule_class(name)(**parameters), id=f"{name}-{number}")
    for name in rule_names()
    for number, parameters in enumerate([{}, *rule_class(name).examples])
]
CASES = {"max_examples": 15, "deadline": None, "suppress_health_check": [HealthCheck.too_slow]}


def drawn(rule: StateRule, seed: int, shape: Shape, streams: int, length: int) -> Tokens:
    """Tokens with all gates of a rule."""
    rng = np.random.default_rng(seed)
    many = (rule.memories + 1,) if hasattr(rule, "memories") else ()
    gates = {
        gate: rng.uniform(*RANGES[gate], (streams, length, rule.memories) if gate == "route" else (streams, length))
        for gate in rule.gates
    }
    return Tokens(
        rng.standard_normal((streams, shape.group, length, shape.key_dim)),
        rng.standard_normal((streams, *many, length, shape.key_dim)) / np.sqrt(shape.key_dim),
        rng.standard_normal((streams, *many, length, shape.value_dim)),
        gates,
    )


SHAPES = st.builds(Shape, st.just(1), st.integers(1, 3), st.integers(1, 6), st.integers(1, 6))


@pytest.mark.parametrize("rule", MEMBERS)
@settings(**CASES)
@given(SHAPES, st.integers(1, 4), st.lists(st.integers(1, 17), min_size=1, max_size=4), st.data())
def test_forms_agree_however_a_stream_is_cut(rule, shape, streams, pieces, data):
    tokens = drawn(rule, sum(pieces) + 31 * streams, shape, streams, sum(pieces))
    want = State(rule, streams, shape.key_dim, shape.value_dim).advance(tokens, form="recurrent")
    state = State(rule, streams, shape.key_dim, shape.value_dim)
    state.advance(tokens[: pieces[0]])
    state.reset()
    parts, start = [], 0
    for size in pieces:
        chunk, form = data.draw(st.integers(1, 20)), data.draw(st.sampled_from(["chunked", "recurrent"]))
        parts.append(state.advance(tokens[start : start + size], chunk=chunk, form=form))
        start += size
    scale = max(1.0, float(np.abs(want).max()))
    np.testing.assert_allclose(np.concatenate(parts, axis=-2), want, rtol=1e-11, atol=1e-11 * scale)


@pytest.mark.parametrize("rule", MEMBERS)
@settings(**CASES)
@given(SHAPES, st.integers(1, 3), st.integers(1, 40))
def test_what_is_kept_stays_within_what_is_counted(rule, shape, streams, length):
    state = State(rule, streams, shape.key_dim, shape.value_dim)
    held = streams * rule.held_elements(shape)
    empty = state.elements
    tokens = drawn(rule, length, shape, streams, length)
    for start in range(0, length, 7):
        state.update(tokens[start : start + 7])
        assert state.elements <= held
    state.reset()
    assert state.elements == empty
    assert rule.carried_elements(shape) <= rule.held_elements(shape)
    assert 0 < rule.moved_elements(shape) <= 3.0 * held


@pytest.mark.parametrize("rule", MEMBERS)
def test_query_heads_and_streams_do_not_see_each_other(rule):
    shape = Shape(1, 3, 4, 3)
    tokens = drawn(rule, 5, shape, 2, 19)
    both = State(rule, 2, 4, 3).advance(tokens, chunk=6)
    for stream in range(2):
        gates = {name: gate[stream : stream + 1] for name, gate in tokens.gates.items()}
        for member in range(3):
            q = tokens.q[stream : stream + 1, member : member + 1]
            own = Tokens(q, tokens.k[stream : stream + 1], tokens.v[stream : stream + 1], gates)
            alone = State(rule, 1, 4, 3).advance(own, chunk=6)
            np.testing.assert_allclose(both[stream, member], alone[0, 0], rtol=1e-11, atol=1e-11)
