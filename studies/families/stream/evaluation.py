"""What came out of a stream: does the model keep up, how long frames and answers take, and what is kept over time."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from algorithms.live.requests import NANOSECONDS
from algorithms.live.streams.metrics import StreamMetrics
from algorithms.live.streams.run import StreamRun
from studies.families.detail import Detail, Stored, plain
from studies.families.family import Evaluation
from studies.families.metrics import measure
from studies.points.point import DesignPoint, Json, Scalar

MOST_MOMENTS = 240
"""Frames that are kept of the course."""


@dataclass(frozen=True)
class Seen:
    """A frame: when it came, how long it waited and was worked on, and what is kept after it.

    Parameters
    ----------
    came_s, waited_s, work_s
        Since the camera began; until work on it began; and from then on.
    waiting
        Frames that wait when it is done.
    kept_tokens, near_bytes, far_bytes
        Keys per KV head that were read; keys, values and state in the chip's memory and elsewhere.
    """

    came_s: float
    waited_s: float
    work_s: float
    waiting: int
    kept_tokens: float
    near_bytes: float
    far_bytes: float


@dataclass(frozen=True)
class StreamEvaluation(Evaluation):
    """A stream, and what came out.

    Parameters
    ----------
    found, judged
        All of it; and what it is judged by.
    """

    found: StreamRun
    judged: StreamMetrics

    @property
    def cycles(self) -> None:
        """None: frames come by the second."""
        return None

    @property
    def seconds(self) -> float:
        """Mean time of work on a frame."""
        return self.judged.work.mean_s if self.judged.work.count else 0.0

    @property
    def detail(self) -> StreamDetail:
        """The course of the stream, memory, and the verdicts."""
        found, judged = self.found, self.judged
        return StreamDetail(
            point=self.point,
            scenario=found.scenario.text.name,
            policy=found.scenario.text.policy,
            keeps_up=judged.keeps_up,
            verdict=verdict(judged),
            course=_course(found),
            fixed_bytes=found.fixed_bytes,
            usable_bytes=found.usable_bytes,
            metrics=measure(self),
            wall_s=self.wall_s,
        )


def _course(found: StreamRun) -> tuple[Seen, ...]:
    step = max(-(-len(found.frames) // MOST_MOMENTS), 1)
    return tuple(
        Seen(
            each.came_ns / NANOSECONDS,
            (each.began_ns - each.came_ns) / NANOSECONDS,
            (each.ended_ns - each.began_ns) / NANOSECONDS,
            each.waiting,
            each.kept_tokens,
            each.near_bytes,
            each.far_bytes,
        )
        for each in found.frames[::step]
    )


def verdict(judged: StreamMetrics) -> str:
    """Whether the model keeps up, and whether work and memory grow, in a sentence."""
    if judged.full_s is not None:
        pace = f"runs out of memory after {judged.full_s:.3g} s"
    elif judged.keeps_up:
        pace = "keeps up"
    else:
        pace = f"does not keep up: {judged.dropped:,} frames dropped, {judged.left:,} still wait"
    said = {True: "stays as it is", False: "changes", None: "is known of too few frames"}
    work, memory = said[judged.work_trend.constant], said[judged.memory_trend.constant]
    return f"{pace}; work per frame {work}, memory {memory}"


@dataclass(frozen=True)
class StreamDetail(Detail):
    """What is kept of a stream.

    Parameters
    ----------
    scenario, policy
        What was watched, and what was kept.
    keeps_up, verdict
        Whether every frame was taken in as it came; and the same in a sentence, with what grows.
    course
        Frames, evenly spaced.
    fixed_bytes, usable_bytes
        Weights, activations and workspace of a chip; and its memory.
    metrics
        All metrics by name.
    wall_s
        Time the evaluation took on the computer that made it.
    """

    scenario: str
    policy: str
    keeps_up: bool
    verdict: str
    course: tuple[Seen, ...]
    fixed_bytes: int
    usable_bytes: int
    metrics: Mapping[str, Scalar]
    wall_s: float

    def measured(self) -> Mapping[str, Scalar]:
        """All metrics by name."""
        return self.metrics

    def content(self) -> dict[str, Json]:
        """All fields as plain JSON values."""
        return {
            "algorithm": self.point.algorithm,
            "parameters": dict(self.point.parameters),
            "scenario": self.scenario,
            "policy": self.policy,
            "keeps_up": self.keeps_up,
            "verdict": self.verdict,
            "course": [plain(dataclasses.asdict(each)) for each in self.course],
            "fixed_bytes": self.fixed_bytes,
            "usable_bytes": self.usable_bytes,
            "metrics": dict(self.metrics),
            "wall_s": self.wall_s,
        }

    @classmethod
    def read(cls, point: DesignPoint, stored: Stored) -> Self:
        """The way back."""
        return cls(
            point=point,
            scenario=stored.read(str, "scenario"),
            policy=stored.read(str, "policy"),
            keeps_up=stored.read(bool, "keeps_up"),
            verdict=stored.read(str, "verdict"),
            course=stored.read(tuple[Seen, ...], "course"),
            fixed_bytes=stored.read(int, "fixed_bytes"),
            usable_bytes=stored.read(int, "usable_bytes"),
            metrics=stored.read(dict[str, Scalar], "metrics"),
            wall_s=stored.read(float, "wall_s"),
        )
