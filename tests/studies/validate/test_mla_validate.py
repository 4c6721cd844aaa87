"""`validate mla`: recorded costs and closed formulas exact, disagreements and foreign rows named, bad files refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hwmodels.chips.accelerator import load_accelerator
from hwmodels.reading.errors import InputError
from studies.cli.app import run_command_line
from studies.validate.mla.validate import validate_mla

CASES = Path(__file__).parents[1] / "data" / "mla_costs.json"
SEQ = {"scheme": "mla_seq", "phase": "decode", "batch": 1, "context": 4096, "q": 1, "flops": 1515061248}


@pytest.fixture
def write(tmp_path):
    """Writes a file with the recorded sizes and the given rows."""

    def write(*rows, **changes):
        document = {**json.loads(CASES.read_text()), "rows": rows, **changes}
        path = tmp_path / "costs.json"
        path.write_text(json.dumps(document, indent=1))
        return path

    return write


@pytest.mark.parametrize("chip", ["h100", "a100", "tpu_v5e", "flat_cloud", "wormhole"])
def test_recorded_rows_are_exact_whatever_the_chip(chip):
    report = validate_mla(CASES, load_accelerator(chip))
    assert [row for row in report.rows if row.status != "pass"] == []
    assert len(report.rows) == 18
    assert all(row.error_pct == 0 for row in report.rows)


@pytest.mark.parametrize("field", ["flops", "flops_core", "bytes", "bytes_weights", "bytes_cache_read"])
def test_a_row_that_is_off_by_one_fails_and_says_where(write, field):
    row = next(row for row in json.loads(CASES.read_text())["rows"] if row["scheme"] == "mla_rc")
    (found,) = validate_mla(write({**row, field: row[field] + 1})).rows
    assert found.status == "fail"
    assert f"{field} {row[field]:,} instead of {row[field] + 1:,}" in found.why
    assert found.error_pct == pytest.approx(-100 / row[field], rel=1e-6)


def test_intensities_are_compared_to_their_four_decimals(write):
    row = json.loads(CASES.read_text())["rows"][0]
    rows = validate_mla(write(row, {**row, "intensity": 0.9997}, {**row, "core_intensity": 1.0002})).rows
    assert [row.status for row in rows] == ["pass", "fail", "fail"]


def test_other_models_batches_and_formats(write):
    rows = [
        {**SEQ, "model": "V2", "flops": 2 * 149225472 + 1140850688},
        {**SEQ, "dims": "V2", "bytes_weights": 2 * 149225472, "flops": None, "causal": None},
        {**SEQ, "batch": 8, "flops": 8 * 1515061248, "bytes_cache_read": 8 * 4718592},
        {**SEQ, "element_bytes": 1, "bytes_weights": 187105280},
        {**SEQ, "phase": "extend", "q": 4, "flops": 4 * 1515061248},
        {**SEQ, "scheme": "gqa", "kv_heads": 4, "flops": None, "bytes_cache_read": 8388608},
    ]
    assert [row.status for row in validate_mla(write(*rows)).rows] == ["pass"] * 6


def test_foreign_rows_are_named_and_not_passed(write):
    rows = [
        {**SEQ, "scheme": "mla_sec"},
        {**SEQ, "phase": "training"},
        {**SEQ, "phase": "prefill"},
        {**SEQ, "q": 5000},
        {**SEQ, "model": "V4"},
        {**SEQ, "element_bytes": 3},
    ]
    report = validate_mla(write(*rows))
    assert [row.status for row in report.rows] == ["unsupported"] * 6
    said = [row.why for row in report.rows]
    for text, part in zip(said, ["mla_seq", "training", "extend", "q_len", "V4", "3 bytes"], strict=True):
        assert part in text


def test_bad_files_are_refused_line_by_line(write, tmp_path):
    with pytest.raises(InputError, match=r"costs\.json:\d+: rows\[0\]\.batch"):
        validate_mla(write({**SEQ, "batch": 0}))
    with pytest.raises(InputError, match="dims"):
        validate_mla(write(SEQ, dims={}))
    with pytest.raises(InputError, match="No such file"):
        validate_mla(tmp_path / "none.json")


def test_the_command_prints_one_document_and_its_exit_code_says_whether_all_agree(write, capsys):
    assert run_command_line(["validate", "mla", "--cases", str(CASES), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["kind"], document["cases"], document["passed"]) == ("mla", 18, 18)
    assert {"id", "group", "status", "expected", "got", "error_pct", "why"} == set(document["rows"][0])
    assert run_command_line(["validate", "mla", "--cases", str(write({**SEQ, "flops": 1}))]) == 1
    assert "flops 1,515,061,248 instead of 1" in capsys.readouterr().out
