"""What limited the memory tiers of a run: achieved and peak rate, and where the rest went."""

from __future__ import annotations

from algorithms.memory.binding import dram_energy_j
from algorithms.memory.tier_report import MEANINGS, TierReport
from hwmodels.reading.quantity import format_quantity
from hwmodels.tiers.dram import DramTier
from hwmodels.tiers.text import load_tier
from simulator.result import Result, ServerResult


def tier_report(server: ServerResult) -> TierReport | None:
    """What limited a memory tier of a run; None for other servers."""
    if server.tier is None or not server.tier.bus_clocks:
        return None
    tier = load_tier(server.name)
    if not isinstance(tier, DramTier):
        return None
    return TierReport.from_counters(
        tier.name,
        tier.peak_bytes_per_second,
        tier.standard.tick_s,
        server.tier,
        channels=tier.organisation.channels,
        energy_j=sum(dram_energy_j(tier, server.tier).values()),
    )


def waited_for(result: Result, unit: str) -> str:
    """What the memory that `unit` loads from sustained, and what cost it most, in a clause; empty without a tier."""
    causes = next(each.stalled_cycles for each in result.units if each.name == unit)
    for server in result.servers:
        report = tier_report(server) if f"server {server.name}" in causes else None
        if report is not None:
            return _sustained(report)
    return ""


def _sustained(report: TierReport) -> str:
    achieved, peak = (
        format_quantity(rate, "B/s", 4) for rate in (report.achieved_bytes_per_second, report.peak_bytes_per_second)
    )
    text = f"{report.tier} sustains {achieved} of its {peak} ({100 * report.utilisation:.0f} %)"
    worst = report.limiter
    return text if worst is None else f"{text}; most is lost to {worst.replace('_', ' ')}: {MEANINGS[worst]}"
