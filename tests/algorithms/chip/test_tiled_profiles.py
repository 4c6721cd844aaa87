"""Profiles of published kernels: what their files may say, and what is simulated from them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from algorithms.chip.attention.decode import SplitParameters
from algorithms.chip.attention.decoder_step import DECODERS, Context, decoder_step
from algorithms.chip.plan.kernels import find_kernel, kernel_names, load_kernel
from algorithms.chip.plan.profile import MOST_FITTED, KernelProfile
from algorithms.chip.timing.mapping import time_plan
from algorithms.workload.shape import LatentAttention, Workload
from hwmodels.chips.accelerator import accelerator_names, load_accelerator
from hwmodels.reading.errors import InputError

H100, H20, A100 = (load_accelerator(name) for name in ("h100", "h20", "a100"))
HEADS = Workload("test", "prefill", 16, 16, 512, 512, 128, mask="full")


class TestFiles:
    @pytest.mark.parametrize("name", kernel_names())
    def test_every_profile_is_sound(self, name):
        kernel = load_kernel(name)
        assert kernel.name == name
        assert kernel.text.source
        assert set(kernel.text.chips) <= set(accelerator_names())
        assert len(kernel.profile.fitted) <= MOST_FITTED
        assert bool(kernel.profile.fitted) == bool(kernel.text.calibration)
        assert len(kernel.profile.fitted) <= max(len(kernel.text.calibration), 0)
        if not kernel.text.algorithm.startswith("operator."):
            kernel.parameters(HEADS)

    def test_all_profiles_of_nvidia_chips_take_the_bandwidth_of_the_stream(self):
        stream = load_kernel("stream_nvidia").profile.bandwidth_fraction
        taken = {load_kernel(name).text.structure.bandwidth_fraction for name in kernel_names()} - {None}
        assert taken and all(number == pytest.approx(stream, abs=0.001) for number in taken)

    def test_tiles_depend_on_width_mask_and_format(self):
        fa3 = load_kernel("fa3_hopper")
        parameters = [
            fa3.parameters(HEADS),
            fa3.parameters(HEADS.with_(mask="causal")),
            fa3.parameters(HEADS.with_(dtype="float8_e4m3")),
            fa3.parameters(HEADS.with_(head_dim=64, v_head_dim=64)),
        ]
        assert [(each.tile_rows, each.tile_columns) for each in parameters] == [
            (128, 176),
            (128, 128),
            (128, 224),
            (192, 192),
        ]

    def test_kernels_are_found_by_kind_name_and_chip(self):
        assert find_kernel("prefill_fwd", "FlashAttention-3 (main)", H100).name == "fa3_hopper"
        assert find_kernel("prefill_fwd", "flashattention-2", A100).name == "fa2_ampere"
        assert find_kernel("prefill_fwd", "FlashAttention-3", A100) is None

    def test_bad_files_say_where(self, tmp_path):
        path = tmp_path / "mine.yaml"
        path.write_text("name: mine\nsummary: s\nsource: s\nkinds: []\nkernels: []\nchips: []\nalgorithm: a\ntile: 3\n")
        with pytest.raises(InputError, match=r"mine\.yaml:8: tile: .*tiles"):
            load_kernel(path)

    def test_a_number_is_either_structure_or_fitted(self, tmp_path):
        path = tmp_path / "mine.yaml"
        path.write_text(
            "name: mine\nsummary: s\nsource: s\nkinds: []\nkernels: []\nchips: []\nalgorithm: flash.q_outer\n"
            "structure: {launch_gap_s: 1.0e-6}\nfitted: {launch_gap_s: 2.0e-6}\n"
        )
        with pytest.raises(InputError, match="launch_gap_s: stands in structure and in fitted"):
            load_kernel(path)

    def test_unknown_names_are_answered_with_the_nearest(self, tmp_path):
        with pytest.raises(InputError, match="did you mean 'fa3_hopper'"):
            load_kernel("fa3_hoper")
        with pytest.raises(InputError, match="tile_rows"):
            path = tmp_path / "mine.yaml"
            path.write_text(
                "name: mine\nsummary: s\nsource: s\nkinds: []\nkernels: []\nchips: []\nalgorithm: flash.q_outer\n"
                "parameters: {tile_row: 3}\n"
            )
            load_kernel(path).parameters(HEADS)


class TestProfiles:
    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"clock_fraction": 0.0}, "clock_fraction"),
            ({"bandwidth_fraction": 1.1}, "bandwidth_fraction"),
            ({"launch_gap_s": -1.0}, "launch_gap_s"),
            ({"tiles_in_flight": 0}, "tiles_in_flight"),
            ({"next_item": "soon"}, "next_item"),
            ({"fitted": ("magic",)}, "fitted"),
            (
                {"fitted": ("clock_fraction", "matrix_fraction", "item_gap_s", "launch_gap_s", "exposed_softmax")},
                "fitted",
            ),
        ],
    )
    def test_what_cannot_be_is_refused(self, changes, field):
        with pytest.raises(InputError, match=field):
            replace(KernelProfile(), **changes)

    def test_only_what_can_be_fitted_is_fitted(self):
        assert KernelProfile().fitted_to(launch_gap_s=1e-6).launch_gap_s == 1e-6
        with pytest.raises(InputError, match="launch_gap_s"):
            KernelProfile().fitted_to(launch_gap=1.0)


class TestWhatEmerges:
    """Effects of published measurements that no constant of a profile puts there."""

    def latent_us(self, chip, tokens: int, heads: int) -> float:
        kernel = load_kernel("flashmla_hopper")
        work = Workload(
            "latent", "decode", heads, heads, tokens, 4096, 192, v_head_dim=128, batch=128, dtype="bfloat16",
            hidden=heads * 128, latent=LatentAttention(512, 64),
        )  # fmt: skip
        return time_plan(kernel.algorithm.plan(work, kernel.parameters(work), chip), chip, kernel.profile).seconds * 1e6

    def test_latent_decode_costs_tiles_of_64_rows(self):
        """FlashMLA on an H20 (deepseek-ai/FlashMLA issue 30): 16 to 64 rows 0.60-0.61 ms, 80 to 96 rows 1.17 ms."""
        few, full, more = (self.latent_us(H20, 2, rows // 2) for rows in (32, 64, 80))
        assert full < 1.1 * few
        assert more > 1.9 * full
        assert full == pytest.approx(605, rel=0.1)
        assert more == pytest.approx(1170, rel=0.1)

    def test_on_a_chip_with_more_flops_the_same_rows_are_bound_by_memory(self):
        few, full = self.latent_us(H100, 1, 16), self.latent_us(H100, 1, 64)
        assert few == pytest.approx(215, rel=0.03)
        assert full == pytest.approx(223, rel=0.03)

    def test_without_a_split_most_cores_idle(self):
        """FlashAttention-2 decode of one sequence against Flash-Decoding: 16 tiles for 108 cores, most rows padding."""
        work = Workload("long", "decode", 16, 2, 1, 131072, 128, mask="full")
        split, whole = (load_kernel(name) for name in ("flash_decoding_ampere", "fa2_decode_ampere"))
        runs = [time_plan(k.algorithm.plan(work, k.parameters(work), A100), A100, k.profile) for k in (split, whole)]
        assert runs[1].launches[0].cores == 16
        assert runs[1].seconds > 30 * runs[0].seconds

    def test_items_that_are_not_split_leave_an_uneven_last_wave(self):
        """Flash-Decoding on an A100, the same 67 MB of keys and values: 64 sequences are slower than 16."""
        kernel = load_kernel("flash_decoding_ampere")
        seconds = []
        for batch, tokens in ((64, 1024), (16, 4096)):
            work = Workload("even", "decode", 16, 2, 1, tokens, 128, mask="full", batch=batch)
            seconds.append(
                time_plan(kernel.algorithm.plan(work, kernel.parameters(work), A100), A100, kernel.profile).seconds
            )
        assert seconds[0] > 1.15 * seconds[1]


class TestDecoderStep:
    def test_bytes_are_weights_and_cache(self):
        model = DECODERS["llama3-8b"]
        assert model.weight_elements == pytest.approx(8.03e9 - 128256 * 4096, rel=0.001)
        plan = decoder_step(model, Context(1000), H100, SplitParameters())
        cache = 1000 * 131072
        assert plan.compulsory_bytes == 2 * model.weight_elements + cache
        unique = sum(launch.unique_load_bytes for launch in plan.launches)
        assert unique == pytest.approx(plan.compulsory_bytes, rel=0.005)
        assert plan.total("load_bytes") >= plan.compulsory_bytes

    def test_windows_shorten_what_is_read(self):
        model = DECODERS["llama2-7b"]
        full, quarter = (
            time_plan(decoder_step(model, Context(100_000, share, 320), A100, SplitParameters()), A100).seconds
            for share in (1.0, 0.25)
        )
        saved = 0.75 * (100_000 - 320) * 524288 / A100.memory.bytes_per_second
        assert full - quarter == pytest.approx(saved, rel=0.1)
