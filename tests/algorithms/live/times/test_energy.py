"""Energy of served requests: that of all steps, and of waiting in between."""

from __future__ import annotations

import numpy as np
import pytest

from algorithms.live.algorithm import serve_scenario
from algorithms.live.replica import StepLog
from algorithms.live.scenario import load_scenario
from algorithms.live.steps import Part
from algorithms.live.times.energy import joules_of_steps
from algorithms.live.times.speculation import Speculation
from algorithms.models.steps.batch import parse_batch
from algorithms.models.steps.step import model_step
from hwmodels.costs.energy import energy_table

TEXT = """
name: watts
arrivals: {requests: 2, rate: 0.5, variation: 0}
lengths: {prompt: 300, output: 3}
model: llama3-8b
deployment: {chip: h100}
scheduler: {exact: true, most_sequences: 8, most_tokens: 512}
"""


@pytest.fixture
def load(tmp_path):
    path = tmp_path / "watts.yaml"
    path.write_text(TEXT)
    return lambda changes=None: load_scenario(path, changes)


@pytest.mark.parametrize("changes", [{}, {"deployment.system": "dgx_h100", "deployment.tp": 8}])
def test_energy_is_that_of_whole_steps_and_of_waiting(load, changes):
    found = serve_scenario(load(changes))
    deployment = found.scenario.deployment
    steps = [
        model_step(deployment.model, parse_batch(batch), deployment.system, deployment.mapping, deployment.options)
        for batch in ("prefill 300 x1", "decode 1 of 301 x1", "decode 1 of 302 x1")
    ]
    waiting_w = deployment.chips * energy_table(deployment.system.chip).waiting_w
    idle_s = found.metrics.seconds - 2 * sum(step.seconds for step in steps)
    assert idle_s > 1.9
    assert found.energy_j == pytest.approx(2 * sum(step.energy_j for step in steps) + waiting_w * idle_s, rel=1e-6)


def test_what_stands_idle_draws_power_too(load):
    one, two = (serve_scenario(load({"deployment.replicas": count})) for count in (1, 2))
    assert two.metrics.seconds == one.metrics.seconds
    waiting_w = energy_table(one.scenario.deployment.system.chip).waiting_w
    assert two.energy_j - one.energy_j == pytest.approx(waiting_w * one.metrics.seconds)


def test_the_same_energy_in_stretches_and_step_by_step(load):
    busy = {"arrivals.requests": 12, "arrivals.rate": 60, "lengths.output": 90, "scheduler.exact": False}
    quick, single = (serve_scenario(load(busy), skip=skip) for skip in (True, False))
    assert len(quick.run.logs[0].durations) < len(single.run.logs[0].durations)
    assert quick.energy_j == single.energy_j


class Joules:
    """Joules that depend on all that is asked for."""

    def __init__(self, queries, scale=1.0):
        self.queries, self.scale = queries, scale

    def rest(self, tokens, sequences):
        return self.scale * (100 * tokens + 7 * sequences)

    def decode_attention(self, sequences, contexts):
        return self.scale * (contexts + 3.0 * sequences * self.queries)

    def prefill_attention(self, new, cached):
        return self.scale * (5.0 * new + cached)


def test_a_drafted_token_takes_its_share_of_the_joules_of_drafts_and_verification():
    drafts, verify, draft = Speculation(3, 0.5), Joules(4), Joules(1, 0.1)
    log = StepLog()
    for sequences, contexts, parts in ((2, [50, 52], ()), (2, [54], (Part(6, 9),)), (0, [0], (Part(8, 0),))):
        log.sequences.append(sequences)
        log.contexts.append(contexts[0])
        log.parts.append(parts)
        log.durations.append(np.ones(len(contexts), dtype=np.int64))
    contexts = np.array([50, 52, 54])
    round_j = 3 * verify.rest(8, 8) + verify.decode_attention(2, contexts).sum()
    drafts_j = 3 * (3 * draft.rest(2, 2) + draft.decode_attention(2, contexts).sum())
    beside = verify.rest(14, 9) - verify.rest(8, 8) + verify.prefill_attention(6, 9)
    alone = verify.rest(8, 1) + verify.prefill_attention(8, 0)
    want = (round_j + drafts_j) / drafts.made + beside + alone
    assert joules_of_steps([log], verify, drafts, draft) == pytest.approx(want)


def test_refused_drafts_cost_energy_and_accepted_ones_save_it(load):
    def joules(**drafts):
        changes = {f"scheduler.speculation.{name}": value for name, value in drafts.items()}
        return serve_scenario(load({"lengths.output": 60, **changes})).energy_j

    plain = joules()
    accepted, refused = (joules(drafted=3, acceptance=chance) for chance in (1.0, 0.0))
    assert accepted < plain < refused
    assert joules(drafted=3, acceptance=1.0, draft="qwen3-0.6b") > accepted
