"""What is known of design points: the outcome of an evaluation, and the row that a store makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from studies.points.point import DesignPoint, Json

Status = Literal["pending", "done", "failed"]


class Detail(Protocol):
    """All that is kept of an evaluated point; families have the types, see `studies.families.detail`."""

    def to_json(self) -> dict[str, Json]:
        """The document that stores keep."""

    def to_text(self, metrics: str) -> str:
        """The same in JSON; raises ValueError for a number that is not finite.

        Parameters
        ----------
        metrics
            All metrics of the point in JSON, where they are written already.
        """


@dataclass(frozen=True)
class Written:
    """A result as a store keeps it, written where it was computed.

    Parameters
    ----------
    metrics, detail
        In JSON.
    told
        Digest of all that the metrics say of the design: equal for results that say the same.
    """

    metrics: str
    detail: str
    told: str


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
        The whole result: units, channels, deadlock and so on, as its family types it; None when it failed, or where it
        was not asked for.
    error
        One line: the reason of a failure.
    traceback
        Where it was raised; None when a process died instead.
    wall_s
        Time the evaluation took.
    value_passes
        Value passes that it ``computed``, and ``reused`` from earlier points of the same worker; not stored.
    written
        Metrics and detail as texts, instead of the values themselves.
    """

    key: str
    status: Status
    metrics: Mapping[str, Json]
    detail: Detail | None = None
    error: str | None = None
    traceback: str | None = None
    wall_s: float = 0.0
    value_passes: Mapping[str, int] = field(default_factory=dict, compare=False)
    written: Written | None = None


@dataclass(frozen=True)
class Row:
    """One point of a study as stored: its outcome, how often it was tried, and where that comes from.

    ``remarks`` are said of the point beside its result, by whoever made the row; they are not stored.
    """

    study: str
    position: int
    point: DesignPoint
    outcome: Outcome
    attempt: int
    time_utc: str | None
    provenance: dict[str, Json]
    remarks: tuple[str, ...] = ()
