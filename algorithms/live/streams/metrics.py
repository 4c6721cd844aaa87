"""Metrics of streams, each defined once.

| name | definition |
| --- | --- |
| frames per second | frames that were taken in, over the time until the camera stopped or the memory was full |
| frame latency | from the moment a frame comes to the moment it is taken in |
| backlog | frames that wait |
| constant | a straight line through a figure over the second half of the frames changes by less than a hundredth |
| keeps up | no frame was dropped, and of those that came no more than one still waits when the camera stops |
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from algorithms.live.metrics import Distribution
from algorithms.live.requests import NANOSECONDS
from algorithms.live.streams.run import StreamRun

CONSTANT = 0.01
"""Change over the second half, as a share of the mean, that still counts as none."""
LEAST_FRAMES = 8
"""Frames without which nothing is said of constancy."""


@dataclass(frozen=True)
class Trend:
    """How a figure changes over the second half of a stream.

    Parameters
    ----------
    per_frame
        Slope of the straight line that fits best; NaN for too few frames.
    change
        Slope times the frames of the half, as a share of the mean.
    """

    per_frame: float
    change: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Trend:
        """Of a figure, frame by frame."""
        half = np.array(values[len(values) // 2 :], dtype=np.float64)
        if len(half) < LEAST_FRAMES:
            return cls(math.nan, math.nan)
        slope = float(np.polyfit(np.arange(len(half)), half, 1)[0])
        mean = float(half.mean())
        return cls(slope, slope * len(half) / mean if mean else 0.0)

    @property
    def constant(self) -> bool | None:
        """Whether it stays as it is; None where too little is known."""
        return None if math.isnan(self.change) else abs(self.change) < CONSTANT


@dataclass(frozen=True)
class StreamMetrics:
    """What a stream is judged by; see the module.

    Parameters
    ----------
    frames_per_second, came, taken_in, dropped, left, most_waiting
        Frames by what became of them, and how many of them a second are taken in.
    latency, work
        Time from its arrival, and from the beginning of work on it, until a frame is taken in.
    first_token, answer
        Time from a question to the first and to the last token of its answer.
    peak_bytes
        Weights, activations and what the policy keeps, in the memory of a chip.
    kept_tokens, kept_bytes, far_bytes
        Keys and bytes that are kept after the last frame.
    busy_share
        Share of the time in which the model works.
    energy_j
        Energy of all chips until the camera stops or the memory is full, waiting included.
    work_trend, memory_trend
        Whether work and memory grow.
    """

    frames_per_second: float
    came: int
    taken_in: int
    dropped: int
    left: int
    most_waiting: int
    latency: Distribution
    work: Distribution
    first_token: Distribution
    answer: Distribution
    peak_bytes: float
    kept_tokens: float
    kept_bytes: float
    far_bytes: float
    busy_share: float
    energy_j: float
    work_trend: Trend
    memory_trend: Trend
    full_s: float | None

    @property
    def keeps_up(self) -> bool:
        """Whether every frame is taken in as it comes, to the end."""
        return self.dropped == 0 and self.left <= 1 and self.full_s is None


def stream_metrics(run: StreamRun) -> StreamMetrics:
    """All metrics of a stream."""
    frames = run.frames
    end_ns = run.full_ns if run.full_ns is not None else round(run.scenario.text.frames.seconds * NANOSECONDS)
    last = frames[-1] if frames else None
    return StreamMetrics(
        frames_per_second=len(frames) * NANOSECONDS / end_ns,
        came=run.came,
        taken_in=len(frames),
        dropped=run.dropped,
        left=run.left,
        most_waiting=run.most_waiting,
        latency=Distribution.of((each.ended_ns - each.came_ns) / NANOSECONDS for each in frames),
        work=Distribution.of((each.ended_ns - each.began_ns) / NANOSECONDS for each in frames),
        first_token=Distribution.of((each.first_ns - each.asked_ns) / NANOSECONDS for each in run.answers),
        answer=Distribution.of((each.last_ns - each.asked_ns) / NANOSECONDS for each in run.answers),
        peak_bytes=run.fixed_bytes + max((each.near_bytes for each in frames), default=0.0),
        kept_tokens=last.kept_tokens if last else 0.0,
        kept_bytes=last.near_bytes if last else 0.0,
        far_bytes=last.far_bytes if last else 0.0,
        busy_share=run.busy_ns / end_ns,
        energy_j=run.scenario.steps.mapping.chips * (run.work_j + run.scenario.steps.waiting_w * end_ns / NANOSECONDS),
        work_trend=Trend.of([float(each.ended_ns - each.began_ns) for each in frames]),
        memory_trend=Trend.of([each.near_bytes + each.far_bytes for each in frames]),
        full_s=None if run.full_ns is None else run.full_ns / NANOSECONDS,
    )
