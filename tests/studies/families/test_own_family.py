"""What is added from outside the packages, one file each: a family of designs, and a metric."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FAMILY = Path(__file__).with_name("own_family.py")
STUDY = """\
name: halls
algorithm: queue.hall
workload: {q_len: 12, kv_len: 12}
objectives: [cycles, queue.per_desk]
constraints: ["queue.desks <= 3"]
axes:
  desks: [1, 2, 3, 4]
  service_cycles: [5, 7]
"""


def installed(folder: Path, name: str, source: str, groups: list[str]) -> Path:
    """A distribution in `folder` with one module and its entry points."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(source, encoding="utf-8")
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    lines = "".join(f"[{group}]\n{name} = {name}\n" for group in groups)
    (info / "entry_points.txt").write_text(lines, encoding="utf-8")
    return folder


class Shell:
    """Commands of a fresh process that has a distribution installed, or not."""

    def __init__(self, folder: Path, plug_in: Path | None) -> None:
        self.folder = folder
        path = [str(ROOT), *([str(plug_in)] if plug_in else [])]
        self.environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}

    def run(self, *commands: list[str]) -> list[tuple[int, str, str]]:
        """Exit code, stdout and stderr of each command, all in one process, which may start workers."""
        script = textwrap.dedent("""
            import contextlib, io, json, sys
            from studies.cli.app import run_command_line
            found = []
            for words in json.loads(sys.argv[1]):
                out, err = io.StringIO(), io.StringIO()
                with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                    code = run_command_line(words)
                found.append((code, out.getvalue(), err.getvalue()))
            print(json.dumps(found))
        """)
        done = subprocess.run(
            [sys.executable, "-c", script, json.dumps(commands)],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self.environment,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return [tuple(each) for each in json.loads(done.stdout)]


@pytest.fixture(scope="module")
def hall(tmp_path_factory):
    """A folder with a study of the family, and a shell in which its distribution is installed."""
    folder = tmp_path_factory.mktemp("halls")
    groups = ["attnflow.algorithms", "attnflow.families"]
    plug_in = installed(folder / "site", "own_family", FAMILY.read_text(encoding="utf-8"), groups)
    (folder / "halls.yaml").write_text(STUDY, encoding="utf-8")
    return Shell(folder, plug_in)


def test_a_family_is_one_file_for_every_verb(hall):
    point = ["queue.hall", "--seq-len", "12", "--set", "desks=2"]
    other = ["queue.hall", "--seq-len", "12", "--set", "desks=3"]
    listed, metrics, shown, text, first, second, told, refused = hall.run(
        ["list", "algorithms"],
        ["list", "metrics"],
        ["show", "algorithm", "queue.hall", "--json"],
        ["run", *point],
        ["run", *point, "--json"],
        ["run", *other, "--json"],
        ["explain", *point],
        ["run", *point, "--set", "desks=0"],
    )
    assert "queue.hall" in listed[1] and "[queue] A hall with desks" in listed[1]
    assert "queue.per_desk" in metrics[1] and "queue.desks" in metrics[1]
    assert json.loads(shown[1])["kind"] == "queue"
    assert text == (0, "queue.hall: 30 cycles at 2 desks\n", "")
    document = json.loads(first[1])
    assert (document["cycles"], document["version"]) == (30, 1)
    assert document["metrics"]["queue.per_desk"] == 6 and document["metrics"]["queue.desks"] == 2
    assert "fifo.peak_bytes" not in document["metrics"]
    assert told[0] == 0 and told[1].endswith("the desks bind; 4 of them would save 50 % of the time.\n")
    assert refused[0] == 2 and "desks: must be at least 1 (got 0)" in refused[2]
    for name, run in (("a.json", first), ("b.json", second)):
        (hall.folder / name).write_text(run[1], encoding="utf-8")
    compared, traced = hall.run(["compare", "a.json", "b.json", "--json"], ["trace", *point])
    document = json.loads(compared[1])
    assert compared[0] == 1 and [change["name"] for change in document["config"]] == ["parameters.desks"]
    assert {stall["unit"] for stall in document["stalls"]} == {"desks"}
    assert traced[0] == 2 and "queue.hall is a queue and is no graph of FIFOs" in traced[2]


def test_a_family_is_swept_searched_stored_and_reported(hall):
    swept, again, found, page, table = hall.run(
        ["sweep", "halls.yaml", "--store", "halls.sqlite", "--jobs", "1", "--quiet", "--json"],  # one worker process
        ["sweep", "halls.yaml", "--store", "halls.sqlite", "--jobs", "1", "--quiet", "--json"],
        ["search", "halls.yaml", "-n", "6", "--store", "found.sqlite", "--jobs", "0", "--quiet", "--json"],
        ["report", "halls.sqlite", "-o", "halls.html", "--quiet"],
        ["report", "halls.sqlite", "-o", "halls.csv", "--quiet"],
    )
    assert json.loads(swept[1])["done"] == 8 and json.loads(swept[1])["failed"] == 0
    assert json.loads(again[1])["skipped"] == 8
    assert found[0] == 0, found[2]
    assert (page[0], table[0]) == (0, 0), page[2] + table[2]
    text = (hall.folder / "halls.html").read_text(encoding="utf-8")
    assert "At the desks" in text and "its 3 desks" in text and "queue.per_desk" in text
    assert "Where the cycles go" not in text, "a section about graphs"
    header, *lines = (hall.folder / "halls.csv").read_text(encoding="utf-8").splitlines()
    assert {"queue.per_desk", "queue.desks", "desks"} <= set(header.split(","))
    assert len(lines) == 8 and sum("infeasible" in line for line in lines) == 2


def test_a_store_outlives_the_plug_in_that_wrote_it(hall):
    hall.run(["sweep", "halls.yaml", "--store", "left.sqlite", "--jobs", "0", "--quiet"])
    bare = Shell(hall.folder, None)
    report, listed, resumed = bare.run(
        ["report", "left.sqlite", "-o", "left.html", "--quiet"],
        ["list", "algorithms"],
        ["sweep", "halls.yaml", "--store", "left.sqlite", "--jobs", "0", "--quiet"],
    )
    assert report[0] == 0, report[2]
    assert "queue.per_desk" in (hall.folder / "left.html").read_text(encoding="utf-8")
    assert "queue.hall" not in listed[1]
    assert resumed[0] == 2 and "queue.hall" in resumed[2]


def test_a_spoilt_store_is_refused_with_the_field(hall):
    hall.run(["sweep", "halls.yaml", "--store", "spoilt.sqlite", "--jobs", "0", "--quiet"])
    with sqlite3.connect(hall.folder / "spoilt.sqlite") as database:
        database.execute("UPDATE points SET detail = json_remove(detail, '$.desks')")
    ((code, _, error),) = hall.run(["report", "spoilt.sqlite", "-o", "spoilt.html", "--quiet"])
    assert code == 2
    assert error.startswith("spoilt.sqlite: desks: point ") and "required key is missing" in error


METRIC = '''
"""A metric from outside: one function."""

from studies.families.metrics import metric


@metric("graph.units", "", "units of the graph", goal="min", family="graph")
def units(evaluation):
    return len(evaluation.result.units)
'''


def test_a_metric_is_one_file(tmp_path):
    plug_in = installed(tmp_path / "site", "own_metric", METRIC, ["attnflow.metrics"])
    (tmp_path / "s.yaml").write_text(
        "name: s\nalgorithm: sdpa.naive\nworkload: {seq_len: 8, head_dim: 4}\nobjectives: [graph.units]\n"
        'constraints: ["graph.units <= 99"]\naxes: {exp_cycles: [1, 2]}\n',
        encoding="utf-8",
    )
    listed, swept, report = Shell(tmp_path, plug_in).run(
        ["list", "metrics"],
        ["sweep", "s.yaml", "--store", "s.sqlite", "--jobs", "1", "--quiet"],
        ["report", "s.sqlite", "-o", "s.csv", "--quiet"],
    )
    assert "graph.units" in listed[1].splitlines()[-1], "behind those that the project ships"
    assert (swept[0], report[0]) == (0, 0), swept[2] + report[2]
    header, first, _ = (tmp_path / "s.csv").read_text(encoding="utf-8").splitlines()
    row = dict(zip(header.split(","), first.split(","), strict=False))
    assert float(row["graph.units"]) > 3


def test_a_metric_whose_name_is_taken_is_left_out_and_both_modules_are_named(tmp_path):
    plug_in = installed(tmp_path / "site", "own_metric", METRIC.replace("graph.units", "firings"), ["attnflow.metrics"])
    ((code, _, error),) = Shell(tmp_path, plug_in).run(["list", "metrics"])
    assert code == 0
    told = "metric 'firings' is registered by both studies.families.graph.metrics and own_metric"
    assert f"plug-in own_metric (own_metric) does not load and is left out: {told}" in error
