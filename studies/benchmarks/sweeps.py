"""Benchmarks of sweeps: from design points to what a store keeps of them, on one processor, and point by point."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from algorithms.chip.timing.mapping import forget_launches
from algorithms.models.steps.step import forget_steps
from simulator.simulate import forget_graphs
from studies.benchmarks.register import Figures, benchmark
from studies.families.attempt import attempt_to_store
from studies.points.point import DesignPoint
from studies.study.resolve import read_study

CONFIGS = Path(__file__).parents[1] / "configs"
CHIP_POINTS = 1500
GRAPH_POINTS = 240
MODEL_POINTS = 108
PLAIN_SHARE = 12
"""One in so many points is evaluated with nothing remembered, to say what sharing between points is worth."""


def _points_of(name: str, count: int) -> list[DesignPoint]:
    """The first points of a shipped study."""
    question = read_study(CONFIGS / name)
    return [question.point(choice) for choice in islice(question.space.choices(), count)]


def _points_per_s(points: Sequence[DesignPoint], forget: Callable[[], None]) -> Figures:
    """Neighbours together, and a few of them each with nothing remembered, whose time the last figure is of.

    The first of all is not counted: it loads what is compiled.
    """
    attempt_to_store(points[0])
    forget()
    begin = time.process_time()
    outcomes = list(attempt_to_store.many(points))
    seconds = (time.process_time() - begin) / len(points)
    plain_s = 0.0
    few = points[::PLAIN_SHARE]
    for point in few:
        forget()
        begin = time.process_time()
        attempt_to_store(point)
        plain_s += (time.process_time() - begin) / len(few)
    unexplained = [outcome for outcome in outcomes if outcome.status == "failed" and not outcome.error]
    if unexplained or all(outcome.status == "failed" for outcome in outcomes):
        raise ValueError(f"{len(unexplained)} points fail without a reason, or all of them do")
    return {
        "points_per_cpu_s": 1 / seconds,
        "milliseconds_per_point": 1e3 * seconds,
        "times_as_fast_as_one_by_one": plain_s / seconds,
    }


@benchmark(
    "sweep-chips", "design points: chips around an H100 at decode, until they are stored", milliseconds_per_point=1.5
)
def chips() -> Figures:
    """Neighbours of a grid share plans and launches, as they do in a worker of a sweep."""
    return _points_per_s(_points_of("decode-h100.yaml", CHIP_POINTS), forget_launches)


@benchmark("sweep-graphs", "design points: depths of FIFOs of streaming graphs, until they are stored")
def graphs() -> Figures:
    """Graphs that differ in a depth share their machine; half of them get stuck, and share the search for a remedy."""
    point = _points_of("fifo-depth.yaml", 1)[0]
    depths = [tuple(sorted({**dict(point.parameters), "long_depth": 1 + n}.items())) for n in range(GRAPH_POINTS)]
    return _points_per_s([replace(point, parameters=depth) for depth in depths], forget_graphs)


@benchmark("sweep-models", "design points: a 70B model on systems, formats and batches, until they are stored")
def models() -> Figures:
    """Steps that fit are timed, others are refused with what would fit; both share launches and sums of weights."""
    return _points_per_s(_points_of("llama3-70b-systems.yaml", MODEL_POINTS), forget_steps)
