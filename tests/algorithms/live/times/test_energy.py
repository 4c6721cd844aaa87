"""Energy of served requests: that of all steps, and of waiting in between."""

from __future__ import annotations

import pytest

from algorithms.live.algorithm import serve_scenario
from algorithms.live.scenario import load_scenario
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
