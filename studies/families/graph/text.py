"""How ``attnflow run`` tells what a graph of FIFOs does."""

from __future__ import annotations

from algorithms.streaming.memory import MemoryBounds
from simulator.result import Result
from studies.families.graph.evaluation import GraphEvaluation
from studies.families.graph.losses import tier_report
from studies.families.text import changed_parameters, subject
from studies.tables import table
from studies.words import quantity


def summary(evaluation: GraphEvaluation) -> str:
    """A result for people."""
    point, result, deviation = evaluation.point, evaluation.result, evaluation.deviation
    lines = [
        subject(point),
        f"parameters: {changed_parameters(point)}",
        "",
        f"cycles    {result.cycles:,}",
        f"time      {quantity(result.seconds, 's')} at {quantity(result.clock_hz, 'Hz')}",
        f"firings   {result.firings:,} in {result.wall_s:.3g} s on this computer"
        + (f", after {result.compile_s:.1f} s of compiling" if result.compile_s > 1 else ""),
    ]
    if evaluation.memory is not None:
        lines += _memory(evaluation.memory)
    if deviation is not None:
        lines.append(f"error     rel L2 {deviation.rel_l2:.3g}, max abs {deviation.max_abs:.3g} (float64 oracle)")
    if result.deadlock is not None:
        lines += ["", f"DEADLOCK  {result.deadlock}"]
    lines += [f"note      {lint}" for lint in result.lints]
    for text in (_units(result), _channels(result), *_tiers(result)):
        lines += ["", text]
    return "\n".join(lines)


def _memory(bounds: MemoryBounds) -> list[str]:
    """What a design on a memory tier cannot beat, and what it would take without overlap."""
    return [
        f"at least  {bounds.lower_cycles:,} cycles: the larger of computing ({bounds.compute_cycles:,}) and moving all "
        f"bytes at the tier's peak ({bounds.transfer_cycles:,})",
        f"at most   {bounds.upper_cycles:,} cycles without any overlap: each load alone ({bounds.serial_cycles:,}), "
        "then the computing",
    ]


def _tiers(result: Result) -> list[str]:
    """Achieved and peak rate of every memory tier, and where the rest went."""
    reports = filter(None, (tier_report(server) for server in result.servers))
    return [f"{report.tier}\n" + table(("figure", "value", "remark"), report.rows()) for report in reports]


def _units(result: Result) -> str:
    """Busy, stalled and idle share of every unit, with the worst stall named."""
    total = max(result.cycles, 1)
    rows = []
    for unit in result.units:
        stalled = sum(unit.stalled_cycles.values())
        worst = max(unit.stalled_cycles, key=unit.stalled_cycles.__getitem__) if stalled else None
        shares = (f"{100 * part / total:.1f}%" for part in (unit.busy_cycles, stalled, unit.idle_cycles))
        rows.append((unit.name, unit.kind, unit.firings, *shares, worst))
    return table(("unit", "kind", "firings", "busy", "stalled", "idle", "mostly stalled by"), rows)


def _channels(result: Result) -> str:
    """Depth and use of every FIFO."""
    rows = (
        (c.name, "unbounded" if c.depth is None else c.depth, c.peak_occupancy, c.tokens, c.bytes)
        for c in result.channels
    )
    return table(("channel", "depth", "peak", "tokens", "bytes"), rows)
