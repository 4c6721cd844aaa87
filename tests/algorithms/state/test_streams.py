"""Streams through a constant state: values against the definitions, cycles against closed forms, FIFOs of O(1)."""

from __future__ import annotations

import numpy as np
import pytest

from algorithms.state import streams
from algorithms.workload.shape import Workload
from algorithms.workload.tensors import draw_tensors
from hwmodels.reading.errors import InputError
from reference.truth import states
from simulator import ENGINES, simulate
from simulator.explain.depths import advise_depths

BUILD = {
    "linear": (streams.linear_stream, streams.StateStreamParameters),
    "delta": (streams.delta_stream, streams.DeltaStreamParameters),
    "legendre": (streams.legendre_stream, streams.LegendreStreamParameters),
}
WORK = Workload(
    name="w",
    phase="prefill",
    batch=2,
    heads=4,
    kv_heads=2,
    q_len=19,
    kv_len=19,
    head_dim=4,
    v_head_dim=3,
    mask="causal",
)


def definition(name: str, parameters, q, k, v) -> np.ndarray:
    if name == "linear":
        return states.kernel_attention(q, k, v, states.elu_similarity, normalised=True)
    if name == "delta":
        length = np.full(len(q), parameters.strength)
        scaled = k / np.linalg.norm(k, axis=1, keepdims=True)
        return states.delta_rule(q, scaled, v, length, np.ones(len(q)))
    columns = [states.legendre_window(column, q.shape[1], parameters.window) for column in v.T]
    return np.stack([(q * column).sum(axis=1) for column in columns], axis=1)


@pytest.mark.parametrize("name", BUILD)
@pytest.mark.parametrize("engine", ENGINES)
def test_values_and_time_come_from_one_graph(name, engine):
    build, kind = BUILD[name]
    parameters = kind()
    q, k, v = draw_tensors(WORK)
    result = simulate(build(WORK, parameters, (q, k, v)), engine=engine)
    out = result.outputs["out"].reshape(2, 2, 19, 2, 3).swapaxes(2, 3).reshape(2, 4, 19, 3)
    for sequence, head in np.ndindex(2, 4):
        want = definition(name, parameters, q[sequence, head], k[sequence, head // 2], v[sequence, head // 2])
        np.testing.assert_allclose(out[sequence, head], want, rtol=1e-11, atol=1e-11)
    assert result.cycles == streams.stream_cycles(name, WORK, parameters)


@pytest.mark.parametrize("name", BUILD)
@pytest.mark.parametrize("lanes", [0, 1, 5, 12, 100])
@pytest.mark.parametrize("latency", [1, 4])
@pytest.mark.parametrize("exp", [(1, 0), (3, 1), (4, 2)])
def test_cycles_equal_the_closed_form_on_both_engines(name, lanes, latency, exp):
    build, kind = BUILD[name]
    parameters = kind(mac_lanes=lanes, mac_latency=latency, exp_cycles=exp[0], exp_lanes=exp[1])
    for engine in ENGINES:
        result = simulate(build(WORK, parameters, None), engine=engine, timing_only=True)
        assert result.cycles == streams.stream_cycles(name, WORK, parameters)


@pytest.mark.parametrize("name", BUILD)
def test_a_million_tokens_are_skipped_exactly(name):
    build, kind = BUILD[name]
    long = WORK.with_(batch=1, heads=2, kv_heads=1, q_len=1 << 20, kv_len=1 << 20)
    result = simulate(build(long, kind(mac_lanes=4), None), timing_only=True)
    assert result.cycles == streams.stream_cycles(name, long, kind(mac_lanes=4))
    assert result.skipped.firings > 0.99 * result.firings


@pytest.mark.parametrize("name", BUILD)
def test_fifos_need_no_depth_that_grows_with_the_sequence(name):
    build, kind = BUILD[name]
    deepest = []
    for length in (64, 512):
        work = WORK.with_(batch=1, heads=2, kv_heads=1, q_len=length, kv_len=length)
        advice = advise_depths(build(work, kind(), None).freeze())
        deepest.append(max(channel.full_rate_depth for channel in advice.channels))
    assert deepest[0] == deepest[1] <= 8


def test_a_delta_memory_waits_for_its_own_write():
    fast = streams.StateStreamParameters(mac_lanes=10**6)
    slow = streams.DeltaStreamParameters(mac_lanes=10**6, mac_latency=7)
    assert streams.memory_interval("linear", WORK, fast) == 1
    assert streams.memory_interval("delta", WORK, slow) == 2 * (1 + 7)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: streams.linear_stream(WORK.with_(mask="full"), streams.StateStreamParameters(), None), "mask"),
        (lambda: streams.linear_stream(WORK.with_(q_len=3), streams.StateStreamParameters(), None), "q_len"),
        (lambda: streams.StateStreamParameters(mac_lanes=-1), "mac_lanes"),
        (lambda: streams.DeltaStreamParameters(strength=1.5), "strength"),
    ],
)
def test_what_is_no_stream_is_refused(make, field):
    with pytest.raises(InputError) as caught:
        make()
    assert [problem.field for problem in caught.value.problems] == [field]
