"""The command line as people and scripts use it: what it prints, and the exit codes."""

import dataclasses
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import simulator
from hwmodels.reading.errors import InputError
from reference.captures import capture_names
from reference.truth.oracle import attention
from studies.cli import main
from studies.cli.options import DesignOptions, design_point
from studies.families.attempt import attempt
from studies.families.evaluate import evaluate
from studies.families.value_pass import values_of
from studies.points.command import command_of
from studies.points.point import ENGINES, DesignPoint
from studies.study.resolve import read_study

CONFIGS = sorted((Path(__file__).parents[3] / "studies" / "configs").glob("*.yaml"))
SMALL = ["--seq-len", "16", "--head-dim", "4"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- run --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("granularity", ["row", "scalar"])
def test_run_prints_what_scripts_rely_on(json_of, granularity):
    document = json_of("run", "sdpa.naive", *SMALL, "--granularity", granularity, "--heads", "2", "--kv-heads", "1")
    assert document["cycles"] > 2 * 16 * 16
    assert document["seconds"] == document["cycles"] / 1e9
    assert document["firings"] == sum(unit["firings"] for unit in document["units"])
    assert document["wall_s"] > 0
    assert re.fullmatch("[0-9a-f]{64}", document["schedule_digest"])
    assert document["deadlock"] is None
    assert 0 <= document["error"]["rel_l2"] <= 1e-12
    assert 0 <= document["error"]["max_abs"] <= 1e-12
    for unit in document["units"]:
        assert {"name", "busy_cycles", "stalled_cycles", "idle_cycles"} <= unit.keys()
        parts = (unit["busy_cycles"], unit["idle_cycles"], *unit["stalled_cycles"].values())
        assert sum(parts) == document["cycles"]
    for channel in document["channels"]:
        assert channel["peak_occupancy"] <= channel["depth"]
        assert channel["bytes"] > 0


HEADERS = [
    (
        ["run", "sdpa.naive", "--seq-len", "1", "--head-dim", "4"],
        "sdpa.naive on one-head: batch 1, 1 head (1 KV), 1 query, 1 key, head dim 4, full mask, float64",
    ),
    (
        ["explain", "sdpa.naive", *SMALL, "--heads", "2", "--kv-heads", "1", "--set", "workload.dtype=float16"],
        "sdpa.naive on one-head: batch 1, 2 heads (1 KV), 16 queries, 16 keys, head dim 4, full mask, float16",
    ),
    (
        ["advise", "depths", "sdpa.naive", *SMALL],
        "sdpa.naive on one-head: batch 1, 1 head (1 KV), 16 queries, 16 keys, head dim 4, full mask, float64",
    ),
    (
        ["run", "vit.hybrid", "--workload", "m3vit-tiny", "--timing-only", "--set", "weight_bits=8"],
        "vit.hybrid on m3vit-tiny: batch 1, 3 heads (3 KV), 129 queries, 129 keys, head dim 64, full mask, "
        "32-bit activations, 8-bit weights",
    ),
]


@pytest.mark.parametrize(("command", "header"), HEADERS, ids=["run", "explain", "advise", "own formats"])
def test_the_first_line_says_what_it_is_in_which_number_format(capsys, command, header):
    assert main(command) == 0
    assert capsys.readouterr().out.splitlines()[0] == header


def test_both_engines_print_the_same_schedule(json_of):
    documents = [json_of("run", "sdpa.scaled", *SMALL, "--engine", engine) for engine in ENGINES]
    assert documents[0]["schedule_digest"] == documents[1]["schedule_digest"]
    assert documents[0]["cycles"] == documents[1]["cycles"]


def test_a_deadlock_is_exit_code_3_with_the_depth_that_frees_it(capsys, json_of):
    # 16 scores of a row must wait for their sum
    document = json_of("run", "sdpa.naive", *SMALL, "--set", "long_depth=15", code=3)
    assert document["deadlock"]["smallest_depth"] == {"weights_fifo": 16}
    assert document["error"] is None
    assert main(["run", "sdpa.naive", *SMALL, "--set", "long_depth=15"]) == 3
    text = capsys.readouterr().out
    assert "DEADLOCK" in text
    assert "weights_fifo holds 15/15" in text
    assert main(["run", "sdpa.naive", *SMALL, "--set", "long_depth=16"]) == 0


def test_text_for_people_names_units_channels_and_errors(capsys):
    assert main(["run", "sdpa.naive", *SMALL, "--set", "exp_latency=3", "--clock", "2 GHz"]) == 0
    text = capsys.readouterr().out
    for words in ("exp_latency = 3", "at 2 GHz", "rel L2", "weights_fifo", "mostly stalled by"):
        assert words in text
    assert re.search(r"^time +[\d.]+ [nµ]s at 2 GHz$", text, re.MULTILINE), text


def test_timing_only_has_no_error(json_of):
    with_values = json_of("run", "sdpa.naive", *SMALL)
    without = json_of("run", "sdpa.naive", *SMALL, "--timing-only")
    assert without["error"] is None
    assert without["schedule_digest"] == with_values["schedule_digest"]


def test_real_tensors_give_the_attention_of_those_tensors(here, json_of):
    random = np.random.default_rng(7)
    q = random.normal(size=(4, 8, 6))
    k, v = random.normal(size=(2, 12, 6)), random.normal(size=(2, 12, 5))
    np.savez("t.npz", q=q, k=k, v=v)
    document = json_of("run", "sdpa.memory_free", "--tensors", "t.npz")
    assert document["point"]["workload"]["q_len"] == 8
    assert document["error"]["rel_l2"] <= 1e-12
    point = design_point("sdpa.memory_free", DesignOptions(tensors="t.npz"))
    out = evaluate(point).result.outputs["out"].reshape(4, 8, 5)
    expected, _ = attention(q, k, v)
    assert np.allclose(out, expected, rtol=1e-12, atol=1e-12)


def test_one_head_needs_no_axis_for_heads(here, json_of):
    tensor = np.random.default_rng(0).normal(size=(8, 4))
    np.savez("t.npz", q=tensor[:3], k=tensor, v=tensor)
    document = json_of("run", "sdpa.naive", "--tensors", "t.npz")
    shape = document["point"]["workload"]
    assert [shape[name] for name in ("batch", "heads", "kv_heads", "q_len", "kv_len")] == [1, 1, 1, 3, 8]
    assert document["error"]["rel_l2"] <= 1e-12


def test_shipped_captures_are_tensors_by_name(json_of):
    (name, *_) = capture_names()
    document = json_of("run", "sdpa.memory_free", "--tensors", name)
    assert document["point"]["tensors"]["path"].endswith(f"{name}.npz")
    assert document["error"]["rel_l2"] <= 1e-12


def test_a_wrong_value_would_be_seen(monkeypatch):
    """The comparison with the oracle is a real one: spoil one element and the error is there."""
    point = design_point("sdpa.naive", DesignOptions(seq_len=8, head_dim=4))
    honest = values_of

    def spoilt(*arguments):
        values = honest(*arguments)
        out = values.outputs["out"].copy()
        out[3] += 1e-3
        return dataclasses.replace(values, outputs={"out": out})

    monkeypatch.setattr("studies.families.graph.evaluate.values_of", spoilt)
    assert evaluate(point).deviation.max_abs == pytest.approx(1e-3)


@pytest.mark.parametrize("length", [8, 16])
def test_depth_advice_is_what_the_graph_needs(capsys, json_of, length):
    size = ["--seq-len", str(length), "--head-dim", "4"]
    document = json_of("advise", "depths", "sdpa.naive", *size)
    depths = {channel["name"]: channel for channel in document["channels"]}
    assert depths["weights_fifo"]["min_depth"] == length
    assert document["totals"]["bytes"] == sum(channel["bytes"] for channel in document["channels"])
    free = json_of("run", "sdpa.naive", *size, "--set", "fifo_depth=64")
    assert document["full_rate_cycles"] == free["cycles"]

    def cycles(which):
        text = ",".join(f"{name}={channel[which]}" for name, channel in depths.items())
        return json_of("run", "sdpa.naive", *size, "--set", f"depths={text}")["cycles"]

    assert cycles("full_rate_depth") == free["cycles"]
    assert cycles("min_depth") == document["min_depth_cycles"]
    assert main(["advise", "depths", "sdpa.naive", *size]) == 0
    assert "full-rate depth" in capsys.readouterr().out


# --- sweep, resume, report ---------------------------------------------------------------------------

STUDY = """\
name: small
algorithm: sdpa.naive
workload: {seq_len: 16, head_dim: 4}
axes:
  long_depth: [15, 16, 18]
  depths: ["", "nowhere=2"]
"""


def test_a_sweep_keeps_failures_as_rows_and_continues(here, json_of, capsys):
    (here / "s.yaml").write_text(STUDY)
    summary = json_of("sweep", "s.yaml", "--store", "s.sqlite", "--jobs", "2", "--quiet")
    assert (summary["points"], summary["done"], summary["failed"], summary["evaluated"]) == (6, 3, 3, 6)
    again = json_of("sweep", "s.yaml", "--store", "s.sqlite", "--jobs", "0")
    assert (again["evaluated"], again["skipped"], again["failed"]) == (0, 6, 3)
    assert main(["sweep", "s.yaml", "--store", "s.sqlite", "--jobs", "0"]) == 0
    told = capsys.readouterr()
    assert "(0 evaluated now, 6 there already" in told.out, "no rate of nothing"
    assert re.search(r"^the first that failed: .*no FIFO is called 'nowhere'", told.err, re.MULTILINE)
    retried = json_of("sweep", "s.yaml", "--store", "s.sqlite", "--jobs", "0", "--retry-failed")
    assert (retried["evaluated"], retried["skipped"], retried["failed"]) == (3, 3, 3)

    from studies.store.store import Store

    with Store("s.sqlite") as store:
        rows = list(store.rows("small"))
    assert [row.outcome.status for row in rows] == ["done", "failed"] * 3
    assert [row.attempt for row in rows] == [1, 2] * 3
    assert [row.outcome.metrics.get("deadlock") for row in rows[::2]] == [True, False, False]
    assert "no FIFO is called 'nowhere'" in rows[1].outcome.error
    assert rows[2].outcome.metrics["error.rel_l2"] <= 1e-12
    assert rows[2].provenance["versions"]["numpy"] == np.__version__
    assert rows[2].provenance["configuration"]["name"] == "small"


def test_a_sweep_in_which_all_points_fail_is_exit_code_1(here, json_of):
    (here / "s.yaml").write_text(STUDY.replace('"", ', ""))
    summary = json_of("sweep", "s.yaml", "--jobs", "0", code=1)
    assert summary["failed"] == summary["points"] == 3
    assert (here / "out" / "small.sqlite").exists()


def test_the_reason_of_a_failure_is_one_line():
    point = design_point("sdpa.naive", DesignOptions(seq_len=4, head_dim=4, set_=["depths=nowhere=2"]))
    outcome = attempt(point)
    assert outcome.status == "failed"
    assert "\n" not in outcome.error
    assert "Traceback" in outcome.traceback
    broken = DesignPoint("sdpa.naive", point.workload, (("no_such", 1),))
    assert attempt(broken).error.startswith("no_such: unknown parameter")


@pytest.mark.parametrize("path", CONFIGS, ids=[path.stem for path in CONFIGS])
def test_shipped_studies_are_sound(path, json_of):
    assert json_of("config", "check", str(path))["points"] == len(read_study(path).points)


@pytest.mark.parametrize(
    "path",
    # a whole layer takes seconds; the demo runs it
    [path for path in CONFIGS if path.stem != "llama3-8b"],
    ids=lambda path: path.stem,
)
def test_the_first_point_of_every_shipped_study_is_evaluated(path):
    outcome = attempt(read_study(path).points[0])
    assert outcome.error is None


# --- names, configuration, health ---------------------------------------------------------------------


def test_list_and_show(capsys, json_of):
    names = json_of("list")
    assert {"sdpa.naive", "sdpa.memory_free"} <= {entry["name"] for entry in names["algorithms"]}
    assert json_of("list", "workloads").keys() == {"workloads"}
    algorithm = json_of("show", "algorithm", "sdpa.naive")
    assert {"granularity", "long_depth"} <= {parameter["name"] for parameter in algorithm["parameters"]}
    workload = json_of("show", "workload", "llama3-8b")
    assert workload["kv_heads"] == 8
    assert "arXiv:2407.21783" in workload["citations"]["kv_heads"]
    for arguments in (["list"], ["show", "workload", "llama3-8b"], ["show", "algorithm", "sdpa.naive"]):
        assert main(arguments) == 0
    assert "num_key_value_heads" in capsys.readouterr().out


def test_a_list_of_nothing_in_particular_tells_the_kinds_and_one_of_everything_has_all_names(capsys, json_of):
    document = json_of("list")
    assert main(["list"]) == 0
    kinds = capsys.readouterr().out
    assert all(re.search(rf"^{kind} +\S", kinds, re.MULTILINE) for kind in document)
    assert "sdpa.naive" not in kinds and len(kinds.splitlines()) < len(document) + 6
    assert main(["list", "--all"]) == 0
    everything = capsys.readouterr().out.split()
    assert {entry["name"] for entries in document.values() for entry in entries} <= set(everything)


def test_config_show_and_schema(here, capsys, json_of):
    (here / "s.yaml").write_text(STUDY)
    document = json_of("config", "show", "s.yaml")
    assert document["settings"]["parameters.long_depth"] == {"value": [15, 16, 18], "origin": "axis, s.yaml:5"}
    assert main(["config", "show", "s.yaml"]) == 0
    assert "default of sdpa.naive" in capsys.readouterr().out
    assert "axes" in json_of("config", "schema")["properties"]


def test_doctor_finds_what_is_required(json_of):
    document = json_of("doctor")
    assert document["ok"]
    checks = {check["name"]: check for check in document["checks"]}
    assert checks["numpy"]["detail"] == np.__version__
    assert not checks["torch"]["required"]


def test_help_imports_nothing_heavy():
    done = subprocess.run([sys.executable, "-m", "studies", "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "sweep" in done.stdout
    heavy = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "studies", "--help"], capture_output=True, text=True
    ).stderr
    for module in ("numba", "pandas", "plotly", "scipy", "yaml"):
        assert not re.search(rf"\| +{module}$", heavy, re.MULTILINE), module
    assert len(re.findall(r"^import time:", heavy, re.MULTILINE)) < 450


# --- points and their commands ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "design",
    [
        DesignOptions(),
        DesignOptions(workload="llama3-8b", seq_len=64, heads=4, kv_heads=2, causal=False, seed=3),
        DesignOptions(seq_len=32, set_=["depths=q->q_hold=3,v->pv=4", "exp_latency=2"], granularity="scalar"),
        DesignOptions(tensors=capture_names()[0], engine="simpy", timing_only=True, no_skip=True),
        DesignOptions(clock="1.755 GHz", dtype="bfloat16", batch=2),
    ],
)
def test_the_command_of_a_point_gives_that_point_again(design, monkeypatch):
    point = design_point("sdpa.naive", design)
    program, verb, *rest = shlex.split(command_of(point))
    assert (program, verb) == ("attnflow", "run")
    seen = []

    def remember(algorithm, options):
        seen.append(design_point(algorithm, options))
        raise InputError("enough")

    monkeypatch.setattr("studies.cli.verbs.run.design_point", remember)
    assert main(["run", *rest]) == 2
    assert seen[0].key == point.key


def test_engines_are_those_of_the_simulator():
    assert set(ENGINES) == set(simulator.ENGINES)
