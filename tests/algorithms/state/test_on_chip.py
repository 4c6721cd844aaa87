"""Constant states on chips: bytes and products of the plans, bounds, capacity, and values of both phases."""

from __future__ import annotations

import numpy as np
import pytest

from algorithms.chip.algorithm import get_chip_algorithm
from algorithms.chip.plan.profile import unfitted_for
from algorithms.chip.timing.mapping import time_plan
from algorithms.state.on_chip import StateParameters
from algorithms.state.rule import rule_names
from algorithms.workload.shape import Workload
from algorithms.workload.tensors import draw_tensors
from hwmodels.chips.accelerator import load_accelerator
from hwmodels.reading.errors import InputError
from simulator import CapacityError

CHIP = load_accelerator("h100_sxm5_80g")
DECODE = Workload(
    name="d", phase="decode", batch=64, heads=32, kv_heads=32, q_len=1, kv_len=1, head_dim=128, mask="causal"
)
PREFILL = DECODE.with_(phase="prefill", batch=4, q_len=4096, kv_len=4096)


def timed(name, workload, **parameters):
    algorithm = get_chip_algorithm(name)
    given = StateParameters(**parameters)
    plan = algorithm.plan(workload, given, CHIP)
    return plan, time_plan(plan, CHIP, unfitted_for(given))


def test_decoding_reads_and_writes_the_state_once_and_is_bound_by_it():
    plan, run = timed("state.decode", DECODE)
    state = 64 * 32 * 128 * 128 * 4
    tokens = 64 * 32 * (4 * 128 + 2) * 2
    assert plan.total("load_bytes") == state + tokens
    assert plan.total("store_bytes") == state
    assert run.bounds.binding == "memory"
    assert run.seconds >= 2 * state / CHIP.memory.bytes_per_second


def test_prefill_moves_tokens_and_leaves_the_state_in_the_core():
    plan, run = timed("state.prefill", PREFILL, column_parts=1)
    tokens = 4 * 32 * 4096
    assert plan.total("load_bytes") == tokens * (3 * 128 + 2) * 2
    assert plan.total("store_bytes") == tokens * 128 * 2 + 4 * 32 * 128 * 128 * 4
    chunks = 4 * 32 * 4096 // 64
    per_chunk = 2 * (3 * 64 * 64 * 128 + 3 * 64 * 128 * 128 + 2 * 64 * 64 * 128) - 2 * 64 * 64 * 128
    assert plan.total("flops") == chunks * per_chunk
    assert run.seconds >= run.bounds.seconds > 0


@pytest.mark.parametrize("rule", rule_names())
@pytest.mark.parametrize("name", ["state.decode", "state.prefill"])
def test_every_rule_has_a_time_that_grows_with_tokens_alone(name, rule):
    base = DECODE if name == "state.decode" else PREFILL.with_(q_len=1024, kv_len=1024)
    if rule == "prefix_linear" or rule == "infini":
        base = base.with_(head_dim=64, v_head_dim=64)
    if rule == "based":  # features of 16 are 273 wide, those of 64 would be 4,161
        base = base.with_(head_dim=16, v_head_dim=64)
    _, run = timed(name, base, rule=rule)
    longer = base.with_(kv_len=8 * base.kv_len) if name == "state.decode" else base.with_(q_len=2048, kv_len=2048)
    _, later = timed(name, longer, rule=rule)
    if name == "state.decode":
        assert later.seconds == run.seconds, "a state does not remember how long the context is"
    else:
        assert 1.5 * run.seconds < later.seconds < 2.5 * run.seconds


def test_value_columns_are_split_until_every_core_has_some():
    few = PREFILL.with_(batch=1, heads=8, kv_heads=8)
    whole, slow = timed("state.prefill", few, column_parts=1)
    parts, quick = timed("state.prefill", few)
    assert whole.launches[0].item_count == 8
    assert parts.launches[0].item_count == 64
    assert quick.seconds < slow.seconds


@pytest.mark.parametrize("name", ["state.decode", "state.prefill"])
@pytest.mark.parametrize("rule", rule_names())
def test_values_do_not_depend_on_the_chunk(name, rule):
    small = Workload(
        name="s", phase="prefill", batch=2, heads=4, kv_heads=2, q_len=11, kv_len=11, head_dim=4, mask="causal"
    )
    algorithm = get_chip_algorithm(name)
    tensors = algorithm.prepared(small, StateParameters(rule=rule), draw_tensors(small))
    outs = [algorithm.values(small, StateParameters(rule=rule, chunk=chunk), tensors) for chunk in (1, 4, 64)]
    for out in outs[1:]:
        np.testing.assert_allclose(out, outs[0], rtol=1e-10, atol=1e-12)
    assert outs[0].shape == (2, 4, 11, 4)


def test_a_state_that_no_core_holds_is_refused_with_both_sizes():
    wide = PREFILL.with_(head_dim=1024, v_head_dim=1024)
    with pytest.raises(CapacityError, match=r"takes 4,194,304 bytes, and a core of h100_sxm5_80g holds"):
        timed("state.prefill", wide, column_parts=1)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"rule": "gated_deltas"}, "rule"),
        ({"chunk": -1}, "chunk"),
        ({"chunk": 4097}, "chunk"),
        ({"state_dtype": "float3"}, "state_dtype"),
        ({"rule": "titans", "column_parts": 2}, "column_parts"),
        ({"column_parts": 4096}, "column_parts"),
    ],
)
def test_parameters_that_cannot_be_are_told(given, field):
    with pytest.raises(InputError) as caught:
        timed("state.prefill", PREFILL, **given)
    assert field in [problem.field for problem in caught.value.problems]


@pytest.mark.parametrize(("batch", "tokens", "published_ms"), [(16, 32_768, 5.6), (64, 16_384, 11.1)])
def test_published_prefill_of_jrt_lies_between_matrix_arrays_and_vector_lanes(batch, tokens, published_ms):
    """JRT-RNN on an H100 (arXiv:2407.05483, table 4), 16 heads, features of 16, values of 64; plain Based is 1.24 less.

    The kernel works in registers: with all of it on matrix arrays it would be as fast as the chunked form, with all of
    it on vector lanes as slow as the recurrent one. The band is stated, nothing is fitted.
    """
    work = PREFILL.with_(
        batch=batch, heads=16, kv_heads=16, head_dim=16, v_head_dim=64, q_len=tokens, kv_len=tokens, dtype="bfloat16"
    )
    low, high = (1e3 * timed(name, work, rule="based")[1].seconds for name in ("state.prefill", "state.decode"))
    assert low < published_ms / 1.24 < published_ms < high
    assert high / low < 12
