"""Rows of experts, collectives and latent attention: what they are taken for, and what is not known."""

from __future__ import annotations

import pytest

from hwmodels.systems.collectives import exchange_on
from hwmodels.systems.text import load_system
from studies.validate.measured.command import measured_report
from studies.validate.measured.rows.prediction import UnsupportedRowError
from studies.validate.measured.rows.routing import load_of
from tests.studies.validate.measured.conftest import PREFILL

WHO = {name: PREFILL[name] for name in ("gpu", "stack", "stack_version", "kernel", "time_us", "split")}
EXPERTS = WHO | {
    "kernel": "vllm_unquantizedfusedmoe_triton_tritonexperts",
    "hidden": 4096,
    "inter": 1536,
    "topk": 8,
    "experts": 128,
    "tp": 1,
    "ep": 1,
    "moe_dtype": "bf16",
    "distribution": "balanced",
    "tokens": 1024,
}
REDUCED = (
    WHO
    | {"kernel": "SGLang_CustomAllReduce_graph", "stack": "sglang", "collective": "all_reduce"}
    | {
        "dtype": "bf16",
        "num_gpus": 4,
        "bytes": 1 << 20,
    }
)
LATENT = (
    WHO
    | {"kernel": "vllm_flashmla", "heads": 16, "batch": 4, "q_len": 1, "kv_len": 8192}
    | {
        "mla_dtype": "bf16",
        "kv_dtype": "bf16",
    }
)


class TestRouting:
    def test_balanced_tokens_are_dealt_out_evenly_and_all_of_them_enter(self):
        load = load_of(1024, 128, 8, 4, "balanced")
        assert load.routing.counts == ((64, 32),)
        assert load.tokens == 1024

    @pytest.mark.parametrize("ranks", [1, 8])
    def test_skewed_ranks_have_more_than_their_share(self, ranks):
        skewed = load_of(4096, 128, 8, ranks, "power_law_1.2").routing
        fair = 4096 * 8 / ranks
        assert skewed.rows == pytest.approx(fair, rel=0.02) if ranks == 1 else skewed.rows > 1.2 * fair
        assert skewed.counts[0][0] > 2 * skewed.rows / skewed.experts

    @pytest.mark.parametrize("tokens", [1, 7, 1000])
    def test_every_draw_gives_all_tokens_their_experts_and_no_expert_more_tokens_than_there_are(self, tokens):
        load = load_of(tokens, 8, 2, 1, "power_law_1.2")
        assert load.routing.counts[0][0] <= tokens
        assert load.routing.rows == pytest.approx(2 * tokens, abs=8)  # means of draws are rounded

    def test_steeper_laws_leave_more_experts_idle(self):
        skewed, even = (load_of(64, 128, 8, 1, name).routing.experts for name in ("power_law_1.2", "balanced"))
        assert skewed < even

    def test_a_router_of_groups_fills_up_with_the_lowest_experts(self):
        # of eight experts, one in each group, four groups are taken: four more are the first ones of the first group
        load = load_of(4096, 256, 8, 64, "balanced", "grouped")
        assert load.routing.counts == ((4096, 4),)
        assert load_of(4096, 256, 8, 2, "balanced", "grouped").routing.rows == 8 * 4096
        assert load_of(4096, 256, 8, 1, "power_law_1.2", "grouped").routing.rows == pytest.approx(8 * 4096, rel=0.01)

    def test_collapsed_experts_of_other_ranks_are_the_first_one_of_this(self):
        load = load_of(4096, 8, 2, 4, "balanced", "collapsed")
        assert load.tokens == 2048  # with one of two experts here
        assert load.routing.counts == ((1024 + 2048, 1), (1024, 1))
        assert load_of(4096, 8, 2, 1, "balanced", "collapsed") == load_of(4096, 8, 2, 1, "balanced")

    def test_other_distributions_are_not_known(self):
        for name in ("zipf", "power_law_steep"):
            with pytest.raises(UnsupportedRowError, match=f"routing '{name}' is not known"):
                load_of(64, 128, 8, 1, name)


def only(report):
    (group,) = report.groups
    return group, report.tables[0].predicted_us[0]


def test_experts_take_longer_with_more_tokens_and_less_time_on_more_ranks(write_table):
    times = []
    for change in ({}, {"tokens": 8192}, {"ep": 8}, {"tp": 8}):
        _, time = only(measured_report(write_table("moe.csv", [EXPERTS | change])))
        times.append(time)
    assert times[1] > 2 * times[0]
    assert times[2] < 0.7 * times[0]
    assert times[3] < times[0] / 2


@pytest.mark.parametrize(
    ("change", "other"),
    [
        ({"stack": "vllm", "stack_version": "0.24.0"}, {"stack_version": "0.14.0"}),  # with a router, and without
        ({"kernel": "sglang_fused_moe_triton", "experts": 8, "topk": 2, "ep": 4}, {"experts": 16}),
    ],
)
def test_how_tokens_reach_a_rank_follows_from_stack_version_and_model(write_table, change, other):
    large = EXPERTS | {"stack": "sglang", "hidden": 7168, "inter": 2048, "experts": 256, "ep": 64, "tokens": 8192}
    large |= change
    first, second = (only(measured_report(write_table("moe.csv", [row])))[1] for row in (large, large | other))
    assert first > 1.5 * second


def test_experts_that_do_not_divide_by_the_ranks_say_so(write_table):
    group, _ = only(measured_report(write_table("moe.csv", [EXPERTS | {"ep": 7}])))
    assert list(group.reasons) == ["experts or their width do not divide by the ranks"]


def test_collectives_are_those_of_the_system_with_the_gpu(write_table):
    group, time = only(measured_report(write_table("collectives.csv", [REDUCED])))
    made = exchange_on(load_system("dgx_h100").of(4), "all_reduce", 4, float(1 << 20))
    assert group.kernels == ("dgx_h100",)
    assert time == pytest.approx(1e6 * made.seconds)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"gpu": "rtx_pro_6000_server"}, "no system is known that joins chips of rtx_pro_6000_server"),
        ({"collective": "gossip"}, "collective 'gossip' is not modelled"),
    ],
)
def test_collectives_without_a_system_or_a_model_say_so(write_table, change, why):
    group, _ = only(measured_report(write_table("collectives.csv", [REDUCED | change])))
    assert list(group.reasons) == [why]


def test_vectors_beyond_what_a_stack_reduces_itself_go_to_the_library(write_table):
    rows = [
        REDUCED | {"bytes": size, "kernel": kernel} for size in (8 << 20, 16 << 20) for kernel in ("nccl", "TRTLLM")
    ]
    nccl, own, large, same = (only(measured_report(write_table("collectives.csv", [row])))[1] for row in rows)
    assert own < nccl
    assert same == large


def test_a_host_that_launches_collectives_one_by_one_is_waited_for(write_table):
    small, large = (
        only(measured_report(write_table("collectives.csv", [REDUCED | {"kernel": kernel, "bytes": size}])))[1]
        for kernel, size in (("SGLang_CustomAllReduce_eager", 512), ("SGLang_CustomAllReduce_graph", 512))
    )
    assert small > 3 * large


def test_latent_rows_load_the_latent_once_for_all_heads(write_table):
    rows = [LATENT | {"batch": 256, "kv_len": 16384, "heads": heads} for heads in (16, 32)]
    report = measured_report(write_table("mla_decode.csv", rows))
    first, second = report.tables[0].predicted_us
    loaded = 256 * 16384 * 576 * 2
    assert first * 1e-6 > loaded / 3.352e12
    assert second < 1.5 * first


MODULE = (
    WHO
    | {"kernel": "default", "stack": "trtllm", "stack_version": "1.3.0rc20", "heads": 128, "batch": 8}
    | {
        "model": "deepseek-ai/DeepSeek-V3",
        "q_len": 1,
        "kv_len": 4096,
        "attn_dtype": "bf16",
        "kv_dtype": "bf16",
        "gemm_type": "bf16",
    }
)


def test_blocks_take_at_least_their_weights_and_their_cache(write_table):
    group, time = only(measured_report(write_table("mla_module_decode.csv", [MODULE])))
    weights = 2 * (7168 * (1536 + 576) + 1536 * 128 * 192 + 2 * 128 * 128 * 512 + 7168 * 128 * 128)
    assert group.kernels == ("trtllm_mla_decode_hopper",)
    assert time * 1e-6 > (weights + 8 * 4096 * 576 * 2) / 3.352e12


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"kernel": "UNHEARD"}, "no core is known for blocks by 'UNHEARD' on h100_sxm5_80g"),
        ({"model": "other"}, "the widths of 'other' are not known"),
        ({"gemm_type": "fp3"}, "there is no profile of products in fp3 of trtllm on h100_sxm5_80g"),
    ],
)
def test_blocks_that_are_not_known_say_why(write_table, change, why):
    group, _ = only(measured_report(write_table("mla_module_decode.csv", [MODULE | change])))
    assert list(group.reasons) == [why]


def test_tables_that_nothing_models_are_read_and_named_row_by_row(write_table):
    row = {name: value for name, value in MODULE.items() if name != "attn_dtype"}
    group, _ = only(measured_report(write_table("dsa_module_decode.csv", [row])))
    assert (group.n, list(group.reasons)) == (1, ["rows of table 'dsa_module_decode' are read and not modelled"])


DELTA = (
    WHO
    | {"stack": "sglang", "stack_version": "0.5.14", "kernel": "chunk_gated_delta_rule", "op_name": "gdn"}
    | {"phase": "context", "model_name": "a model", "batch": 4, "seq_len": 4096, "num_tokens": 16384, "d_model": 2048}
    | {"num_k_heads": 16, "head_k_dim": 128, "num_v_heads": 32, "head_v_dim": 128}
)


def test_rows_of_gated_deltas_are_those_of_the_kernel_with_their_sizes(write_table):
    step = DELTA | {"kernel": "fused_recurrent_gated_delta_rule_packed_decode", "phase": "generation", "seq_len": 1}
    rows = [DELTA, DELTA | {"num_v_heads": 64}, DELTA | {"seq_len": 8192}, step, step | {"batch": 512}]
    report = measured_report(write_table("gated_delta_net.csv", rows))
    assert {name for group in report.groups for name in group.kernels} == {"chunks_triton", "step_packed"}
    prompt, wider, longer, few, many = report.tables[0].predicted_us
    assert 1.5 * prompt < wider < 2.5 * prompt
    assert longer > 1.8 * prompt
    states = 512 * 32 * 128 * 128 * 4 * 2
    assert many * 1e-6 > states / 3.352e12
    assert few < many / 20


def test_gated_deltas_of_a_stack_without_a_profile_say_so(write_table):
    group, _ = only(measured_report(write_table("gated_delta_net.csv", [DELTA | {"kernel": "linear_scan"}])))
    (why,) = group.reasons
    assert why.startswith("there is no profile of 'linear_scan' in sglang on")
