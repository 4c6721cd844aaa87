"""Trace files: the JSON obeys the trace-event format, holds what the timeline holds, and stays within its cap."""

import gzip
import json

import pytest

from simulator import Block, FiringTable, Graph, Segment, Server, SimulatorError, Unit, operators
from simulator.operators import Span
from simulator.random_graphs import random_graph
from simulator.views.timeline import record_timeline
from simulator.views.trace import CHANNELS_PROCESS, UNITS_PROCESS, text_trace, write_trace

# What the format asks of an event, by phase ("Trace Event Format", Google): https://docs.google.com/document/d/
# 1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
REQUIRED = {
    "X": {"name": str, "ph": str, "ts": int, "dur": int, "pid": int, "tid": int, "cat": str},
    "C": {"name": str, "ph": str, "ts": int, "pid": int, "args": dict},
    "M": {"name": str, "ph": str, "pid": int, "args": dict},
}
METADATA = {"process_name": str, "thread_name": str, "process_sort_index": int, "thread_sort_index": int}


def check_events(events):
    """Hold events to the format: fields by phase, monotone times and no overlap per track, counters not negative."""
    clock = {}
    for event in events:
        for name, kind in REQUIRED[event["ph"]].items():
            assert type(event[name]) is kind, event
        if event["ph"] == "M":
            (value,) = event["args"].values()
            assert type(value) is METADATA[event["name"]]
            continue
        track = (event["pid"], event["tid"] if event["ph"] == "X" else event["name"])
        assert event["ts"] >= clock.get(track, 0), event
        clock[track] = event["ts"] + event.get("dur", 0)
        if event["ph"] == "X":
            assert event["dur"] > 0
        else:
            assert event["args"]
            assert all(type(count) is int and count >= 0 for count in event["args"].values())


def load(path):
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return json.loads(text)


@pytest.fixture
def worked():
    """The worked example of the simulator: its schedule is known by hand."""
    graph = Graph('worked "example" <&>')
    numbers = graph.add(operators.source("numbers", [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
    square = graph.add(operators.map_("square", lambda x: x * x, Span(3, 2), latency_cycles=2))
    sums = graph.add(operators.reduce_("sums", lambda x, valid: x.sum(axis=1), Span(3, 2), ii_cycles=2))
    out = graph.add(operators.sink("out", Span(1, 2)))
    graph.connect(numbers, square, name="a")
    graph.connect(square, sums, name="b")
    graph.connect(sums, out, name='c "quoted"')
    return record_timeline(graph.freeze())


def test_the_worked_example_event_by_event(worked, tmp_path):
    written = write_trace(worked, tmp_path / "t.json")
    document = load(tmp_path / "t.json")
    events = document["traceEvents"]
    check_events(events)
    states = [(e["tid"], e["ts"], e["dur"], e["name"], e["args"]["firings"]) for e in events if e["ph"] == "X"]
    assert sorted(states) == [
        (1, 0, 4, "busy", 4),
        (1, 4, 1, "stalled: output a", 0),
        (1, 5, 1, "busy", 1),
        (1, 6, 1, "stalled: output a", 0),
        (1, 7, 1, "busy", 1),
        (1, 8, 7, "idle", 0),
        (2, 0, 1, "stalled: input a", 0),
        (2, 1, 2, "busy", 2),
        (2, 3, 1, "stalled: output b", 0),
        (2, 4, 1, "busy", 1),
        (2, 5, 1, "stalled: output b", 0),
        (2, 6, 1, "busy", 1),
        (2, 7, 1, "stalled: output b", 0),
        (2, 8, 1, "busy", 1),
        (2, 9, 1, "stalled: output b", 0),
        (2, 10, 1, "busy", 1),
        (2, 11, 4, "idle", 0),
        (3, 0, 3, "stalled: input b", 0),
        (3, 3, 12, "busy", 6),
        (4, 0, 8, 'stalled: input c "quoted"', 0),
        (4, 8, 1, "busy", 1),
        (4, 9, 5, 'stalled: input c "quoted"', 0),
        (4, 14, 1, "busy", 1),
    ]
    counts = [(e["ts"], e["args"]["tokens"]) for e in events if e["ph"] == "C" and e["name"] == 'c "quoted"']
    assert counts == [(0, 0), (7, 1), (9, 0), (13, 1)]  # reserved at the start of a sum, free a cycle after its pop
    assert written.events == len([e for e in events if e["ph"] != "M"])
    assert (written.left_out, written.complete_until) == (0, 15)
    names = {e["args"]["name"] for e in events if e["name"] == "thread_name"}
    assert names == {"numbers (source)", "square (map)", "sums (reduce)", "out (sink)"}
    assert document["otherData"]["graph"] == 'worked "example" <&>'
    assert document["otherData"]["ending"] == "end of the run"


@pytest.mark.parametrize("seed", range(30))
def test_random_traces_obey_the_format(seed, tmp_path):
    timeline = record_timeline(random_graph(seed).freeze())
    path = tmp_path / "t.json.gz"
    write_trace(timeline, path)
    events = load(path)["traceEvents"]
    check_events(events)
    for thread, unit in enumerate(timeline.units, start=1):
        lengths = [e["dur"] for e in events if e["ph"] == "X" and (e["pid"], e["tid"]) == (UNITS_PROCESS, thread)]
        assert sum(lengths) == timeline.end, unit.name
    assert {e["name"] for e in events if e["ph"] == "C"} == {channel.name for channel in timeline.channels}
    assert all(e["pid"] == CHANNELS_PROCESS for e in events if e["ph"] == "C")


def test_a_capped_trace_keeps_the_earliest_events(worked, tmp_path):
    write_trace(worked, tmp_path / "all.json")
    everything = [e for e in load(tmp_path / "all.json")["traceEvents"] if e["ph"] != "M"]
    written = write_trace(worked, tmp_path / "some.json", max_events=10)
    some = [e for e in load(tmp_path / "some.json")["traceEvents"] if e["ph"] != "M"]
    assert some == everything[:10]
    assert (written.events, written.left_out) == (10, len(everything) - 10)
    assert written.complete_until == everything[10]["ts"]
    with pytest.raises(SimulatorError, match="at least 1 event"):
        write_trace(worked, tmp_path / "none.json", max_events=0)


def test_equal_traces_are_equal_files(worked, tmp_path):
    for name in ("one.json.gz", "two.json.gz"):
        write_trace(worked, tmp_path / name)
    assert (tmp_path / "one.json.gz").read_bytes() == (tmp_path / "two.json.gz").read_bytes()


def test_text_shows_every_change(worked):
    lines, written = text_trace(worked)
    assert lines == [
        "# numbers (source); out0 = output a",
        "# square (map); in0 = input a; out0 = output b",
        '# sums (reduce); in0 = input b; out0 = output c "quoted"',
        '# out (sink); in0 = input c "quoted"',
        "cycle numbers square sums out",
        "    0 #       in0    in0  in0",
        "    1 #       #      in0  in0",
        "    3 #       out0   #    in0",
        "    4 out0    #      #    in0",
        "    5 #       out0   #    in0",
        "    6 out0    #      #    in0",
        "    7 #       out0   #    in0",
        "    8 .       #      #    #",
        "    9 .       out0   #    in0",
        "   10 .       #      #    in0",
        "   11 .       .      #    in0",
        "   14 .       .      #    #",
        "   15 end of the run",
    ]
    assert (written.events, written.left_out, written.complete_until) == (12, 0, 15)
    short, written = text_trace(worked, max_events=2)
    assert short == [*lines[:7], "    3 ..."]
    assert (written.events, written.left_out, written.complete_until) == (2, 10, 3)


def column(lines, unit, cycle):
    """Code of the state of ``unit`` in the line of ``cycle``."""
    rows = [line.split() for line in lines if not line.startswith("#")]
    (row,) = [row for row in rows if row[0] == str(cycle)]
    return row[rows[0].index(unit)]


def test_text_says_when_more_than_one_thing_is_lacking():
    graph = Graph("join")
    one = graph.add(operators.map_("one", lambda x: x, 2, latency_cycles=50))
    two = graph.add(operators.map_("two", lambda x: x, 2, latency_cycles=60))
    both = graph.add(operators.zip_("both", lambda x, y: x + y, 2))
    for name, consumer in (("left", one), ("right", two)):
        graph.connect(graph.add(operators.source(name, [[1.0, 2.0]])), consumer)
    graph.connect(one, both, depth=None)
    graph.connect(two, both, depth=None)
    graph.connect(both, graph.add(operators.sink("end", 2)))
    lines, _ = text_trace(record_timeline(graph.freeze(), (0, 40)))
    assert "# both (zip)" in lines[2]
    assert lines[2].endswith("; several = input one->both, input two->both")
    assert column(lines, "both", 0) == "several"
    lines, _ = text_trace(record_timeline(graph.freeze(), (0, 55)))
    assert column(lines, "both", 0) == "in1"


def test_a_wait_for_a_server_is_named():
    graph = Graph("shared")
    graph.add_server(Server("memory", bytes_per_cycle=1))
    table = FiringTable((Block((Segment(2, make=(1,), request_bytes=10),)),))
    for name in ("first", "second"):
        source = graph.add(Unit(name, "load", table, server="memory"))
        graph.connect(source, graph.add(operators.sink(f"{name}_out", 2)))
    for window in (None, (0, 9)):
        lines, _ = text_trace(record_timeline(graph.freeze(), window))
        assert column(lines, "first", 0) == "#"
        assert column(lines, "second", 0) == "server"
        assert column(lines, "first", 1) == "server"
