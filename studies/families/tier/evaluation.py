"""What came out of a memory tier under traffic: what it sustained and what limits it; and what is kept of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from algorithms.memory.tier_report import TierReport
from studies.families.detail import Detail, Stored, plain
from studies.families.family import Evaluation
from studies.families.metrics import measure
from studies.points.point import DesignPoint, Json, Scalar


@dataclass(frozen=True)
class TierEvaluation(Evaluation):
    """A measurement of a memory tier, and what came out.

    Parameters
    ----------
    report
        What the tier sustained, and where the rest of its peak went.
    """

    report: TierReport

    @property
    def cycles(self) -> None:
        """None: tiers have clocks of their own."""
        return None

    @property
    def seconds(self) -> float:
        """Time until the last transaction is done."""
        return self.report.seconds

    @property
    def detail(self) -> TierDetail:
        """All of it."""
        return TierDetail(self.point, self.report, measure(self), self.wall_s)


@dataclass(frozen=True)
class TierDetail(Detail):
    """What is kept of a memory tier under traffic.

    Parameters
    ----------
    report
        What the tier sustained, and where the rest of its peak went.
    metrics
        All metrics by name.
    wall_s
        Time the measurement took on the computer that made it.
    """

    report: TierReport
    metrics: Mapping[str, Scalar]
    wall_s: float

    def measured(self) -> Mapping[str, Scalar]:
        """All metrics by name."""
        return self.metrics

    def content(self) -> dict[str, Json]:
        """Parameters, the report, metrics."""
        return {
            "algorithm": self.point.algorithm,
            "parameters": dict(self.point.parameters),
            **{name: plain(value) for name, value in self.report.to_dict().items()},
            "metrics": dict(self.metrics),
            "wall_s": self.wall_s,
        }

    @classmethod
    def read(cls, point: DesignPoint, stored: Stored) -> Self:
        """The way back; a report whose causes do not make up the gap is refused, too."""
        return cls(
            point,
            stored.read_whole(TierReport),
            stored.read(dict[str, Scalar], "metrics"),
            stored.read(float, "wall_s"),
        )
