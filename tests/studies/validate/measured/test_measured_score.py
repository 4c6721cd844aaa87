"""Scores of measured rows: groups, bins, samples, and what the command prints."""

from __future__ import annotations

import numpy as np
import pytest

from hwmodels.chips.accelerator import load_accelerator
from hwmodels.systems.text import system_names
from studies.cli import main
from studies.validate.measured.calibrate import fittable_called
from studies.validate.measured.command import measured_report
from studies.validate.measured.rows.prediction import Binned
from studies.validate.measured.sampling import sampled_rows
from studies.validate.measured.score import bin_scores
from studies.validate.measured.seen import is_blind, seen_choices
from studies.validate.measured.tables.read import read_tables
from tests.studies.validate.measured.conftest import PREFILL


def predicted_us(report, number=0):
    return report.tables[0].predicted_us[number]


def test_errors_are_predicted_over_measured(write_table):
    first = measured_report(write_table("attention_prefill.csv", [PREFILL]))
    time = predicted_us(first)
    rows = [PREFILL | {"time_us": time / 1.25}, PREFILL | {"time_us": time / 0.9}]
    (group,) = measured_report(write_table("attention_prefill.csv", rows)).groups
    assert group.errors.tolist() == pytest.approx([0.25, -0.1])
    found = group.to_json()
    assert found["mean_abs_error_pct"] == pytest.approx(17.5)
    assert found["mean_signed_error_pct"] == pytest.approx(7.5)
    assert found["median_abs_error_pct"] == pytest.approx(17.5)
    assert found["p95_abs_error_pct"] == pytest.approx(24.25)


def test_calibration_rows_are_scored_apart(write_table):
    rows = [PREFILL, PREFILL | {"split": "calibrate"}, PREFILL | {"split": "later"}]
    path = write_table("attention_prefill.csv", rows)
    assert {split: measured_report(path, split=split).rows for split in ("validate", "calibrate", "all")} == {
        "validate": 2,
        "calibrate": 1,
        "all": 3,
    }


def test_rows_without_a_profile_say_why_and_are_not_counted_as_right(write_table):
    path = write_table("attention_prefill.csv", [PREFILL, PREFILL | {"kernel": "unheard_of"}])
    known, unknown = sorted(measured_report(path).groups, key=lambda group: group.unsupported)
    assert (known.n, known.unsupported, unknown.n, unknown.unsupported) == (1, 0, 1, 1)
    assert unknown.mean_abs_error_pct is None
    assert list(unknown.reasons) == ["there is no profile of 'unheard_of' in vllm on h100_sxm5_80g"]


def test_another_version_of_a_stack_is_a_group_of_its_own(write_table):
    path = write_table("attention_prefill.csv", [PREFILL, PREFILL | {"stack_version": "0.99"}])
    assert [group.key.stack_version for group in measured_report(path).groups] == ["0.24.0", "0.99"]


def test_bins_hold_every_row_once():
    values = np.array([1.0, 4.0, 5.0, 64.0, 1e6])
    errors = np.array([0.1, -0.1, 0.2, 0.3, -0.4])
    bins = bin_scores(values, errors, Binned("batch", "batch", (4.5, 100.5)))
    assert [(each.bin, each.n) for each in bins] == [("up to 4", 2), ("4 to 100", 2), ("over 100", 1)]
    assert bins[0].mean_signed_error_pct == pytest.approx(0.0)
    assert bins[0].mean_abs_error_pct == pytest.approx(10.0)
    assert [each.bin for each in bin_scores(values, errors, Binned("head_dim", "head_dim"))][:2] == ["1", "4"]


class TestSamples:
    @pytest.fixture
    def tables(self, write_table):
        rows = [
            PREFILL | {"gpu": gpu, "q_len": 16 + number, "time_us": 10.0 ** (1 + number % 3)}
            for gpu, count in (("h100_sxm", 300), ("h200", 30))
            for number in range(count)
        ]
        return list(read_tables(write_table("attention_prefill.csv", rows)).tables)

    def test_are_the_same_for_the_same_seed_and_others_for_another(self, tables):
        first, again, other = (sampled_rows(tables, 60, seed)[0].tolist() for seed in (1, 1, 2))
        assert first == again
        assert first != other
        assert len(set(first)) == len(first)

    def test_hold_every_group_and_every_power_of_ten(self, tables):
        (rows,) = sampled_rows(tables, 33, 0)
        table = tables[0].rows(rows)
        strata = set(zip(table.words["gpu"].tolist(), table.time_us.tolist(), strict=True))
        assert len(strata) == 6
        assert 33 <= len(rows) <= 33 + 6

    def test_larger_than_the_tables_are_the_tables(self, tables):
        assert sampled_rows(tables, 1000, 0)[0].tolist() == list(range(330))


def test_the_command_prints_groups_as_json(write_table, json_of):
    path = write_table("attention_prefill.csv", [PREFILL])
    document = json_of("validate", "measured", "--tables", str(path), "--quiet")
    assert document["kind"] == "measured"
    (group,) = document["groups"]
    assert {name: group[name] for name in ("table", "gpu", "stack", "stack_version", "kernel", "n")} == {
        "table": "attention_prefill",
        "gpu": "h100_sxm",
        "stack": "vllm",
        "stack_version": "0.24.0",
        "kernel": "vllm_flash_attn_fa3",
        "n": 1,
    }
    assert set(group["bins"]) == {"time", "batch", "length", "head_dim"}


@pytest.mark.parametrize("arguments", [("--split", "test"), ("--only", "moee"), ("--gpu", "h200")])
def test_options_that_name_nothing_are_bad_input(write_table, capsys, arguments):
    path = write_table("attention_prefill.csv", [PREFILL])
    assert main(["validate", "measured", "--tables", str(path), "--quiet", *arguments]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_errors_by_group_are_written_with_where_the_tables_come_from(write_table, tmp_path):
    path = write_table("attention_prefill.csv", [PREFILL, PREFILL | {"kernel": "unheard_of"}])
    report = measured_report(path, errors=tmp_path / "errors.csv", source="made up @ 1")
    lines = (tmp_path / "errors.csv").read_text().splitlines()
    assert lines[1] == "# Tables: made up @ 1"
    said, lines = [line for line in lines if line.startswith("#")], [line for line in lines if line[0] != "#"]
    assert any("rtx_pro_6000_server" in line and "flashinfer_prefill_sm12" in line for line in said)  # not blind
    assert lines[0].startswith("table,gpu,stack,stack_version,kernel,n,unsupported,mean_abs_error_pct")
    assert [line.split(",")[4:7] for line in lines[1:]] == [
        ["unheard_of", "1", "1"],
        ["vllm_flash_attn_fa3", "1", "0"],
    ]
    assert float(lines[2].split(",")[7]) == report.groups[1].mean_abs_error_pct


def test_profiles_whose_structure_saw_scored_rows_exist_and_are_not_called_blind():
    for line in seen_choices():
        kernels = set(line.profiles) - set(system_names())  # collectives go by systems
        assert {fittable_called(name).name for name in kernels} == kernels
        assert not is_blind(line.gpus[0], line.profiles)
    assert is_blind("h100_sxm", ("vllm_fa3_prefill_hopper",))


GEMM = {name: PREFILL[name] for name in ("gpu", "stack", "stack_version", "time_us", "split")} | {
    "kernel": "torch.nn.functional.linear",
    "dtype": "bf16",
    "m": 4096,
    "n": 4096,
    "k": 4096,
}


def test_products_are_predicted_by_the_profile_of_their_format(write_table):
    rows = [GEMM, GEMM | {"kernel": "CutlassFP8ScaledMMLinearKernel", "dtype": "fp8"}]
    report = measured_report(write_table("gemm.csv", rows))
    assert [group.kernels for group in report.groups] == [("vllm_fp8_hopper",), ("vllm_bf16_hopper",)]
    assert set(report.groups[0].bins) == {"time", "m", "n", "k"}


def test_products_of_a_format_without_a_profile_say_so(write_table):
    (group,) = measured_report(write_table("gemm.csv", [GEMM | {"dtype": "int3"}])).groups
    why = "there is no profile of 'torch.nn.functional.linear' for int3 in vllm on h100_sxm5_80g"
    assert (group.n, list(group.reasons)) == (1, [why])


def test_weights_whose_copies_do_not_fit_the_caches_come_from_the_main_memory(write_table):
    small, large = (GEMM | {"m": 1, "n": size, "k": size} for size in (1024, 4096))
    report = measured_report(write_table("gemm.csv", [small, large]))
    times = report.tables[0].predicted_us
    chip = load_accelerator("h100")
    beyond = (times[1] - times[0]) * 1e-6
    assert beyond > (4096**2 - 1024**2) * 2 / chip.memory.bytes_per_second  # 6 x 33 MB against 50 MB of cache
