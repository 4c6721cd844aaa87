"""What every conformance test shares: one run of a graph, on whichever engine the test is asked to use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from simulator import ENGINES, Graph, Result, Unit, simulate, uniform


@dataclass(frozen=True)
class Schedule:
    """A traced run, read by unit name."""

    result: Result

    def _row(self, unit: str) -> int:
        return [u.name for u in self.result.units].index(unit)

    def starts(self, unit: str) -> list[int]:
        """Start times of all firings of a unit."""
        return self.result.trace.start[self._row(unit)].tolist()

    def causes(self, unit: str) -> list[int]:
        """Cause codes of all firings: 0 itself, inputs from 1, then outputs, then the server."""
        return self.result.trace.cause[self._row(unit)].tolist()

    def waits(self, unit: str) -> list[int]:
        """Cycles that each result of a holding unit waited for its outputs."""
        return self.result.trace.wait[self._row(unit)].tolist()

    def stalls(self, unit: str) -> dict[str, int]:
        """Stalled cycles of a unit by cause."""
        return self.result.unit(unit).stalled_cycles


@pytest.fixture(params=ENGINES)
def run(request: pytest.FixtureRequest) -> Callable[[Graph], Schedule]:
    """Simulate a graph on one engine, with its complete schedule."""

    def traced(graph: Graph, *, explain: bool = True) -> Schedule:
        return Schedule(simulate(graph, engine=request.param, timing_only=True, trace=True, explain=explain))

    return traced


@pytest.fixture
def pair() -> Callable[..., Graph]:
    """Build ``source -> sink`` with every delay a parameter."""

    def build(
        tokens: int,
        *,
        source_latency: int = 1,
        source_ii: int = 1,
        sink_ii: int = 1,
        depth: int | None = 2,
        channel_latency: int = 0,
        credit_latency: int = 1,
        issue: str = "reserve",
    ) -> Graph:
        graph = Graph("pair")
        source = graph.add(
            Unit("source", "source", uniform(tokens, make=(1,), latency=source_latency, ii=source_ii), issue=issue)
        )
        sink = graph.add(Unit("sink", "sink", uniform(tokens, take=(1,), ii=sink_ii)))
        graph.connect(
            source, sink, name="fifo", depth=depth, latency_cycles=channel_latency, credit_latency_cycles=credit_latency
        )
        return graph

    return build
