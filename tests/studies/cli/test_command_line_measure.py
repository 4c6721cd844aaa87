"""``attnflow measure``: the plan without a GPU, bad input, and a whole run on a scripted bench."""

from __future__ import annotations

import json

import pytest

from reference import records
from reference.cuda import launch
from reference.measuring import benches, measure
from reference.measuring.bench import Check, Prepared
from reference.measuring.cases import standard_cases
from reference.measuring.machine import Hardware
from studies.cli import main

GPU = Hardware("NVIDIA Test 1", "Test_1", l2_bytes=1 << 20, memory_bytes=1 << 34, multiprocessors=4)


class Clock:
    def events(self, calls):
        return [200.0] * len(calls)


class Bench:
    """Prepares every case with calls that do nothing; `wrong` names cases whose check fails."""

    stopwatch = Clock()
    wrong = ()

    def prepare(self, case, copies):
        error = 1.0 if any(text in case.id for text in self.wrong) else 0.0
        return Prepared([lambda: None] * copies, lambda: Check(error, 0.5, "all"))

    def release(self):
        pass


@pytest.fixture
def scripted(monkeypatch):
    """A machine with a GPU whose benches are scripted."""
    bench = Bench()
    monkeypatch.setattr(benches, "current_hardware", lambda: GPU)
    monkeypatch.setattr(benches, "StandardBenches", lambda: lambda case: bench)
    return bench


def test_a_dry_run_lists_every_case_with_its_work(capsys):
    assert main(["measure", "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    cases = standard_cases()
    assert [row["id"] for row in plan["cases"]] == [case.id for case in cases]
    for row, case in zip(plan["cases"], cases, strict=True):
        assert (row["flops"], row["bytes_min"], row["exps"]) == (case.flops, case.bytes_min, case.exps)
        assert row["estimated_seconds"] > 0 and row["caches"]
    assert plan["estimated_seconds"] == pytest.approx(sum(row["estimated_seconds"] for row in plan["cases"]), abs=2)
    assert plan["protocol"]["repeats"] == 3


def test_a_dry_run_for_people(capsys):
    assert main(["measure", "--dry-run", "--only", "mla_decode"]) == 0
    shown = capsys.readouterr().out
    assert "mla_decode-cuda-bf16-b128" in shown and "6 cases, about" in shown and "prefill" not in shown


def test_without_a_gpu_the_reason_and_the_way_out_are_one_line(capsys):
    if launch.why_no_gpu() is None:
        pytest.skip("this machine has a GPU")
    assert main(["measure"]) == 2
    captured = capsys.readouterr()
    assert not captured.out and captured.err.count("\n") == 1
    assert "no GPU to measure" in captured.err and "--dry-run lists what would run" in captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "nothing-like-it"], "--only: no case id contains 'nothing-like-it'; see --dry-run"),
        (["--resume"], "--resume: needs --out, the record to complete"),
        (["--retry"], "--retry: needs --resume"),
        (["--out", "no/such/folder/r.json"], "--out: folder no/such/folder does not exist"),
        (["--resume", "--out", "none.json"], "--resume: none.json: cannot be read: No such file or directory"),
        (["--resume", "--out", "text.json"], "--resume: text.json: is not a record of format attnflow-gpu-record/1"),
        (["--out", "text.json"], "--out: text.json exists; --resume completes it"),
        (["--budget-seconds", "0"], "budget-seconds"),
    ],
)
@pytest.mark.usefixtures("scripted")
def test_bad_input_is_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.json").write_text("hello")
    assert main(["measure", *arguments]) == 2
    captured = capsys.readouterr()
    assert not captured.out and captured.err.count("\n") == 1 and message in captured.err


@pytest.mark.usefixtures("scripted")
def test_a_run_writes_a_record_and_a_resumed_one_completes_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(measure.time, "monotonic", lambda: 0.0)  # the cases themselves take no time
    path = tmp_path / "r.json"
    arguments = ["measure", "--only", "op_softmax", "--out", str(path), "--json"]
    assert main([*arguments, "--budget-seconds", "1.1"]) == 0
    captured = capsys.readouterr()
    first = json.loads(captured.out)
    assert first["measured"] == 4 and "cases left when the budget" in first["stopped"]
    assert "NVIDIA Test 1: 10 cases" in captured.err and "op_softmax-cuda" in captured.err
    assert main([*arguments, "--resume", "--quiet"]) == 0
    captured = capsys.readouterr()
    second = json.loads(captured.out)
    assert not captured.err and second["measured"] == 10 and second["stopped"] is None
    assert second["points"][: first["measured"]] == first["points"]
    assert len(json.loads(path.read_text())["points"]) == 10


def test_wrong_values_end_in_exit_code_1(scripted, tmp_path, capsys):
    scripted.wrong = ("cols512",)
    assert main(["measure", "--only", "op_softmax", "--out", str(tmp_path / "r.json"), "--quiet"]) == 1
    shown = capsys.readouterr().out
    assert "8 measured, 2 not" in shown and "wrong: relative L2 error 1 above 0.5: all" in shown


@pytest.mark.usefixtures("scripted")
def test_records_go_to_the_package_unless_told_otherwise(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(records, "FOLDER", tmp_path)
    assert main(["measure", "--only", "launch", "--json", "--quiet"]) == 0
    path = json.loads(capsys.readouterr().out)["record"]
    assert path.startswith(str(tmp_path / "Test_1-")) and path.endswith(".json")
    assert [record.name for record in records.FOLDER.glob("*.json")] == [path.rpartition("/")[2]]
