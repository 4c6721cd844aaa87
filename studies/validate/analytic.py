"""`validate analytic`: the closed forms for DRAM against the cycle-level model, over all DRAM presets and patterns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from algorithms.memory.probe import probe
from algorithms.memory.probe_parameters import ProbeParameters
from algorithms.memory.tier_report import TierReport
from hwmodels.reading.errors import InputError, Problem
from hwmodels.tiers.dram import DramTier
from hwmodels.tiers.text import load_tier, tier_names
from studies.validate.records import ValidationReport, ValidationRow

TRANSACTIONS_PER_CHANNEL = 4000
BANDWIDTH_LIMIT_PCT = 25.0
LATENCY_LIMIT_PCT = 40.0
"""Rows that miss these are where the closed forms cannot be trusted; they are listed."""

FITTED = (
    ProbeParameters(),
    ProbeParameters(pattern="random"),
    ProbeParameters(pattern="gather", run_bytes=256),
    ProbeParameters(pattern="gather", run_bytes=1024),
    ProbeParameters(pattern="gather", run_bytes=4096),
    ProbeParameters(pattern="streams", streams=2),
    ProbeParameters(pattern="stride", stride_bytes=1088),
    ProbeParameters(read_fraction=0.67),
    ProbeParameters(pattern="random", read_fraction=0.67),
    ProbeParameters(pattern="random", load=0.1),
)
"""Patterns on which the fitted numbers of `hwmodels.tiers.dram_analytic` were chosen."""
HELD_OUT = (
    ProbeParameters(pattern="gather", run_bytes=512, seed=2),
    ProbeParameters(pattern="gather", run_bytes=2048, seed=2),
    ProbeParameters(pattern="gather", run_bytes=16384, seed=2),
    ProbeParameters(pattern="streams", streams=4, run_bytes=1024),
    ProbeParameters(pattern="stride", stride_bytes=4160),
    ProbeParameters(pattern="gather", run_bytes=1024, read_fraction=0.5, seed=2),
    ProbeParameters(pattern="random", load=0.05, seed=2),
)
"""Patterns that nobody looked at while fitting."""


def dram_tiers() -> tuple[str, ...]:
    """Presets with banks."""
    return tuple(name for name in tier_names() if isinstance(load_tier(name), DramTier))


def validate_analytic(
    tiers: tuple[str, ...] | None = None, progress: Callable[[int, int], None] | None = None
) -> ValidationReport:
    """Every preset with every pattern: bandwidth of the closed forms against the simulation, latency in the remark."""
    names = dram_tiers() if tiers is None else tiers
    cases = [(name, pattern, pattern in FITTED) for name in names for pattern in (*FITTED, *HELD_OUT)]
    rows = []
    for done, (name, pattern, fitted) in enumerate(cases):
        rows.append(_row(name, pattern, fitted))
        if progress:
            progress(done + 1, len(cases))
    return ValidationReport("analytic", tuple(rows))


def _row(name: str, pattern: ProbeParameters, fitted: bool) -> ValidationRow:
    tier = load_tier(name)
    if not isinstance(tier, DramTier):
        raise InputError(Problem(f"{name} is no DRAM, so it has no closed forms for banks", field="tiers"))
    channels = tier.standard.organisation.channels
    asked = replace(pattern, tier=name, transactions=TRANSACTIONS_PER_CHANNEL * channels)
    cycle, analytic = probe(asked), probe(replace(asked, fidelity="analytic"))
    bandwidth = 100 * (analytic.achieved_bytes_per_second / cycle.achieved_bytes_per_second - 1)
    latency = 100 * (analytic.mean_latency_s / cycle.mean_latency_s - 1) if cycle.mean_latency_s else 0.0
    passed = abs(bandwidth) <= BANDWIDTH_LIMIT_PCT and abs(latency) <= LATENCY_LIMIT_PCT
    return ValidationRow(
        f"{name}/{_label(pattern)}",
        name,
        "pass" if passed else "fail",
        _figures(cycle),
        _figures(analytic),
        bandwidth,
        f"bandwidth {bandwidth:+.1f} %; latency {latency:+.1f} %; {'fitted' if fitted else 'held out'}",
    )


def _figures(report: TierReport) -> str:
    return f"{report.achieved_bytes_per_second / 1e9:.4g} GB/s, {report.mean_latency_s * 1e9:.1f} ns"


def _label(pattern: ProbeParameters) -> str:
    """What distinguishes a pattern, in one word."""
    details = {"gather": f"{pattern.run_bytes}B", "streams": f"{pattern.streams}x{pattern.run_bytes}B"}
    details |= {"stride": f"{pattern.stride_bytes}B"}
    parts = [pattern.pattern, details.get(pattern.pattern, "")]
    parts.append(f"reads{pattern.read_fraction:g}" if pattern.read_fraction < 1 else "")
    parts.append(f"load{pattern.load:g}" if pattern.load else "")
    return "_".join(part for part in parts if part)
