"""Every shipped chip: sources, published peaks, ridge points, budgets."""

import math
import re
from importlib import resources
from itertools import pairwise

import pytest

from hwmodels.chips.accelerator import accelerator_aliases, accelerator_names, load_accelerator
from hwmodels.reading.cited import UNCITED
from hwmodels.reading.documents import read_text
from hwmodels.tiers.text import load_tier

# Published dense peaks in TFLOP/s (fp32 at the clock of the preset); the sources are those that the presets cite.
PEAKS = [
    ("a100_sxm4_80g", "float16", 312),
    ("a100_sxm4_80g", "bfloat16", 312),
    ("a100_sxm4_80g", "tfloat32", 156),
    ("a100_sxm4_80g", "int8", 624),
    ("a100_sxm4_80g", "float32", 19.5),
    ("a100_pcie_80g", "float16", 312),
    ("a100_sxm4_40g", "float16", 312),
    ("h100_sxm5_80g", "float16", 989.4),
    ("h100_sxm5_80g", "bfloat16", 989.4),
    ("h100_sxm5_80g", "float8_e4m3", 1979),
    ("h100_sxm5_80g", "tfloat32", 494.7),
    ("h100_pcie_80g", "float16", 756.5),
    ("h800_sxm5", "float16", 989.4),
    ("h200_sxm_141g", "float16", 989.4),
    ("h20", "float16", 148),
    ("b200", "float16", 2250),
    ("b200", "float8_e4m3", 4500),
    ("b200", "float4_e2m1", 9000),
    ("mi300x", "float16", 1307.4),
    ("mi300x", "float8_e4m3", 2614.9),
    ("mi300x", "float32", 163.4),
    ("tpu_v5e", "bfloat16", 197),
    ("tpu_v5e", "int8", 393),
    ("tpu_v5p", "bfloat16", 459),
    ("tpu_v5p", "int8", 918),
    ("groq_lpu1", "int8", 750),
    ("groq_lpu1", "float16", 188),
    ("cerebras_wse3", "float16", 125000),
    ("sambanova_sn40l", "bfloat16", 638),
    ("tenstorrent_wormhole_n150", "float8_e4m3", 294.9),
    ("tenstorrent_wormhole_n150", "bfloat16", 147.5),
    ("tenstorrent_wormhole_n150", "float16", 73.7),
    ("jetson_agx_orin_64g", "float16", 42.5),
    ("jetson_agx_orin_64g", "int8", 85),
    ("jetson_agx_orin_64g", "float32", 5.3),
    ("apple_m4_max_40c", "float32", 17.2),
    ("apple_m4_max_40c", "float16", 17.2),
    ("flat_cloud", "bfloat16", 123.2),
]
# Special-function rates in 1e12/s as printed beside the rates per cycle.
EXPS = [
    ("a100_sxm4_80g", 2.44),
    ("h100_sxm5_80g", 3.87),
    ("h20", 2.28),
    ("b200", 4.39),
    ("mi300x", 10.2),
    ("jetson_agx_orin_64g", 0.333),
]
# FLOP per byte with 16-bit operands.
RIDGES = [
    ("a100_sxm4_80g", 153),
    ("h200_sxm_141g", 206),
    ("tpu_v5e", 241),
    ("mi300x", 247),
    ("b200", 281),
    ("h100_sxm5_80g", 295),
    ("flat_cloud", 308),
]
BUDGETS = {
    "zcu102": (2520, 912, 0, 274080, 548160),
    "alveo_u280": (9024, 2016, 960, 1303680, 2607360),
    "kv260": (1248, 144, 64, 117120, 234240),
}


@pytest.mark.parametrize("name", accelerator_names())
def test_every_number_of_a_preset_says_where_it_comes_from(name):
    chip = load_accelerator(name)
    sources = chip.sources()
    defaults = ("sram_banks", "accumulator_bytes", "count")
    for path, value in chip.values().items():
        if isinstance(value, str) or value is None:
            continue
        if path not in sources:
            # only what no file has to state
            assert path.endswith(defaults), path
            continue
        source = sources[path]
        assert source not in ("", UNCITED), path
        assert not source.startswith("derived") or "; " in source, f"{path} is derived, but not said from what"
        # a short name that references.yaml does not know would stay as it is
        assert not re.fullmatch(r"[A-Z0-9_]+(;.*)?", source), f"{path}: {source}"
    assert chip.name == name


@pytest.mark.parametrize(("name", "operand_format", "tflops"), PEAKS)
def test_cores_times_rate_times_clock_is_the_published_peak(name, operand_format, tflops):
    assert load_accelerator(name).peak_flops_per_second(operand_format) == pytest.approx(tflops * 1e12, rel=0.01)


@pytest.mark.parametrize(("name", "exps"), EXPS)
def test_special_function_rates(name, exps):
    assert load_accelerator(name).exp_per_second == pytest.approx(exps * 1e12, rel=0.01)


@pytest.mark.parametrize(("name", "ridge"), RIDGES)
def test_ridge_points(name, ridge):
    assert load_accelerator(name).ridge_flops_per_byte("bfloat16") == pytest.approx(ridge, rel=0.02)


@pytest.mark.parametrize("name", accelerator_names())
def test_fpgas_have_budgets_and_nothing_else_has(name):
    chip = load_accelerator(name)
    assert (chip.resources is not None) == (chip.kind == "fpga") == (name in BUDGETS)
    if chip.resources is not None:
        budget = chip.resources
        assert (budget.dsp, budget.bram36, budget.uram, budget.lut, budget.ff) == BUDGETS[name]
        # the memory and the peak that can be built are those of the blocks
        assert chip.core.sram_bytes == (budget.bram36 * 36 + budget.uram * 288) * 1024 / 8
        assert chip.core.matrix_flops_per_cycle["int16"] == 2 * budget.dsp
        assert chip.core.register_bytes == budget.ff / 8


@pytest.mark.parametrize("name", accelerator_names())
def test_tiers_stand_near_to_far(name):
    tiers = load_accelerator(name).tiers
    levels = [tier.level for tier in tiers]
    assert levels == sorted(levels), "caches come before memories"
    for near, far in pairwise(tiers):
        assert far.capacity_bytes > near.capacity_bytes
        assert far.bytes_per_second < near.bytes_per_second
        assert far.latency_s > near.latency_s or far.level == near.level == "memory"


@pytest.mark.parametrize("name", accelerator_names())
def test_tier_and_link_presets_exist_and_can_carry_the_bandwidth(name):
    chip = load_accelerator(name)
    for part in (*chip.tiers, *chip.links):
        if part.preset is not None:
            peak = load_tier(part.preset).peak_bytes_per_second * getattr(part, "count", 1)
            # stacks are often clocked below the top speed of their standard (H200: 1.47), or a little above it
            assert 0.85 < peak / part.bytes_per_second < 1.5, (part.name, peak)


def test_local_memory_that_is_the_main_memory_is_counted_once():
    for name in ("groq", "wse3"):
        chip = load_accelerator(name)
        assert chip.memory.technology == "core_sram"
        assert chip.cores * chip.core.sram_bytes == pytest.approx(chip.memory.capacity_bytes, rel=1e-3)
        assert chip.sram_bytes_per_second == pytest.approx(chip.memory.bytes_per_second, rel=1e-2)


def test_aliases_are_all_found_lower_case_and_free_of_preset_names():
    folder = resources.files("hwmodels.chips") / "presets"
    written = {}
    for name in accelerator_names():
        document = read_text((folder / f"{name}.yaml").read_text(encoding="utf-8"), name)
        written |= dict.fromkeys(document.data.get("aliases", []), name)
    assert accelerator_aliases() == written
    for alias in written:
        assert alias == alias.casefold()
        assert alias not in accelerator_names()


def test_what_is_not_published_is_shown_as_such():
    chip = load_accelerator("tpu_v5p")
    assert chip.power_w is None and chip.area_mm2 is None
    assert chip.sources()["node_nm"].startswith("assumption: not published")
    assert "named, not re-read" in load_accelerator("h100").sources()["core.matrix_flops_per_cycle.tfloat32"]


def test_the_same_die_behind_other_names_shares_its_numbers():
    h100, h20 = load_accelerator("h100"), load_accelerator("h20")
    assert h20.core.sram_bytes == h100.core.sram_bytes
    assert h20.sources()["core.sram_bytes"] == h100.sources()["core.sram_bytes"]
    assert h20.power_w is None
    assert math.isclose(h20.flops_per_exp(), 65, rel_tol=0.01)
