"""A served scenario as rows: distributions of latencies, the course of time, memory, and what requests wait for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from algorithms.live.algorithm import LiveRun
from algorithms.live.metrics import FloatArray, tpot_s, ttft_s
from algorithms.live.replica import StepLog
from algorithms.live.requests import NANOSECONDS

SHARES = (0.0, 1.0, *(float(share) for share in range(5, 96, 5)), 98.0, 99.0, 99.5, 99.9, 100.0)
"""Per cent of requests at which distributions are kept."""
MOMENTS = 120
"""Slices of time that are kept."""
FULL = 0.95
"""Share of the KV blocks from which on they are what requests wait for."""


@dataclass(frozen=True)
class Curve:
    """A distribution over requests.

    Parameters
    ----------
    name
        ``ttft``, ``tpot``, ``latency``, ``queueing``.
    count
        Of requests.
    shares, seconds
        So many per cent of them take no longer.
    """

    name: str
    count: int
    shares: tuple[float, ...]
    seconds: tuple[float, ...]


@dataclass(frozen=True)
class Moment:
    """A slice of time, all replicas together.

    Parameters
    ----------
    start_s, end_s
        Since the first arrival.
    running, waiting, blocks
        Sequences that decode, sequences that wait and KV blocks that are owned, in the mean over steps by their time.
    prompt_tokens_per_second, output_tokens_per_second
        That were computed and made in it.
    """

    start_s: float
    end_s: float
    running: float
    waiting: float
    blocks: float
    prompt_tokens_per_second: float
    output_tokens_per_second: float


@dataclass(frozen=True)
class Held:
    """Something in the memory of the fullest chip of a replica."""

    name: str
    bytes: int


def curves(found: LiveRun) -> tuple[Curve, ...]:
    """Distributions over requests that have all of their tokens."""
    finished = [each for each in found.run.requests if each.finished]
    return (
        _curve("ttft", map(ttft_s, finished)),
        _curve("tpot", (time for each in finished if (time := tpot_s(each)) is not None)),
        _curve("latency", (each.since_arrival_s(each.last_token_ns) for each in finished)),
        _curve("queueing", (each.since_arrival_s(each.scheduled_ns) for each in finished)),
    )


def _curve(name: str, times: Iterable[float]) -> Curve:
    values = np.fromiter(times, dtype=np.float64)
    if not len(values):
        return Curve(name, 0, (), ())
    return Curve(name, len(values), SHARES, tuple(np.percentile(values, SHARES).tolist()))


def timeline(found: LiveRun) -> tuple[Moment, ...]:
    """The course of a run in slices of equal length."""
    begin = min((each.request.arrival_ns for each in found.run.requests), default=0)
    if found.run.end_ns <= begin:
        return ()
    edges = np.linspace(begin, found.run.end_ns, MOMENTS + 1)
    sums = np.zeros((5, MOMENTS))
    for log in found.run.logs:
        _add(sums, log, edges)
    width_s = (edges[1] - edges[0]) / NANOSECONDS
    mean = sums / width_s
    return tuple(
        Moment((edges[i] - begin) / NANOSECONDS, (edges[i + 1] - begin) / NANOSECONDS, *mean[:, i].tolist())
        for i in range(MOMENTS)
    )


def _add(sums: FloatArray, log: StepLog, edges: FloatArray) -> None:
    """Add a replica: values times seconds, entry by entry, spread evenly over the slices that each entry touches."""
    if not log.durations:
        return
    starts = np.array(log.starts_ns, dtype=np.float64)
    spans = np.array([int(each.sum()) for each in log.durations], dtype=np.float64)
    steps = np.array([len(each) for each in log.durations])
    sequences = np.array(log.sequences, dtype=np.float64)
    prompts = np.array([sum(part.new_tokens for part in parts) for parts in log.parts], dtype=np.float64)
    seconds = spans / NANOSECONDS
    made = sequences * steps
    totals = (sequences * seconds, np.array(log.waiting) * seconds, np.array(log.blocks) * seconds, prompts, made)
    ends = starts + spans
    for row, total in enumerate(totals):
        # what has been reached by an edge: all entries that ended, and a share of the one that is under way
        reached = np.concatenate(([0.0], np.cumsum(total)))
        place = np.searchsorted(ends, edges, side="right")
        inside = np.minimum(place, len(starts) - 1)
        share = np.clip((edges - starts[inside]) / np.maximum(spans[inside], 1.0), 0.0, 1.0)
        at_edge = np.where(place < len(starts), reached[place] + share * total[inside], reached[-1])
        sums[row] += np.diff(at_edge)


def held(found: LiveRun) -> tuple[Held, ...]:
    """Weights, activations of the largest step, and KV blocks, owned at most and all of them."""
    deployment = found.scenario.deployment
    steps = deployment.steps
    ledger = steps.ledger(deployment.limits.most_tokens)
    attending = deployment.attending  # keys and values lie on the chips that attend
    block = (attending or steps).cached_bytes(deployment.block_tokens)
    most = max(pool.most_used for pool in found.run.pools)
    tiers: dict[str, int] = {}
    for pool in found.run.pools:
        for tier, _, _, held_blocks in pool.far.traffic if pool.far else ():
            tiers[tier.name] = max(tiers.get(tier.name, 0), held_blocks)
    return (
        Held("weights", ledger.of("weights")),
        Held("activations", ledger.of("activations")),
        Held("workspace", ledger.of("workspace")),
        Held("kv, owned at most", block * most),
        Held("kv, all blocks", block * deployment.pool_blocks),
        Held("usable", ledger.usable_bytes),
        *([] if attending is None else [Held("usable, of chips for attention", attending.ledger(1).usable_bytes)]),
        *(Held(f"{name}, held at most", block * blocks) for name, blocks in tiers.items()),
    )


def waits_for(found: LiveRun) -> str:
    """What most of the time of requests goes into: a queue, and for what, prompts, tokens, or links.

    Links join replicas for prompts with those for tokens, and lead to tiers below, as far as steps wait for them.
    """
    finished = [each for each in found.run.requests if each.finished]
    parts = {"queue": 0.0, "prompts": 0.0, "tokens one after the other": 0.0, "links": 0.0}
    split = found.scenario.deployment.split()
    sent = 0
    for each in finished:
        scheduled, first, last = each.scheduled_ns or 0, each.first_token_ns or 0, each.last_token_ns or 0
        parts["queue"] += scheduled - each.request.arrival_ns
        parts["prompts"] += first - scheduled
        parts["tokens one after the other"] += last - first
        if split is not None and each.request.output_tokens > 1:
            sent += split.transfer_ns(each.request.prompt_tokens)
    parts["tokens one after the other"] -= sent
    busy = sum(log.busy_ns for log in found.run.logs)
    moving = sum(log.moving_ns for log in found.run.logs) / busy if busy else 0.0
    for name in ("prompts", "tokens one after the other"):
        parts["links"] += moving * parts[name]
        parts[name] -= moving * parts[name]
    parts["links"] += sent
    most = max(parts, key=lambda name: parts[name])
    return f"a queue for {_queue_for(found)}" if most == "queue" else most


def _queue_for(found: LiveRun) -> str:
    """What those that wait wait for in most of the time: KV blocks, places, or tokens of a step."""
    deployment = found.scenario.deployment
    causes = {"KV blocks": 0, "places": 0, "tokens of a step": 0}
    for log, pool in zip(found.run.logs, found.run.pools, strict=True):
        limit = FULL * pool.blocks if pool.blocks is not None else float("inf")
        rows = zip(log.durations, log.waiting, log.blocks, log.sequences, log.parts, strict=True)
        for durations, waiting, blocks, sequences, parts in rows:
            if not waiting:
                continue
            if sequences + len(parts) >= deployment.limits.most_sequences:
                causes["places"] += int(durations.sum())
            elif blocks >= limit:
                causes["KV blocks"] += int(durations.sum())
            else:
                causes["tokens of a step"] += int(durations.sum())
    return max(causes, key=lambda name: causes[name])
