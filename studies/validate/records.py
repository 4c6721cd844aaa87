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
    """

    id: str
    group: str
    status: Status
    expected: Scalar = None
    got: Scalar = None
    error_pct: float | None = None
    why: str = ""


@dataclass(frozen=True)
class ValidationReport:
    """All cases of a file.

    Parameters
    ----------
    kind
        What was validated.
    rows
        One per case, in file order.
    """

    kind: str
    rows: tuple[ValidationRow, ...]

    def count(self, status: Status) -> int:
        """Cases of that status."""
        return sum(row.status == status for row in self.rows)

    @property
    def ok(self) -> bool:
        """Whether no case failed."""
        return self.count("fail") == 0

    def groups(self) -> list[Row]:
        """Totals by group, in the order in which the groups appear."""
        return [_group(name, self.rows) for name in dict.fromkeys(row.group for row in self.rows)]

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
                }
                for row in self.rows
            ],
        }


def _group(name: str, rows: tuple[ValidationRow, ...]) -> Row:
    members = [row for row in rows if row.group == name]
    errors = [abs(row.error_pct) for row in members if row.error_pct is not None]
    return {
        "group": name,
        "n": len(members),
        "passed": sum(row.status == "pass" for row in members),
        "mean_abs_error_pct": sum(errors) / len(errors) if errors else None,
        "max_abs_error_pct": max(errors, default=None),
    }
