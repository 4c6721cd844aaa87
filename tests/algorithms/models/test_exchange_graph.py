"""Collectives simulated message by message take as long as their closed forms say."""

import pytest

from algorithms.models.exchange_graph import exchange_graph, simulated_seconds
from hwmodels.systems.collectives import ALGORITHMS, algorithms_on, schedule
from hwmodels.systems.system import Level
from simulator import simulate

LEVELS = {
    "switch": Level("wire", "switch", 8, 100e9, 0.8, 2e-6, reduces=True),
    "few messages": Level("wire", "switch", 8, 100e9, 1.0, 1e-6, messages_per_second=2e6),
    "ring": Level("ring", "ring", 8, 90e9, 0.9, 1e-6),
    "shared": Level("bridge", "shared", 8, 50e9, 0.85, 5e-6),
}
CASES = [
    (level, collective, name, chips)
    for level in LEVELS
    for collective in ALGORITHMS
    for chips in (2, 4, 8)
    for name in algorithms_on(collective, chips, LEVELS[level])
]


@pytest.mark.parametrize(("level", "collective", "name", "chips"), CASES)
@pytest.mark.parametrize("size", [4096, 2_000_000])
def test_a_collective_takes_as_long_simulated_as_stated(level, collective, name, chips, size):
    links, made = LEVELS[level], schedule(collective, name, chips, size)
    simulated, stated = simulated_seconds(made, links), made.seconds(links)
    if level == "shared" and made.steps > 1:
        wire = chips * made.bytes_out / links.payload_bytes_per_second
        assert wire + links.latency_s <= simulated * (1 + 1e-4)
        assert simulated <= stated * (1 + 1e-4)
        assert stated - simulated <= (made.steps - 1) * (links.latency_s + wire / made.steps)
    else:
        assert simulated == pytest.approx(stated, rel=2e-4)


def test_both_engines_agree_on_an_exchange():
    graph = exchange_graph(schedule("all_reduce", "ring", 4, 1e6), LEVELS["ring"])
    fast = simulate(graph, timing_only=True, digest=False, engine="compiled")
    slow = simulate(graph, timing_only=True, digest=False, engine="simpy")
    assert fast.cycles == slow.cycles
