"""Memory tiers inside graphs: the two engines against each other, and small cases against what the banks do alone."""

from __future__ import annotations

from dataclasses import fields, replace
from fractions import Fraction

import numpy as np
import pytest

from simulator import DramServer, Graph, MemoryServer, Unit, simulate
from simulator.engines.compiled.engine import run_compiled
from simulator.engines.outcome import Outcome
from simulator.engines.reference.engine import run_reference
from simulator.errors import CapacityError, GraphError
from simulator.explain.critical_path import critical_path
from simulator.firing import Block, FiringTable, Segment, uniform
from simulator.random_graphs import random_graph
from simulator.servers.contract import ARBITRATIONS
from simulator.servers.dram.parameters import AddressField, Controller, DramDescription, Organisation, Timing
from simulator.servers.dram.tier import LOSS_CAUSES, Requests, run_dram
from simulator.servers.flash import FlashServer
from simulator.servers.link import LinkServer
from simulator.servers.sram import SramServer

TIMING = Timing(
    cl=7, cwl=4, rcd_read=6, rcd_write=5, rp=6, ras=14, rc=20, rrd_s=3, rrd_l=4, faw=17, ccd_s=2, ccd_l=4,
    rtp=3, wtr_s=3, wtr_l=5, wr=6, burst=2, rfc=40, refi=400, rfc_bank=16, refi_bank=60, rrefd=4, rp_all=7,
)  # fmt: skip
ORDER = ("column", "channel", "group", "rank", "sid", "bank", "row")
POLICIES = (
    Controller(policy="dramsim3", read_depth=16, write_depth=16, drain_high=16),
    Controller(policy="ramulator2", read_depth=16, write_depth=16, drain_high=13, drain_low=4, refresh="together"),
)
CHUNK = 50
RUN_SEEDS = 400
NIGHTLY_SEEDS = 8000
NIGHTLY_FIRST = 1_000_000


def describe(channels=2, controller=POLICIES[0]):
    organisation = Organisation(
        channels=channels, ranks=2, sids=1, bank_groups=2, banks_per_group=2, rows=32, columns=16, transaction_bytes=64
    )
    kinds = tuple(AddressField(kind, organisation.size(kind), False) for kind in ORDER)
    return DramDescription(organisation, TIMING, controller, kinds)


def mechanism(rng: np.random.Generator) -> LinkServer | SramServer | FlashServer:
    """A link, an SRAM as large as the tier above, or a drive, of small random settings."""

    def some(low: int, high: int) -> int:
        return int(rng.integers(low, high))

    kind = some(0, 3)
    if kind == 0:
        chunk, latency = Fraction(some(1, 9), some(1, 9)), Fraction(some(0, 40), 3)
        return LinkServer(64 << some(0, 3), chunk, latency, some(1, 5), bool(some(0, 2)))
    if kind == 1:
        return SramServer(1 << 20, 2 << some(0, 3), some(1, 3), 8, some(1, 9), some(0, 4), some(1, 3))
    cycles = [Fraction(some(1, 60), 4) for _ in range(6)]
    return FlashServer(512, 128, some(1, 5), some(1, 5), *cycles)


def with_tiers(graph: Graph, seed: int) -> Graph:
    """Some servers of a random graph become memory tiers, with addresses, sizes and directions drawn anew."""
    rng = np.random.default_rng([9, seed])
    description = describe(int(rng.choice([1, 2, 4])), POLICIES[int(rng.integers(2))])
    capacity = description.organisation.capacity_bytes
    clocks = Fraction(int(rng.integers(1, 9)), int(rng.integers(1, 9)))
    names = {server.name for server in graph.servers if rng.random() < 0.8}
    in_turn = {name for name in sorted(names) if rng.random() < 0.3}

    def addressed(segment: Segment) -> Segment:
        return replace(
            segment,
            request_bytes=segment.request_bytes * int(rng.integers(1, 40)),
            address=int(rng.integers(0, capacity // 4)),
            address_step=int(rng.choice([0, 64, 256, 1000])),
            address_iteration_step=int(rng.choice([0, 64, 512])),
            iterations_per_address=int(rng.integers(1, 4)),
            is_write=bool(rng.random() < 0.3),
        )

    def table(old: FiringTable) -> FiringTable:
        blocks = tuple(Block(tuple(map(addressed, b.segments)), b.loops, b.growth) for b in old.blocks)
        return FiringTable(blocks, old.iterations, old.ramp_length)

    def memory(name: str) -> DramServer | MemoryServer:
        if name in in_turn:
            return MemoryServer(name, mechanism(rng), ARBITRATIONS[int(rng.integers(3))])
        return DramServer(name, description, clocks, int(rng.integers(1, 5)))

    graph.servers = [memory(server.name) if server.name in names else server for server in graph.servers]
    users = {unit.name for unit in graph.units if unit.server in names}
    graph.units = [replace(u, table=table(u.table)) if u.name in users and u.table else u for u in graph.units]
    graph.channels = [
        replace(c, depth=8 + 2 * c.initial_tokens) if c.producer in users and c.depth is None else c
        for c in graph.channels
    ]
    return graph


def differences(left: Outcome, right: Outcome) -> list[str]:
    names = [field.name for field in fields(Outcome) if field.name not in ("trace", "skipped")]
    return [name for name in names if getattr(left, name) != getattr(right, name)]


def compare(graph: Graph) -> Outcome:
    frozen = graph.freeze()
    reference, traced = run_reference(frozen), run_compiled(frozen, trace=True)
    assert differences(reference, traced) == [], graph.name
    assert differences(reference, run_compiled(frozen)) == [], graph.name
    assert reference.trace is not None and traced.trace is not None
    for name in ("start", "cause"):
        pairs = zip(getattr(reference.trace, name), getattr(traced.trace, name), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs), (graph.name, name)
    return reference


def compare_range(first: int, count: int) -> None:
    for seed in range(first, first + count):
        compare(with_tiers(random_graph(seed, servers=True), seed))


@pytest.mark.parametrize("first", range(0, RUN_SEEDS, CHUNK))
def test_random_graphs_with_tiers(first):
    compare_range(first, CHUNK)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(NIGHTLY_FIRST, NIGHTLY_FIRST + NIGHTLY_SEEDS, 1000))
def test_random_graphs_with_tiers_nightly(first):
    compare_range(first, 1000)


def test_the_random_graphs_show_what_they_are_for():
    graphs = [with_tiers(random_graph(seed, servers=True), seed).freeze() for seed in range(120)]
    outcomes = [(graph, run_compiled(graph)) for graph in graphs]
    assert sum(any(counters is not None for counters in outcome.tiers) for _, outcome in outcomes) > 60
    waits = 0
    shared = 0
    for graph, outcome in outcomes:
        tiers = {server.name for server in graph.servers if isinstance(server, DramServer)}
        for number, unit in enumerate(graph.units):
            waits += unit.server in tiers and outcome.stall[number][-1] > 0
        shared += any(sum(unit.server == name for unit in graph.units) > 1 for name in tiers)
    assert waits > 60 and shared > 30


def load_graph(firings=1, outstanding=16, size=64, step=64, depth=4, clocks=Fraction(1), **tier):
    """One load unit and its consumer."""
    graph = Graph("load")
    graph.add_server(DramServer("hbm", describe(**tier), clocks, outstanding))
    segment = Segment(firings, (), (1,), request_bytes=size, address_step=step)
    load = graph.add(Unit("load", "load", FiringTable((Block((segment,)),)), server="hbm"))
    sink = graph.add(Unit("sink", "sink", uniform(firings, take=(1,))))
    graph.connect(load, sink, depth=depth)
    return graph


@pytest.fixture(params=["compiled", "simpy"])
def engine(request):
    return request.param


@pytest.mark.parametrize("clocks", [Fraction(1), Fraction(3, 2), Fraction(2, 5)])
def test_an_idle_read_takes_what_the_tier_takes(engine, clocks):
    done = int(run_dram(describe(), Requests.of(np.zeros(1, np.int64), 64)).done_clock[0])
    result = simulate(load_graph(clocks=clocks), engine=engine, timing_only=True)
    answer = -(-done * clocks.denominator // clocks.numerator)
    assert result.cycles == answer + 1 + 1  # latency of the load unit, interval of the sink
    assert result.unit("sink").stalled_cycles == {"input load->sink": answer + 1}
    assert result.servers[0].bytes == 64 and result.servers[0].tier.reads == 1


def test_a_saturating_stream_is_as_fast_as_the_tier_alone(engine):
    alone = run_dram(describe(), Requests.of(np.arange(8, dtype=np.int64) * 4096, 4096))
    result = simulate(load_graph(8, outstanding=8, depth=8, size=4096, step=4096), engine=engine, timing_only=True)
    assert int(alone.done_clock.max()) <= result.cycles <= 1.05 * int(alone.done_clock.max())


def test_outstanding_requests_bound_the_rate(engine):
    """One request at a time: each waits for the whole way there and back."""
    one = simulate(load_graph(20, outstanding=1), engine=engine, timing_only=True)
    many = simulate(load_graph(20, outstanding=16, depth=16), engine=engine, timing_only=True)
    assert one.unit("load").stalled_cycles.keys() == {"server hbm"}
    assert one.cycles > 3 * many.cycles


def test_promised_tokens_hold_their_slots(engine):
    """With a FIFO of two slots only two requests can be under way."""
    result = simulate(load_graph(20, outstanding=16, depth=2), engine=engine, timing_only=True)
    assert result.channels[0].peak_occupancy == 2
    assert "output load->sink" in result.unit("load").stalled_cycles


def test_a_store_unit_is_ready_when_its_last_write_is_taken(engine):
    graph = Graph("store")
    graph.add_server(DramServer("ddr", describe(), Fraction(1), 4))
    source = graph.add(Unit("source", "source", uniform(10, make=(1,))))
    segment = Segment(10, (1,), (), request_bytes=256, address_step=256, is_write=True)
    store = graph.add(Unit("store", "store", FiringTable((Block((segment,)),)), server="ddr"))
    graph.connect(source, store)
    result = simulate(graph, engine=engine, timing_only=True)
    assert result.servers[0].tier.writes == 40 and result.servers[0].bytes == 2560
    assert result.unit("store").idle_cycles == 0


def test_losses_of_a_tier_sum_to_its_gap(engine):
    tier = simulate(load_graph(200, size=256, step=1024, depth=16), engine=engine, timing_only=True).servers[0].tier
    assert tier.busy_clocks + sum(tier.lost_clocks[cause] for cause in LOSS_CAUSES) == tier.bus_clocks


def test_the_critical_path_runs_through_the_tier():
    path = critical_path(load_graph(40, outstanding=2).freeze())
    assert path.exact
    assert path.shares[0].kind == "server" and path.shares[0].where == "hbm"


def test_what_does_not_fit_is_told_in_bytes():
    capacity = describe().organisation.capacity_bytes
    with pytest.raises(CapacityError, match=rf"ends at byte {capacity + 64} of hbm, which holds {capacity}: 64 bytes"):
        load_graph(capacity // 64 + 1).freeze()


def test_bad_tiers_and_their_users_are_refused():
    with pytest.raises(GraphError, match="outstanding must be at least 1"):
        DramServer("hbm", describe(), Fraction(1), 0)
    with pytest.raises(GraphError, match="positive fraction"):
        DramServer("hbm", describe(), Fraction(0))
    with pytest.raises(GraphError, match="needs a bounded FIFO"):
        load_graph(depth=None).freeze()
    negative = load_graph(3, step=-64)
    with pytest.raises(GraphError, match="asks server hbm for address -128"):
        negative.freeze()


def test_a_load_over_a_link_takes_latency_and_whole_chunks(engine):
    graph = Graph("link")
    graph.add_server(MemoryServer("pcie", LinkServer(256, Fraction(5, 2), Fraction(40), outstanding=64)))
    load = graph.add(
        Unit("load", "load", FiringTable((Block((Segment(1, (), (1,), request_bytes=1000),)),)), server="pcie")
    )
    sink = graph.add(Unit("sink", "sink", uniform(1, take=(1,))))
    graph.connect(load, sink)
    result = simulate(graph, engine=engine, timing_only=True)
    assert result.cycles == 4 * 2.5 + 40 + 1  # four chunks of 256 bytes, the way, the interval of the sink
    assert result.servers[0].bytes == 1000


def test_an_sram_is_checked_for_its_size():
    graph = Graph("sram")
    graph.add_server(MemoryServer("buffer", SramServer(4096, 4, 1, 8, 4, 1)))
    segment = Segment(10, (), (1,), request_bytes=512, address_step=512)
    load = graph.add(Unit("load", "load", FiringTable((Block((segment,)),)), server="buffer"))
    sink = graph.add(Unit("sink", "sink", uniform(10, take=(1,))))
    graph.connect(load, sink)
    with pytest.raises(CapacityError, match="5120 of buffer, which holds 4096: 1024 bytes do not fit; 2 times"):
        graph.freeze()
