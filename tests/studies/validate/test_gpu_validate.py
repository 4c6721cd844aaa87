"""`attnflow validate gpu`: what is scored, what is named as unsupported, and what makes it fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import reference.records
from hwmodels.reading.errors import InputError
from reference.measuring.cases import standard_cases
from reference.measuring.measure import KERNEL_NAMES, Record
from reference.measuring.timing import TimingProtocol
from studies.cli import main
from studies.validate.gpu.cases import GpuPoint
from studies.validate.gpu.validate import group_of, validate_gpu

PREFILL = {
    "id": "fa3",
    "kind": "prefill_fwd",
    "kernel": "FlashAttention-3",
    "hw": "H100_SXM5_80G",
    "dtype": "fp16",
    "shape": {"B": 4, "Sq": 4096, "Skv": 4096, "Hq": 16, "Hkv": 16, "D": 128, "causal": False},
    "flops": 549755813888.0,
    "bytes_min": 268435456,
    "exps": 1073741824.0,
    "latency_us": 861.686,
}
"""FlashAttention-3 (arXiv:2407.08608), figure 5: forward, head dimension 128, 4k tokens, 638 TFLOP/s."""


def write(folder: Path, *points: dict[str, object]) -> Path:
    path = folder / "points.json"
    path.write_text(json.dumps({"title": "test", "points": points}))
    return path


def row_of(folder: Path, **changes: object):
    (row,) = validate_gpu(write(folder, PREFILL | changes)).rows
    return row


class TestRows:
    def test_a_published_point_is_predicted_within_its_limit(self, tmp_path):
        row = row_of(tmp_path)
        assert (row.status, row.expected) == ("pass", 861.686)
        assert abs(row.error_pct) < 5
        assert dict(row.baselines)["roofline"] == pytest.approx(
            100 * (549755813888 / 989.4e12 / 861.686e-6 - 1), abs=0.2
        )

    def test_a_wrong_time_fails(self, tmp_path):
        row = row_of(tmp_path, latency_us=500.0)
        assert row.status == "fail"
        assert "limit 12 %" in row.why

    @pytest.mark.parametrize(
        ("changes", "why"),
        [
            ({"confidence": "C"}, "never scored"),
            ({"kind": "fpga_e2e"}, "'fpga_e2e' are not modelled"),
            ({"hw": "H900"}, "no chip preset for 'H900'"),
            ({"kernel": "MyAttention"}, "no profile of 'MyAttention'"),
            ({"dtype": "posit8"}, "'posit8'"),
            ({"shape": {"B": 1, "Sq": 1}}, "does not give Hq"),
            ({"shape": PREFILL["shape"] | {"varlen": True}}, "differ"),
            ({"shape": PREFILL["shape"] | {"Hkv": 3}}, "must divide"),
            ({"latency_us": None}, "no time"),
        ],
    )
    def test_what_cannot_be_predicted_is_named_and_never_passes(self, tmp_path, changes, why):
        row = row_of(tmp_path, **changes)
        assert (row.status, row.error_pct) == ("unsupported", None)
        assert why in row.why

    def test_fitted_points_are_groups_of_their_own(self):
        point = GpuPoint.model_validate(PREFILL)
        fitted = point.model_copy(update={"split": "calibrate"})
        assert group_of(fitted) == group_of(point) + " (fitted)"


class TestBytes:
    """Figure 2 of FlashAttention (arXiv:2205.14135): GPT-2 medium, forward and backward, batch 64, 1,024 tokens."""

    def row(self, folder: Path, kernel: str, **found: float):
        shape = {"B": 64, "Sq": 1024, "Skv": 1024, "Hq": 16, "Hkv": 16, "D": 64, "causal": False}
        point = {
            "id": "io",
            "kind": "io_count",
            "kernel": kernel,
            "hw": "A100_SXM4_40G",
            "dtype": "fp16",
            "shape": shape,
        }
        (row,) = validate_gpu(write(folder, point | found)).rows
        return row

    def test_bytes_of_both_and_their_ratio(self, tmp_path):
        eager = self.row(tmp_path, "PyTorch eager attention", hbm_gb=40.3)
        flash = self.row(tmp_path, "FlashAttention-1", hbm_gb=4.4)
        assert (eager.status, flash.status) == ("pass", "pass")
        assert eager.expected == 40.3e9
        assert eager.got / flash.got == pytest.approx(40.3 / 4.4, rel=0.15)

    def test_a_point_without_bytes_is_named(self, tmp_path):
        assert "gives no bytes" in self.row(tmp_path, "FlashAttention-1").why


class TestReport:
    def test_groups_carry_their_limit_and_both_baselines(self, tmp_path):
        report = validate_gpu(write(tmp_path, PREFILL, PREFILL | {"id": "c", "confidence": "C"}))
        (group,) = report.groups()
        assert (group["n"], group["passed"], group["mean_limit_pct"], group["within_limit"]) == (2, 1, 5, True)
        assert group["roofline_mean_abs_error_pct"] > group["serial_sum_mean_abs_error_pct"] > 0
        assert report.ok

    def test_a_group_beyond_its_mean_is_not_fine_though_every_row_passes(self, tmp_path):
        report = validate_gpu(write(tmp_path, PREFILL | {"latency_us": 800.0}))
        assert report.count("fail") == 0
        assert not report.ok

    def test_command_line(self, tmp_path, capsys):
        assert main(["validate", "gpu", "--cases", str(write(tmp_path, PREFILL)), "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
        assert (document["kind"], document["cases"], document["passed"]) == ("gpu", 1, 1)
        assert {"id", "group", "status", "expected", "got", "error_pct", "why"} <= document["rows"][0].keys()

    def test_a_page_shows_groups_and_what_did_not_pass(self, tmp_path, capsys):
        cases = write(tmp_path, PREFILL, PREFILL | {"id": "slow<er>", "latency_us": 300.0})
        page = tmp_path / "page.html"
        assert main(["validate", "gpu", "--cases", str(cases), "--output", str(page), "--quiet"]) == 1
        text = page.read_text(encoding="utf-8")
        assert "Not within all limits" in text
        assert "prefill_fwd FlashAttention-3 H100_SXM5_80G" in text
        assert "slow&lt;er&gt;" in text
        assert "slow<er>" not in text
        missing = tmp_path / "no" / "page.html"
        assert main(["validate", "gpu", "--cases", str(cases), "--output", str(missing)]) == 2
        assert "page.html: No such file" in capsys.readouterr().err

    def test_a_file_that_is_not_one_is_refused(self, tmp_path):
        path = tmp_path / "bad.json"
        path.write_text('{"points": [{"kind": "decode"}]}')
        with pytest.raises(InputError, match=r"points\[0\]\.id"):
            validate_gpu(path)


class TestReplay:
    """Records of `attnflow measure` are files of cases; these are made up, since no record of a GPU is at hand yet."""

    def record(self, folder: Path, slower: float) -> Path:
        """A synthetic record: every fourth standard case of three makers took ``slower`` times its data-sheet time."""
        rows = [
            {
                "id": case.id,
                "kind": case.kind,
                "kernel": KERNEL_NAMES[case.maker],
                "hw": "H200_SXM_141G",
                "dtype": case.dtype,
                "shape": case.shape.record(),
                "flops": case.flops,
                "bytes_min": case.bytes_min,
                "exps": case.exps,
                "latency_us": 10 + 1e6 * slower * (case.flops / 989e12 + case.exps / 3.87e12 + case.bytes_min / 4.8e12),
                "split": "calibrate" if case.is_ceiling else "validate",
                "conditions": "synthetic: not measured",
                "confidence": "A",
            }
            for case in standard_cases()
            if case.maker in ("torch-flash", "torch-cudnn", "torch") and case.kind != "computebench"
        ]
        record = Record(
            "synthetic, not measured", "synthetic", "H200_SXM_141G", {"host": "none"}, TimingProtocol(), rows
        )
        path = folder / "record.json"
        record.write(path)
        return path

    def test_a_record_is_scored_point_by_point(self, tmp_path):
        report = validate_gpu(self.record(tmp_path, 1.0))
        kinds = {row.id.split("-")[0] for row in report.rows if row.error_pct is not None}
        assert {"prefill_fwd", "decode", "op_softmax"} <= kinds
        named = [row.why for row in report.rows if row.status == "unsupported"]
        assert all(named)
        slow = validate_gpu(self.record(tmp_path, 3.0))
        fused = [
            group["mean_abs_error_pct"] for group in slow.groups() if "prefill_fwd PyTorch SDPA flash" in group["group"]
        ]
        assert fused[0] > 30

    def test_committed_records_can_be_replayed_and_the_folder_says_whether_there_are_any(self):
        """The measured times themselves are scored by people; here every row must be predicted or named."""
        folder = Path(reference.records.__file__).parent
        told = " ".join((folder / "README.md").read_text(encoding="utf-8").split())
        records = sorted(folder.glob("*.json"))
        assert ("No record has been made yet" in told) == (not records)
        for path in records:
            report = validate_gpu(path)
            assert report.rows
            assert all(row.error_pct is not None or row.why for row in report.rows)
