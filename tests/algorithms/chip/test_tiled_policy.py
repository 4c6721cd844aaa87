"""Decoding and frame streams under KV policies on chips: plans from recorded costs, transfers, barriers, values."""

from dataclasses import replace

import numpy as np
import pytest

from algorithms.chip.algorithm import get_chip_algorithm
from algorithms.chip.plan.exchange import HOST, TierTransfer, exchange, memory_tiers, path_of
from algorithms.chip.plan.profile import UNFITTED
from algorithms.chip.timing.mapping import time_plan
from algorithms.chip.timing.memory_rate import at_fidelity
from algorithms.kv.registry import policy_names
from algorithms.workload.tensors import draw_tensors
from algorithms.workload.text import load_workload
from hwmodels.chips.accelerator import load_accelerator
from hwmodels.reading.errors import InputError
from reference.truth.oracle import attention
from studies.cli import main
from studies.quality.line_up import line_up

DECODE = get_chip_algorithm("decode.policy")
FRAMES = get_chip_algorithm("stream.frames")
H100 = load_accelerator("h100")
SN40L = load_accelerator("sn40l")
CONTEXT, BUDGET = 2048, 512


def llama(context=CONTEXT, **changes):
    """A decode step of Llama-3-8B with four layers."""
    shape = {"phase": "decode", "q_len": 1, "kv_len": context, "layers": 4, "dtype": "bfloat16"}
    return load_workload("llama3-8b").with_(**(shape | changes))


def parameters(policy, budget=0, **changes):
    return DECODE.parameters(policy=policy, budget=budget, **changes)


def launches(plan, prefix):
    return [launch for launch in plan.launches if launch.name.startswith(prefix)]


def test_the_full_policy_moves_what_split_attention_moves():
    work = llama(32768)
    plan = DECODE.plan(work, parameters("full"), H100)
    split = get_chip_algorithm("decode.split_kv")
    alone = split.plan(work, split.parameters(), H100)
    assert plan.useful_flops == 4 * alone.useful_flops
    assert plan.useful_exps == 4 * alone.useful_exps
    assert plan.total("load_bytes") == pytest.approx(4 * alone.total("load_bytes"), rel=0.01)
    one, all_layers = time_plan(alone, H100), time_plan(plan, H100)
    assert all_layers.seconds == pytest.approx(4 * one.seconds, rel=0.05)


def test_one_run_says_what_the_kept_keys_are_worth():
    work = llama(8192)
    published = ("oracle", "snapkv", "tova", "streaming_llm", "random")
    found = [DECODE.details(work, parameters(name, 1024), H100) for name in published]
    recalls, errors = ([each[f"attention_{what}"] for each in found] for what in ("recall", "error"))
    assert recalls == sorted(recalls, reverse=True)
    assert errors == sorted(errors)
    full = DECODE.details(work, parameters("full"), H100)
    assert full["attention_recall"] == pytest.approx(1)
    assert full["attention_error"] == pytest.approx(0, abs=1e-6)
    assert "attention_error" not in DECODE.details(work, parameters("linear_attention"), H100)


def test_bytes_follow_the_keys_that_are_kept():
    work = llama(131072, layers=32)
    details = DECODE.details(work, parameters("streaming_llm(sink=4,recent=1020)"), H100)
    token = 8 * 32 * 2 * 128 * 2
    assert details["attended"] == 1025
    assert details["kept_bytes.hbm"] == 1024 * token
    assert details["held_bytes.hbm"] >= details["kept_bytes.hbm"]
    assert DECODE.details(work, parameters("full"), H100)["kept_bytes.hbm"] == 131072 * token


@pytest.mark.parametrize("frames", [False, True])
@pytest.mark.parametrize("name", policy_names())
def test_every_policy_has_a_plan_that_can_be_timed(name, frames):
    entry = next(entry for entry in line_up(BUDGET, 8, 4) if entry.name == name)
    algorithm = FRAMES if frames else DECODE
    work = llama(q_len=32) if frames else llama()
    chosen = algorithm.parameters(
        policy=entry.policy, budget=BUDGET if entry.budgeted else 0, sampled_layers=1, tile_columns=128
    )
    plan = algorithm.plan(work, chosen, SN40L)
    run = time_plan(plan, SN40L)
    assert run.seconds >= run.bounds.seconds > 0
    details = algorithm.details(work, chosen, SN40L)
    held = sum(value for key, value in details.items() if key.startswith(("held_bytes.hbm", "state_bytes.hbm")))
    assert plan.capacity_bytes == pytest.approx(held, abs=1)
    assert len(launches(plan, "attention")) == algorithm.layers_made(work, chosen) == 4


def test_who_compares_heads_layers_or_asks_the_host_waits_in_launches_of_its_own():
    work = llama()
    tova = DECODE.plan(work, parameters("tova", BUDGET), H100)
    assert len(launches(tova, "after: layer")) == 4
    evict3r = DECODE.plan(work, parameters("evict3r(frame=64)", BUDGET), H100)
    assert [launch.name for launch in evict3r.launches].count("after: model") == 1
    assert evict3r.launches[-1].name == "after: model"
    quest = DECODE.plan(work, parameters("quest", BUDGET), H100)
    assert [launch.name for launch in quest.launches[:2]] == ["before: group", "attention"]
    asked = [
        time_plan(DECODE.plan(work, parameters("sirllm", BUDGET, host_seconds=wait), H100), H100).seconds
        for wait in (0.0, 50e-6)
    ]
    assert asked[1] - asked[0] == pytest.approx(50e-6, rel=0.02)  # the host is asked as the ranking begins


def test_a_fused_kernel_exports_scores_of_one_query_and_runs_twice_for_many():
    work = llama()
    alone = DECODE.plan(work, parameters("window", BUDGET), H100)
    token = DECODE.plan(work, parameters("h2o", BUDGET), H100)
    assert len(launches(token, "probabilities")) == 4
    assert token.total("store_bytes") > alone.total("store_bytes")
    chosen_once = DECODE.plan(work, parameters("h2o_oneshot", BUDGET), H100)
    assert not launches(chosen_once, "probabilities")  # it has looked at the prompt, and at nothing since
    frame = FRAMES.plan(llama(q_len=64), FRAMES.parameters(policy="h2o", budget=BUDGET), H100)
    assert len(launches(frame, "second pass")) == 4
    keys = sum(launch.total("load_bytes") for launch in launches(frame, "second pass"))
    assert keys == pytest.approx(4 * 8 * (BUDGET + 64) * 128 * 2, rel=0.01)


def test_copying_a_cache_costs_what_a_slot_map_saves():
    work = llama()
    cost = {
        layout: DECODE.plan(work, parameters("h2o", BUDGET, layout=layout), H100).total("store_bytes")
        for layout in ("slots", "rewrite")
    }
    copied = 4 * 8 * BUDGET * 2 * 128 * 2
    assert cost["rewrite"] - cost["slots"] == pytest.approx(copied, rel=0.02)


def test_scattered_low_bit_keys_pay_for_whole_accesses():
    shape = {"head_dim": 8, "heads": 8, "kv_heads": 8}
    work = llama(**shape)
    random_plan = DECODE.plan(work, parameters("oracle", 64), H100)
    window_plan = DECODE.plan(work, parameters("window", 64), H100)
    gathered, streamed = (launches(plan, "attention")[0].unique_load_bytes for plan in (random_plan, window_plan))
    assert gathered > 1.5 * streamed


def test_banks_serve_scattered_keys_slower_than_a_window():
    work = llama(8192)
    policies = {name: DECODE.plan(work, parameters(name, 1024), H100) for name in ("oracle", "window")}
    attention = {name: launches(plan, "attention")[0] for name, plan in policies.items()}
    assert attention["window"].gather_bytes == 0
    pieces = attention["oracle"].gather_bytes
    runs = DECODE.details(work, parameters("oracle", 1024), H100)["run_tokens"]
    assert pieces == pytest.approx(runs * 256, rel=0.05)
    shares = {
        name: at_fidelity(launch, H100, UNFITTED, "cycle").bandwidth_fraction for name, launch in attention.items()
    }
    assert shares["oracle"] < shares["window"] <= 1
    peak, banks = (time_plan(policies["oracle"], H100, memory=fidelity).seconds for fidelity in ("peak", "cycle"))
    assert banks > peak


def test_missed_blocks_wait_for_the_link_and_a_faster_link_waits_less():
    work = llama(16384)
    chosen = parameters("retroinfer(local=64)", 1024)
    assert chosen.tiers_on(H100) == ("hbm", HOST)
    plan = DECODE.plan(work, chosen, H100)
    run = time_plan(plan, H100)
    fetched = DECODE.details(work, chosen, H100)["fetched_bytes"]
    pcie = H100.link("pcie").bytes_per_second
    assert 0 < run.exchange.exposed_s <= run.seconds
    assert run.exchange.busy_s["host->hbm"] == pytest.approx(fetched / pcie)
    assert run.tier_bytes["pcie"] >= fetched
    faster = H100.with_(**{"pcie.bytes_per_second": 10 * pcie})
    assert time_plan(plan, faster).exchange.exposed_s < 0.2 * run.exchange.exposed_s
    decayed = DECODE.details(work, replace(chosen, replacement="score_decay", cached=40), H100)
    assert 0 < decayed["hit_rate"] < 1
    in_one_tier = DECODE.plan(work, parameters("retroinfer(local=64)", 1024, placement="hbm"), H100)
    assert in_one_tier.transfers == ()


def test_a_prefetch_hides_behind_the_rest_of_the_step():
    work = llama(16384)
    run = time_plan(DECODE.plan(work, parameters("specache"), H100), H100)
    assert run.exchange.busy_s["host->hbm"] > 0
    assert run.exchange.exposed_s == 0


def test_waiting_by_hand():
    """A miss waits for all its bytes; a prefetch only for what the launches in between leave over."""
    size = 63_000_000
    miss = TierTransfer("miss", HOST, "hbm", size, issued_by=1, needed_by=1)
    arrival = size / path_of(H100, HOST, "hbm")[0] + path_of(H100, HOST, "hbm")[1]
    outcome = exchange(H100, (miss,), (1e-3, 1e-4))
    assert outcome.waits_s == (0.0, pytest.approx(arrival))
    ahead = replace(miss, next_step=True)
    outcome = exchange(H100, (ahead,), (1e-4, 1e-4))
    # the link is the bottleneck: steps follow each other as fast as it serves
    assert sum(outcome.waits_s) + 2e-4 == pytest.approx(size / path_of(H100, HOST, "hbm")[0])
    assert exchange(H100, (ahead,), (1e-3, 1e-3)).exposed_s == 0
    assert exchange(H100, (replace(miss, needed_by=None),), (1e-3,) * 2).exposed_s == 0
    assert outcome.moved_bytes == {"pcie": size}


def test_tiers_of_a_chip():
    assert memory_tiers(H100) == ("hbm", HOST)
    assert memory_tiers(SN40L) == ("hbm", "ddr")
    with pytest.raises(InputError, match="sambanova_sn40l has no memory tier 'flash'"):
        DECODE.plan(llama(), parameters("quest", 64, placement="hbm,flash"), SN40L)


def test_a_cache_that_does_not_fit_is_refused():
    plan = DECODE.plan(llama(131072, layers=32, batch=8), parameters("full"), H100)
    assert plan.capacity_bytes == 8 * 131072 * 131072
    assert plan.capacity_bytes > H100.memory.capacity_bytes
    assert (
        main(
            ["run", "decode.policy", "--chip", "h100", "--workload", "llama3-8b", "--context", "131072", "--batch", "8"]
        )
        == 3
    )


@pytest.mark.parametrize("frames", [False, True])
def test_values_are_attention_over_the_keys_that_are_seen(frames):
    algorithm = FRAMES if frames else DECODE
    work = llama(96, heads=4, kv_heads=2, head_dim=16, q_len=8 if frames else 1, batch=2, mask="full")
    tensors = draw_tensors(work)
    q, k, v = tensors
    exact = np.array(
        [
            [attention(q[b, h : h + 1], k[b, h // 2][None], v[b, h // 2][None], mask="full")[0][0] for h in range(4)]
            for b in range(2)
        ]
    )
    full = algorithm.values(work, algorithm.parameters(policy="full"), tensors)
    np.testing.assert_allclose(full, exact, atol=1e-12)
    kept = [0, 1, *range(96 - work.q_len - 22, 96)] if frames else [0, 1, *range(96 - 23, 96)]
    windowed = algorithm.values(work, algorithm.parameters(policy="streaming_llm(sink=2,recent=22)"), tensors)
    expected = attention(q[0, :1], k[0, :1][:, kept], v[0, :1][:, kept], mask="full")[0][0]
    np.testing.assert_allclose(windowed[0, 0], expected, atol=1e-12)


def test_bad_parameters_come_all_at_once():
    with pytest.raises(InputError) as failure:
        parameters("streamin_llm", 4, kept=0.5, when="never", page_tokens=0)
    fields = {problem.field for problem in failure.value.problems}
    assert {"kept", "when", "page_tokens"} <= fields
    assert any("did you mean 'streaming_llm'" in str(problem) for problem in failure.value.problems)
    with pytest.raises(InputError, match="more than the context"):
        DECODE.plan(llama(), parameters("h2o", 4096), H100)
    with pytest.raises(InputError, match="always keeps"):
        DECODE.plan(llama(), parameters("streaming_llm(sink=40)", 16), H100)
