"""Metrics: the numbers of a result that stores keep and reports compare, each with its unit and meaning.

A new metric is one function with one decorator.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

from studies.points.point import Scalar

if TYPE_CHECKING:
    from simulator.result import ChannelResult
    from studies.families.chip.evaluate import ChipEvaluation
    from studies.families.graph.evaluate import Evaluation
    from studies.families.tier.evaluate import TierEvaluation

    AnyEvaluation = Evaluation | ChipEvaluation | TierEvaluation

Measured = TypeVar("Measured")
Measure = Callable[[Measured], Scalar]
Goal = Literal["min", "max"]
Subject = Literal["graph", "chip", "tier", "any"]


@dataclass(frozen=True)
class Metric:
    """A number of a result.

    Parameters
    ----------
    name
        As in stores and reports.
    unit
        Empty for none.
    meaning
        One line.
    measure
        From an evaluation to the number.
    goal
        Which way is better, for a metric that designs are chosen by.
    static
        It belongs to the design, not to the run, and so holds even where the design deadlocks.
    subject
        What has it: graphs of FIFOs, designs on a chip, memory tiers, or any.
    """

    name: str
    unit: str
    meaning: str
    measure: Callable[..., Scalar]
    goal: Goal | None = None
    static: bool = False
    subject: Subject = "graph"


_METRICS: dict[str, Metric] = {}


def metric(
    name: str,
    unit: str,
    meaning: str,
    *,
    goal: Goal | None = None,
    static: bool = False,
    subject: Subject = "graph",
) -> Callable[[Measure[Measured]], Measure[Measured]]:
    """Register the decorated function as the metric `name`; see `Metric` for the parameters.

    Raises
    ------
    ValueError
        If there is a metric of that name.
    """

    def register(function: Measure[Measured]) -> Measure[Measured]:
        if name in _METRICS:
            raise ValueError(f"two metrics are called {name!r}")
        _METRICS[name] = Metric(name, unit, meaning, function, goal, static, subject)
        return function

    return register


def metrics() -> tuple[Metric, ...]:
    """All metrics, in the order of their declaration."""
    from studies.families.chip import kv_metrics
    from studies.families.chip import metrics as chip_metrics
    from studies.families.graph import hybrid_metrics
    from studies.families.tier import metrics as tier_metrics

    del chip_metrics, hybrid_metrics, kv_metrics, tier_metrics  # they register their own
    return tuple(_METRICS.values())


def measure(evaluation: AnyEvaluation) -> dict[str, Scalar]:
    """All metrics of an evaluation by name; None where one does not apply or is not finite."""
    subjects = ("any", evaluation.subject)
    values = {entry.name: entry.measure(evaluation) if entry.subject in subjects else None for entry in metrics()}
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()
    }


@metric("cycles", "cycle", "simulated cycles until all work is done", goal="min", subject="any")
def _cycles(evaluation: AnyEvaluation) -> Scalar:
    return evaluation.cycles


@metric("seconds", "s", "simulated time until all work is done", goal="min", subject="any")
def _seconds(evaluation: AnyEvaluation) -> Scalar:
    return evaluation.seconds


@metric("firings", "", "firings of all units")
def _firings(evaluation: Evaluation) -> Scalar:
    return evaluation.result.firings


@metric("deadlock", "", "whether the design stops before it is done")
def _deadlock(evaluation: Evaluation) -> Scalar:
    return evaluation.result.deadlock is not None


@metric("fifo.capacity_bytes", "B", "all FIFOs together: depth times token size", goal="min", static=True)
def _fifo_capacity(evaluation: Evaluation) -> Scalar:
    channels = evaluation.result.channels
    bounded = [channel.capacity_bytes for channel in channels if channel.capacity_bytes is not None]
    return sum(bounded) if len(bounded) == len(channels) else None


@metric("fifo.peak_bytes", "B", "all FIFOs together, each only as deep as the most tokens it held")
def _fifo_peak(evaluation: Evaluation) -> Scalar:
    return sum(channel.peak_occupancy * _token_bytes(channel) for channel in evaluation.result.channels)


def _token_bytes(channel: ChannelResult) -> int:
    """Size of a token, from the capacity, or from the traffic of an unbounded FIFO."""
    if channel.depth and channel.capacity_bytes is not None:
        return channel.capacity_bytes // channel.depth
    return channel.bytes // channel.tokens if channel.tokens else 0


@metric("error.rel_l2", "", "relative L2 error of the output against the float64 oracle", subject="any")
def _relative_error(evaluation: AnyEvaluation) -> Scalar:
    return evaluation.deviation.rel_l2 if evaluation.deviation else None


@metric("error.max_abs", "", "largest absolute error of one output element against the float64 oracle", subject="any")
def _absolute_error(evaluation: AnyEvaluation) -> Scalar:
    return evaluation.deviation.max_abs if evaluation.deviation else None


@metric("busiest.unit", "", "the unit with the most busy cycles, a lower bound of the cycles")
def _busiest_unit(evaluation: Evaluation) -> Scalar:
    return max(evaluation.result.units, key=lambda unit: unit.busy_cycles).name


@metric("busiest.busy_fraction", "", "busy cycles of the busiest unit over all cycles")
def _busiest_fraction(evaluation: Evaluation) -> Scalar:
    busy = max(unit.busy_cycles for unit in evaluation.result.units)
    return busy / evaluation.result.cycles if evaluation.result.cycles else None


@metric("stalled_cycles", "cycle", "stalled cycles of all units together")
def _stalled_cycles(evaluation: Evaluation) -> Scalar:
    return sum(sum(unit.stalled_cycles.values()) for unit in evaluation.result.units)


@metric("schedule_digest", "", "SHA-256 over every start time and stall cause")
def _schedule_digest(evaluation: Evaluation) -> Scalar:
    return evaluation.result.schedule_digest


@metric("wall_s", "s", "time the simulation itself took on this computer, compilation not counted", subject="any")
def _wall_s(evaluation: AnyEvaluation) -> Scalar:
    return evaluation.wall_s


@metric("compile_s", "s", "time spent compiling the engine; 0 once its cache is warm")
def _compile_s(evaluation: Evaluation) -> Scalar:
    return evaluation.result.compile_s
