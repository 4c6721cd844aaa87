"""Evaluates a design point that measures a memory tier: its traffic, what the tier sustains and what limits it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from studies.families.metrics import Subject, measure
from studies.points.point import DesignPoint, Json

if TYPE_CHECKING:
    from algorithms.memory.tier_report import TierReport


@dataclass(frozen=True)
class TierEvaluation:
    """A design point that measures a memory tier, and what came out.

    Parameters
    ----------
    point
        What was evaluated.
    report
        What the tier sustained, and where the rest of its peak went.
    wall_s
        Time the measurement took on this computer.
    """

    subject: ClassVar[Subject] = "tier"
    deviation: ClassVar[None] = None
    cycles: ClassVar[None] = None

    point: DesignPoint
    report: TierReport
    wall_s: float

    @property
    def seconds(self) -> float:
        """Until the last transaction is done."""
        return self.report.seconds

    def describe(self) -> dict[str, Json]:
        """Everything as plain JSON values: what ``attnflow run --json`` prints."""
        return {
            "key": self.point.key,
            "point": self.point.describe(),
            "algorithm": self.point.algorithm,
            "parameters": dict(self.point.parameters),
            **self.report.to_dict(),
            "metrics": measure(self),
            "wall_s": self.wall_s,
        }


def evaluate_tier(point: DesignPoint) -> TierEvaluation:
    """Send the traffic of `point` to its memory tier.

    Raises
    ------
    InputError
        Unknown tier, settings that do not apply to it, or a mapping that does not fit it.
    simulator.errors.GraphError
        Settings beyond the limits of the DRAM kernels.
    """
    from algorithms.memory.algorithm import get_tier_algorithm

    algorithm = get_tier_algorithm(point.algorithm)
    parameters = algorithm.parameters(**dict(point.parameters))
    started = time.perf_counter()
    report = algorithm.measure(parameters)
    return TierEvaluation(point, report, time.perf_counter() - started)
