"""The same as the command line, in Python: a study, its results, frames and files."""

import json
import sys
from pathlib import Path

import pandas as pd
import pytest

import studies
from algorithms.kv import registry as kv_registry
from algorithms.kv.policy import KVPolicy
from hwmodels.reading.errors import InputError
from studies import Results, Study
from studies.cli import main

TEXT = """
name: lanes
title: Lanes and depth
algorithm: sdpa.naive
workload: {seq_len: 16, head_dim: 4}
timing_only: true
objectives: [cycles, fifo.capacity_bytes]
constraints: [fifo.capacity_bytes <= 3.6 kB]
axes:
  exp_cycles: [1, 4]
  long_depth: [8, 16, 20, 64]
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("interface")
    (folder / "s.yaml").write_text(TEXT)
    return Study.from_yaml(folder / "s.yaml").sweep(folder / "s.sqlite", jobs=0)


def test_five_lines_from_a_file_to_a_report(results, tmp_path):
    assert isinstance(results, Results)
    assert results.summary["done"] == 8
    page = results.report(tmp_path / "page.html")
    assert "<title>Lanes and depth</title>" in page.read_text(encoding="utf-8")
    with pytest.raises(InputError, match=r"none/page\.html: cannot be written: No such file or directory"):
        results.report(tmp_path / "none" / "page.html")
    again = Study.from_yaml(results.store.parent / "s.yaml").sweep(results.store, jobs=0)
    assert (again.summary["evaluated"], again.summary["skipped"]) == (0, 8)


def test_frames_have_states_settings_metrics_and_the_front(results):
    table = results.frame()
    assert list(table["long_depth"]) == [8, 16, 20, 64] * 2
    assert list(table["state"]) == ["deadlock", "done", "done", "infeasible"] * 2
    assert table["reason"][3].startswith("not fifo.capacity_bytes <= 3600 B")
    assert table["key"].is_unique
    assert all(command.startswith("attnflow run sdpa.naive") for command in table["command"])
    front = results.front()
    assert list(front["cycles"]) == sorted(front["cycles"])
    assert set(front.index) == set(table.index[table["front"]])
    best = results.best("cycles")
    assert best["cycles"] == table.loc[table["state"] == "done", "cycles"].min()
    with pytest.raises(InputError, match="no point is best by 'firings'"):
        results.best("firings")


def test_a_search_in_python(results):
    found = Study.from_yaml(results.store.parent / "s.yaml").search(8, results.store, sampler="random", jobs=0)
    assert found.summary["reused"] == found.summary["points"] <= 8
    assert found.study == "lanes/random-0"


def test_notebooks_show_studies_and_results(results):
    study = Study.from_yaml(results.store.parent / "s.yaml")
    assert "Study lanes: 8 points" in study._repr_html_()
    assert "best cycles" in results._repr_html_()


@pytest.mark.parametrize("ending", ["csv", "json"])
def test_points_are_exported_as_a_table(results, tmp_path, capsys, ending):
    target = tmp_path / f"points.{ending}"
    assert main(["report", str(results.store), "--study", "lanes", "-o", str(target), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["points"] == 8
    read = pd.read_csv(target) if ending == "csv" else pd.read_json(target)
    expected = results.frame()
    for name in ("state", "cycles", "long_depth", "command", "key"):
        assert read[name].fillna(-1).tolist() == expected[name].fillna(-1).tolist()


def test_parquet_without_pyarrow_says_what_to_install(results, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "fastparquet", None)
    assert main(["report", str(results.store), "-o", str(tmp_path / "points.parquet")]) == 2
    assert "Parquet needs pyarrow: pip install pyarrow" in capsys.readouterr().err
    assert main(["report", str(results.store), "-o", str(tmp_path / "points.xls")]) == 2
    assert "must end in .html, .csv, .parquet, .json" in capsys.readouterr().err


def test_an_unknown_name_in_the_package_is_an_error():
    import studies

    with pytest.raises(AttributeError, match="no attribute 'Studdy'"):
        _ = studies.Studdy
    assert Path(studies.__file__).name == "__init__.py"


def test_what_only_a_script_knows_is_not_sent_to_other_processes(tmp_path, monkeypatch):
    class Mine(KVPolicy):
        """Keep everything."""

    Mine.__module__ = "__main__"
    monkeypatch.setattr(kv_registry.POLICIES, "_entries", dict(kv_registry.POLICIES._entries))
    kv_registry.kv_policy("only_here")(Mine)
    (tmp_path / "s.yaml").write_text(
        "algorithm: decode.policy\nchip: h100\ntiming_only: true\n"
        "workload: {preset: llama3-8b, phase: decode, q_len: 1, kv_len: 64}\naxes: {policy: [full, only_here]}\n"
    )
    study = Study.from_yaml(tmp_path / "s.yaml")
    for run in (lambda: study.sweep(tmp_path / "s.sqlite", jobs=2), lambda: study.search(1, tmp_path / "s.sqlite")):
        with pytest.raises(InputError, match=r"^jobs: worker processes do not know .*: only_here; jobs=0"):
            run()
    assert not (tmp_path / "s.sqlite").exists()


def test_names_of_the_package_are_completed():
    assert {"Study", "Results"} <= set(dir(studies))


def test_a_wrong_name_in_python_gets_the_nearest():
    with pytest.raises(InputError, match=r"^titel: unknown parameter of Study\.of; did you mean 'title'\?$"):
        Study.of("mine", [], titel="Mine")
    assert Study.of("mine", [], title="Mine").title == "Mine"
    with pytest.raises(InputError, match="did you mean 'axes'"):
        Study.ask("two", algorithm="sdpa.naive", workload={"seq_len": 8}, axs={"exp_cycles": [1, 2]})


def test_what_a_study_asks_is_taken_by_ask_and_the_other_ways_say_so():
    question = {"workload": {"seq_len": 8}, "axes": {"exp_cycles": [1, 2]}}
    told = (
        r"^workload: unknown parameter of {}; Study\.ask takes it\naxes: unknown parameter of {}; Study\.ask takes it$"
    )
    with pytest.raises(InputError, match=told.format(*2 * [r"Study\.of"])):
        Study.of("two", [], **question)
    with pytest.raises(InputError, match=told.format(*2 * ["Study"])):
        Study("two", **question)
    assert repr(Study.ask("two", algorithm="sdpa.naive", **question)) == "<Study two: 2 points along exp_cycles>"
