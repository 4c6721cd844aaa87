"""``attnflow bench``: figures beside those of a saved run."""

from __future__ import annotations

import json

import pytest

from studies.benchmarks import register
from studies.benchmarks.register import Benchmark
from studies.cli import main


@pytest.fixture
def one_benchmark(monkeypatch):
    """A single benchmark that takes no time."""
    entry = Benchmark("quick", "nothing at all", lambda: {"a_s": 3.0, "b_s": 1.0}, __name__, 1, {})
    monkeypatch.setattr(register._BENCHMARKS, "_entries", {"quick": entry})
    monkeypatch.setattr(register._BENCHMARKS, "_complete", True)


def test_figures_are_compared_with_a_saved_run_as_ratios(one_benchmark, tmp_path, capsys):
    saved = tmp_path / "saved.json"
    saved.write_text(json.dumps({"quick": {"a_s": 2.0}, "gone": {"c_s": 1.0}}))
    assert main(["bench", "quick", "--compare", str(saved), "--json", "-q"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document == {"quick": {"a_s": 3.0, "b_s": 1.0}, "ratios": {"quick": {"a_s": 1.5}}}
    assert main(["bench", "quick", "--compare", str(saved), "-q"]) == 0
    header, _, first, second = capsys.readouterr().out.splitlines()
    assert header.split()[-2:] == ["before", "ratio"]
    assert first.split()[-2:] == ["2", "1.5"]
    assert second.split()[-2:] == ["-", "-"]


def test_what_was_compared_can_be_compared_with_again(one_benchmark, tmp_path, capsys):
    saved = tmp_path / "saved.json"
    saved.write_text(json.dumps({"quick": {"a_s": 2.0}, "ratios": {"quick": {"a_s": 1.5}}}))
    assert main(["bench", "quick", "--compare", str(saved), "--json", "-q"]) == 0
    assert json.loads(capsys.readouterr().out)["ratios"] == {"quick": {"a_s": 1.5}}


@pytest.mark.parametrize("text", ["no JSON", "[1]", '{"quick": 3}', '{"quick": {"a_s": "fast"}}'])
def test_other_files_are_refused_by_name(one_benchmark, tmp_path, capsys, text):
    saved = tmp_path / "saved.json"
    saved.write_text(text)
    assert main(["bench", "quick", "--compare", str(saved)]) == 2
    assert "saved.json: " in capsys.readouterr().err


def test_a_missing_file_is_told_before_anything_is_measured(one_benchmark, tmp_path, capsys):
    assert main(["bench", "quick", "--compare", str(tmp_path / "none.json")]) == 2
    assert "nothing at all" not in capsys.readouterr().err
