"""Scenarios over time, as the rest of `studies` knows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from algorithms.live.algorithm import LiveAlgorithm
from hwmodels.costs.area import estimates_of
from studies.families.detail import Detail
from studies.families.family import Evaluation, family, of_kind
from studies.families.live.evaluate import evaluate_live
from studies.families.live.evaluation import LiveDetail, LiveEvaluation
from studies.families.live.explain import LiveExplanation, explain_live
from studies.families.live.text import live_text
from studies.families.path import TracedPath
from studies.families.rehearsed import LaunchFamily
from studies.points.point import DesignPoint, Json
from studies.words import percent

ENERGIES = ("live.energy_j", "live.joules_per_token", "live.mean_w")
"""Metrics of energy and power."""


@family
class LiveFamily(LaunchFamily):
    """Requests served over time: arrivals, batches, memory, latencies."""

    name = "live"
    entry = LiveAlgorithm
    objective = "live.goodput"
    rehearsed = ("live.serve", {"model": "qwen3-0.6b", "requests": 2, "rate": 1000.0})
    rehearsed_on = "h100"
    objectives = ("live.goodput", "live.ttft_p99_s", "live.tpot_p99_s", "live.joules_per_token")

    def evaluate(self, point: DesignPoint) -> LiveEvaluation:
        """Serve the scenario; see `evaluate_live`."""
        return evaluate_live(point)

    def text(self, evaluation: Evaluation) -> str:
        """Latencies, rates, memory, and how step times were made."""
        return live_text(of_kind(LiveEvaluation, evaluation).found)

    def read(self, point: DesignPoint, document: Mapping[str, Json]) -> LiveDetail:
        """Distributions, the course of time, memory, metrics."""
        return LiveDetail.from_json(point, document)

    def explain(self, point: DesignPoint) -> LiveExplanation:
        """What requests wait for, and levers of the chip, of the deployment and of formats, tried one by one."""
        return explain_live(point)

    def estimates(self, point: DesignPoint) -> Mapping[str, str]:
        """Energies on chips whose die or node is not published."""
        return estimates_of(point.on_chip.accelerator, ENERGIES)

    def binding(self, detail: Detail, path: TracedPath | None = None) -> str:
        """What requests spend most of their time on."""
        del path
        return of_kind(LiveDetail, detail).waits_for

    def facts(self, detail: Detail) -> Iterable[tuple[str, str]]:
        """Where requests are from, and how far off the table is."""
        found = of_kind(LiveDetail, detail)
        yield "Requests", found.origin
        yield (
            "Step times",
            f"{found.simulated_steps:,} simulated, others off by {percent(found.mean_error)} in the mean",
        )
