"""Uses of a unit's cycles add up to all cycles, however few there are."""

import pytest

from simulator import Graph, simulate
from simulator.explain.stalls import stall_table
from simulator.firing import uniform
from simulator.units import Unit


@pytest.mark.parametrize("firings", [1, 2, 7])
def test_shares_of_a_unit_are_all_of_its_cycles(firings):
    graph = Graph("alone")
    graph.add(Unit("alone", "source", uniform(firings, (), ())))
    result = simulate(graph, timing_only=True)
    rows = stall_table(result)
    assert sum(row.cycles for row in rows) == result.cycles == firings
    assert sum(row.share for row in rows) == pytest.approx(1)
