"""Comparing runs: what differs, by how much, in which unit; exit codes; stores; bad input."""

import json

import pytest

from studies.cli import main
from studies.cli.options import DesignOptions, design_point
from studies.compare import compare
from studies.families.evaluate import evaluate
from studies.families.metrics import measure, metrics
from studies.run_files import read_run

SMALL = {"seq_len": 16, "head_dim": 4}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_run(path, **options):
    """Store the run of a small design; returns its evaluation."""
    evaluation = evaluate(design_point("sdpa.naive", DesignOptions(**{**SMALL, **options})))
    path.write_text(json.dumps(evaluation.describe(), allow_nan=False))
    return evaluation


def json_of(capsys, *arguments, code):
    assert main(["compare", *arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("options", [{}, {"timing_only": True}, {"set_": ["long_depth=15"]}, {"clock": "2 GHz"}])
def test_a_run_read_back_is_the_run(here, options):
    evaluation = write_run(here / "a.json", **options)
    read = read_run("a.json").detail
    assert read.point.key == evaluation.point.key
    assert read.deviation == evaluation.deviation
    assert read.result.to_dict() == evaluation.result.to_dict()
    assert read.measured() == measure(evaluation)
    assert json.dumps(read.to_json()) == json.dumps(evaluation.describe())


def test_equal_runs_are_equal(here, capsys):
    write_run(here / "a.json")
    document = json_of(capsys, "a.json", "a.json", code=0)
    assert document["within"]
    assert document["config"] == document["stalls"] == []
    assert main(["compare", "a.json", "a.json"]) == 0
    text = capsys.readouterr().out
    assert "The settings are the same." in text
    assert "same within 0 %: cycles" in text


def test_every_difference_is_listed_with_its_unit(here, capsys):
    a = write_run(here / "a.json").result
    b = write_run(here / "b.json", set_=["exp_cycles=3"]).result
    document = json_of(capsys, "a.json", "b.json", code=1)
    assert document["config"] == [{"name": "parameters.exp_cycles", "a": 1, "b": 3}]
    by_name = {entry["name"]: entry for entry in document["metrics"]}
    assert by_name.keys() == {metric.name for metric in metrics()}
    cycles = by_name["cycles"]
    assert (cycles["unit"], cycles["a"], cycles["b"]) == ("cycle", a.cycles, b.cycles)
    assert cycles["delta"] == b.cycles - a.cycles > 0
    assert cycles["delta_pct"] == pytest.approx(100 * (b.cycles / a.cycles - 1))
    assert by_name["seconds"]["unit"] == "s"
    exp = {stall["use"]: stall for stall in document["stalls"] if stall["unit"] == "exp"}
    assert exp["busy"] == {"unit": "exp", "use": "busy", "a": 256, "b": 768, "delta": 512}
    for unit in a.units:
        moved = sum(stall["delta"] for stall in document["stalls"] if stall["unit"] == unit.name)
        assert moved == b.cycles - a.cycles
    assert main(["compare", "a.json", "b.json"]) == 1
    assert "DIFFERENT: cycles differ by more than 0 %" in capsys.readouterr().out


def test_the_tolerance_is_relative_to_the_first_run_and_inclusive(here):
    a, b = write_run(here / "a.json"), write_run(here / "b.json", set_=["exp_cycles=2"])
    runs = read_run("a.json"), read_run("b.json")
    exact = 100 * (b.result.cycles - a.result.cycles) / a.result.cycles
    assert compare(*runs, tolerance_pct=exact * 1.000001).within
    assert not compare(*runs, tolerance_pct=exact * 0.999999).within
    assert compare(runs[1], runs[0], tolerance_pct=100 * (1 - a.result.cycles / b.result.cycles) * 1.000001).within
    assert compare(*runs, compared=["firings"]).within
    assert not compare(*runs, tolerance_pct=1e9, compared=["busiest.unit"]).within


def test_a_deadlock_is_never_within_the_tolerance(here, capsys):
    write_run(here / "a.json")
    write_run(here / "b.json", set_=["long_depth=15"])
    document = json_of(capsys, "a.json", "b.json", "--tolerance", "1000", code=1)
    (deadlock,) = [entry for entry in document["metrics"] if entry["name"] == "deadlock"]
    assert (deadlock["a"], deadlock["b"], deadlock["within"]) == (False, True, False)
    assert json_of(capsys, "b.json", "b.json", code=0)["within"]


def test_other_algorithms_have_other_units(here, capsys):
    write_run(here / "a.json")
    other = evaluate(design_point("sdpa.memory_free", DesignOptions(**SMALL)))
    (here / "b.json").write_text(json.dumps(other.describe()))
    document = json_of(capsys, "a.json", "b.json", code=1)
    assert {"unit": "exp", "use": "busy", "a": 256, "b": None, "delta": -256} in document["stalls"]
    assert {"unit": "online_max", "use": "busy", "a": None, "b": 256, "delta": 256} in document["stalls"]


def test_points_of_a_store_are_runs(here, capsys):
    study = "name: s\nalgorithm: sdpa.naive\nworkload: {seq_len: 16, head_dim: 4}\naxes: {exp_cycles: [1, 2]}\n"
    (here / "s.yaml").write_text(study)
    assert main(["sweep", "s.yaml", "--store", "s.sqlite", "--jobs", "0", "--quiet"]) == 0
    capsys.readouterr()
    keys = [design_point("sdpa.naive", DesignOptions(**SMALL, set_=[f"exp_cycles={cycles}"])).key for cycles in (1, 2)]
    document = json_of(capsys, f"s.sqlite:{keys[0][:12]}", f"s.sqlite:{keys[1]}", code=1)
    assert [document["a"]["key"], document["b"]["key"]] == keys
    write_run(here / "a.json")
    assert json_of(capsys, "a.json", f"s.sqlite:{keys[0]}", code=0)["within"]
    assert main(["compare", "a.json", "s.sqlite:ff00ff00ff"]) == 2
    assert capsys.readouterr().err == "s.sqlite: no key starts with 'ff00ff00ff'\n"
    assert main(["compare", "a.json", "s.sqlite"]) == 2
    assert capsys.readouterr().err.startswith("s.sqlite: is a store of many runs: s.sqlite:KEY is one of its runs")
    assert main(["compare", "a.json", "none.sqlite:ff"]) == 2
    assert capsys.readouterr().err == "none.sqlite: no such store\n"


BAD = {
    "text.json": (b"cycles: 3\n", "text.json:1: is not JSON: Expecting value"),
    "binary.json": (b"\xff\xfe\x00", "binary.json: is not a text file"),
    "list.json": (b"[1, 2]", "list.json: is not a run: write one with `attnflow run ... --json`"),
    "deep.json": (b"[" * 100_000, "deep.json: is nested too deeply"),
    "other.json": (
        b'{"algorithms": []}',
        "other.json: is not a run: it lacks 'point'; write one with `attnflow run ... --json`",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_a_run_is_one_line(here, capsys, name):
    content, complaint = BAD[name]
    (here / name).write_bytes(content)
    write_run(here / "a.json")
    assert main(["compare", "a.json", name]) == 2
    output = capsys.readouterr()
    assert (output.out, output.err) == ("", f"{complaint}\n")


def test_all_problems_come_at_once(here, capsys):
    assert main(["compare", "none.json", str(here)]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "none.json: cannot be read: No such file or directory",
        f"{here}: cannot be read: Is a directory",
    ]
    write_run(here / "a.json")
    assert main(["compare", "a.json", "a.json", "--metric", "cicles", "--tolerance", "-1"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "--metric: no metric is called 'cicles'; did you mean 'cycles'?",
        "--tolerance: must be at least 0 (got -1)",
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cycles": "many"}, "cycles: is not a run: must be a whole number (got 'many')"),
        ({"cycles": None}, "cycles: is not a run: must be a whole number (got nothing)"),
        ({"cycles": 1.5}, "cycles: is not a run: must be a whole number (got 1.5)"),
        ({"cycles": 1}, "is not the total of 1 cycles"),
        ({"units": []}, "no units"),
        ({"units": [{"name": "q"}]}, "units[0].kind: is not a run: required key is missing"),
        ({"units": [[]]}, "units[0]: is not a run: must be a mapping (got a list)"),
        ({"units": 5}, "units: is not a run: must be a list (got 5)"),
        ({"lints": "none"}, "lints: is not a run: must be a list (got 'none')"),
        ({"clock_hz": 0}, "no clock"),
        ({"point": 3}, "'point' is not an object"),
        ({"point": {"algorithm": "sdpa.naive"}}, "lacks 'parameters'"),
        ({"deadlock": {"cycle": 3}}, "lacks 'smallest_depth'"),
    ],
)
def test_a_spoilt_run_is_one_line(here, capsys, change, words):
    write_run(here / "a.json")
    (here / "b.json").write_text(json.dumps(json.loads((here / "a.json").read_text()) | change))
    assert main(["compare", "a.json", "b.json"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("b.json:")
    assert words in line


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("units", 0, "firings"), "x", "units[0].firings: is not a run: must be a whole number (got 'x')"),
        (("point", "engine"), "fast", "point.engine: is not a run: must be 'compiled' or 'simpy' (got 'fast')"),
        (("point", "workload"), 5, "point.workload: is not a run: must be a mapping (got 5)"),
        (("point", "workload", "mask"), "round", "must be 'full' or 'causal' (got 'round')"),
        (("point", "workload", "heads"), -1, "point.workload: is not a run: heads: must be at least 1 (got -1)"),
        (("error", "rel_l2"), "q", "error.rel_l2: is not a run: must be a number (got 'q')"),
    ],
)
def test_what_is_spoilt_is_told_in_plain_words_with_its_line(here, capsys, place, value, words):
    write_run(here / "a.json")
    document = json.loads((here / "a.json").read_text())
    part = document
    for name in place[:-1]:
        part = part[name]
    part[place[-1]] = value
    text = json.dumps(document, indent=2)
    (here / "b.json").write_text(text)
    assert main(["compare", "a.json", "b.json"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    where, words_shown = line.split(": ", 1)
    assert words in words_shown
    file, number = where.split(":")
    assert file == "b.json"
    field = words_shown.partition(": ")[0].rpartition(".")[2]
    assert f'"{field}"' in text.splitlines()[int(number) - 1]


def test_an_unknown_algorithm_is_told_with_the_file(here, capsys):
    write_run(here / "a.json")
    text = (here / "a.json").read_text().replace("sdpa.naive", "sdpa.naiv")
    (here / "b.json").write_text(text)
    assert main(["compare", "a.json", "b.json"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "b.json: algorithm: no algorithm is called 'sdpa.naiv'; did you mean 'sdpa.naive'?"


def test_a_comparison_is_a_page_too(here, capsys):
    write_run(here / "a.json")
    write_run(here / "b.json", set_=["exp_cycles=3"])
    (here / "a.json").rename(here / "<script>alert(1)<b>.json")
    assert main(["compare", "<script>alert(1)<b>.json", "b.json", "-o", "page.html", "-q"]) == 1
    page = (here / "page.html").read_text(encoding="utf-8")
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)&lt;b&gt;.json" in page
    assert "cycles differ by more than 0 %" in " ".join(page.split())
    assert '<section id="difference"' in page
    assert '<section id="stalls"' in page, "and all that a report says of runs"
    assert main(["compare", "b.json", "b.json", "-o", "none/page.html"]) == 2
    assert "No such file or directory" in capsys.readouterr().err
