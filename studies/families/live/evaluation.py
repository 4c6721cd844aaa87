"""What came out of a scenario: latencies, batch and queue over time, memory, and how step times were made."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from algorithms.live.algorithm import LiveRun
from studies.families.detail import Detail, Stored, plain
from studies.families.family import Evaluation
from studies.families.live.summary import Curve, Held, Moment, curves, held, timeline, waits_for
from studies.families.metrics import measure
from studies.points.point import DesignPoint, Json, Scalar


@dataclass(frozen=True)
class LiveEvaluation(Evaluation):
    """A scenario, and what came out.

    Parameters
    ----------
    found
        All of it.
    """

    found: LiveRun

    @property
    def cycles(self) -> None:
        """None: requests come by the second."""
        return None

    @property
    def seconds(self) -> float:
        """From the first arrival to the last token."""
        return self.found.metrics.seconds

    @property
    def stuck(self) -> bool:
        """Whether a request can never be served; all others are."""
        return self.found.metrics.refused > 0

    @property
    def detail(self) -> LiveDetail:
        """Distributions, the course of time, memory, and how step times were made."""
        found = self.found
        return LiveDetail(
            point=self.point,
            scenario=found.scenario.name,
            origin=found.scenario.asked.origin,
            seconds=self.seconds,
            waits_for=waits_for(found),
            latencies=curves(found),
            course=timeline(found),
            memory=held(found),
            refused=tuple(sorted({each.refused for each in found.run.requests if each.refused})[:MOST_REASONS]),
            simulated_steps=found.filled,
            compared_steps=found.error.compositions,
            mean_error=found.error.mean,
            largest_error=found.error.largest,
            metrics=measure(self),
            wall_s=self.wall_s,
        )


MOST_REASONS = 5
"""Reasons of refusals that are kept."""


@dataclass(frozen=True)
class LiveDetail(Detail):
    """What is kept of a scenario.

    Parameters
    ----------
    scenario, origin
        What was served, and where its requests are from.
    seconds
        From the first arrival to the last token.
    waits_for
        What requests spend most of their time on.
    latencies, course, memory
        Distributions, the course of time, and what lies in the memory of the fullest chip.
    refused
        Why requests can never be served.
    simulated_steps, compared_steps, mean_error, largest_error
        Step times that were simulated; steps of this run that were computed both ways, and how far those read from the
        table are off.
    metrics
        All metrics by name.
    wall_s
        Time the evaluation took on the computer that made it.
    """

    scenario: str
    origin: str
    seconds: float
    waits_for: str
    latencies: tuple[Curve, ...]
    course: tuple[Moment, ...]
    memory: tuple[Held, ...]
    refused: tuple[str, ...]
    simulated_steps: int
    compared_steps: int
    mean_error: float
    largest_error: float
    metrics: Mapping[str, Scalar]
    wall_s: float

    def measured(self) -> Mapping[str, Scalar]:
        """All metrics by name."""
        return self.metrics

    def content(self) -> dict[str, Json]:
        """All fields as plain JSON values."""
        plainly = {
            each.name: plain(_plainer(getattr(self, each.name)))
            for each in dataclasses.fields(self)
            if each.name != "point"
        }
        return {"algorithm": self.point.algorithm, "parameters": dict(self.point.parameters), **plainly}

    @classmethod
    def read(cls, point: DesignPoint, stored: Stored) -> Self:
        """The way back."""
        return cls(
            point=point,
            scenario=stored.read(str, "scenario"),
            origin=stored.read(str, "origin"),
            seconds=stored.read(float, "seconds"),
            waits_for=stored.read(str, "waits_for"),
            latencies=stored.read(tuple[Curve, ...], "latencies"),
            course=stored.read(tuple[Moment, ...], "course"),
            memory=stored.read(tuple[Held, ...], "memory"),
            refused=stored.read(tuple[str, ...], "refused"),
            simulated_steps=stored.read(int, "simulated_steps"),
            compared_steps=stored.read(int, "compared_steps"),
            mean_error=stored.read(float, "mean_error"),
            largest_error=stored.read(float, "largest_error"),
            metrics=stored.read(dict[str, Scalar], "metrics"),
            wall_s=stored.read(float, "wall_s"),
        )


def _plainer(value: object) -> object:
    """Rows as mappings."""
    if isinstance(value, tuple):
        return [dataclasses.asdict(each) if isinstance(each, Curve | Moment | Held) else each for each in value]
    return value
