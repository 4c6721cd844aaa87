"""A served scenario for people: latencies, rates, memory, and how step times were made."""

from __future__ import annotations

from collections.abc import Iterator

from algorithms.live.algorithm import LiveRun
from algorithms.live.metrics import Distribution
from algorithms.live.requests import NANOSECONDS
from studies.families.live.summary import held, waits_for
from studies.tables import table
from studies.words import percent, quantity

CONSTANT = 0.01
"""Growth of the queue, as a share of what arrives, that still counts as none."""


def live_text(found: LiveRun) -> str:
    """Everything that ``attnflow run`` prints."""
    parts = [
        _headline(found),
        table(("per request", "mean", "median", "90 %", "99 %", "most"), _latencies(found)),
        table(("figure", "value"), _figures(found)),
        table(("memory of the fullest chip of a replica", "bytes"), _memory(found)),
        _made(found),
    ]
    reasons = sorted({each.refused for each in found.run.requests if each.refused})
    if reasons:
        parts.append("refused, for example: " + reasons[0])
    return "\n\n".join(parts)


def _headline(found: LiveRun) -> str:
    scenario, deployment = found.scenario, found.scenario.deployment
    replicas = f"{deployment.groups} replicas" if deployment.groups > 1 else "one replica"
    return (
        f"{scenario.name}: {deployment.model.name} on {deployment.told}, {replicas}, scheduler {deployment.scheduler}\n"
        f"requests: {scenario.asked.origin}\n"
        f"most of their time goes into {waits_for(found)}"
    )


def _latencies(found: LiveRun) -> Iterator[tuple[str, ...]]:
    metrics = found.metrics
    rows: tuple[tuple[str, Distribution], ...] = (
        ("time to the first token", metrics.ttft),
        ("time per further token", metrics.tpot),
        ("gap between tokens", metrics.itl),
        ("latency", metrics.latency),
        ("queueing", metrics.queueing),
    )
    for name, each in rows:
        if each.count:
            values = (each.mean_s, each.p50_s, each.p90_s, each.p99_s, each.largest_s)
            yield name, *(quantity(value, "s") for value in values)


def _figures(found: LiveRun) -> Iterator[tuple[str, str]]:
    metrics, level = found.metrics, found.scenario.level
    yield "requests", f"{metrics.requests:,}"
    yield "with all of their tokens", f"{metrics.finished:,}"
    if metrics.refused:
        yield "refused", f"{metrics.refused:,}"
    yield "simulated time", quantity(metrics.seconds, "s")
    yield "requests per second", f"{metrics.requests_per_second:.4g}"
    limits = [
        f"{name} {quantity(limit, 's')}"
        for name, limit in (("TTFT", level.ttft_s), ("TPOT", level.tpot_s), ("latency", level.latency_s))
        if limit is not None
    ]
    if limits:
        share = percent(metrics.goodput / metrics.requests_per_second) if metrics.requests_per_second else "none"
        yield f"within {', '.join(limits)}", f"{metrics.goodput:.4g} per second, {share}"
    yield "output tokens per second", f"{metrics.output_tokens_per_second:,.4g}"
    if found.energy_j is not None and metrics.output_tokens:
        yield "energy per output token", quantity(found.energy_j / metrics.output_tokens, "J")
        yield "power of all chips in the mean", quantity(found.energy_j / metrics.seconds, "W")
    yield "replicas work", percent(metrics.busy_share)
    yield "preemptions", f"{metrics.preemptions:,}"
    if metrics.queue_growth is not None:
        yield "those that wait, over the second half", _growth(found, metrics.queue_growth)
    looked_for = sum(pool.count.looked_for for pool in found.run.pools)
    if found.scenario.asked.prefix_tokens and looked_for:
        hits = sum(pool.count.found for pool in found.run.pools)
        yield "blocks of prompts found in the cache", percent(hits / looked_for)


def _growth(found: LiveRun, growth: float) -> str:
    """Whether the deployment holds the load."""
    arrivals = [each.request.arrival_ns for each in found.run.requests]
    half = arrivals[len(arrivals) // 2 :]
    rate = (len(half) - 1) * NANOSECONDS / (half[-1] - half[0]) if half[-1] > half[0] else 0.0
    if abs(growth) <= CONSTANT * rate:
        return f"constant ({growth:+.2g} a second)"
    more = "more" if growth > 0 else "fewer"
    return f"{abs(growth):.3g} {more} a second, {percent(abs(growth) / rate)} of what arrives" if rate else "constant"


def _memory(found: LiveRun) -> Iterator[tuple[str, str]]:
    for each in held(found):
        if each.bytes:
            yield each.name, quantity(each.bytes, "B")


def _made(found: LiveRun) -> str:
    if found.scenario.deployment.exact:
        return f"step times: {found.filled:,} terms simulated, none read between points of a table"
    error = found.error
    return (
        f"step times: {found.filled:,} terms simulated, all others read between them; on {error.compositions} steps of "
        f"this run that is off by {percent(error.mean)} in the mean and {percent(error.largest)} at most"
    )
