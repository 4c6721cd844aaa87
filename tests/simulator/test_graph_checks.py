"""``freeze()``: every problem names its object, all problems come at once, and suspicious things are linted."""

from __future__ import annotations

import pytest

from simulator import (
    Block,
    FiringTable,
    Graph,
    GraphError,
    Segment,
    Server,
    SimulatorError,
    Unit,
    operators,
    simulate,
    uniform,
)


def source(name: str = "source", count: int = 4, **changes) -> Unit:
    return Unit(name, "source", uniform(count, (), (1,)), **changes)


def sink(name: str = "sink", count: int = 4, **changes) -> Unit:
    return Unit(name, "sink", uniform(count, (1,), ()), **changes)


def joined(graph: Graph, left: Unit, right: Unit, **changes) -> Graph:
    graph.connect(graph.add(left), graph.add(right), name="fifo", **changes)
    return graph


def requesting(**changes) -> Unit:
    return Unit("loader", "source", FiringTable((Block((Segment(4, (), (1,), request_bytes=8),)),)), **changes)


def two_producers_one_port() -> Graph:
    graph = Graph("g")
    first, second, end = graph.add(source("first")), graph.add(source("second")), graph.add(sink())
    graph.connect(first, end, name="one", input=0)
    graph.connect(second, end, name="two", input=0)
    return graph


def two_channels_one_name() -> Graph:
    graph = joined(Graph("g"), source(), sink())
    graph.connect(graph.add(source("s2")), graph.add(sink("t2")), name="fifo")
    return graph


def unknown_end() -> Graph:
    graph = Graph("g")
    graph.connect(graph.add(source()), sink("ghost"))
    return graph


def dangling() -> Graph:
    graph = Graph("g")
    graph.add(source())
    graph.add(sink())
    return graph


def no_such_port() -> Graph:
    graph = joined(Graph("g"), source(), sink())
    graph.connect(graph.units[0], graph.units[1], name="extra", output=3, input=2)
    return graph


def twice(kind: str) -> Graph:
    graph = joined(Graph("g"), source(), sink())
    if kind == "unit":
        graph.add(source())
    else:
        graph.add_server(Server("memory"))
        graph.add_server(Server("memory"))
    return graph


PROBLEMS = {
    "empty": (lambda: Graph("g"), "has no units"),
    "two units of one name": (lambda: twice("unit"), "two units are called 'source'"),
    "two servers of one name": (lambda: twice("server"), "two servers are called 'memory'"),
    "two channels of one name": (two_channels_one_name, "two channels are called 'fifo'"),
    "channel to nowhere": (unknown_end, "channel source->ghost: no unit is called 'ghost'; there are source"),
    "dangling output": (dangling, "unit source: output 0 is not connected"),
    "dangling input": (dangling, "unit sink: input 0 is not connected"),
    "port used twice": (two_producers_one_port, "unit sink: input 0 is connected 2 times"),
    "no such output": (no_such_port, "unit source: has no output 3"),
    "no such input": (no_such_port, "unit sink: has no input 2"),
    "depth": (lambda: joined(Graph("g"), source(), sink(), depth=0), "channel fifo: depth must be at least 1 (got 0)"),
    "credit latency": (
        lambda: joined(Graph("g"), source(), sink(), credit_latency_cycles=0),
        "channel fifo: credit latency must be at least 1 (got 0)",
    ),
    "channel latency": (
        lambda: joined(Graph("g"), source(), sink(), latency_cycles=-1),
        "channel fifo: latency must not be negative (got -1)",
    ),
    "initial tokens": (
        lambda: joined(Graph("g"), source(), sink(), initial_tokens=-2),
        "channel fifo: initial tokens must not be negative (got -2)",
    ),
    "initial tokens beyond depth": (
        lambda: joined(Graph("g"), source(), sink(), depth=2, initial_tokens=3),
        "channel fifo: 3 initial tokens exceed its depth 2",
    ),
    "balance": (
        lambda: joined(Graph("g"), source(count=4), sink(count=5)),
        "channel fifo: source makes 4 tokens but sink takes 5",
    ),
    "balance with initial tokens": (
        lambda: joined(Graph("g"), source(count=4), sink(count=7), initial_tokens=2),
        "channel fifo: source makes 4 tokens and starts with 2 but sink takes 7",
    ),
    "table not recorded": (
        lambda: joined(Graph("g"), source(), Unit("late", "sink", None, inputs=1)),
        "unit late: its firing table depends on data; run the value pass first",
    ),
    "unknown server": (
        lambda: joined(Graph("g"), requesting(server="memory"), sink()),
        "unit loader: no server is called 'memory'",
    ),
    "request without server": (
        lambda: joined(Graph("g"), requesting(), sink()),
        "unit loader: requests bytes but names no server",
    ),
    "request of a holding unit": (
        lambda: joined(Graph("g"), requesting(server="memory", issue="hold"), sink()),
        "unit loader: a unit that uses a server must have issue='reserve'",
    ),
    "zero interval": (
        lambda: joined(Graph("g"), Unit("free", "source", uniform(4, (), (1,), ii=0)), sink()),
        "unit free: an initiation interval of 0 is only allowed with issue='hold'",
    ),
}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_each_problem_names_graph_and_object(problem):
    build, message = PROBLEMS[problem]
    with pytest.raises(GraphError) as error:
        build().freeze()
    assert f"graph g: {message}" in error.value.problems


def test_all_problems_come_at_once_one_line_each():
    graph = Graph("broken")
    free = graph.add(Unit("free", "source", uniform(4, (), (1, 1), ii=0)))
    end = graph.add(sink(server="nowhere"))
    graph.connect(free, end, name="shallow", depth=0, latency_cycles=-3, credit_latency_cycles=0)
    with pytest.raises(GraphError) as error:
        graph.freeze()
    assert sorted(error.value.problems) == sorted(
        [
            "graph broken: channel shallow: depth must be at least 1 (got 0)",
            "graph broken: channel shallow: credit latency must be at least 1 (got 0)",
            "graph broken: channel shallow: latency must not be negative (got -3)",
            "graph broken: unit free: output 1 is not connected",
            "graph broken: unit free: an initiation interval of 0 is only allowed with issue='hold'",
            "graph broken: unit sink: no server is called 'nowhere'",
        ]
    )
    assert str(error.value).splitlines() == list(error.value.problems)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bytes_per_cycle": 0}, "server memory: bytes_per_cycle must be at least 1 (got 0)"),
        ({"latency_cycles": -1}, "server memory: latency_cycles must be at least 0 (got -1)"),
        ({"ports": 0}, "server memory: ports must be at least 1 (got 0)"),
        ({"arbitration": "random"}, "server memory: arbitration must be one of round_robin, oldest_first, priority"),
    ],
)
def test_bad_servers_are_refused(changes, message):
    with pytest.raises(GraphError) as error:
        Server("memory", **changes)
    assert error.value.problems == (message,)


class TestLints:
    def test_a_deep_enough_graph_has_none(self):
        assert joined(Graph("g"), source(), sink()).freeze().lints == ()

    def test_a_fifo_below_the_round_trip(self):
        graph = Graph("g")
        slow = graph.add(Unit("slow", "source", uniform(4, (), (2,), latency=5, ii=3)))
        graph.connect(slow, graph.add(sink(count=8)), name="fifo", depth=5, latency_cycles=2, credit_latency_cycles=1)
        # 5 + 2 + 1 cycles of round trip, 2 tokens every 3 cycles: 16 / 3 rounded up
        assert graph.freeze().lints == (
            "channel fifo: depth 5 is below the 6 slots that slow needs in flight for full rate "
            "(latency 5 + channel 2 + credit 1)",
        )
        assert graph.with_depths({"fifo": 6}).freeze().lints == ()
        assert graph.with_depths({"fifo": None}).freeze().lints == ()

    def test_the_lint_is_right_about_full_rate(self):
        """With the depth that it asks for a producer is never blocked, with one less it is."""
        for latency in (1, 2, 5):
            for ii in (1, 2, 3):
                graph = Graph("g")
                slow = graph.add(Unit("slow", "source", uniform(50, (), (1,), latency=latency, ii=ii)))
                graph.connect(slow, graph.add(sink(count=50)), name="fifo", depth=1)
                needed = -(-(latency + 1) // ii)
                blocked = [
                    "output fifo"
                    in simulate(graph.with_depths({"fifo": depth}), timing_only=True).unit("slow").stalled_cycles
                    for depth in range(1, needed + 1)
                ]
                assert blocked == [True] * (needed - 1) + [False]
                assert [bool(graph.with_depths({"fifo": d}).freeze().lints) for d in range(1, needed + 1)] == blocked

    def test_zero_interval(self):
        free = Unit("free", "source", uniform(4, (), (1,), ii=0), issue="hold")
        (lint,) = joined(Graph("g"), free, sink(), depth=4).freeze().lints
        assert lint == "unit free: initiation interval 0 is throughput that no hardware gives for free"

    def test_lints_follow_the_depths_of_a_frozen_graph(self):
        frozen = joined(Graph("g"), source(), sink()).freeze()
        assert len(frozen.with_depths({"fifo": 1}).lints) == 1

    def test_lints_reach_the_result(self):
        assert len(simulate(joined(Graph("g"), source(), sink(), depth=1), timing_only=True).lints) == 1


class TestConstruction:
    def test_ports_are_taken_in_order_and_names_stay_unique(self):
        graph = Graph("g")
        fork = graph.add(operators.broadcast("fork", 4, outputs=2))
        start = graph.add(source())
        join = graph.add(operators.zip_("join", None, 4))
        end = graph.add(sink())
        graph.connect(start, fork)
        first, second = graph.connect(fork, join), graph.connect(fork, join)
        graph.connect(join, end)
        assert (first.output, first.input, second.output, second.input) == (0, 0, 1, 1)
        assert (first.name, second.name) == ("fork->join", "fork->join.2")
        frozen = graph.freeze()
        assert frozen.input_channels[2] == (1, 2)
        assert frozen.output_channels[0] == (1, 2)
        assert frozen.firings == 16

    def test_explicit_ports_may_cross(self):
        graph = Graph("g")
        fork = graph.add(Unit("fork", "source", uniform(4, (), (1, 1))))
        join = graph.add(Unit("join", "sink", uniform(4, (1, 1), ())))
        graph.connect(fork, join, output=0, input=1)
        graph.connect(fork, join)
        frozen = graph.freeze()
        assert frozen.input_channels[1] == (1, 0)

    def test_frozen_graphs_cannot_be_changed(self):
        frozen = joined(Graph("g"), source(), sink()).freeze()
        with pytest.raises(AttributeError):
            frozen.name = "other"

    def test_unknown_channel_names_are_told(self):
        graph = joined(Graph("g"), source(), sink())
        frozen = graph.freeze()
        for either in (graph, frozen):
            with pytest.raises(GraphError, match="no channel is called 'fifi'"):
                either.with_depths({"fifi": 3})
        with pytest.raises(GraphError, match="no channel is called 'fifi'"):
            frozen.channel_index("fifi")

    def test_unknown_engines_are_told(self):
        with pytest.raises(SimulatorError, match="no engine is called 'verilog'; there are compiled, simpy"):
            simulate(joined(Graph("g"), source(), sink()), engine="verilog", timing_only=True)

    def test_freezing_twice_gives_equal_graphs(self):
        graph = joined(Graph("g"), source(), sink())
        assert graph.freeze() == graph.freeze()


@pytest.mark.parametrize("engine", ["compiled", "simpy"])
@pytest.mark.parametrize("ii", [2**32, 2**33])
def test_a_run_whose_cycles_might_not_fit_into_64_bits_is_refused_before_it_begins(engine, ii):
    count = 2**32 + 5
    graph = Graph("long")
    source = graph.add(Unit("source", "source", uniform(count, (), (1,), ii=ii)))
    sink = graph.add(Unit("sink", "sink", uniform(count, (1,), ())))
    graph.connect(source, sink, depth=4)
    with pytest.raises(GraphError, match=r"graph long: .* firings .* might not fit into 64 bits"):
        simulate(graph, engine=engine, timing_only=True)


@pytest.mark.parametrize("part", ["latency", "channel", "credit", "server"])
def test_whatever_makes_a_run_long_counts(part):
    long = 2**62
    graph = Graph("long")
    latency = long if part == "latency" else 1
    table = FiringTable((Block((Segment(1, (), (1,), latency, request_bytes=8 * (part == "server")),)),))
    if part == "server":
        graph.add_server(Server("memory", latency_cycles=long))
    source = graph.add(Unit("source", "source", table, server="memory" if part == "server" else None))
    sink = graph.add(Unit("sink", "sink", uniform(1, (1,), ())))
    channel = {"channel": {"latency_cycles": long}, "credit": {"credit_latency_cycles": long}}.get(part, {})
    graph.connect(source, sink, **channel)
    with pytest.raises(GraphError, match="64 bits"):
        graph.freeze()


def test_a_run_of_two_to_the_sixty_cycles_is_exact():
    graph = Graph("long")
    source = graph.add(Unit("source", "source", uniform(2**28, (), (1,), ii=2**32)))
    sink = graph.add(Unit("sink", "sink", uniform(2**28, (1,), ())))
    graph.connect(source, sink, depth=4)
    assert simulate(graph, timing_only=True).cycles == 2**60
