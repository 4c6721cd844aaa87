"""The verbs trace and draw: files, caps, windows, exit codes, bad input."""

import gzip
import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from algorithms.registry import algorithm_names
from simulator import simulate
from simulator.views import timeline as timelines
from simulator.views.draw import draw_svg
from simulator.views.timeline import record_timeline
from studies.cli import main
from studies.cli.options import DesignOptions, design_point
from studies.families.graph.evaluate import build_graph

SMALL = ["--seq-len", "16", "--head-dim", "4"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def events_of(path):
    return [e for e in json.loads(gzip.decompress(path.read_bytes()))["traceEvents"] if e["ph"] != "M"]


def test_a_trace_agrees_with_the_run(here, json_of):
    run = json_of("run", "sdpa.naive", *SMALL)
    document = json_of("trace", "sdpa.naive", *SMALL, "-o", "t.json.gz")
    events = events_of(here / "t.json.gz")
    assert document["events"] == len(events)
    assert document["window"] == {"begin_cycle": 0, "end_cycle": run["cycles"]}
    assert (document["left_out"], document["complete_until"], document["run_complete"]) == (0, run["cycles"], True)
    for number, unit in enumerate(run["units"], start=1):
        spent = {}
        for event in events:
            if event["ph"] == "X" and event["tid"] == number:
                name = event["name"].removeprefix("stalled: ")
                spent[name] = spent.get(name, 0) + event["dur"]
        parts = {"busy": unit["busy_cycles"], **unit["stalled_cycles"], "idle": unit["idle_cycles"]}
        assert spent == {name: cycles for name, cycles in parts.items() if cycles}
    for channel in run["channels"]:
        counts = [e["args"]["tokens"] for e in events if e["ph"] == "C" and e["name"] == channel["name"]]
        assert max(counts) == channel["peak_occupancy"]


def test_a_window_of_a_long_run_is_small_and_simulates_little_else(here, monkeypatch, json_of):
    # 1.1e12 scores; the first cycles of it
    size = ["--seq-len", str(2**20), "--head-dim", "128"]
    simulated = []
    compiled = timelines.RUNNERS["compiled"]
    monkeypatch.setitem(timelines.RUNNERS, "compiled", lambda graph: simulated.append(graph) or compiled(graph))
    document = json_of("trace", "sdpa.memory_free", *size, "--window", "0:50000", "-o", "t.json.gz")
    (graph,) = simulated
    assert 0 < sum(unit.table.firings for unit in graph.units) < 20 * 50_000
    assert document["bytes"] < 1_000_000
    assert document["window"] == {"begin_cycle": 0, "end_cycle": 50_000}
    assert not document["run_complete"]
    assert {event["ts"] < 50_000 for event in events_of(here / "t.json.gz")} == {True}


def test_a_cap_is_said_on_stderr(here, capsys, json_of):
    whole = json_of("trace", "sdpa.naive", *SMALL)
    assert whole["output"] == "sdpa.naive.trace.json.gz"
    assert main(["trace", "sdpa.naive", *SMALL, "--max-events", "30", "-o", "t.json.gz"]) == 0
    output = capsys.readouterr()
    assert len(events_of(here / "t.json.gz")) == 30
    assert output.err.startswith(f"{whole['events'] - 30} events from cycle ")
    assert f"--max-events {whole['events']}" in output.err
    assert main(["trace", "sdpa.naive", *SMALL, "--max-events", "30", "-o", "t.json.gz", "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_text_goes_to_stdout_or_a_file(here, capsys):
    assert main(["trace", "sdpa.naive", *SMALL, "--text", "--window", "0:20"]) == 0
    text = capsys.readouterr().out
    assert text.splitlines()[-1] == "   20 end of the window"
    assert "# exp (map); in0 = input qk->exp; out0 = output exp->weight_fork" in text
    assert main(["trace", "sdpa.naive", *SMALL, "--text", "--window", "0:20", "-o", "t.txt"]) == 0
    assert (here / "t.txt").read_text() == text
    capsys.readouterr()
    assert main(["trace", "sdpa.naive", *SMALL, "--text", "--window", "0:20", "--engine", "simpy"]) == 0
    assert capsys.readouterr().out == text


def test_a_deadlock_is_traced_and_exit_code_3(capsys, json_of):
    arguments = ["trace", "sdpa.naive", *SMALL, "--set", "long_depth=15"]
    assert main([*arguments, "--text"]) == 3
    output = capsys.readouterr()
    assert "wait for ever" in output.out.splitlines()[-1]
    assert output.err.startswith("deadlock at cycle ")
    assert "div" in json_of(*arguments, code=3)["deadlocked"]
    assert main([*arguments, "--window", "0:3"]) == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--window", "5"], "--window: must be BEGIN:END with BEGIN < END, in cycles (got '5')"),
        (["--window", "9:3"], "--window: must be BEGIN:END with BEGIN < END, in cycles (got '9:3')"),
        (["--window", "-1:3"], "--window: must be BEGIN:END with BEGIN < END, in cycles (got '-1:3')"),
        (["--window", "900000:900001"], "the window begins at cycle 900000, but the run ends at cycle "),
        (["-o", "none/t.json.gz"], "none/t.json.gz: cannot be written: No such file or directory"),
        (["--max-events", "0"], "Invalid value for '--max-events'"),
        (["--seq-len", "100000"], "a trace keeps every start time up to its end: "),
    ],
)
def test_bad_input_is_one_line(capsys, arguments, complaint):
    assert main(["trace", "sdpa.naive", *SMALL, *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(complaint)


def test_drawing_shows_every_unit_and_fifo(here, capsys, json_of):
    document = json_of("draw", "sdpa.naive", *SMALL, "-o", "g.svg")
    run = json_of("run", "sdpa.naive", *SMALL)
    assert (document["units"], document["channels"]) == (len(run["units"]), len(run["channels"]))
    texts = [node.text for node in ElementTree.parse(here / "g.svg").iter("{http://www.w3.org/2000/svg}text")]
    for unit in run["units"]:
        assert unit["name"] in texts
    for channel in run["channels"]:
        assert texts[texts.index(channel["name"]) + 1] == f"depth {channel['depth']}"
    assert main(["draw", "sdpa.naive", *SMALL, "-o", "none/g.svg"]) == 2
    assert capsys.readouterr().err == "none/g.svg: cannot be written: No such file or directory\n"


@pytest.mark.parametrize("name", algorithm_names())
def test_every_algorithm_can_be_traced_and_drawn(name):
    graph = build_graph(design_point(name, DesignOptions(seq_len=16, head_dim=4, timing_only=True))).freeze()
    result = simulate(graph, timing_only=True, digest=False)
    timeline = record_timeline(graph)
    assert result.units
    for shown, expected in zip(timeline.units, result.units, strict=True):
        parts = {"busy": expected.busy_cycles, **expected.stalled_cycles, "idle": expected.idle_cycles}
        assert shown.cycles() == {state: cycles for state, cycles in parts.items() if cycles}, shown.name
    half = record_timeline(graph, (0, result.cycles // 2))
    for shown, whole in zip(half.units, timeline.units, strict=True):
        # in every cycle the same, but for a wait that the window cuts off
        cycles = int(shown.begin[-1])
        states = [np.repeat(unit.state, unit.end - unit.begin)[:cycles].tolist() for unit in (shown, whole)]
        assert states[0] == states[1], shown.name
    ElementTree.fromstring(draw_svg(graph))
