"""What is known of design points: the outcome of an evaluation, and the row that a store makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from studies.points.point import DesignPoint, Json

Status = Literal["pending", "done", "failed"]


@dataclass(frozen=True)
class Outcome:
    """What became of one design point.

    Parameters
    ----------
    key
        Of the point.
    status
        ``"done"`` (a deadlocked design is a result, too) or ``"failed"``.
    metrics
        Flat values by metric name; empty when it failed.
    detail
        The whole result as plain JSON values: units, channels, deadlock.
    error
        One line: the reason of a failure.
    traceback
        Where it was raised; None when a process died instead.
    wall_s
        Time the evaluation took.
    value_passes
        Value passes that it ``computed``, and ``reused`` from earlier points of the same worker; not stored.
    """

    key: str
    status: Status
    metrics: Mapping[str, Json]
    detail: Mapping[str, Json]
    error: str | None = None
    traceback: str | None = None
    wall_s: float = 0.0
    value_passes: Mapping[str, int] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Row:
    """One point of a study as stored: its outcome, how often it was tried, and where that comes from."""

    study: str
    position: int
    point: DesignPoint
    outcome: Outcome
    attempt: int
    time_utc: str | None
    provenance: dict[str, Json]
