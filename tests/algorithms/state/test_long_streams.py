"""Long streams: what is kept stays within its bound, and a graph of a million tokens is skipped to its closed form."""

from __future__ import annotations

import pytest

from algorithms.state.rule import rule_class, rule_names
from studies.benchmarks.states import flatness, state_stream


@pytest.mark.parametrize("name", rule_names())
def test_nothing_grows_over_many_segments(name):
    _, share = flatness(rule_class(name)(), steps=8 * 2048)
    assert 0 < share <= 1.0


def test_a_stream_of_a_million_tokens_is_skipped_to_its_closed_form():
    figures = state_stream()
    assert figures["cycles"] > 1 << 21
    assert figures["share_skipped"] > 0.99
