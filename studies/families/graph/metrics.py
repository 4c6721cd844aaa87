"""Metrics of graphs of FIFOs: firings, FIFOs, stalls, deadlocks."""

from __future__ import annotations

from simulator.result import ChannelResult
from studies.families.graph.evaluation import GraphEvaluation
from studies.families.metrics import metric
from studies.points.point import Scalar

FAMILY = "graph"


@metric("firings", "", "firings of all units", family=FAMILY, order=10, title="Firings")
def _firings(evaluation: GraphEvaluation) -> Scalar:
    return evaluation.result.firings


@metric("deadlock", "", "whether the design stops before it is done", family=FAMILY, order=10, title="Deadlock")
def _deadlock(evaluation: GraphEvaluation) -> Scalar:
    return evaluation.result.deadlock is not None


@metric(
    "fifo.capacity_bytes",
    "B",
    "all FIFOs together: depth times token size",
    goal="min",
    static=True,
    family=FAMILY,
    order=10,
    title="FIFO capacity",
)
def _fifo_capacity(evaluation: GraphEvaluation) -> Scalar:
    channels = evaluation.result.channels
    bounded = [channel.capacity_bytes for channel in channels if channel.capacity_bytes is not None]
    return sum(bounded) if len(bounded) == len(channels) else None


@metric(
    "fifo.peak_bytes",
    "B",
    "all FIFOs together, each only as deep as the most tokens it held",
    family=FAMILY,
    order=10,
    title="FIFO peak",
)
def _fifo_peak(evaluation: GraphEvaluation) -> Scalar:
    return sum(channel.peak_occupancy * _token_bytes(channel) for channel in evaluation.result.channels)


def _token_bytes(channel: ChannelResult) -> int:
    """Size of a token, from the capacity, or from the traffic of an unbounded FIFO."""
    if channel.depth and channel.capacity_bytes is not None:
        return channel.capacity_bytes // channel.depth
    return channel.bytes // channel.tokens if channel.tokens else 0


@metric(
    "busiest.unit",
    "",
    "the unit with the most busy cycles, a lower bound of the cycles",
    family=FAMILY,
    order=30,
    title="Busiest unit",
)
def _busiest_unit(evaluation: GraphEvaluation) -> Scalar:
    return max(evaluation.result.units, key=lambda unit: unit.busy_cycles).name


@metric(
    "busiest.busy_fraction",
    "",
    "busy cycles of the busiest unit over all cycles",
    family=FAMILY,
    order=30,
    title="Busiest unit busy",
)
def _busiest_fraction(evaluation: GraphEvaluation) -> Scalar:
    busy = max(unit.busy_cycles for unit in evaluation.result.units)
    return busy / evaluation.result.cycles if evaluation.result.cycles else None


@metric(
    "stalled_cycles", "cycle", "stalled cycles of all units together", family=FAMILY, order=30, title="Stalled cycles"
)
def _stalled_cycles(evaluation: GraphEvaluation) -> Scalar:
    return sum(sum(unit.stalled_cycles.values()) for unit in evaluation.result.units)


@metric(
    "schedule_digest",
    "",
    "SHA-256 over every start time and stall cause",
    family=FAMILY,
    order=30,
    title="Digest of the schedule",
)
def _schedule_digest(evaluation: GraphEvaluation) -> Scalar:
    return evaluation.result.schedule_digest


@metric(
    "compile_s",
    "s",
    "time spent compiling the engine; 0 once its cache is warm",
    family=FAMILY,
    order=50,
    title="Compile time",
)
def _compile_s(evaluation: GraphEvaluation) -> Scalar:
    return evaluation.result.compile_s
