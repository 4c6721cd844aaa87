"""Attention as serving stacks call it: which profile stands for a call, and what is launched."""

from __future__ import annotations

import pytest

from algorithms.chip.attention.serving import AttentionCall, ServedAttention, history_splits, windowed_launch
from algorithms.chip.plan.profile import MOST_FITTED
from algorithms.chip.plan.served import MECHANISMS, SERVED_KERNELS
from algorithms.rounding import ceil_div
from algorithms.workload.shape import Workload
from hwmodels.chips.accelerator import load_accelerator
from hwmodels.reading.errors import InputError

H100 = load_accelerator("h100")


def served(name, chip=H100):
    return ServedAttention(SERVED_KERNELS.load(name), chip)


def call(q_len=1, kv_len=4096, cache_format="bfloat16", window=0, **changes):
    shape = {"batch": 4, "heads": 32, "kv_heads": 8, "head_dim": 128} | changes
    phase = "decode" if q_len == 1 else "prefill"
    return AttentionCall(
        Workload("", phase, q_len=q_len, kv_len=kv_len, dtype="bfloat16", **shape), cache_format, window
    )


class TestProfiles:
    @pytest.mark.parametrize("name", SERVED_KERNELS.names())
    def test_have_an_algorithm_chips_and_few_fitted_numbers(self, name):
        kernel = SERVED_KERNELS.load(name)
        assert kernel.name == name
        assert kernel.algorithm.name == kernel.text.algorithm
        assert [load_accelerator(chip).name for chip in kernel.text.chips] == list(kernel.text.chips)
        assert kernel.text.stacks
        assert len(kernel.text.fitted_numbers) <= MOST_FITTED
        assert set(kernel.text.fitted_numbers) <= set(MECHANISMS)
        assert bool(kernel.text.fitted_numbers) != bool(kernel.text.numbers_of)  # its own, or another's with a reason

    @pytest.mark.parametrize("name", [name for name in SERVED_KERNELS.names() if SERVED_KERNELS.load(name).text.fitted])
    def test_say_what_their_numbers_were_fitted_on(self, name):
        origin = SERVED_KERNELS.load(name).text.origin
        assert origin is not None
        assert origin.rows > 0
        assert "@" in origin.tables

    def test_are_found_by_stack_version_and_kernel(self):
        found = SERVED_KERNELS.find("attention_decode", "trtllm", "1.0.0", "torch_flow", load_accelerator("a100"))
        assert [kernel.name for kernel in found] == ["trtllm_decode_sm8", "trtllm_mmha_sm8"]
        assert SERVED_KERNELS.find("attention_decode", "trtllm", "1.0.0", "torch_flop", H100) == ()

    def test_of_another_version_stand_for_one_that_no_file_names(self):
        known, unknown = (
            SERVED_KERNELS.find("attention_decode", "vllm", version, "vllm_flash_attn_fa3", H100)
            for version in ("0.24.0", "99")
        )
        assert known == unknown != ()

    def test_one_name_is_several_kernels_by_format_and_group(self):
        kernels = SERVED_KERNELS.find("attention_decode", "trtllm", "1.3.0rc20", "torch_flow", H100)

        def taking(number_format, group):
            return [kernel.name for kernel in kernels if kernel.takes(number_format, group)]

        assert taking("bfloat16", 4) == ["trtllm_decode_hopper"]
        assert taking("float8_e4m3", 4) == ["trtllm_decode_fp8_hopper"]
        assert taking("bfloat16", 64) == ["trtllm_mmha_hopper"]

    def test_without_rows_take_the_numbers_of_another_and_keep_their_own_structure(self):
        kernel, other = SERVED_KERNELS.load("flashinfer_prefill_sm12"), SERVED_KERNELS.load("vllm_fa2_prefill")
        assert kernel.text.numbers_of == other.name
        assert {name: getattr(kernel.profile, name) for name in other.text.fitted_numbers} == other.text.fitted_numbers
        assert kernel.profile.items_per_core == kernel.text.structure.items_per_core

    def test_have_at_most_four_numbers_those_of_the_launch_before_included(self, tmp_path):
        text = SERVED_KERNELS.path("trtllm_prefill_blackwell").read_text()
        bad = tmp_path / "bad.yaml"
        bad.write_text(text.replace("fitted: {", "fitted: {clock_fraction: 0.9, ", 1))
        with pytest.raises(InputError, match=r"at most 4 numbers may be fitted.*\(got 5\)"):
            SERVED_KERNELS.load(bad)

    def test_with_numbers_of_another_have_none_of_their_own_and_a_reason(self, tmp_path):
        text = SERVED_KERNELS.path("flashinfer_prefill_sm12").read_text()
        bad = tmp_path / "bad.yaml"
        bad.write_text(text.replace("fitted: {}", "fitted: {item_gap_s: 1.0e-6}").replace("numbers_because", "#"))
        with pytest.raises(InputError, match="has numbers of its own besides") as found:
            SERVED_KERNELS.load(bad)
        assert "needs both a profile and a reason" in str(found.value)

    def test_of_the_launch_before_take_no_number_of_the_kernel(self, tmp_path):
        text = SERVED_KERNELS.path("vllm_fa3_prefill_hopper").read_text()
        bad = tmp_path / "bad.yaml"
        bad.write_text(text.replace("write_fitted: {", "write_fitted: {item_gap_s: 1.0e-6, "))
        with pytest.raises(InputError, match=r"write_fitted.item_gap_s: is no number of it"):
            SERVED_KERNELS.load(bad)


class TestCalls:
    def test_new_keys_are_written_before_they_are_attended(self):
        parts = served("vllm_fa3_prefill_hopper").parts(call(q_len=512, kv_len=512))
        assert [part.work.launch.name for part in parts] == ["cache write", "attention"]
        written = 4 * 512 * 8 * 2 * 128 * 2
        assert parts[0].work.store_bytes == written

    def test_encoders_cache_nothing(self):
        parts = served("vllm_fa3_encoder_hopper").parts(call(q_len=512, kv_len=512, cache_format="", head_dim=64))
        assert [part.work.launch.name for part in parts] == ["attention"]

    def test_caches_of_half_the_bytes_load_half(self):
        wide, narrow = (
            sum(
                part.copies * part.work.load_bytes
                for part in served(name).parts(call(cache_format=cache))
                if part.work.launch.name == "attention"
            )
            for name, cache in (
                ("vllm_fa3_decode_hopper", "bfloat16"),
                ("vllm_fa3_decode_hopper_fp8", "float8_e4m3"),
            )
        )
        assert narrow == pytest.approx(wide / 2, rel=0.01)

    def test_converted_caches_are_multiplied_in_sixteen_bits_for_an_operation_per_element(self):
        a100 = load_accelerator("a100")
        parts = served("vllm_fa2_decode", a100).parts(call(cache_format="float8_e4m3"))
        attention = next(part.work for part in parts if part.work.launch.name == "attention")
        assert attention.launch.matrix_format == "bfloat16"
        same = served("vllm_fa2_decode", a100).parts(call())
        plain = next(part.work for part in same if part.work.launch.name == "attention")
        more = attention.steps[0].vector_ops - plain.steps[0].vector_ops
        assert more == attention.steps[0].load_bytes  # one per element of one byte

    def test_products_on_lanes_are_an_operation_per_multiply_add_and_leave_the_matrix_array_alone(self):
        kernel = SERVED_KERNELS.load("trtllm_mmha_hopper")
        parts = ServedAttention(kernel, H100).parts(call(heads=64, kv_heads=1, batch=1))
        attention = next(part.work for part in parts if part.work.launch.name == "attention")
        assert not any(step.flops for step in attention.steps)
        for step, times in attention.launch.items[0][0].steps:
            assert step.vector_ops > step.load_bytes / 2 * 2  # a conversion and a multiply-add per element at least
            assert times

    def test_one_token_loads_no_more_than_its_window(self):
        near, far = (
            served("vllm_trtllm_decode_blackwell", load_accelerator("b200")).parts(call(kv_len=length, window=128))
            for length in (128, 65536)
        )
        assert [part.work.load_bytes for part in near] == [part.work.load_bytes for part in far]

    def test_a_window_saves_nothing_where_tiles_beyond_it_are_masked(self):
        chip = load_accelerator("b200")
        times = {
            (name, window): served(name, chip).estimate(call(8192, 8192, window=window, head_dim=192)).seconds
            for name in ("triton_prefill_blackwell", "vllm_triton_prefill_blackwell")
            for window in (0, 128)
        }
        assert times["triton_prefill_blackwell", 128] == times["triton_prefill_blackwell", 0]
        assert times["vllm_triton_prefill_blackwell", 128] < times["vllm_triton_prefill_blackwell", 0] / 10

    @pytest.mark.parametrize(
        ("kv_len", "batch", "splits"),
        [(100, 4, 1), (1024, 4, 8), (8192, 4, 23), (65536, 1, 64), (8192, 64, 2), (131072, 128, 1)],
        ids=["one block", "by tokens", "by the root", "by the root of 512", "by waves", "one at least"],
    )
    def test_blocks_of_xqa_follow_all_cached_tokens(self, kv_len, batch, splits):
        """By hand: min(n / 128, round(sqrt(8 n / 128))) blocks, cut to eight waves of 132 cores."""
        assert history_splits(call(kv_len=kv_len, batch=batch).workload, 132) == splits

    def test_blocks_of_xqa_that_a_window_leaves_without_keys_are_there_all_the_same(self):
        xqa = served("trtllm_decode_hopper")
        calls = [call(kv_len=length, window=128) for length in (128, 1024)]
        assert [xqa.parts(each)[1].work.item_count for each in calls] == [1, 8]
        short, long = (xqa.estimate(each).seconds for each in calls)
        assert long > short, "they only start and end, and load nothing"
        assert len({sum(part.work.launch.total("load_bytes") for part in xqa.parts(each)[1:2]) for each in calls}) == 1

    def test_keys_are_split_into_eight_parts_at_most_where_a_stack_bounds_them(self):
        chip = load_accelerator("b200")
        work = call(kv_len=1 << 17, batch=1, heads=8, kv_heads=1)
        parts = {
            name: served(name, chip).parts(work)[1].work.item_count
            for name in ("triton_decode_blackwell", "vllm_triton_decode_blackwell")
        }
        assert parts["triton_decode_blackwell"] == 8 < parts["vllm_triton_decode_blackwell"]

    @pytest.mark.parametrize("window", [64, 128, 200])
    def test_windows_of_prompts_load_every_tile_that_holds_a_key_seen(self, window):
        work = Workload("", "prefill", 1, 1, 1024, 1024, 64, dtype="bfloat16")
        kernel = SERVED_KERNELS.load("vllm_fa3_prefill_hopper")
        parameters = kernel.algorithm.resolved(work, kernel.parameters(work), H100)
        launch = windowed_launch(work, parameters, window)
        rows, columns = parameters.tile_rows, parameters.tile_columns
        expected = []
        for first in range(0, 1024, rows):
            last = min(first + rows, 1024) - 1
            oldest = max(first - window + 1, 0)
            expected.append(last // columns - oldest // columns + 1)
        assert [item.step_count for item, times in launch.items for _ in range(times)] == expected
        assert ceil_div(1024, rows) == len(expected)

    def test_tensors_that_fit_the_caches_are_there_when_the_call_is_repeated(self):
        attention = served("vllm_fa3_decode_hopper")
        small, large = (attention.estimate(call(batch=batch)) for batch in (1, 64))
        assert (small.warm, large.warm) == (True, False)
        assert not ServedAttention(attention.kernel, H100).estimate(call(batch=1), replayed=False).warm

    def test_another_profile_shares_plans_and_changes_times(self):
        attention = served("vllm_fa3_decode_hopper")
        slower = attention.with_profile(attention.profile.fitted_to(launch_gap_s=1e-3))
        assert slower.estimate(call()).seconds > attention.estimate(call()).seconds + 9e-4
