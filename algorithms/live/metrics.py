"""Metrics of served requests, each defined once, with the variants that other tools use.

| name | definition |
| --- | --- |
| TTFT | from arrival to the first token |
| TPOT | time from the first to the last token over the tokens after the first; per request, and none for one token |
| ITL | gap between two tokens of a request; per gap, so long answers count more than in TPOT |
| latency | from arrival to the last token |
| queueing | from arrival to the beginning of the first step that works on the request |
| goodput | requests per second that meet every limit of a service level |
| queue growth | slope of the line that fits best through the requests that wait, over the second half of arrivals |
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from algorithms.live.requests import NANOSECONDS, Served
from algorithms.live.serve import ServedRun

FloatArray = NDArray[np.float64]
PERCENTILES = (50.0, 90.0, 95.0, 99.0)


@dataclass(frozen=True)
class Distribution:
    """Mean, largest and percentiles (linear between ranks) of some times, in seconds; NaN where there are none."""

    count: int
    mean_s: float
    largest_s: float
    p50_s: float
    p90_s: float
    p95_s: float
    p99_s: float

    @classmethod
    def of(cls, times_s: Iterable[float]) -> Distribution:
        """Of times, each once."""
        values = np.fromiter(times_s, dtype=np.float64)
        if not len(values):
            return cls._none()
        ranks = np.percentile(values, PERCENTILES).tolist()
        return cls(len(values), float(values.mean()), float(values.max()), *ranks)

    @classmethod
    def weighted(cls, times_s: FloatArray, counts: NDArray[np.int64]) -> Distribution:
        """Of times that occurred so many times each: percentiles are the smallest time not exceeded by their share."""
        kept = counts > 0
        times, weights = times_s[kept], counts[kept]
        if not len(times):
            return cls._none()
        order = np.argsort(times, kind="stable")
        times, reached = times[order], np.cumsum(weights[order])
        total = int(reached[-1])
        ranks = [float(times[int(np.searchsorted(reached, share / 100 * total))]) for share in PERCENTILES]
        mean = float((times * weights[order]).sum() / total)
        return cls(total, mean, float(times[-1]), *ranks)

    @classmethod
    def _none(cls) -> Distribution:
        return cls(0, math.nan, math.nan, *[math.nan] * len(PERCENTILES))


@dataclass(frozen=True)
class ServiceLevel:
    """Limits of a request, in seconds; None for none."""

    ttft_s: float | None = None
    tpot_s: float | None = None
    latency_s: float | None = None

    def met_by(self, served: Served) -> bool:
        """Whether a request has all of its tokens, and within every limit."""
        if not served.finished:
            return False
        times = (ttft_s(served), tpot_s(served), served.since_arrival_s(served.last_token_ns))
        limits = (self.ttft_s, self.tpot_s, self.latency_s)
        return all(limit is None or time is None or time <= limit for time, limit in zip(times, limits, strict=True))


def ttft_s(served: Served) -> float:
    """Time to the first token."""
    return served.since_arrival_s(served.first_token_ns)


def tpot_s(served: Served) -> float | None:
    """Time per output token after the first; None for a request of one token."""
    if served.first_token_ns is None or served.last_token_ns is None or served.request.output_tokens < 2:
        return None
    return (served.last_token_ns - served.first_token_ns) / NANOSECONDS / (served.request.output_tokens - 1)


@dataclass(frozen=True)
class ServingMetrics:
    """What a run is judged by.

    Parameters
    ----------
    requests, finished, refused
        Requests that arrived, those with all of their tokens, and those that no replica could ever serve.
    seconds
        Time from the first arrival to the last token.
    ttft, tpot, itl, latency, queueing
        Distributions over finished requests, `itl` over gaps.
    output_tokens
        Tokens that finished requests made.
    requests_per_second, output_tokens_per_second
        Over `seconds`.
    goodput
        Requests per second within the service level.
    busy_share
        Share of `seconds` in which replicas work, mean over them.
    preemptions
        Times that a request lost its memory.
    queue_growth
        Requests per second by which those that wait become more while others arrive; None for too few arrivals.
    """

    requests: int
    finished: int
    refused: int
    seconds: float
    ttft: Distribution
    tpot: Distribution
    itl: Distribution
    latency: Distribution
    queueing: Distribution
    output_tokens: int
    requests_per_second: float
    output_tokens_per_second: float
    goodput: float
    busy_share: float
    preemptions: int
    queue_growth: float | None


LEAST_ARRIVALS = 16
"""Arrivals in the second half without which nothing is said of the queue."""


def queue_growth(run: ServedRun) -> float | None:
    """How fast the queue grows while requests arrive, in requests per second; see the module.

    It is near 0 where the deployment holds the load, and at most the rate of arrivals where nothing is served.
    """
    asked = [each for each in run.requests if not each.refused]
    arrivals = np.array([each.request.arrival_ns for each in asked], dtype=np.int64)
    never = np.iinfo(np.int64).max
    begun = np.sort([never if each.scheduled_ns is None else each.scheduled_ns for each in asked])
    half = np.unique(arrivals[len(arrivals) // 2 :])
    if len(half) < LEAST_ARRIVALS:
        return None
    waiting = np.searchsorted(arrivals, half, side="right") - np.searchsorted(begun, half, side="right")
    seconds = (half - half[0]) / NANOSECONDS
    return float(np.polyfit(seconds, waiting, 1)[0])


def serving_metrics(run: ServedRun, level: ServiceLevel | None = None) -> ServingMetrics:
    """All metrics of a run under a service level, or under none."""
    level = level or ServiceLevel()
    finished = [each for each in run.requests if each.finished]
    begin = min((each.request.arrival_ns for each in run.requests), default=0)
    seconds = (run.end_ns - begin) / NANOSECONDS if finished else 0.0
    tokens = sum(each.request.output_tokens for each in finished)
    gaps = [log.token_gaps() for log in run.logs]
    times, counts = (np.concatenate(part) for part in zip(*gaps, strict=True))

    def rate(count: float) -> float:
        return count / seconds if seconds else 0.0

    return ServingMetrics(
        requests=len(run.requests),
        finished=len(finished),
        refused=sum(bool(each.refused) for each in run.requests),
        seconds=seconds,
        ttft=Distribution.of(map(ttft_s, finished)),
        tpot=Distribution.of(time for each in finished if (time := tpot_s(each)) is not None),
        itl=Distribution.weighted(times / NANOSECONDS, counts),
        latency=Distribution.of(each.since_arrival_s(each.last_token_ns) for each in finished),
        queueing=Distribution.of(each.since_arrival_s(each.scheduled_ns) for each in finished),
        requests_per_second=rate(len(finished)),
        output_tokens=tokens,
        output_tokens_per_second=rate(tokens),
        goodput=rate(sum(level.met_by(each) for each in finished)),
        busy_share=rate(sum(log.busy_ns for log in run.logs) / NANOSECONDS / len(run.logs)),
        preemptions=sum(each.preemptions for each in run.requests),
        queue_growth=queue_growth(run),
    )
