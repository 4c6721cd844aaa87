"""The schedule fingerprint: composable, sensitive to every start and cause, equal for equal schedules."""

from __future__ import annotations

import re

import numpy as np
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from simulator import Graph, Unit, simulate, uniform
from simulator.engines.fingerprint import MULTIPLIER_HIGH, MULTIPLIER_LOW, digest, fingerprint, power, repeat_affine

words = st.integers(0, 2**64 - 1)
schedules = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 12)), min_size=1, max_size=30)
WORD = 1 << 64


def hashes(schedule: list[tuple[int, int]]) -> tuple[int, int]:
    """Fingerprint of (delta, cause) pairs."""
    deltas = np.array([delta for delta, _ in schedule], np.int64)
    causes = np.array([cause for _, cause in schedule], np.int64)
    low, high = fingerprint(deltas, causes)
    return int(low), int(high)


def repeated(value: int, scale: int, shift: int, times: int) -> int:
    """``repeat_affine`` on plain integers."""
    return int(repeat_affine(np.uint64(value), np.uint64(scale), np.uint64(shift), times))


@settings(deadline=None)  # the first call compiles
@given(words, words, words, st.integers(0, 70))
def test_repeating_an_affine_map_equals_applying_it_again_and_again(value, scale, shift, times):
    expected = value
    for _ in range(times):
        expected = (expected * scale + shift) % WORD
    assert repeated(value, scale, shift, times) == expected


@given(words, words, words, st.integers(0, 10**12), st.integers(0, 10**12))
def test_repetitions_add_up(value, scale, shift, first, second):
    in_two = repeated(repeated(value, scale, shift, first), scale, shift, second)
    assert in_two == repeated(value, scale, shift, first + second)


@given(words, st.integers(0, 10**15))
def test_power_is_the_power_modulo_a_word(base, exponent):
    assert int(power(np.uint64(base), exponent)) == pow(base, exponent, WORD)


@given(schedules, schedules, st.integers(1, 20))
def test_a_repeated_stretch_is_an_affine_map(head, period, times):
    """What skipping relies on: k repetitions in O(log k) give the number of the written-out schedule."""
    before, once = hashes(head), hashes(head + period)
    whole = hashes(head + period * (1 + times))
    for multiplier, start, after, expected in zip((MULTIPLIER_LOW, MULTIPLIER_HIGH), before, once, whole, strict=True):
        scale = pow(int(multiplier), len(period), WORD)
        shift = (after - start * scale) % WORD
        assert repeated(after, scale, shift, times) == expected


@given(schedules, st.data())
def test_one_other_start_or_cause_changes_both_hashes(schedule, data):
    index = data.draw(st.integers(0, len(schedule) - 1))
    delta, cause = schedule[index]
    change = data.draw(st.sampled_from(["delta", "cause"]))
    other = data.draw(st.integers(0, 50 if change == "delta" else 12))
    assume(other != (delta if change == "delta" else cause))
    changed = list(schedule)
    changed[index] = (other, cause) if change == "delta" else (delta, other)
    assert all(a != b for a, b in zip(hashes(schedule), hashes(changed), strict=True))


@given(st.tuples(st.integers(0, 2**40), st.integers(0, 5000)), st.tuples(st.integers(0, 2**40), st.integers(0, 5000)))
@example((1, 0), (0, 64))
@example((1, 0), (0, 1024))
def test_units_with_thousands_of_ports_have_digests_too(one, other):
    """Time and cause are told apart even where a cause has a large code."""
    assert (hashes([one]) == hashes([other])) == (one == other)


@given(schedules)
def test_order_and_length_matter(schedule):
    assert hashes(schedule) != hashes([*schedule, (0, 0)])
    if schedule != schedule[::-1]:
        assert hashes(schedule) != hashes(schedule[::-1])


def test_the_digest_covers_names_order_and_every_hash():
    base = digest(["a", "b"], [1, 2], [3, 4])
    assert re.fullmatch("[0-9a-f]{64}", base)
    others = [
        digest(["a", "c"], [1, 2], [3, 4]),
        digest(["b", "a"], [2, 1], [4, 3]),
        digest(["a", "b"], [1, 5], [3, 4]),
        digest(["a", "b"], [1, 2], [5, 4]),
        digest(["a"], [1], [3]),
    ]
    assert len({base, *others}) == 6


def pair(*, sink_ii: int = 1, latency: int = 1, tokens: int = 6) -> Graph:
    graph = Graph("pair")
    source = graph.add(Unit("source", "source", uniform(tokens, (), (1,), latency=latency)))
    sink = graph.add(Unit("sink", "sink", uniform(tokens, (1,), (), ii=sink_ii)))
    graph.connect(source, sink, depth=3)
    return graph


def digest_of(graph: Graph, **options) -> str | None:
    return simulate(graph, timing_only=True, **options).schedule_digest


def test_runs_with_another_schedule_have_another_digest():
    assert (
        len({digest_of(pair()), digest_of(pair(sink_ii=2)), digest_of(pair(latency=2)), digest_of(pair(tokens=7))}) == 4
    )


def test_engines_skipping_and_tracing_do_not_show_in_the_digest():
    graph = pair(sink_ii=3, tokens=500)
    runs = [{}, {"engine": "simpy"}, {"skip": False}, {"trace": True}]
    assert len({digest_of(graph, **run) for run in runs}) == 1


def test_the_last_start_is_covered_too():
    """Two schedules that differ in nothing but when the last token is taken."""

    def late_end(ii: int) -> Graph:
        graph = pair()
        table = uniform(5, (), (1,))
        last = uniform(1, (), (1,), latency=ii)
        graph.units[0] = Unit("source", "source", type(table)(table.blocks + last.blocks))
        return graph

    assert digest_of(late_end(1)) != digest_of(late_end(2))


def test_no_digest_unless_asked_for():
    assert digest_of(pair(), digest=False) is None
