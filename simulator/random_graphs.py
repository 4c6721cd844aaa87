"""Seeded random graphs: what the two engines are compared on, and what a plug-in's author may test against.

The graphs have cyclo-static rates, varying latencies and intervals, shallow FIFOs, feedback, growing rows, held results
and shared servers; about one in fifteen deadlocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.firing import Block, FiringTable, Segment
from simulator.graph import Graph
from simulator.servers.contract import ARBITRATIONS, Server
from simulator.units import AnyServer, Issue, Unit


@dataclass(frozen=True)
class _Edge:
    """One channel to be: ``tokens`` per iteration, plus one per firing of the ramp if ``ramp``."""

    producer: int
    consumer: int
    tokens: int
    ramp: bool
    initial: int


def random_graph(seed: int, *, servers: bool | None = None, max_iterations: int = 6) -> Graph:
    """A connected random graph.

    Parameters
    ----------
    seed : int
        The same seed gives the same graph.
    servers : bool or None
        Whether units share servers; None lets 70 % of the graphs do so.
    max_iterations : int
        Most table iterations of a unit.
    """
    rng = np.random.default_rng(seed)
    count = int(rng.integers(3, 13))
    iterations = int(rng.integers(1, max_iterations + 1))
    ramp = (int(rng.integers(0, 3)), int(rng.integers(0, 3))) if rng.random() < 0.35 else (0, 0)
    ramp_length = int(rng.integers(1, iterations + 1)) if rng.random() < 0.5 else 0
    edges = _edges(rng, count, has_ramp=any(ramp))
    with_servers = bool(rng.random() < 0.7) if servers is None else servers
    graph = Graph(f"random-{seed}")
    for number in range(int(rng.integers(1, 3)) if with_servers else 0):
        graph.add_server(
            Server(
                f"server{number}",
                bytes_per_cycle=int(rng.integers(1, 9)),
                latency_cycles=int(rng.integers(0, 12)),
                ports=int(rng.integers(1, 3)),
                arbitration=ARBITRATIONS[int(rng.integers(0, 3))],
            )
        )
    units = [
        graph.add(_unit(rng, number, edges, graph.servers, ramp, iterations, ramp_length)) for number in range(count)
    ]
    inputs, outputs = [0] * count, [0] * count
    for edge in edges:
        takes, makes = (
            _largest(units[edge.consumer], inputs[edge.consumer], take=True),
            _largest(units[edge.producer], outputs[edge.producer], take=False),
        )
        low = takes + makes if rng.random() < 0.97 else 1
        depth = max(int(rng.integers(1, 9)), low, edge.initial)
        graph.connect(
            units[edge.producer],
            units[edge.consumer],
            name=f"c{len(graph.channels)}",
            output=outputs[edge.producer],
            input=inputs[edge.consumer],
            depth=None if rng.random() < 0.06 else depth,
            latency_cycles=int(rng.integers(0, 3)),
            credit_latency_cycles=int(rng.integers(1, 4)),
            initial_tokens=edge.initial,
        )
        outputs[edge.producer] += 1
        inputs[edge.consumer] += 1
    return graph


def _largest(unit: Unit, port: int, *, take: bool) -> int:
    """Most tokens that one firing of ``unit`` takes from, or makes on, ``port``."""
    blocks = unit.table.blocks if unit.table else ()
    return max((s.take if take else s.make)[port] for block in blocks for s in block.segments)


def _edges(rng: np.random.Generator, count: int, *, has_ramp: bool) -> list[_Edge]:
    """A random acyclic skeleton that reaches every unit, some extra edges, sometimes one feedback edge."""
    pairs = [(int(rng.integers(0, consumer)), consumer) for consumer in range(1, count)]
    for _ in range(int(rng.integers(0, 1 + count // 3))):
        low, high = sorted(int(x) for x in rng.choice(count, 2, replace=False))
        pairs.append((low, high))
    edges = [_Edge(low, high, int(rng.integers(1, 6)), has_ramp and bool(rng.random() < 0.6), 0) for low, high in pairs]
    if rng.random() < 0.2:
        low, high = sorted(int(x) for x in rng.choice(count, 2, replace=False))
        tokens = int(rng.integers(1, 5))
        edges.append(_Edge(high, low, tokens, False, tokens + int(rng.integers(0, 3))))
    return edges


def _spread(rng: np.random.Generator, tokens: int, firings: int) -> list[int]:
    """Distribute ``tokens`` over ``firings`` at random."""
    return [int(share) for share in np.bincount(rng.integers(0, firings, tokens), minlength=firings)]


def _unit(
    rng: np.random.Generator,
    number: int,
    edges: list[_Edge],
    servers: list[AnyServer],
    ramp: tuple[int, int],
    iterations: int,
    ramp_length: int,
) -> Unit:
    issue: Issue = "reserve" if rng.random() < 0.75 else ("hold" if rng.random() < 0.7 else "hold_in_turn")
    server = servers[int(rng.integers(0, len(servers)))].name if servers and issue == "reserve" else None
    if rng.random() < 0.4:
        server = None
    ins = [edge for edge in edges if edge.consumer == number]
    outs = [edge for edge in edges if edge.producer == number]
    loops = int(rng.integers(1, 4)) if rng.random() < 0.3 else 1
    firings = int(rng.integers(1, 7))
    takes = [_spread(rng, _per_loop(edge.tokens, loops), firings) for edge in ins]
    makes = [_spread(rng, _per_loop(edge.tokens, loops), firings) for edge in outs]
    steady = [
        _segment(rng, [t[i] for t in takes], [m[i] for m in makes], issue, server is not None) for i in range(firings)
    ]
    blocks = [Block(tuple(steady), loops)]
    rest_take = [edge.tokens - loops * _per_loop(edge.tokens, loops) for edge in ins]
    rest_make = [edge.tokens - loops * _per_loop(edge.tokens, loops) for edge in outs]
    tail = [_segment(rng, rest_take, rest_make, issue, False)] if any(rest_take + rest_make) else []
    if any(ramp):
        moves = _segment(
            rng, [int(edge.ramp) for edge in ins], [int(edge.ramp) for edge in outs], issue, server is not None
        )
        tail.append(Segment(ramp[0], moves.take, moves.make, moves.latency, moves.ii, ramp[1], moves.request_bytes))
    if tail:
        blocks.append(Block(tuple(tail)))
    table = FiringTable(tuple(blocks), iterations, ramp_length)
    return Unit(f"u{number}", "random", table, issue=issue, server=server if table.uses_server else None)


def _per_loop(tokens: int, loops: int) -> int:
    return tokens // loops


def _segment(rng: np.random.Generator, take: list[int], make: list[int], issue: Issue, may_request: bool) -> Segment:
    lowest = 0 if issue != "reserve" else 1
    return Segment(
        count=1,
        take=tuple(take),
        make=tuple(make),
        latency=int(rng.integers(1, 7)),
        ii=int(rng.integers(lowest, 4)),
        request_bytes=int(rng.integers(1, 20)) if may_request and rng.random() < 0.6 else 0,
    )
