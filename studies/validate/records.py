"""Rows and totals of a validation, in the form that `attnflow validate KIND --json` prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["pass", "fail", "unsupported"]
Scalar = int | float | str | bool | None
Row = dict[str, Scalar]


@dataclass(frozen=True)
class ValidationRow:
    """One case.

    Parameters
    ----------
    id, group
        Case and family.
    status
        ``pass``, ``fail`` or ``unsupported``.
    expected, got
        What the file says and what the project computes, in words or numbers.
    error_pct
        Size of the disagreement; None when nothing was compared.
    why
        Reason for a failure or for no support, or a remark.
    baselines
        Pairs (name, error in percent) of simpler predictions of the same number.
    """

    id: str
    group: str
    status: Status
    expected: Scalar = None
    got: Scalar = None
    error_pct: float | None = None
    why: str = ""
    baselines: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class ValidationReport:
    """All cases of a file.

    Parameters
    ----------
    kind
        What was validated.
    rows
        One per case, in file order.
    limits
        Pairs (group, largest mean error in percent that it may have).
    """

    kind: str
    rows: tuple[ValidationRow, ...]
    limits: tuple[tuple[str, float], ...] = ()

    def count(self, status: Status) -> int:
        """Cases of that status."""
        return sum(row.status == status for row in self.rows)

    @property
    def ok(self) -> bool:
        """Whether no case failed and no group has a larger mean error than it may have."""
        return self.count("fail") == 0 and all(group.get("within_limit", True) for group in self.groups())

    def groups(self) -> list[Row]:
        """Totals by group, in the order in which the groups appear."""
        limits = dict(self.limits)
        return [_group(name, self.rows, limits.get(name)) for name in dict.fromkeys(row.group for row in self.rows)]

    def to_json(self) -> dict[str, str | int | list[Row]]:
        """The document that the command line prints."""
        return {
            "kind": self.kind,
            "cases": len(self.rows),
            "passed": self.count("pass"),
            "failed": self.count("fail"),
            "unsupported": self.count("unsupported"),
            "groups": self.groups(),
            "rows": [
                {
                    "id": row.id,
                    "group": row.group,
                    "status": row.status,
                    "expected": row.expected,
                    "got": row.got,
                    "error_pct": row.error_pct,
                    "why": row.why,
                    **{f"{name}_error_pct": error for name, error in row.baselines},
                }
                for row in self.rows
            ],
        }


def _group(name: str, rows: tuple[ValidationRow, ...], limit_pct: float | None) -> Row:
    members = [row for row in rows if row.group == name]
    errors = [abs(row.error_pct) for row in members if row.error_pct is not None]
    found: Row = {
        "group": name,
        "n": len(members),
        "passed": sum(row.status == "pass" for row in members),
        "mean_abs_error_pct": _mean(errors),
        "max_abs_error_pct": max(errors, default=None),
    }
    if limit_pct is not None:
        mean = _mean(errors)
        found |= {"mean_limit_pct": limit_pct, "within_limit": mean is None or mean <= limit_pct}
    for baseline in dict.fromkeys(other for row in members for other, _ in row.baselines):
        theirs = [abs(error) for row in members for other, error in row.baselines if other == baseline]
        found[f"{baseline}_mean_abs_error_pct"] = _mean(theirs)
    return found


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
