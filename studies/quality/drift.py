"""Drift under KV policies: how quality moves while a policy lives with its own earlier decisions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from algorithms.kv.policy import KVPolicy
from algorithms.kv.text import parse_policy
from hwmodels.reading.errors import InputError
from studies.quality.quality import Array, Truth, cannot_judge, measures, stream_over, token_at
from studies.quality.streams import QualityStream, Sample


@dataclass(frozen=True)
class DriftRow:
    """How quality moves while a policy runs on its own earlier decisions.

    Parameters
    ----------
    policy, stream, budget
        Which.
    steps
        Last decode step of each interval.
    mass_recall, relative_error
        Means over the interval, heads and seeds.
    note
        Why there are no numbers.
    """

    policy: str
    stream: str
    budget: int
    steps: tuple[int, ...] = ()
    mass_recall: tuple[float, ...] = ()
    relative_error: tuple[float, ...] = ()
    note: str = ""


def drift_over_steps(
    policy: KVPolicy | str,
    stream: QualityStream,
    budget: int,
    samples: int = 5,
    intervals: int = 8,
    seed: int = 0,
) -> DriftRow:
    """Prefill the first half of each sample, decode the second, and follow the quality.

    Policies that choose once per prompt choose in every step here, so that the budget holds throughout.
    """
    chosen = parse_policy(str(policy))
    blank = DriftRow(str(chosen), stream.name, budget)
    why = cannot_judge(chosen, stream)
    if why:
        return DriftRow(str(chosen), stream.name, budget, note=why)
    count = samples if stream.most_samples is None else min(samples, stream.most_samples)
    mass: list[Array] = []
    error: list[Array] = []
    steps = 0
    try:
        for number in range(count):
            one = _decode_half(chosen, stream.draw(seed + number), budget, number)
            steps = one.shape[1] if not mass else min(steps, one.shape[1])
            mass.append(one[0])
            error.append(one[1])
    except InputError as reason:
        return DriftRow(blank.policy, blank.stream, budget, note=str(reason))
    cuts = np.array_split(np.arange(steps), min(intervals, steps))
    means = [np.mean([values[:steps] for values in collected], 0) for collected in (mass, error)]
    return DriftRow(
        blank.policy,
        blank.stream,
        budget,
        tuple(int(cut[-1]) + 1 for cut in cuts),
        tuple(float(means[0][cut].mean()) for cut in cuts),
        tuple(float(means[1][cut].mean()) for cut in cuts),
    )


def _decode_half(policy: KVPolicy, sample: Sample, budget: int, seed: int) -> Array:
    """`(2, steps)`: mass recall and relative error of every decode step."""
    half = sample.tokens // 2
    stream = stream_over(policy, sample, budget, seed, when="step")
    stream.prefill(sample.q[:, :half], sample.k[:, :half], sample.v[:, :half])
    rows = []
    for at in range(half, sample.tokens):
        result = stream.step(*token_at(sample, at))
        truth = Truth.of(Sample(sample.q[:, : at + 1], sample.k[:, : at + 1], sample.v[:, : at + 1]))
        mass, _, error = measures(result, truth, budget)
        rows.append((mass.mean(), error.mean()))
    return np.array(rows).T
