"""Requests served over time: the highest rate that keeps a service level, and latencies at one rate."""

from __future__ import annotations

from algorithms.live.algorithm import LiveRun, serve_scenario
from algorithms.live.scenario import load_scenario
from hwmodels.reading.documents import Value
from studies.reproductions.calculation import Figures, calculation

HALVINGS = 5
"""Halvings of the ratio between a rate that is kept and one that is not: they end 2.2 % apart."""


@calculation("sustained_rate")
def sustained_rate(
    scenario: str = "semi-pd-a100",
    scheduler: str = "semi_pd",
    system: str = "",
    prefill: int = 0,
    adjusted: bool = True,
    kept: float = 0.9,
    first_rate: float = 12.0,
    requests: int = 1000,
) -> Figures:
    """Highest rate per chip at which a share of the requests keeps the limits of a scenario.

    Requests arrive as a Poisson process. Where some of the chips of a system compute prompts alone, there are two.
    """
    chips = 2 if system else 1
    changes: dict[str, Value] = {"scheduler.adjusted": "true" if adjusted else "false"}
    if system:
        changes |= {"deployment.system": system, "deployment.replicas": chips, "deployment.prefill": prefill}

    def share(rate: float) -> float:
        run = _served(scenario, scheduler, requests, rate, changes)
        return sum(map(run.scenario.level.met_by, run.run.requests)) / run.metrics.requests

    low = first_rate
    while share(low) < kept:
        low /= 2
    high = 2 * low
    while share(high) >= kept:
        low, high = high, 2 * high
    for _ in range(HALVINGS):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if share(middle) >= kept else (low, middle)
    return {"rate_per_chip": low / chips}


@calculation("served_latency")
def served_latency(
    scenario: str = "semi-pd-a100",
    scheduler: str = "semi_pd",
    model: str = "deepseek-v2-lite",
    rate: float = 10.0,
    requests: int = 500,
) -> Figures:
    """Mean times of requests that arrive as a Poisson process at a rate."""
    found = _served(scenario, scheduler, requests, rate, {"model": model}).metrics
    return {"latency_s": found.latency.mean_s, "ttft_s": found.ttft.mean_s, "tpot_s": found.tpot.mean_s}


def _served(scenario: str, scheduler: str, requests: int, rate: float, changes: dict[str, Value]) -> LiveRun:
    asked: dict[str, Value] = {"scheduler.kind": scheduler, "arrivals.requests": requests, "arrivals.rate": rate}
    return serve_scenario(load_scenario(scenario, {**changes, **asked}))
