"""Benchmarks of sweeps: from design points to what a store keeps of them, on one processor."""

from __future__ import annotations

import time
from itertools import islice
from pathlib import Path

from algorithms.chip.timing.mapping import forget_launches
from studies.benchmarks.register import Figures, benchmark
from studies.families.evaluate import attempt_to_store
from studies.study.resolve import read_study

CONFIGS = Path(__file__).parents[1] / "configs"
CHIP_POINTS = 1500
GRAPH_POINTS = 120


def _points_per_s(name: str, count: int) -> Figures:
    """The first points of a shipped study, the first of all not counted: it loads what is compiled."""
    question = read_study(CONFIGS / name)
    points = [question.point(choice) for choice in islice(question.space.choices(), count)]
    attempt_to_store(points[0])
    forget_launches()
    begin = time.process_time()
    failed = sum(outcome.status == "failed" for outcome in attempt_to_store.many(points))
    seconds = time.process_time() - begin
    if failed:
        raise ValueError(f"{failed} points of {name} fail")
    return {"points_per_cpu_s": len(points) / seconds, "milliseconds_per_point": 1e3 * seconds / len(points)}


@benchmark(
    "sweep-chips", "design points: chips around an H100 at decode, until they are stored", milliseconds_per_point=1.5
)
def chips() -> Figures:
    """Neighbours of a grid share plans and launches, as they do in a worker of a sweep."""
    return _points_per_s("decode-h100.yaml", CHIP_POINTS)


@benchmark("sweep-graphs", "design points: depths of FIFOs of streaming graphs, until they are stored")
def graphs() -> Figures:
    """Every point is a graph of its own."""
    return _points_per_s("fifo-depth.yaml", GRAPH_POINTS)
