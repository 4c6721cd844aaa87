"""``attnflow run``: simulate one design."""

from __future__ import annotations

from typing import TYPE_CHECKING

from studies.cli.options import AlgorithmName, DesignOptions, design_point, with_design_options
from studies.cli.output import EXIT_DESIGN_FAILS, EXIT_OK, JsonFlag, QuietFlag, emit, table
from studies.cli.verb import verb

if TYPE_CHECKING:
    from studies.families.graph.evaluate import Evaluation
    from studies.families.tier.evaluate import TierEvaluation
    from studies.points.point import DesignPoint

_OWN_FORMATS = {"activation_bits": "activations", "weight_bits": "weights"}
"""Parameters by which a design sets its number formats, and of what they are."""


@verb("run", order=10)
@with_design_options
def run(algorithm: AlgorithmName, design: DesignOptions, as_json: JsonFlag = False, quiet: QuietFlag = False) -> int:
    """Simulate one design: its time, what it waits for, and the error of its values against the float64 oracle."""
    point = design_point(algorithm, design)
    from studies.families.chip.evaluate import ChipEvaluation
    from studies.families.graph.evaluate import evaluate
    from studies.families.tier.evaluate import TierEvaluation
    from studies.running.warm_up import announce_compilation, parts_for

    announce_compilation(point.engine, quiet=quiet, parts=parts_for(point))
    evaluation = evaluate(point)
    if isinstance(evaluation, TierEvaluation):
        emit(evaluation.describe(), lambda: probe_summary(evaluation), as_json=as_json)
        return EXIT_OK
    if isinstance(evaluation, ChipEvaluation):
        from studies.families.chip.text import chip_summary

        emit(evaluation.describe(), lambda: chip_summary(evaluation), as_json=as_json)
        return EXIT_OK
    emit(evaluation.describe(), lambda: summary(evaluation), as_json=as_json)
    return EXIT_DESIGN_FAILS if evaluation.result.deadlock else EXIT_OK


def summary(evaluation: Evaluation) -> str:
    """A result for people."""
    point, result, deviation = evaluation.point, evaluation.result, evaluation.deviation
    lines = [
        subject(point),
        f"parameters: {changed_parameters(point)}",
        "",
        f"cycles    {result.cycles:,}",
        f"time      {result.seconds:.6g} s at {result.clock_hz / 1e9:g} GHz",
        f"firings   {result.firings:,} in {result.wall_s:.3g} s on this computer"
        + (f", after {result.compile_s:.1f} s of compiling" if result.compile_s > 1 else ""),
    ]
    if evaluation.memory is not None:
        lines += memory_lines(evaluation)
    if deviation is not None:
        lines.append(f"error     rel L2 {deviation.rel_l2:.3g}, max abs {deviation.max_abs:.3g} (float64 oracle)")
    if result.deadlock is not None:
        lines += ["", f"DEADLOCK  {result.deadlock}"]
    lines += [f"note      {lint}" for lint in result.lints]
    for text in (unit_table(evaluation), channel_table(evaluation), *tier_tables(evaluation)):
        lines += ["", text]
    return "\n".join(lines)


def probe_summary(evaluation: TierEvaluation) -> str:
    """What a memory tier sustained, for people."""
    report = evaluation.report
    title = f"{report.tier}, {report.channels} channels, {report.fidelity}: {changed_parameters(evaluation.point)}"
    return "\n\n".join((title, table(("figure", "value", "remark"), report.rows())))


def memory_lines(evaluation: Evaluation) -> list[str]:
    """What a design on a memory tier cannot beat, and what it would take without overlap."""
    bounds = evaluation.memory
    if bounds is None:
        return []
    return [
        f"at least  {bounds.lower_cycles:,} cycles: the larger of computing ({bounds.compute_cycles:,}) and moving all "
        f"bytes at the tier's peak ({bounds.transfer_cycles:,})",
        f"at most   {bounds.upper_cycles:,} cycles without any overlap: each load alone ({bounds.serial_cycles:,}), "
        "then the computing",
    ]


def tier_tables(evaluation: Evaluation) -> list[str]:
    """Achieved and peak rate of every memory tier, and where the rest went."""
    from studies.families.graph.losses import tier_report

    reports = filter(None, (tier_report(server) for server in evaluation.result.servers))
    return [f"{report.tier}\n" + table(("figure", "value", "remark"), report.rows()) for report in reports]


def subject(point: DesignPoint) -> str:
    """What was simulated on which workload, in which number format."""
    from studies.words import count

    shape = point.workload
    queries = count(shape.q_len, "query", "queries")
    return (
        f"{point.algorithm} on {shape.name}: batch {shape.batch}, {count(shape.heads, 'head')} ({shape.kv_heads} KV),"
        f" {queries}, {count(shape.kv_len, 'key')}, head dim {shape.head_dim}, {shape.mask} mask, {_formats(point)}"
    )


def _formats(point: DesignPoint) -> str:
    """The workload's number format, or those that a design chooses itself."""
    own = dict(point.parameters)
    chosen = [f"{own[name]}-bit {what}" for name, what in _OWN_FORMATS.items() if name in own]
    return ", ".join(chosen) or point.workload.dtype


def changed_parameters(point: DesignPoint) -> str:
    """Parameters that differ from their defaults, in the order in which they are declared."""
    from studies.points.find import find_algorithm
    from studies.points.knobs import parameter_knobs

    values = dict(point.parameters)
    knobs = parameter_knobs(find_algorithm(point.algorithm)).values()
    changed = [f"{knob.name} = {values[knob.name]}" for knob in knobs if values[knob.name] != knob.default]
    return ", ".join(changed) or "all at their defaults"


def unit_table(evaluation: Evaluation) -> str:
    """Busy, stalled and idle share of every unit, with the worst stall named."""
    total = max(evaluation.result.cycles, 1)
    rows = []
    for unit in evaluation.result.units:
        stalled = sum(unit.stalled_cycles.values())
        worst = max(unit.stalled_cycles, key=unit.stalled_cycles.__getitem__) if stalled else None
        shares = (f"{100 * part / total:.1f}%" for part in (unit.busy_cycles, stalled, unit.idle_cycles))
        rows.append((unit.name, unit.kind, unit.firings, *shares, worst))
    return table(("unit", "kind", "firings", "busy", "stalled", "idle", "mostly stalled by"), rows)


def channel_table(evaluation: Evaluation) -> str:
    """Depth and use of every FIFO."""
    rows = (
        (c.name, "unbounded" if c.depth is None else c.depth, c.peak_occupancy, c.tokens, c.bytes)
        for c in evaluation.result.channels
    )
    return table(("channel", "depth", "peak", "tokens", "bytes"), rows)
