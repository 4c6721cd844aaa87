"""Deployments of unlike chips: prompts on one kind, tokens on another, keys and values over the links between them."""

from __future__ import annotations

import pytest

from algorithms.live.algorithm import serve_scenario
from algorithms.live.pools import part_of, with_chip
from algorithms.live.scenario import load_scenario
from hwmodels.chips.accelerator import load_accelerator
from hwmodels.reading.errors import InputError
from hwmodels.systems.text import load_system

UNLIKE = """
name: unlike
arrivals: {requests: 12, rate: 40}
lengths: {prompt: {least: 500, most: 3000}, output: {least: 5, most: 40}}
model: llama3-8b
deployment: {system: splitwise_ha, replicas: 4, prefill: 2, tp: 4}
"""


@pytest.fixture
def load(tmp_path):
    path = tmp_path / "unlike.yaml"

    def loaded(chip=None, **changes):
        path.write_text(UNLIKE)
        return load_scenario(path, {f"deployment.{name}": value for name, value in changes.items()}, chip=chip)

    return loaded


def test_prompts_take_as_long_as_on_their_chips_and_tokens_as_on_theirs(load):
    unlike = serve_scenario(load())
    h100 = serve_scenario(load(load_accelerator("h100")))  # on the same links
    a100 = serve_scenario(load(system="superpod_a100"))
    assert unlike.metrics.finished == 12
    assert unlike.metrics.ttft == h100.metrics.ttft
    assert unlike.metrics.ttft.mean_s < 0.8 * a100.metrics.ttft.mean_s
    # a gap between tokens is a step on the chips for tokens, but for the first, which waits for keys and values
    assert unlike.metrics.itl.p50_s == pytest.approx(a100.metrics.itl.p50_s, rel=0.02)
    assert a100.metrics.itl.p50_s > 1.2 * h100.metrics.itl.p50_s
    assert 32 < unlike.error.compositions <= 64, "steps of both kinds of chips are compared"
    deployment = unlike.scenario.deployment
    assert deployment.told == "8 x h100_sxm5_80g for prompts and 8 x a100_sxm4_80g for tokens"
    link = deployment.system.levels[-1]
    sent = deployment.split().transfer_ns(1000) / 1e9
    assert sent == pytest.approx(
        link.latency_s + deployment.steps.cached_bytes(1000) / link.payload_bytes_per_second, abs=1e-9
    )


def test_the_same_in_stretches_and_step_by_step(load):
    quick, single = (serve_scenario(load(), skip=skip) for skip in (True, False))
    assert [vars(each) for each in quick.run.requests] == [vars(each) for each in single.run.requests]
    assert str(quick.metrics) == str(single.metrics)


def test_a_pool_is_a_system_of_its_own():
    system = load_system("splitwise_ha")
    part = part_of(system, "decode")
    assert (part.count, part.chip.name, [level.name for level in part.levels]) == (8, "a100_sxm4_80g", ["nvlink"])
    changed = with_chip(system, load_accelerator("h200"))
    assert [pool.chip.name for pool in changed.pools] == ["h100_sxm5_80g", "h200_sxm_141g"]
    assert part_of(load_system("dgx_h100"), "decode").count == 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prefill": 0}, "deployment.prefill: must be given, as splitwise_ha has chips of several kinds"),
        ({"prefill": 3}, "3 replicas on 4 chips each need 12 chips, the pool prefill of splitwise_ha has 8"),
    ],
)
def test_pools_that_do_not_fit_are_named(load, changes, message):
    with pytest.raises(InputError, match=message):
        load(**changes)
