"""Gated delta layers as serving stacks call them: profiles, launches of a call, and what they cost."""

from __future__ import annotations

import pytest

from algorithms.chip.plan.profile import MOST_FITTED
from algorithms.chip.timing.launch_work import LaunchWork
from algorithms.state.launches import FORMS
from algorithms.state.served import SERVED_STATES, STATE_MECHANISMS, ServedState
from hwmodels.chips.accelerator import load_accelerator
from hwmodels.reading.errors import InputError

H100, H200, GRAPHICS = (load_accelerator(name) for name in ("h100", "h200", "rtx_pro_6000_server"))
HEADS = {"key_heads": 16, "value_heads": 32, "key_dim": 128, "value_dim": 128}


def seconds(served: ServedState, batch: int, tokens: int, chip=H100) -> float:
    return served.estimate(served.call(batch, tokens, **HEADS), chip).seconds


@pytest.mark.parametrize("name", SERVED_STATES.names())
def test_files_hold_few_numbers_each_for_a_mechanism_and_say_what_they_were_fitted_on(name):
    served = SERVED_STATES.load(name)
    assert served.name == name
    assert served.text.form in FORMS
    assert 0 < len(served.text.fitted_numbers) <= MOST_FITTED
    assert set(served.text.fitted_numbers) <= set(STATE_MECHANISMS)
    origin = served.text.origin
    assert origin is not None
    assert origin.rows > 0
    assert "@" in origin.tables
    assert [load_accelerator(chip).name for chip in served.text.chips] == list(served.text.chips)


@pytest.mark.parametrize("name", SERVED_STATES.names())
def test_every_number_of_a_file_moves_some_prediction(name):
    served = SERVED_STATES.load(name)
    chips = [load_accelerator(chip) for chip in served.text.chips] or [H100, GRAPHICS]
    sizes = [(1, 1), (64, 1), (1024, 1), (1, 4096), (8, 8192), (64, 16384)]
    assert served.text.fitted_numbers
    for number, value in served.text.fitted_numbers.items():
        other = served.with_profile(served.profile.fitted_to(**{number: value / 2}))
        moved = [seconds(served, *size, chip) / seconds(other, *size, chip) for size in sizes for chip in chips]
        assert max(moved) > 1.01 or min(moved) < 0.99, number


def test_are_found_by_kernel_stack_and_version():
    asked = ("gated_delta_net", "sglang")
    found = SERVED_STATES.first(*asked, "0.5.10", "causal_conv1d_fn", load_accelerator("a100_80g"))
    assert found is not None
    assert found.name == "convolution_rowwise_sglang"
    newer = SERVED_STATES.first(*asked, "0.5.14", "causal_conv1d_fn", H100)
    assert newer is not None
    assert newer.name == "convolution_triton"
    assert SERVED_STATES.first("gemm", "sglang", "0.5.14", "causal_conv1d_fn", H100) is None
    only_there = SERVED_STATES.first("gated_delta_net", "vllm", "0.24.0", "chunk_gated_delta_rule_flashinfer", H100)
    assert only_there is not None
    assert only_there.name == "chunks_flashinfer_hopper"
    assert (
        SERVED_STATES.first("gated_delta_net", "vllm", "0.24.0", "chunk_gated_delta_rule_flashinfer", GRAPHICS) is None
    )


def test_a_step_moves_every_state_both_ways_and_nothing_twice():
    served = SERVED_STATES.load("step_packed")
    call = served.call(64, 1, **HEADS)
    (launch,) = FORMS["step"](call, H100)
    states = 64 * 32 * 128 * 128 * 4
    work = LaunchWork.of(launch)
    assert states < work.load_bytes < 1.05 * states
    assert states < work.store_bytes < 1.05 * states
    assert launch.unique_load_bytes <= work.load_bytes


def test_products_of_a_prompt_are_those_of_its_chunks():
    """Products that the definition of a chunk needs: keys with keys, queries with keys, and those with the state."""
    served = SERVED_STATES.load("chunks_triton")
    call = served.call(2, 8 * 64, **HEADS)
    flops = sum(launch.total("flops") for launch in FORMS["chunk_launches"](call, H100))
    size, wide = 64, 128
    inverse = 12 * 2 * 16**3
    each = 2 * (2 * size * size * wide + 3 * size * wide * size + 3 * size * wide * wide) + inverse
    assert flops == 2 * 32 * 8 * each


def test_a_state_carried_past_twice_the_chunks_takes_twice_as_long():
    served = SERVED_STATES.load("chunks_flashinfer_hopper")
    gap = served.profile.launch_gap_s
    ratio = (seconds(served, 1, 32768) - gap) / (seconds(served, 1, 16384) - gap)
    assert ratio == pytest.approx(2, rel=0.05)


def test_heads_run_beside_each_other_until_cores_are_full():
    served = SERVED_STATES.load("chunks_flashinfer_hopper")
    assert seconds(served, 4, 4096) == pytest.approx(seconds(served, 1, 4096), rel=0.1)
    assert seconds(served, 8, 4096) > 1.5 * seconds(served, 4, 4096)


def test_states_that_caches_hold_are_not_read_from_memory():
    served = SERVED_STATES.load("step_packed")
    inside, outside = seconds(served, 16, 1), seconds(served, 128, 1)
    assert outside > 1.2 * 8 * (inside - served.profile.launch_gap_s)
    assert seconds(served, 128, 1, H200) < outside


def test_an_unknown_name_has_its_nearest():
    with pytest.raises(InputError, match=r"unknown served state 'step_pack'"):
        SERVED_STATES.load("step_pack")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("form: chunk_launch", "there are no launches 'chunk_launch'"),
        ("state_format: float12", "unknown number format 'float12'"),
        ("numbers_of: step_packed", "has numbers of its own besides"),
        ("numbers_because: same", "needs both a profile and a reason"),
    ],
)
def test_bad_files_are_told_by_field(tmp_path, line, message):
    text = SERVED_STATES.path("step_recurrent").read_text()
    key = line.split(":")[0]
    kept = [each for each in text.splitlines() if not each.startswith(f"{key}:")]
    file = tmp_path / "mine.yaml"
    file.write_text("\n".join([*kept, line]))
    with pytest.raises(InputError, match=message):
        SERVED_STATES.load(file)
