"""Metrics of served scenarios; what each means is defined in `algorithms.live.metrics`."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from algorithms.live.metrics import Distribution
from studies.families import metrics
from studies.families.live.evaluation import LiveEvaluation
from studies.points.point import Scalar

metric = partial(metrics.metric, family="live", order=700)


def _told(value: float) -> Scalar:
    """A number; None where there is none."""
    return None if math.isnan(value) else value


def _of_distribution(distribution: str, figure: str) -> Callable[[LiveEvaluation], Scalar]:
    def measured(evaluation: LiveEvaluation) -> Scalar:
        found: Distribution = getattr(evaluation.found.metrics, distribution)
        return _told(getattr(found, f"{figure}_s"))

    return measured


MEANINGS = {
    "ttft": "from arrival to the first token",
    "tpot": "from the first to the last token over the tokens after the first, per request",
    "itl": "gap between two tokens of a request, per gap",
    "latency": "from arrival to the last token",
    "queueing": "from arrival to the first step that works on the request",
}
FIGURES = {"mean": "mean", "p50": "median", "p99": "99 of 100 are no longer"}


@metric("live.goodput", "request/s", "requests that meet the service level", goal="max")
def _goodput(evaluation: LiveEvaluation) -> Scalar:
    return evaluation.found.metrics.goodput


@metric("live.goodput_per_chip", "request/s", "the same over all chips", goal="max")
def _goodput_per_chip(evaluation: LiveEvaluation) -> Scalar:
    return evaluation.found.metrics.goodput / evaluation.found.scenario.deployment.chips


@metric("live.requests_per_second", "request/s", "requests that have all of their tokens", goal="max")
def _rate(evaluation: LiveEvaluation) -> Scalar:
    return evaluation.found.metrics.requests_per_second


@metric("live.output_tokens_per_second", "token/s", "tokens made for them", goal="max")
def _tokens(evaluation: LiveEvaluation) -> Scalar:
    return evaluation.found.metrics.output_tokens_per_second


for _name, _meaning in MEANINGS.items():
    for _figure, _what in FIGURES.items():
        metric(f"live.{_name}_{_figure}_s", "s", f"{_what}: {_meaning}", goal="min")(_of_distribution(_name, _figure))


@metric("live.requests", "", "requests that arrived")
def _requests(evaluation: LiveEvaluation) -> Scalar:
    return evaluation.found.metrics.requests


@metric("live.finished", "", "requests that have all of their tokens", goal="max")
def _finished(evaluation: LiveEvaluation) -> Scalar:
    return evaluation.found.metrics.finished


@metric("live.refused", "", "requests that can never be served", goal="min")
def _refused(evaluation: LiveEvaluation) -> Scalar:
    return evaluation.found.metrics.refused


@metric("live.preemptions", "", "times that a request lost its memory", goal="min")
def _preemptions(evaluation: LiveEvaluation) -> Scalar:
    return evaluation.found.metrics.preemptions


@metric("live.queue_growth", "request/s", "by which those that wait become more, over the second half", goal="min")
def _growth(evaluation: LiveEvaluation) -> Scalar:
    return evaluation.found.metrics.queue_growth


@metric("live.moving_share", "", "share of the work that waits for blocks on their way between tiers", goal="min")
def _moving(evaluation: LiveEvaluation) -> Scalar:
    logs = evaluation.found.run.logs
    busy = sum(log.busy_ns for log in logs)
    return sum(log.moving_ns for log in logs) / busy if busy and evaluation.found.scenario.deployment.tiers else None


@metric("live.busy_share", "", "share of the time in which replicas work")
def _busy(evaluation: LiveEvaluation) -> Scalar:
    return evaluation.found.metrics.busy_share


@metric("live.prefix_hit_rate", "", "blocks of prompts that were found in the cache, over all of them", goal="max")
def _hits(evaluation: LiveEvaluation) -> Scalar:
    counts = [pool.count for pool in evaluation.found.run.pools]
    looked_for = sum(count.looked_for for count in counts)
    return sum(count.found for count in counts) / looked_for if looked_for else None


@metric("live.kv_blocks", "", "KV blocks of a replica")
def _blocks(evaluation: LiveEvaluation) -> Scalar:
    return evaluation.found.scenario.deployment.pool_blocks


@metric("live.kv_blocks_owned", "", "KV blocks of a replica that were owned at most")
def _owned(evaluation: LiveEvaluation) -> Scalar:
    return max(pool.most_used for pool in evaluation.found.run.pools)


@metric("live.chips", "", "chips that work")
def _chips(evaluation: LiveEvaluation) -> Scalar:
    return evaluation.found.scenario.deployment.chips


@metric("live.usd_per_million_tokens", "USD", "of the system's price by the hour, where it is published", goal="min")
def _price(evaluation: LiveEvaluation) -> Scalar:
    system, rate = evaluation.found.scenario.deployment.system, evaluation.found.metrics.output_tokens_per_second
    if system.usd_per_hour is None or not rate:
        return None
    return 1e6 * system.usd_per_hour / 3600 / rate


@metric("live.energy_j", "J", "of all chips from the first arrival to the last token, waiting included", goal="min")
def _energy(evaluation: LiveEvaluation) -> Scalar:
    return evaluation.found.energy_j


@metric("live.joules_per_token", "J", "the same over the tokens that were made", goal="min")
def _energy_per_token(evaluation: LiveEvaluation) -> Scalar:
    energy_j, tokens = evaluation.found.energy_j, evaluation.found.metrics.output_tokens
    return energy_j / tokens if energy_j is not None and tokens else None


@metric("live.mean_w", "W", "the energy over the time", goal="min", title="Mean power")
def _power(evaluation: LiveEvaluation) -> Scalar:
    energy_j, seconds = evaluation.found.energy_j, evaluation.found.metrics.seconds
    return energy_j / seconds if energy_j is not None and seconds else None


@metric("live.table_error", "", "mean error of step times read from the table, on steps of the run", goal="min")
def _error(evaluation: LiveEvaluation) -> Scalar:
    return evaluation.found.error.mean
