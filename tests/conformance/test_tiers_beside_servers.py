"""Memory tiers beside granted servers in one graph: who hears of whom first, and how a turn of the loop ends."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from simulator import DramServer, Graph, Server, Unit
from simulator.engines.compiled.machine import UNBOUNDED_RING_SLOTS
from simulator.engines.compiled.prepared import prepared
from simulator.engines.compiled.run_ahead import FINISHED, OUT_OF_VISITS, RINGS_FULL, TIER_OVERRUN
from simulator.engines.compiled.scratch import Options, build_scratch
from simulator.engines.compiled.tiers import build_tiers
from simulator.engines.compiled.tiers_turns import run_with_tiers
from simulator.firing import Block, FiringTable, Segment, uniform
from simulator.servers.contract import ARBITRATIONS
from simulator.servers.dram.layout import INPUT_WORDS
from tests.conformance.test_tiers_on_both_engines import POLICIES, compare, describe

ENDS = (
    ("fetch", "load"),
    ("source", "load"),
    ("load", "user"),
    ("other", "user"),
    ("load", "sink"),
    ("slow", "sink"),
    ("user", "sink"),
)
USES = {"fetch": "port", "user": "port", "load": "tier", "other": "tier"}
SLOW = ("source", "slow")


def meeting_graph(seed: int) -> Graph:
    """Two units of a tier between two units that a granted server serves; firings take and make by chance."""
    rng = np.random.default_rng([11, seed])

    def some(low: int, high: int) -> int:
        return int(rng.integers(low, high))

    graph = Graph("meeting")
    graph.add_server(Server("port", 64, some(0, 3), some(1, 3), ARBITRATIONS[some(0, 3)]))
    clocks = Fraction(some(1, 40), some(1, 9))
    graph.add_server(DramServer("tier", describe(some(1, 3), POLICIES[some(0, 2)]), clocks, some(1, 5)))
    firings = {name: some(3, 12) for name in ("fetch", "source", "load", "other", "user", "slow", "sink")}
    taken: dict[str, list[list[int]]] = {name: [] for name in firings}
    made: dict[str, list[list[int]]] = {name: [] for name in firings}
    for producer, consumer in ENDS:
        tokens = some(1, 1 + min(firings[producer], firings[consumer]))
        for name, side in ((producer, made), (consumer, taken)):
            places = set(rng.choice(firings[name], tokens, replace=False).tolist())
            side[name].append([int(i in places) for i in range(firings[name])])
    units = {}
    for name, count in firings.items():
        latency, interval, is_write = some(1, 30 if name in SLOW else 3), some(1, 5), some(0, 4) == 0
        segments = tuple(
            Segment(
                1,
                tuple(port[i] for port in taken[name]),
                tuple(port[i] for port in made[name]),
                latency,
                interval,
                request_bytes=64 * some(0, 4) if name in USES else 0,
                address=64 * some(0, 500),
                is_write=is_write,
            )
            for i in range(count)
        )
        units[name] = graph.add(Unit(name, name, FiringTable((Block(segments),)), server=USES.get(name)))
    for producer, consumer in ENDS:
        graph.connect(units[producer], units[consumer], depth=some(1, 5))
    return graph


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_tiers_and_granted_servers_take_turns_in_the_order_of_time(first):
    for seed in range(first, first + 50):
        compare(meeting_graph(seed))


def asking(graph: Graph, name: str, count: int, server: str, take=(), make=(), address=0) -> Unit:
    segment = Segment(count, take, make, request_bytes=64, address=address, address_step=1024)
    return graph.add(Unit(name, name, FiringTable((Block((segment,)),)), server=server))


@pytest.mark.parametrize("outstanding", [1, 2])
def test_a_request_that_starts_when_an_answer_is_heard_waits_for_who_hears_it(outstanding):
    """Whoever hears the answer may ask at that cycle as well, and comes first as the earlier unit."""
    for latency in range(1, 40):
        graph = Graph("tie")
        graph.add_server(DramServer("tier", describe(1), Fraction(1), outstanding))
        first = asking(graph, "first", 6, "tier", make=(1,))
        source = graph.add(Unit("source", "source", uniform(2, make=(1,), latency=latency, ii=7)))
        second = asking(graph, "second", 2, "tier", (1,), (1,), address=512)
        graph.connect(first, graph.add(Unit("sink", "sink", uniform(6, take=(1,)))), depth=8)
        graph.connect(source, second, depth=4)
        graph.connect(second, graph.add(Unit("end", "end", uniform(2, take=(1,)))), depth=8)
        compare(graph)


def test_a_grant_waits_for_the_answer_to_a_request_however_late_other_units_have_fired():
    """The answer brings a request that is older than the one that waits; another unit has fired far ahead before."""
    graph = Graph("ahead")
    graph.add_server(Server("port", 1))
    graph.add_server(DramServer("tier", describe(1), Fraction(1), 4))
    early = graph.add(Unit("early", "early", uniform(1, make=(1,), latency=60)))
    ahead = graph.add(Unit("ahead", "ahead", uniform(3, make=(1,), ii=500)))
    load = asking(graph, "load", 1, "tier", make=(1,))
    sink = graph.add(Unit("sink", "sink", uniform(3, take=(1,))))
    graph.connect(early, asking(graph, "late", 1, "port", (1,)))
    graph.connect(load, asking(graph, "soon", 1, "port", (1,)))
    graph.connect(ahead, sink, depth=4)
    compare(graph)


def growing(tokens: int) -> Graph:
    """A tier, and a channel without a depth that holds `tokens` until the tier's answer lets them be taken."""
    graph = Graph("growing")
    graph.add_server(DramServer("tier", describe(1), Fraction(1), 4))
    load = asking(graph, "load", 1, "tier", make=(1,))
    source = graph.add(Unit("source", "source", uniform(tokens, make=(1,))))
    segments = (Segment(1, (1, 1)), Segment(tokens - 1, (0, 1)))
    sink = graph.add(Unit("sink", "sink", FiringTable((Block(segments),))))
    graph.connect(load, sink)
    graph.connect(source, sink, depth=None)
    return graph


def turns_of(graph: Graph, turns: int, *, full: bool = False) -> int:
    """Status of a run of a graph after so many turns, perhaps with input rings that are full from the start."""
    frozen = graph.freeze()
    machine, watch = prepared(frozen, skip=False)
    tiers = build_tiers(frozen, machine)
    if full:
        # rings of no slot: nothing can be handed over
        tiers.records["ring_words"] = INPUT_WORDS - 1
        tiers.records["ring_end"] = tiers.records["ring_ptr"] + tiers.records["channels"] * (INPUT_WORDS - 1)
    scratch = build_scratch(len(machine.units), Options(0, 1, 0), np.zeros((1, 4), np.int64), watch)
    return run_with_tiers(machine, scratch, tiers, turns)


def test_a_slice_ends_after_its_turns_and_is_not_over():
    assert turns_of(growing(2), 0) == OUT_OF_VISITS
    assert turns_of(growing(2), 100) == FINISHED


def test_a_ring_that_grows_beside_a_tier_is_enlarged_before_the_tier_is_heard():
    graph = growing(3 * UNBOUNDED_RING_SLOTS)
    assert turns_of(graph, 100) == RINGS_FULL
    assert set(compare(graph).segment) == {None}, "all tables are over"


def test_requests_without_room_in_the_tier_end_a_run():
    assert turns_of(growing(2), 8, full=True) == TIER_OVERRUN
