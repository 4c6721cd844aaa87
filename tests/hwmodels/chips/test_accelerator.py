"""Chips from presets and files: peaks, field paths, overrides and what bad files are told."""

import math
import pickle

import pytest

from hwmodels.chips.accelerator import accelerator_aliases, accelerator_names, load_accelerator
from hwmodels.chips.plausible import PLAUSIBLE
from hwmodels.reading.errors import InputError


def test_peaks_of_the_h100_are_those_of_the_flash_attention_3_paper():
    chip = load_accelerator("h100")
    assert chip.peak_flops_per_second("float16") == pytest.approx(989.4e12, rel=1e-3)
    assert chip.exp_per_second == pytest.approx(3.87e12, rel=2e-3)
    assert chip.flops_per_exp() == 256
    assert chip.sram_bytes_per_second == pytest.approx(30.9e12, rel=1e-3)
    assert chip.memory.name == "hbm"
    assert [tier.name for tier in chip.caches] == ["l2"]


def test_names_and_aliases_are_read_in_any_case():
    assert load_accelerator("A100_SXM4_80G") is load_accelerator("a100")
    assert set(accelerator_aliases().values()) <= set(accelerator_names())


def test_an_unknown_chip_is_told_the_nearest():
    with pytest.raises(InputError, match=r"unknown chip 'h10'; did you mean 'h100'\?"):
        load_accelerator("h10")


def test_operands_run_in_the_next_format_that_the_array_has():
    core = load_accelerator("a100").core
    assert core.matrix_format("float16") == "float16"
    assert core.matrix_format("float8_e4m3") == "float16"
    assert core.matrix_rate("float8_e4m3") == 2048
    with pytest.raises(InputError, match="has no float64 nor a wider format"):
        core.matrix_rate("float64")
    with pytest.raises(InputError, match=r"unknown number format 'floa16'; did you mean 'float16'\?"):
        core.matrix_rate("floa16")


def test_overrides_are_read_with_units_and_remembered():
    base = load_accelerator("h100")
    chip = base.with_(
        **{
            "hbm.bytes_per_second": "4 TB/s",
            "tiers.l2.capacity_bytes": "60 MiB",
            "cores": 78,
            "core.matrix_flops_per_cycle.int8": 8192,
            "links.pcie.latency_s": "1 us",
            "power_w": None,
        }
    )
    assert chip.memory.bytes_per_second == 4e12
    assert chip.tier("l2").capacity_bytes == 60 * 2**20
    assert chip.peak_flops_per_second("int8") == 78 * 8192 * 1.83e9
    assert chip.link("pcie").latency_s == 1e-6
    assert chip.power_w is None
    assert dict(chip.changes)["hbm.bytes_per_second"] == "4 TB/s"
    assert chip.sources()["cores"] == "overridden"
    assert chip.sources()["clock_hz"] == base.sources()["clock_hz"]
    again = chip.with_(clock_hz="1.6 GHz")
    assert [path for path, _ in again.changes][-1] == "clock_hz"
    assert again.memory.bytes_per_second == 4e12


@pytest.mark.parametrize(
    ("path", "given", "line"),
    [
        (
            "hbm.byte_per_second",
            1,
            "hbm.byte_per_second: h100_sxm5_80g has no such field; did you mean 'hbm.bytes_per_second'?",
        ),
        ("corse", 1, "corse: h100_sxm5_80g has no such field; did you mean 'cores'?"),
        ("cores", "3.5", "cores: must be a whole number (got '3.5')"),
        ("cores", 0, "cores: must be greater than 0 (got 0)"),
        ("clock_hz", "3 GB", "clock_hz: must be a quantity in Hz such as '1.755 GHz' (got '3 GB')"),
        ("core.exp_per_cycle", "many", "core.exp_per_cycle: must be a number (got 'many')"),
        ("hbm.latency_s", None, "hbm.latency_s: must have a value (got nothing)"),
        (
            "core.matrix_flops_per_cycle.float15",
            1,
            "core.matrix_flops_per_cycle.float15: unknown number format; did you mean 'float16'?",
        ),
        ("resources.dsp", 3, "resources.dsp: h100_sxm5_80g has no such field"),
        ("name", "x", "name: 'name' cannot be set: write a chip file that starts from a preset with 'base:'"),
        ("node_nm", 65, "node_nm: must be at most 45 (got 65)"),
        ("hbm.sustained_fraction", 1.5, "hbm.sustained_fraction: must be at most 1 (got 1.5)"),
        ("cores", "nan", "cores: must be a whole number (got 'nan')"),
        ("cores", True, "cores: must be a whole number (got true)"),
        ("core.exp_per_cycle", "1e400", "core.exp_per_cycle: must be a finite number (got '1e400')"),
        ("kind", "gpuu", "kind: must be 'gpu', 'tpu', "),
        ("hbm.technology", "hmb3", "hbm.technology: must be one of sram, core_sram, hbm2"),
        ("pcie.technology", "pcie55", "pcie.technology: must be one of sram, core_sram, hbm2"),
        (
            "hbm.latency_s",
            100,
            "hbm.latency_s: 100 without a unit is 100 s: write '100 ns', or '100 s' if that is meant",
        ),
        ("hbm.latency_s", "0.5", "hbm.latency_s: 0.5 without a unit is 500 ms: write '0.5 ns', or '0.5 s' if that"),
        ("clock_hz", 1.98, "clock_hz: 1.98 without a unit is 1.98 Hz: write '1.98 GHz', or '1.98 Hz' if that is meant"),
        ("hbm.bytes_per_second", "3350", "hbm.bytes_per_second: 3350 without a unit is 3.35 kB/s: write '3350 GB/s'"),
        ("hbm.capacity_bytes", 80, "hbm.capacity_bytes: 80 without a unit is 80 B: write '80 GB', or '80 B'"),
        ("hbm.level", "disk", "hbm.level: must be 'cache' or 'memory' (got 'disk')"),
    ],
)
def test_a_bad_override_is_one_clear_line(path, given, line):
    with pytest.raises(InputError) as caught:
        load_accelerator("h100").with_(**{path: given})
    assert str(caught.value).startswith(line)
    assert len(caught.value.problems) == 1


def test_a_number_with_its_unit_is_meant_however_strange():
    chip = load_accelerator("h100").with_(
        **{"hbm.latency_s": "100 s", "hbm.capacity_bytes": "80 B", "clock_hz": "2 Hz"}
    )
    assert (chip.memory.latency_s, chip.memory.capacity_bytes, chip.clock_hz) == (100, 80, 2)


@pytest.mark.parametrize("name", accelerator_names())
def test_what_ships_is_far_from_what_is_held_for_a_lost_unit(name):
    for path, value in load_accelerator(name).values().items():
        _, least, most, _ = PLAUSIBLE.get(path.rsplit(".", 1)[-1], ("", -math.inf, math.inf, ""))
        if value and not isinstance(value, str):
            assert least * 10 <= value <= most / 10, path


def test_the_matrix_array_is_resized_in_one_go():
    base = load_accelerator("flat_cloud")
    chip = base.with_(**{"core.array": "64x128", "cores": 2})
    assert (chip.core.matrix_columns, chip.core.matrix_depth) == (64, 128)
    assert chip.peak_flops_per_second("bfloat16") == base.peak_flops_per_second("bfloat16") * 2 / 8
    assert dict(chip.changes)["core.matrix_columns"] == "64"
    assert chip.with_(**{"core.array": "256 x 256", "cores": 1}).core == base.core
    # FP32 runs on the vector lanes of an H100, whatever its tensor cores
    half = load_accelerator("h100").with_(**{"core.array": "8x8"}).core.matrix_flops_per_cycle
    assert (half["float16"], half["float32"]) == (2048, 256)


@pytest.mark.parametrize("given", ["64", "0x4", "64x", "64xx4", 64])
def test_a_bad_array_size_is_one_clear_line(given):
    with pytest.raises(InputError, match=r"^core\.array: must be COLUMNSxDEPTH such as '64x32' \(got "):
        load_accelerator("flat_cloud").with_(**{"core.array": given})


def test_bad_overrides_are_told_all_at_once():
    with pytest.raises(InputError) as caught:
        load_accelerator("h100").with_(**{"cores": -1, "clock_hz": "3 GB"})
    assert [problem.field for problem in caught.value.problems] == ["cores", "clock_hz"]


def test_a_chip_can_be_hashed_compared_and_sent_to_other_processes():
    chip = load_accelerator("h100")
    assert pickle.loads(pickle.dumps(chip)) == chip
    assert len({chip, chip.with_(), chip.with_(cores=1)}) == 2
