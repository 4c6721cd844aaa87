"""Comparing what a case expects with what was computed, field by field."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from studies.validate.kv.cases import Case, Json

FLOAT32_TOLERANCE = 2e-5
"""Absolute, for outputs of single-precision upstream code (the file format's own number)."""
FLOAT64_TOLERANCE = 1e-6
"""Absolute, for outputs computed in double precision and rounded to seven digits."""
ROUNDING = 2e-6
"""Relative: seven printed digits, and single-precision sums of large numbers."""
TIE = 1e-6
"""Scores this close (relative) count as tied: single precision cannot tell them apart."""

_DOUBLE_FIELDS = frozenset({"attn_out_last_query", "mean_rel_err_vs_full"})

Computed = int | float | str | NDArray[np.generic] | list["Computed"] | Mapping[str, "Computed"]


@dataclass
class Findings:
    """What a comparison found.

    Parameters
    ----------
    compared
        Fields compared.
    error_pct
        Largest disagreement.
    failures, remarks
        In words.
    """

    compared: list[str] = field(default_factory=list)
    error_pct: float = 0.0
    failures: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    first_expected: str = ""
    first_got: str = ""

    def fail(self, where: str, expected: str, got: str, error_pct: float) -> None:
        """Record a disagreement."""
        if not self.failures:
            self.first_expected, self.first_got = f"{where}: {expected}", f"{where}: {got}"
        self.failures.append(f"{where} differs")
        self.error_pct = max(self.error_pct, error_pct)


@dataclass(frozen=True)
class Overlap:
    """Integer sets that may differ a little, because the case says so.

    Parameters
    ----------
    kept
        Sets computed.
    least
        Smallest share of each expected set that must be found.
    """

    kept: list[list[int]]
    least: float


def compare(case: Case, expected: Mapping[str, Json], got: Mapping[str, object], findings: Findings) -> None:
    """Compare every expected field that was computed; note those that were not."""
    for name, value in expected.items():
        if name not in got:
            if name != "note":
                findings.remarks.append(f"{name} not compared")
            continue
        findings.compared.append(name)
        tolerance = FLOAT64_TOLERANCE if name in _DOUBLE_FIELDS else FLOAT32_TOLERANCE
        _compare(name, value, got[name], tolerance, findings)


def _compare(where: str, expected: Json, got: object, tolerance: float, findings: Findings) -> None:
    if isinstance(got, Overlap):
        _compare_overlap(where, expected, got, findings)
    elif isinstance(expected, dict):
        if not isinstance(got, Mapping):
            findings.fail(where, "a mapping", type(got).__name__, 100.0)
            return
        for key, value in expected.items():
            if key not in got:
                findings.fail(f"{where}.{key}", "present", "absent", 100.0)
            else:
                _compare(f"{where}.{key}", value, got[key], tolerance, findings)
    elif isinstance(expected, list) and any(isinstance(item, dict | list) for item in expected):
        if not isinstance(got, Iterable):
            findings.fail(where, "a list", type(got).__name__, 100.0)
            return
        items = list(got)
        if len(items) != len(expected):
            findings.fail(where, f"{len(expected)} entries", f"{len(items)} entries", 100.0)
            return
        for number, (left, right) in enumerate(zip(expected, items, strict=True)):
            _compare(f"{where}[{number}]", left, right, tolerance, findings)
    else:
        _compare_numbers(where, expected, got, tolerance, findings)


def _compare_numbers(where: str, expected: Json, got: object, tolerance: float, findings: Findings) -> None:
    left, right = np.ravel(np.asarray(expected)), np.ravel(np.asarray(got))
    whole = left.size == 0 or left.dtype.kind in "iub"
    if left.size != right.size:
        findings.fail(where, _some(left), _some(right), _set_error(left, right) if whole else 100.0)
        return
    if whole:
        if not np.array_equal(left, right):
            findings.fail(where, *_first_difference(left, right), _set_error(left, right))
        return
    gap = np.abs(left.astype(float) - right.astype(float))
    scale = np.abs(left.astype(float)).max()
    worst = float(gap.max())
    error = 100.0 * worst / scale if scale else 100.0 * worst
    if not (gap <= tolerance + ROUNDING * np.abs(left.astype(float))).all():
        at = int(gap.argmax())
        findings.fail(f"{where}[{at}]", f"{left[at]:.7g}", f"{right[at]:.7g}", error)
    findings.error_pct = max(findings.error_pct, error)


def _compare_overlap(where: str, expected: Json, got: Overlap, findings: Findings) -> None:
    rows = expected if isinstance(expected, list) else []
    for number, (left, right) in enumerate(zip(rows, got.kept, strict=True)):
        wanted = {int(at) for at in left if isinstance(at, int)} if isinstance(left, list) else set()
        share = len(wanted & set(right)) / max(1, len(wanted))
        missing = 100.0 * (1 - share)
        if share < got.least or len(right) != len(wanted):
            findings.fail(
                f"{where}[{number}]", _some(np.array(sorted(wanted))), _some(np.array(sorted(right))), missing
            )
        elif share < 1:
            findings.remarks.append(f"{where}[{number}] shares {100 * share:.1f} % (case asks for overlap)")
        findings.error_pct = max(findings.error_pct, missing)


def _set_error(left: NDArray[np.generic], right: NDArray[np.generic]) -> float:
    """Entries of the expected list that are missing, in percent."""
    wanted = set(left.tolist())
    return 100.0 * len(wanted.symmetric_difference(right.tolist())) / max(1, 2 * len(wanted))


def _first_difference(left: NDArray[np.generic], right: NDArray[np.generic]) -> tuple[str, str]:
    at = int((left != right).argmax())
    return f"{left[at]} at {at}", f"{right[at]} at {at}"


def _some(values: NDArray[np.generic]) -> str:
    shown = " ".join(str(value) for value in values[:6].tolist())
    return f"{values.size} values: {shown}{' ...' if values.size > 6 else ''}"


def kept_rows(value: Json) -> int:
    """Rows of a kept list: 1 when it is flat, else its number of heads."""
    return len(value) if isinstance(value, list) and value and isinstance(value[0], list) else 1


@dataclass(frozen=True)
class Cut:
    """Where a ranking was cut.

    Parameters
    ----------
    scores
        `(heads, n)` of the ranking; `inf` for keys kept whatever their score.
    fewest, most
        Keys each head may keep `(heads,)`; they differ where heads compete and places are tied.
    """

    scores: NDArray[np.floating]
    fewest: NDArray[np.int64]
    most: NDArray[np.int64]


def tied(expected: list[list[int]], cut: Cut) -> bool:
    """Whether a set of kept keys is as good as any: no dropped key scores more than a kept one.

    Scores closer than `TIE` count as equal.
    """
    heads, n = cut.scores.shape
    if len(expected) != heads:
        return False
    for row, kept in enumerate(expected):
        if not cut.fewest[row] <= len(kept) <= cut.most[row] or not 0 <= min(kept) <= max(kept) < n:
            return False
        mask = np.zeros(n, bool)
        mask[kept] = True
        lowest = cut.scores[row, mask].min()
        highest = cut.scores[row, ~mask].max(initial=-np.inf)
        if np.isposinf(highest) or highest > lowest + TIE * abs(lowest):
            return False
    return True


def overlap_asked(protocol: str) -> float | None:
    """Smallest overlap a case's text accepts (``set overlap (>=95%)``), or None."""
    match = re.search(r"overlap\s*\(\s*>=\s*([\d.]+)\s*%", protocol)
    return float(match.group(1)) / 100 if match else None
