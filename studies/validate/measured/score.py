"""Errors of predicted rows by group, and by bins within a group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from studies.points.point import Json
from studies.validate.measured.rows.prediction import Binned, GroupKey
from studies.validate.measured.tables.table import Times
from studies.validate.records import Scalar

TIME_BINS = Binned("time", "time_us", (10, 100, 1000, 10000))
"""Rows of every table are told apart by their measured time, in microseconds."""


_STATISTICS = ("mean_abs_error_pct", "median_abs_error_pct", "p95_abs_error_pct", "mean_signed_error_pct")
GROUP_COLUMNS_OF_TABLE = ("n", "unsupported", *_STATISTICS, "noise_floor_pct")
"""What a line of a group holds."""
GROUP_HEADINGS = ("n", "unsupported", "mean |%|", "median |%|", "p95 |%|", "signed %", "noise %")
"""Of the columns of groups in a table for people."""


@dataclass(frozen=True)
class BinScore:
    """Rows of a group within one bin.

    Parameters
    ----------
    bin
        ``1 to 4``, or a value.
    n
        Rows predicted.
    mean_abs_error_pct, mean_signed_error_pct
        Of ``predicted / measured - 1``.
    """

    bin: str
    n: int
    mean_abs_error_pct: float
    mean_signed_error_pct: float


@dataclass(frozen=True)
class GroupScore:
    """Rows of one table, GPU, stack, version and kernel.

    Parameters
    ----------
    key
        Which.
    n
        Rows, those without a prediction included.
    reasons
        Why rows have no prediction, each with how many.
    errors
        ``predicted / measured - 1`` of the others, `(n - unsupported,)`.
    noise_floor_pct
        By how much a measurement of the same differs from another; None where nobody knows.
    kernels
        Profiles used.
    bins
        By what rows are told apart, each with its bins.
    """

    key: GroupKey
    n: int
    reasons: Mapping[str, int]
    errors: Times
    noise_floor_pct: float | None
    kernels: tuple[str, ...]
    bins: Mapping[str, tuple[BinScore, ...]]

    @property
    def unsupported(self) -> int:
        """Rows without a prediction."""
        return sum(self.reasons.values())

    @property
    def mean_abs_error_pct(self) -> float | None:
        """Mean of |error|; None without any predicted row, as of the other statistics."""
        return _pct(np.mean(np.abs(self.errors))) if len(self.errors) else None

    def row(self) -> tuple[Scalar, ...]:
        """What stands under `GROUP_HEADINGS`."""
        found = self.to_json()
        return tuple(value for name in GROUP_COLUMNS_OF_TABLE if isinstance(value := found[name], int | float | None))

    def to_json(self) -> dict[str, Json]:
        """As the command line prints it."""
        size = np.abs(self.errors)
        some = len(self.errors) > 0
        return {
            **vars(self.key),
            "n": self.n,
            "unsupported": self.unsupported,
            "reasons": dict(self.reasons),
            "mean_abs_error_pct": self.mean_abs_error_pct,
            "median_abs_error_pct": _pct(np.median(size)) if some else None,
            "p95_abs_error_pct": _pct(np.quantile(size, 0.95)) if some else None,
            "mean_signed_error_pct": _pct(np.mean(self.errors)) if some else None,
            "noise_floor_pct": self.noise_floor_pct,
            "profiles": list(self.kernels),
            "bins": {name: [vars(each) for each in bins] for name, bins in self.bins.items()},
        }


def bin_scores(values: Times, errors: Times, binned: Binned) -> tuple[BinScore, ...]:
    """Errors by bin of ``values``, in ascending order; bins without a row are left out."""
    if binned.edges:
        place = np.searchsorted(binned.edges, values, side="right")
        names = _names(binned.edges)
    else:
        known, place = np.unique(values, return_inverse=True)
        names = [f"{value:g}" for value in known]
    return tuple(
        BinScore(name, int(inside.sum()), _pct(np.mean(np.abs(errors[inside]))), _pct(np.mean(errors[inside])))
        for number, name in enumerate(names)
        if (inside := place == number).any()
    )


def _names(edges: Sequence[float]) -> list[str]:
    shown = [f"{int(edge):g}" if edge != int(edge) else f"{edge:g}" for edge in edges]
    return [
        f"up to {shown[0]}",
        *(f"{low} to {high}" for low, high in pairwise(shown)),
        f"over {shown[-1]}",
    ]


def _pct(share: float | np.floating) -> float:
    return round(100 * float(share), 3)


def summary(groups: Sequence[GroupScore]) -> dict[str, Scalar]:
    """Over the groups: their number, rows, and the mean over groups of the mean error, each counted once."""
    means = [group.mean_abs_error_pct for group in groups if group.mean_abs_error_pct is not None]
    return {
        "groups": len(groups),
        "n": sum(group.n for group in groups),
        "unsupported": sum(group.unsupported for group in groups),
        "mean_of_groups_pct": round(float(np.mean(means)), 3) if means else None,
        "worst_group_pct": max(means, default=None),
    }
