"""Files to start from are valid as they are, say what to do next, and never replace what is there."""

import json
import runpy

import pytest

from studies.cli import main
from studies.cli.verbs.init import Start


@pytest.fixture
def written(tmp_path, monkeypatch, json_of):
    """Function that writes a file of a kind into an empty folder, and tells what the verb says."""
    monkeypatch.chdir(tmp_path)

    def write(kind, *options):
        told = json_of("init", kind, *options)
        assert (tmp_path / told["file"]).is_file()
        return told

    return write


def test_a_study_runs_and_every_axis_matters(written, json_of, capsys):
    told = written("study")
    assert told["next"] == "attnflow sweep my_study.yaml"
    swept = json_of("sweep", told["file"], "--jobs", "0", "--quiet")
    assert (swept["done"], swept["failed"], swept["idle_axes"]) == (12, 0, {})
    assert main(["report", "out/my_study.sqlite", "--output", "my_study.html", "--quiet"]) == 0


def test_a_chip_is_shown_and_run_on(written, json_of):
    told = written("chip", "-o", "edge.yaml")
    assert json_of("show", "chip", told["file"])["name"] == "edge"
    options = ("--chip", told["file"], "--workload", "llama3-8b", "--set", "seq_len=512", "--timing-only")
    assert json_of("run", "flash.q_outer", *options)["seconds"] > 0


def test_a_model_takes_a_step(written, json_of):
    told = written("model")
    found = json_of("run", "model.step", "--model", told["file"], "--chip", "h100", "--batch", "decode 1 of 512 x2")
    assert found["seconds"] > 0


def test_a_scenario_is_served(written, json_of):
    told = written("scenario")
    assert json_of("run", "live.serve", told["file"], "--set", "requests=20", "--quiet")


@pytest.mark.parametrize("kind", ["policy", "notebook"])
def test_a_script_runs_from_top_to_bottom(written, kind, tmp_path):
    told = written(kind, "-o", f"own_{kind}.py")
    runpy.run_path(told["file"], run_name="__main__")
    assert (tmp_path / f"own_{kind}.html").stat().st_size > 1e6


def test_nothing_is_replaced_and_endings_are_right(written, capsys):
    written("chip")
    assert main(["init", "chip"]) == 2
    assert "is there already; --force replaces it" in capsys.readouterr().err
    assert main(["init", "chip", "--force"]) == 0
    assert main(["init", "chip", "-o", "chip.txt"]) == 2
    assert "ends in .yaml" in capsys.readouterr().err
    assert main(["init", "study", "-o", "../a b.yaml"]) == 2


def test_every_kind_has_a_test():
    assert {str(kind) for kind in Start} == {"study", "chip", "model", "scenario", "policy", "notebook"}
    assert json.dumps(list(Start))
