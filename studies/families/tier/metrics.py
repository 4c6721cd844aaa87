"""Metrics of memory tiers under traffic: rate, latency, energy, rows, and what each cause costs of the peak."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from algorithms.memory.tier_report import CAUSES, MEANINGS, Cause
from studies.families import metrics
from studies.families.tier.evaluation import TierEvaluation
from studies.points.point import Scalar

metric = partial(metrics.metric, family="tier", order=500)


@metric("tier.bytes_per_second", "B/s", "rate at which data moved", goal="max", title="Achieved bandwidth")
def _achieved(evaluation: TierEvaluation) -> Scalar:
    return evaluation.report.achieved_bytes_per_second


@metric("tier.peak_bytes_per_second", "B/s", "rate of all data buses or interfaces", title="Peak bandwidth")
def _peak(evaluation: TierEvaluation) -> Scalar:
    return evaluation.report.peak_bytes_per_second


@metric("tier.efficiency", "", "achieved over peak rate", goal="max", title="Share of peak bandwidth")
def _efficiency(evaluation: TierEvaluation) -> Scalar:
    return evaluation.report.utilisation


@metric("tier.limiter", "", "what costs most of the peak", title="Largest loss")
def _limiter(evaluation: TierEvaluation) -> Scalar:
    return evaluation.report.limiter


@metric("tier.mean_latency_s", "s", "of a read, from its acceptance to its data", goal="min", title="Mean read latency")
def _mean_latency(evaluation: TierEvaluation) -> Scalar:
    return evaluation.report.mean_latency_s


@metric(
    "tier.p99_latency_s",
    "s",
    "99 of 100 reads have their data so long after their acceptance",
    title="Read latency (99th percentile)",
)
def _p99_latency(evaluation: TierEvaluation) -> Scalar:
    return evaluation.report.p99_latency_s


@metric("tier.energy_j", "J", "activations, bits, refresh, background; needs all channels simulated", title="Energy")
def _energy(evaluation: TierEvaluation) -> Scalar:
    return evaluation.report.energy_j


@metric("tier.energy_j_per_byte", "J/B", "that energy over the bytes that moved", goal="min", title="Energy per byte")
def _energy_per_byte(evaluation: TierEvaluation) -> Scalar:
    report = evaluation.report
    return None if report.energy_j is None or not report.moved_bytes else report.energy_j / report.moved_bytes


@metric("tier.activations", "", "rows opened in the simulated channels", title="Row activations")
def _activations(evaluation: TierEvaluation) -> Scalar:
    return evaluation.report.activations


@metric("tier.row_hit_rate", "", "share of column commands that needed no activation of their own", title="Row hits")
def _row_hits(evaluation: TierEvaluation) -> Scalar:
    return evaluation.report.row_hit_rate


def _share_lost_to(cause: Cause) -> Callable[[TierEvaluation], Scalar]:
    """What reads one cause off an evaluation."""

    def lost(evaluation: TierEvaluation) -> Scalar:
        return evaluation.report.lost_shares[cause]

    return lost


for _cause in CAUSES:
    metric(f"tier.lost.{_cause}", "", f"share of the peak: {MEANINGS[_cause]}")(_share_lost_to(_cause))
