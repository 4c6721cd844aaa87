"""A small graph on paper: fifteen cycles, every start, cause and counter.

::

    numbers --a--> square --b--> sums --c--> out

``numbers`` emits 1 to 6, one per cycle. ``square`` has latency 2. ``sums`` adds up three tokens and has interval 2.
All other latencies and intervals are 1, all FIFOs have depth 2. The table shows which token a start is for::

    cycle     0   1   2   3   4   5   6   7   8   9  10  11  12  13  14
    numbers   1   2   3   4   .   5   .   6
    square        1   2   .   3   .   4   .   5   .   6
    sums                  1   .   2   .   3   .   4   .   5   .   6
    out                                      14                      77

The third square waits until 4: its slot in ``b`` is that of the first, which ``sums`` takes at 3, and one cycle of
credit later it is free. From then on ``sums`` sets the pace, and from cycle 5 on ``numbers`` feels it through ``a``.
"""

from __future__ import annotations

import numpy as np
import pytest

from simulator import ENGINES, Graph, operators, simulate
from simulator.operators import Span


@pytest.fixture(params=ENGINES)
def result(request):
    graph = Graph("worked example")
    numbers = graph.add(operators.source("numbers", [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
    square = graph.add(operators.map_("square", np.square, Span(3, 2), latency_cycles=2))
    sums = graph.add(operators.reduce_("sums", lambda x, valid: x.sum(axis=1), Span(3, 2), ii_cycles=2))
    out = graph.add(operators.sink("out", Span(1, 2)))
    graph.connect(numbers, square, name="a", token_bytes=2)
    graph.connect(square, sums, name="b", token_bytes=4)
    graph.connect(sums, out, name="c", token_bytes=8)
    return simulate(graph, engine=request.param, trace=True)


# S(numbers, n): a slot of `a` is free one cycle after `square` takes the token two places before.
# S(square, n) = max(S(square, n-1) + 1, S(numbers, n) + 1, S(sums, n-2) + 1)
# S(sums, n) = max(S(sums, n-1) + 2, S(square, n) + 2)
STARTS = {
    "numbers": [0, 1, 2, 3, 5, 7],
    "square": [1, 2, 4, 6, 8, 10],
    "sums": [3, 5, 7, 9, 11, 13],
    "out": [8, 14],
}
SELF, INPUT, OUTPUT = 0, 1, 2
CAUSES = {
    "numbers": [SELF, SELF, SELF, SELF, 1, 1],
    "square": [INPUT, SELF, OUTPUT, OUTPUT, OUTPUT, OUTPUT],
    "sums": [INPUT, SELF, SELF, SELF, SELF, SELF],
    "out": [INPUT, INPUT],
}


@pytest.mark.parametrize("unit", STARTS)
def test_every_start_and_its_cause(result, unit):
    row = [u.name for u in result.units].index(unit)
    assert result.trace.start[row].tolist() == STARTS[unit]
    assert result.trace.cause[row].tolist() == CAUSES[unit]


def test_what_is_counted(result):
    assert result.outputs["out"].tolist() == [14.0, 77.0]
    assert result.cycles == 15
    assert result.firings == 6 + 6 + 6 + 2
    assert result.deadlock is None
    assert {u.name: (u.busy_cycles, u.stalled_cycles, u.idle_cycles) for u in result.units} == {
        "numbers": (6, {"output a": 1 + 1}, 15 - 8),
        "square": (6, {"input a": 1, "output b": 4}, 15 - 11),
        "sums": (12, {"input b": 3}, 0),
        "out": (2, {"input c": 8 + 5}, 0),
    }
    assert [(c.name, c.tokens, c.bytes, c.capacity_bytes, c.peak_occupancy) for c in result.channels] == [
        ("a", 6, 12, 4, 2),
        ("b", 6, 24, 8, 2),
        ("c", 2, 16, 16, 1),
    ]


def test_lints_say_why_it_is_slow(result):
    assert result.lints == (
        "channel b: depth 2 is below the 3 slots that square needs in flight for full rate "
        "(latency 2 + channel 0 + credit 1)",
    )
