"""Prompts and tokens at the same time: shares of the cores and of the memory's rate, and how they follow targets."""

from __future__ import annotations

import numpy as np
import pytest

from algorithms.live.algorithm import serve_scenario
from algorithms.live.blocks import BlockPool
from algorithms.live.deployment import Deployment
from algorithms.live.requests import Request
from algorithms.live.scenario import load_scenario
from algorithms.live.schedulers.phases import Shares
from algorithms.live.schedulers.register import Limits, get_scheduler
from algorithms.live.serve import serve
from algorithms.live.steps import Part
from algorithms.live.times.divided import DividedChip
from algorithms.live.times.speculation import Speculation
from algorithms.live.times.table import TableTimes
from algorithms.models.mapping import Mapping
from algorithms.models.text import load_model
from hwmodels.chips.accelerator import load_accelerator
from hwmodels.reading.errors import InputError
from hwmodels.systems.system import single
from hwmodels.systems.text import load_system
from tests.algorithms.live.random_scenarios import Parts, Times


def times_of(requests, name, limits, times):
    run = serve(requests, lambda: get_scheduler(name).make(BlockPool(400, 4), limits), times)
    return [(each.scheduled_ns, each.first_token_ns, each.last_token_ns) for each in run.requests]


@pytest.mark.parametrize(
    ("shares", "both", "alone"),
    [((100, 100), (50, 50), (100, 100)), ((30, 60), (30, 60), (30, 60)), ((100, 50), (70, 30), (100, 50))],
)
def test_shares_of_more_than_all_cores_are_cut_while_both_phases_work(shares, both, alone):
    found = Shares(*shares)
    assert (found.of_prompts(True), found.of_tokens(True)) == both
    assert (found.of_prompts(False), found.of_tokens(False)) == alone


def test_a_request_by_itself_has_all_cores_and_takes_as_long_as_in_one_batch():
    requests = [Request(0, 0, 37, 20), Request(1, 10_000_000, 5, 1)]
    limits = Limits(4, 16)
    assert times_of(requests, "semi_pd", limits, Parts()) == times_of(requests, "vllm", limits, Times())


def test_tokens_go_on_while_a_long_prompt_is_computed():
    requests = [Request(0, 0, 4, 200), Request(1, 50_000, 390, 2)]
    limits = Limits(4, 400)
    (_, _, together), (_, first, _) = times_of(requests, "semi_pd", limits, Parts())
    (_, _, stopped), _ = times_of(requests, "vllm", limits, Times())
    assert together < first, "all tokens are made before the long prompt is computed"
    assert together < stopped


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"ttft_s": 1e-9}, Shares(100, 90)),
        ({"tpot_s": 1e-9}, Shares(90, 100)),
        ({"ttft_s": 1e-9, "prompts_pct": 40}, Shares(50, 100)),
        ({"ttft_s": 1.0, "tpot_s": 1.0}, Shares(100, 100)),
        ({}, Shares(100, 100)),
    ],
)
def test_cores_go_to_the_phase_that_is_above_its_limit(limits, expected):
    scheduler = get_scheduler("semi_pd").make(BlockPool(400, 4), Limits(4, 16, **limits))
    scheduler.observe([5_000] * 9, 10, 10_000)
    before = scheduler.shares
    assert before == Shares(limits.get("prompts_pct", 100), 100), "nine first tokens tell nothing of nine in ten"
    scheduler.observe([5_000], 12, 12_000)
    assert scheduler.shares == expected


def test_prompts_that_wait_for_places_get_no_cores_from_tokens():
    scheduler = get_scheduler("semi_pd").make(BlockPool(400, 4), Limits(1, 16, ttft_s=1e-9))
    requests = [Request(i, i, 4, 30) for i in range(12)]
    serve(requests, lambda: scheduler, Parts())
    assert scheduler.shares == Shares(90, 100)


def test_a_phase_keeps_a_tenth_of_the_cores_at_least():
    scheduler = get_scheduler("semi_pd").make(BlockPool(400, 4), Limits(4, 16, ttft_s=1e-9))
    for _ in range(12):
        scheduler.observe([5_000] * 10, 0, 0)
    assert scheduler.shares == Shares(100, 10)


@pytest.mark.parametrize("share", [0, 5, 110])
def test_shares_are_whole_tenths(share):
    with pytest.raises(InputError) as caught:
        get_scheduler("semi_pd").make(BlockPool(400, 4), Limits(4, 16, prompts_pct=share))
    assert [problem.field for problem in caught.value.problems] == ["prompts_share"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"speculation": Speculation(2, 0.5)}, "scheduler"),
        ({"system": load_system("dgx_a100"), "mapping": Mapping(dp=2)}, "scheduler"),
        ({"system": load_system("dgx_a100"), "replicas": 2, "prefill": 1}, "prefill"),
    ],
)
def test_what_phases_do_not_go_with_is_refused(changes, field):
    chip = single(load_accelerator("a100_sxm4_80g"))
    with pytest.raises(InputError) as caught:
        Deployment(**{"model": load_model("llama3-8b"), "system": chip, "scheduler": "semi_pd", **changes})
    assert field in [problem.field for problem in caught.value.problems]


def test_a_run_needs_times_of_parts_of_a_chip():
    with pytest.raises(InputError, match="parts of a chip"):
        times_of([Request(0, 0, 4, 2)], "semi_pd", Limits(), Times())


class Source:
    """A second for each token and nothing else; bytes as many as tokens."""

    def tokens_s(self, tokens):
        return 1.0 * tokens

    def made_s(self, sequences):
        return 0.0

    def decode_s(self, sequences, context_tokens):
        return 0.0

    def prefill_s(self, new_tokens, cached_tokens):
        return 0.0

    def host_s(self, parts):
        return 0.0


@pytest.mark.parametrize(("rate", "expected"), [(100.0, 25), (4.0, 25), (3.9, 50), (1.4, 75), (0.5, 100)])
def test_the_rate_that_prompts_take_is_told_in_quarters(rate, expected):
    divided = DividedChip(TableTimes(Source()), lambda cores, memory: TableTimes(Source()), TableTimes(Source()), rate)
    assert divided.memory_pct(100, (Part(5, 0),)) == expected


def test_prompts_need_cores_and_tokens_need_the_memory():
    deployment = load_scenario("semi-pd-a100").deployment
    divided = deployment.step_times(deployment.times())
    prompt, contexts = (Part(2048, 0),), np.array([64 * 1024])
    prompts = {pct: divided.at(pct, 100).mixed(0, 0, prompt) for pct in (50, 100)}
    assert 1.5 < prompts[50] / prompts[100] < 2.2
    tokens = {at: int(divided.at(*at).decode(64, contexts)[0]) for at in ((100, 100), (50, 100), (100, 50))}
    assert tokens[50, 100] < 1.35 * tokens[100, 100]
    assert tokens[100, 50] > 1.5 * tokens[100, 100]


def test_the_shipped_scenario_keeps_its_limits_and_says_where_lengths_are_from():
    found = serve_scenario(load_scenario("semi-pd-a100", {"arrivals.requests": 40, "model": "qwen3-0.6b"}))
    assert found.metrics.finished == 40
    assert "ShareGPT" in found.scenario.asked.origin
    assert found.energy_j > 0
