"""Rows of experts, collectives and latent attention: what they are taken for, and what is not known."""

from __future__ import annotations

import pytest

from hwmodels.systems.collectives import exchange_on
from hwmodels.systems.text import load_system
from studies.validate.measured.command import measured_report
from studies.validate.measured.rows.experts import routed
from studies.validate.measured.rows.prediction import UnsupportedRowError
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
    def test_balanced_ranks_have_their_share_of_the_tokens_with_all_of_their_experts(self):
        routing = routed(1000, 128, 8, 4, "balanced")
        assert routing.rows == 250 * 8
        assert routing.experts == 32

    def test_few_local_experts_take_a_token_each_at_most(self):
        assert routed(64, 8, 2, 8, "balanced").rows == 8  # one expert, one of its tokens per row

    @pytest.mark.parametrize("ranks", [1, 8])
    def test_skewed_ranks_have_more_than_their_share(self, ranks):
        skewed = routed(4096, 128, 8, ranks, "power_law_1.2")
        fair = 4096 * 8 / ranks
        assert skewed.rows == pytest.approx(fair, rel=0.02) if ranks == 1 else skewed.rows > 1.2 * fair
        assert skewed.counts[0][0] > 2 * skewed.rows / skewed.experts

    def test_steeper_laws_leave_more_experts_idle(self):
        assert routed(64, 128, 8, 1, "power_law_1.2").experts <= routed(64, 128, 8, 1, "balanced").experts

    def test_other_distributions_are_not_known(self):
        for name in ("zipf", "power_law_steep"):
            with pytest.raises(UnsupportedRowError, match=f"routing '{name}' is not known"):
                routed(64, 128, 8, 1, name)


def only(report):
    (group,) = report.groups
    return group, report.tables[0].predicted_us[0]


def test_experts_take_longer_with_more_tokens_and_less_time_on_more_ranks(write_table):
    times = []
    for change in ({}, {"tokens": 8192}, {"ep": 8}, {"tp": 8}):
        _, time = only(measured_report(write_table("moe.csv", [EXPERTS | change])))
        times.append(time)
    assert times[1] > 2 * times[0]
    assert times[2] < times[0] / 2
    assert times[3] < times[0] / 2


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
