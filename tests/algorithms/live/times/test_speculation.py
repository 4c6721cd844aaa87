"""Speculative steps: as many tokens as are accepted, at the cost of drafts and verifications."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from algorithms.live.algorithm import serve_scenario
from algorithms.live.scenario import load_scenario
from algorithms.live.steps import Part
from algorithms.live.times.speculation import Speculation, SpeculativeTimes
from hwmodels.reading.errors import InputError
from tests.algorithms.live.random_scenarios import Times

TEXT = """
name: drafts
arrivals: {requests: 4, rate: 2}
lengths: {prompt: 200, output: 40}
model: llama3-8b
deployment: {chip: h100}
scheduler: {most_sequences: 8, most_tokens: 512}
"""
DRAFTED = TEXT.replace("512}", "512, speculation: {drafted: 4, acceptance: 0.8, draft: qwen3-0.6b}}")


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 6), st.floats(0, 1))
def test_a_verification_makes_as_many_tokens_as_are_accepted_and_one(drafted, acceptance):
    rng = np.random.default_rng(0)
    chances = rng.random((40_000, drafted)) < acceptance
    accepted = np.cumprod(chances, axis=1).sum(axis=1)
    assert Speculation(drafted, acceptance).made == pytest.approx(1 + accepted.mean(), abs=0.05)


def test_a_token_takes_its_share_of_drafts_and_verification():
    context = np.array([100, 200])
    verify, draft = Times(), Times()
    times = SpeculativeTimes(Speculation(3, 1.0), verify, draft)
    assert list(times.decode(5, context)) == list(
        np.rint((verify.decode(5, context) + 3 * draft.decode(5, context)) / 4)
    )
    parts = (Part(7, 3),)
    beside = times.mixed(5, 100, parts) - int(times.decode(5, context)[0])
    assert beside == verify.mixed(5, 100, parts) - int(verify.decode(5, context)[0]), "prompts cost what they cost"
    assert times.mixed(0, 0, parts) == verify.mixed(0, 0, parts)


def test_accepted_drafts_save_time_and_refused_ones_cost_it(tmp_path):
    path = tmp_path / "drafts.yaml"

    def tpot(text):
        path.write_text(text)
        found = serve_scenario(load_scenario(path))
        assert found.metrics.finished == 4
        return found.metrics.tpot.mean_s

    plain, all_taken = tpot(TEXT), tpot(DRAFTED.replace("0.8", "1.0"))
    some, none = tpot(DRAFTED), tpot(DRAFTED.replace("0.8", "0.0"))
    free = tpot(DRAFTED.replace(", draft: qwen3-0.6b", "").replace("0.8", "1.0"))
    assert free < all_taken < some < plain < none
    assert free == pytest.approx(plain / 5, rel=0.1), "weights are read once for five tokens"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("drafted: 4", "drafted: 0", "drafts.yaml:7: scheduler.speculation.drafted: must be at least 1"),
        ("0.8", "1.2", "scheduler.speculation.acceptance: must be at most 1"),
        ("qwen3-0.6b", "qwen3-0.6", "scheduler.speculation.draft: unknown model 'qwen3-0.6'"),
    ],
)
def test_drafts_that_cannot_be_are_named(tmp_path, old, new, message):
    assert old in DRAFTED
    path = tmp_path / "drafts.yaml"
    path.write_text(DRAFTED.replace(old, new))
    with pytest.raises(InputError, match=message):
        load_scenario(path)
