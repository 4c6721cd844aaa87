"""Servers: who is granted when, on every engine, against schedules worked out by hand."""

from __future__ import annotations

import pytest

from simulator import Block, FiringTable, Graph, Segment, Server, Unit, uniform


def requests(*request_bytes: int, latency: int = 1, ii: int = 1, make: int = 0) -> FiringTable:
    """One firing per entry, each asking for that many bytes."""
    outputs = (make,) if make else ()
    segments = (Segment(1, (), outputs, latency, ii, request_bytes=size) for size in request_bytes)
    return FiringTable((Block(tuple(segments)),))


def clients(server: Server, **tables: FiringTable) -> Graph:
    """Units without channels that share one server, in the order given."""
    graph = Graph("clients")
    graph.add_server(server)
    for name, table in tables.items():
        graph.add(Unit(name, "client", table, server=server.name))
    return graph


class TestService:
    @pytest.mark.parametrize(("size", "cycles"), [(1, 1), (4, 1), (5, 2), (8, 2), (9, 3)])
    def test_a_request_occupies_a_port_for_its_bytes(self, run, size, cycles):
        schedule = run(clients(Server("memory", bytes_per_cycle=4), unit=requests(size, size, size)))
        assert schedule.starts("unit") == [0, cycles, 2 * cycles]
        (server,) = schedule.result.servers
        assert (server.grants, server.busy_cycles, server.bytes) == (3, 3 * cycles, 3 * size)

    def test_data_comes_after_occupation_server_latency_and_unit_latency(self, run):
        graph = Graph("load")
        graph.add_server(Server("memory", bytes_per_cycle=4, latency_cycles=7))
        load = graph.add(Unit("load", "source", requests(12, 12, latency=2, make=1), server="memory"))
        sink = graph.add(Unit("sink", "sink", uniform(2, (1,), ())))
        graph.connect(load, sink, depth=4, latency_cycles=5)
        schedule = run(graph)
        # granted at 0 and 3, the last byte moves in the third cycle of each: 2 and 5; then 7 + 2 + 5 cycles
        assert schedule.starts("load") == [0, 3]
        assert schedule.starts("sink") == [16, 19]
        assert schedule.stalls("load") == {"server memory": 2}
        assert schedule.causes("load") == [0, 2]

    def test_firings_without_bytes_pass_the_server_by(self, run):
        table = FiringTable(
            (Block((Segment(1, (), (), request_bytes=40), Segment(2, ()), Segment(1, (), (), request_bytes=1))),)
        )
        schedule = run(clients(Server("memory", bytes_per_cycle=4), unit=table))
        assert schedule.starts("unit") == [0, 1, 2, 10]
        assert schedule.stalls("unit") == {"server memory": 7}

    def test_a_request_waits_for_tokens_and_slots_before_it_arrives(self, run):
        graph = Graph("arrival")
        graph.add_server(Server("memory", bytes_per_cycle=1, arbitration="oldest_first"))
        source = graph.add(Unit("source", "source", uniform(2, (), (1,), latency=4)))
        late = graph.add(
            Unit("late", "map", FiringTable((Block((Segment(2, (1,), (), request_bytes=3),)),)), server="memory")
        )
        graph.add(Unit("other", "client", requests(6, 6), server="memory"))
        graph.connect(source, late, name="tokens")
        schedule = run(graph)
        # `late` asks at 4 and `other` again at 1: oldest first serves `other` at 6
        assert schedule.starts("other") == [0, 6]
        assert schedule.starts("late") == [12, 15]
        assert schedule.stalls("late") == {"input tokens": 4, "server memory": 8 + 2}


class TestArbitration:
    @pytest.mark.parametrize(
        ("arbitration", "a", "b", "c"),
        [
            ("round_robin", [0, 12, 24], [4, 16], [8, 20]),
            ("oldest_first", [0, 12, 24], [4, 16], [8, 20]),
            ("priority", [0, 4, 8], [12, 16], [20, 24]),
        ],
    )
    def test_all_ask_at_once(self, run, arbitration, a, b, c):
        tables = {"a": requests(4, 4, 4), "b": requests(4, 4), "c": requests(4, 4)}
        schedule = run(clients(Server("memory", bytes_per_cycle=1, arbitration=arbitration), **tables))
        assert (schedule.starts("a"), schedule.starts("b"), schedule.starts("c")) == (a, b, c)

    @pytest.mark.parametrize(
        ("arbitration", "order"),
        [
            ("round_robin", ["a", "b", "c", "a"]),
            ("oldest_first", ["a", "c", "b", "a"]),
            ("priority", ["a", "a", "b", "c"]),
        ],
    )
    def test_policies_differ_when_arrivals_differ(self, run, arbitration, order):
        """`a` has the server until 10; by then `c` asks (at 3), `b` asks (at 5) and `a` asks again (at 8)."""
        graph = clients(
            Server("memory", bytes_per_cycle=1, arbitration=arbitration),
            a=requests(10, 10, ii=8),
            b=FiringTable((Block((Segment(1, (), (), 1, 5), Segment(1, (), (), request_bytes=10))),)),
            c=FiringTable((Block((Segment(1, (), (), 1, 3), Segment(1, (), (), request_bytes=10))),)),
        )
        schedule = run(graph)
        grants = [(start, "a") for start in schedule.starts("a")]
        grants += [(schedule.starts(name)[1], name) for name in ("b", "c")]
        assert [name for _, name in sorted(grants)] == order
        assert [start for start, _ in sorted(grants)] == [0, 10, 20, 30]

    def test_round_robin_skips_those_that_do_not_wait(self, run):
        graph = clients(
            Server("memory", bytes_per_cycle=1),
            a=requests(2, 2, 2, 2),
            b=requests(2, ii=1),
            c=requests(2, 2, 2),
        )
        schedule = run(graph)
        assert schedule.starts("a") == [0, 6, 10, 14]
        assert schedule.starts("b") == [2]
        assert schedule.starts("c") == [4, 8, 12]

    def test_a_request_that_arrives_in_the_cycle_of_the_decision_counts(self, run):
        """I4: at 4, priority prefers `a`, which arrives in that very cycle, to `b`, which waits since 0."""
        graph = clients(
            Server("memory", bytes_per_cycle=1, arbitration="priority"),
            a=FiringTable((Block((Segment(1, (), (), 1, 4), Segment(1, (), (), request_bytes=4))),)),
            b=requests(4, 4),
        )
        schedule = run(graph)
        assert schedule.starts("b") == [0, 8]
        assert schedule.starts("a") == [0, 4]

    def test_a_request_one_cycle_after_the_decision_waits(self, run):
        graph = clients(
            Server("memory", bytes_per_cycle=1, arbitration="priority"),
            a=FiringTable((Block((Segment(1, (), (), 1, 5), Segment(1, (), (), request_bytes=4))),)),
            b=requests(4, 4),
        )
        schedule = run(graph)
        assert schedule.starts("b") == [0, 4]
        assert schedule.starts("a") == [0, 8]

    def test_priority_may_starve_but_not_for_ever(self, run):
        graph = clients(
            Server("memory", bytes_per_cycle=1, arbitration="priority"), a=requests(*[3] * 20), b=requests(3)
        )
        assert run(graph).starts("b") == [60]


class TestPorts:
    @pytest.mark.parametrize(("ports", "starts"), [(1, [0, 5, 10, 15]), (2, [0, 0, 5, 5]), (3, [0, 0, 0, 5])])
    def test_requests_are_served_side_by_side(self, run, ports, starts):
        names = ("a", "b", "c", "d")
        graph = clients(Server("memory", bytes_per_cycle=1, ports=ports), **{name: requests(5) for name in names})
        schedule = run(graph)
        assert [schedule.starts(name)[0] for name in names] == starts
        assert schedule.result.servers[0].busy_cycles == 4 * 5

    def test_the_port_that_is_free_first_is_used(self, run):
        graph = clients(Server("memory", bytes_per_cycle=1, ports=2), a=requests(9), b=requests(4), c=requests(4, 4))
        schedule = run(graph)
        # ports: a until 9, b until 4; c at 4 until 8 and at 8 until 12
        assert schedule.starts("c") == [4, 8]

    def test_one_client_may_use_several_ports(self, run):
        assert run(clients(Server("memory", bytes_per_cycle=1, ports=2), a=requests(6, 6, 6))).starts("a") == [0, 1, 6]

    def test_two_servers_do_not_disturb_each_other(self, run):
        graph = Graph("two")
        for name in ("left", "right"):
            graph.add_server(Server(name, bytes_per_cycle=1))
        graph.add(Unit("a", "client", requests(3, 3), server="left"))
        graph.add(Unit("b", "client", requests(5, 5), server="right"))
        graph.add(Unit("c", "client", requests(4), server="left"))
        schedule = run(graph)
        assert schedule.starts("a") == [0, 7]
        assert schedule.starts("c") == [3]
        assert schedule.starts("b") == [0, 5]
        assert [server.grants for server in schedule.result.servers] == [3, 2]


class TestServersAndFifos:
    def test_contention_is_felt_down_the_stream(self, run):
        """Two loads of 2 cycles share one port, so each sends every 4 cycles and its sink starves for 3."""
        graph = Graph("loads")
        graph.add_server(Server("memory", bytes_per_cycle=1))
        for side in ("left", "right"):
            load = graph.add(Unit(side, "source", requests(*[2] * 5, make=1), server="memory"))
            sink = graph.add(Unit(f"{side} sink", "sink", uniform(5, (1,), ())))
            graph.connect(load, sink, name=f"{side} tokens")
        schedule = run(graph)
        assert schedule.starts("left") == [0, 4, 8, 12, 16]
        assert schedule.starts("right") == [2, 6, 10, 14, 18]
        assert schedule.starts("right sink") == [4, 8, 12, 16, 20]
        assert schedule.stalls("left sink") == {"input left tokens": 2 + 4 * 3}
        assert schedule.stalls("right") == {"server memory": 2 + 4 * 3}

    @pytest.mark.parametrize("arbitration", ["round_robin", "oldest_first", "priority"])
    @pytest.mark.parametrize("tokens", [40, 300])
    def test_an_unbounded_fifo_keeps_no_request_back(self, run, arbitration, tokens):
        """`stream` is never refused by its FIFO, so it competes with `other` from its first to its last request."""
        graph = Graph("unbounded")
        graph.add_server(Server("memory", bytes_per_cycle=1, arbitration=arbitration))
        stream = graph.add(Unit("stream", "source", requests(*[2] * tokens, make=1), server="memory"))
        graph.add(Unit("other", "client", requests(*[3] * tokens), server="memory"))
        gather = FiringTable((Block((Segment(1, (tokens,), (), request_bytes=7),)),))
        sink = graph.add(Unit("sink", "sink", gather, server="memory"))
        graph.connect(stream, sink, name="fifo", depth=None)
        schedule = run(graph)
        period, first = (2, 2 * tokens) if arbitration == "priority" else (5, 2)
        assert schedule.starts("stream") == list(range(0, period * tokens, period))
        other = range(first, first + 3 * tokens, 3) if arbitration == "priority" else range(2, 5 * tokens, 5)
        # the last requests: when the stream is over, `other` and then `sink` have the server to themselves
        assert schedule.starts("other") == list(other)
        assert schedule.starts("sink") == [5 * tokens]
        assert schedule.result.channel("fifo").peak_occupancy == tokens

    def test_a_deadlock_with_a_server_names_channels_not_the_server(self, run):
        graph = Graph("stuck")
        graph.add_server(Server("memory", bytes_per_cycle=1))
        load = graph.add(Unit("load", "source", requests(2, 2, 2, make=1), server="memory"))
        sink = graph.add(
            Unit("sink", "sink", FiringTable((Block((Segment(1, (3,), (), request_bytes=4),)),)), server="memory")
        )
        graph.connect(load, sink, name="fifo", depth=2)
        result = run(graph).result
        assert result.deadlock is not None
        assert [(w.unit, w.waits_for, w.channel, w.reason) for w in result.deadlock.waits] == [
            ("load", "sink", "fifo", "space"),
            ("sink", "load", "fifo", "data"),
        ]
        assert result.deadlock.remedy == {"fifo": 3}
        assert result.servers[0].grants == 2
