"""Results: arithmetic that is checked, JSON that serialises, HTML that cannot be broken by a name."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from simulator import (
    ENGINES,
    AccountingError,
    Block,
    FiringTable,
    Graph,
    Segment,
    Server,
    SimulatorError,
    Unit,
    operators,
    simulate,
    uniform,
)
from simulator.cards import time_text
from simulator.result import UnitResult

NASTY = "<script>alert('&')</script>"


def stuck_graph(name: str = "stuck") -> Graph:
    """A server, an unbounded FIFO, and a burst that does not fit into its FIFO."""
    graph = Graph(name)
    graph.add_server(Server("memory", bytes_per_cycle=4))
    load = graph.add(
        Unit("load", "source", FiringTable((Block((Segment(4, (), (1,), request_bytes=9),)),)), server="memory")
    )
    burst = graph.add(Unit("burst", "map", uniform(2, (2,), (5,))))
    end = graph.add(Unit("end", "sink", uniform(10, (1,), ())))
    graph.connect(load, burst, depth=None, name="free")
    graph.connect(burst, end, depth=4, name="tight", token_bytes=2)
    return graph


@pytest.fixture(params=ENGINES)
def stuck(request):
    return simulate(stuck_graph(), engine=request.param, timing_only=True)


class TestAccounting:
    def unit(self, **changes) -> UnitResult:
        told = {"firings": 3, "busy_cycles": 5, "stalled_cycles": {"input x": 2, "server m": 1}, "idle_cycles": 2}
        return UnitResult("unit", "map", **{**told, **changes})

    def test_a_unit_that_adds_up_passes(self):
        self.unit().check(10)

    @pytest.mark.parametrize(
        "changes", [{"busy_cycles": 6}, {"idle_cycles": 1}, {"stalled_cycles": {"input x": 2}}, {"busy_cycles": 4}]
    )
    def test_a_missing_or_doubled_cycle_is_an_error(self, changes):
        with pytest.raises(AccountingError, match=r"unit unit: busy .* is not the total of 10 cycles"):
            self.unit(**changes).check(10)

    def test_negative_parts_are_an_error_even_if_the_sum_is_right(self):
        with pytest.raises(AccountingError):
            self.unit(busy_cycles=9, idle_cycles=-2).check(10)

    def test_a_doctored_result_cannot_be_made(self, stuck):
        with pytest.raises(AccountingError):
            replace(stuck, cycles=stuck.cycles + 1)
        with pytest.raises(AccountingError):
            replace(stuck, units=(replace(stuck.units[0], busy_cycles=0), *stuck.units[1:]))


class TestJson:
    def test_a_deadlocked_run_with_servers_serialises(self, stuck):
        told = json.loads(json.dumps(stuck.to_dict()))
        assert told["deadlock"]["blocked"] == ["burst", "end"]
        assert told["deadlock"]["smallest_depth"] == {"tight": 5}
        assert told["deadlock"]["cycle"] == told["cycles"] == stuck.cycles
        assert told["servers"] == [{"name": "memory", "grants": 4, "busy_cycles": 12, "bytes": 36}]
        free, tight = told["channels"]
        assert (free["depth"], free["capacity_bytes"]) == (None, None)
        assert (tight["depth"], tight["capacity_bytes"], tight["tokens"]) == (4, 8, 0)
        assert {unit["name"] for unit in told["units"]} == {"load", "burst", "end"}

    def test_a_complete_run_serialises_and_says_null(self):
        told = json.loads(json.dumps(simulate(stuck_graph().with_depths({"tight": 5}), timing_only=True).to_dict()))
        assert told["deadlock"] is None
        assert set(told) >= {
            "cycles",
            "seconds",
            "firings",
            "wall_s",
            "schedule_digest",
            "units",
            "channels",
            "skipped",
        }

    def test_nothing_but_plain_types(self, stuck):
        def plain(value) -> bool:
            if isinstance(value, dict):
                return all(type(key) is str and plain(item) for key, item in value.items())
            if isinstance(value, list):
                return all(map(plain, value))
            return type(value) in (str, int, float, bool, type(None))

        assert plain(stuck.to_dict())


class _Texts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data + "|"


class TestHtml:
    def test_names_are_escaped(self):
        graph = Graph(NASTY)
        source = graph.add(operators.source(NASTY, [[1.0]]))
        graph.connect(source, graph.add(operators.sink("out", 1)))
        page = _Texts()
        page.feed(simulate(graph)._repr_html_())
        assert "script" not in page.tags
        assert page.text.count(NASTY) == 2
        assert "2 cycles, 2 ns at 1 GHz" in page.text

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (4.168e-06, "4.17 µs"),
            (9.994e-4, "999 µs"),
            (9.996e-4, "1 ms"),
            (1e-9, "1 ns"),
            (2.5e-13, "0.25 ps"),
            (0.1, "100 ms"),
            (1.0, "1 s"),
            (42.0, "42 s"),
            (999.9, "1,000 s"),
            (86_400.0, "86,400 s"),
            (0.0, "0 s"),
        ],
    )
    def test_times_have_the_prefix_that_fits(self, seconds, text):
        assert time_text(seconds) == text

    def test_every_part_of_a_graph_shows_itself_escaped(self):
        graph = Graph(NASTY)
        graph.add_server(Server(NASTY))
        source = graph.add(
            Unit(NASTY, NASTY, FiringTable((Block((Segment(1, (), (1,), request_bytes=1),)),)), server=NASTY)
        )
        channel = graph.connect(source, graph.add(operators.sink("out", 1)), name=f"{NASTY}2")
        for part in (graph, graph.freeze(), source, channel):
            page = _Texts()
            page.feed(part._repr_html_())
            assert "script" not in page.tags
            assert NASTY in page.text
        assert "<table>" in source.table._repr_html_()

    def test_a_deadlock_is_said(self, stuck):
        assert "deadlock" in stuck._repr_html_()


class TestReading:
    def test_seconds_follow_the_clock(self):
        graph = stuck_graph().with_depths({"tight": 5})
        slow, fast = (simulate(graph, timing_only=True, clock_hz=hz) for hz in (1e6, 2e9))
        assert slow.cycles == fast.cycles
        assert slow.seconds == slow.cycles / 1e6
        assert fast.seconds == fast.cycles / 2e9

    def test_units_and_channels_are_read_by_name(self, stuck):
        assert stuck.unit("load").firings == 4
        assert stuck.channel("tight").depth == 4
        with pytest.raises(SimulatorError, match="no unit is called 'lod'"):
            stuck.unit("lod")
        with pytest.raises(SimulatorError, match="no channel is called 'tigt'"):
            stuck.channel("tigt")

    def test_the_words_of_a_deadlock(self, stuck):
        assert str(stuck.deadlock).splitlines() == [
            f"deadlock at cycle {stuck.cycles}: 2 units wait for each other",
            "  burst waits for space: tight holds 0/4, end does not take",
            "  end waits for data: tight holds 0/4, burst does not send",
            "  smallest depth that frees it: tight = 5",
        ]

    def test_a_deadlock_that_no_depth_frees_says_so(self, stuck):
        assert str(replace(stuck.deadlock, remedy={})).splitlines()[-1] == "  no single FIFO depth frees it"
        assert "no single FIFO depth" not in str(stuck.deadlock)

    def test_explaining_can_be_left_out(self):
        assert simulate(stuck_graph(), timing_only=True, explain=False).deadlock.remedy == {}

    def test_traces_only_on_demand(self, stuck):
        assert stuck.trace is None
        trace = simulate(stuck_graph(), timing_only=True, trace=True).trace
        assert [len(start) for start in trace.start] == [4, 0, 0]
