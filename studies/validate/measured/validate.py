"""`validate measured`: tables of measured kernels, predicted row by row and scored by group.

Rows marked ``calibrate`` may have been fitted to and are scored apart, on demand; all others count as ``validate``.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

import studies.validate.measured.rows.attention
import studies.validate.measured.rows.collectives
import studies.validate.measured.rows.experts
import studies.validate.measured.rows.modules
import studies.validate.measured.rows.products
import studies.validate.measured.rows.states  # noqa: F401  registers its predictors, as the ones above
from studies.points.point import Json
from studies.validate.measured.noise import noise_floor_pct
from studies.validate.measured.rows.prediction import BINS, GroupKey, RowPrediction, UnsupportedRowError, predictor_of
from studies.validate.measured.sampling import sampled_rows
from studies.validate.measured.score import TIME_BINS, GroupScore, bin_scores, summary
from studies.validate.measured.tables.table import MeasuredTable, Times

Split = Literal["validate", "calibrate", "all"]
CALIBRATE = "calibrate"


@dataclass(frozen=True)
class Asked:
    """Which rows are scored.

    Parameters
    ----------
    split
        ``validate``: all that are not marked ``calibrate``.
    gpu
        As in the tables; empty for all.
    sample, seed
        About how many rows, and which; None for all.
    """

    split: Split = "validate"
    gpu: str = ""
    sample: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class ScoredRows:
    """Rows of a table with their predictions.

    Parameters
    ----------
    table
        The rows.
    group
        Number of each row's group in `keys`.
    keys
        Groups.
    predicted_us
        NaN where there is none, `(rows,)`.
    dominating
        What takes the longest, or why there is no prediction, by row.
    scores
        By group.
    """

    table: MeasuredTable
    group: np.ndarray[tuple[int], np.dtype[np.int64]]
    keys: tuple[GroupKey, ...]
    predicted_us: Times
    dominating: tuple[str, ...]
    scores: tuple[GroupScore, ...]


@dataclass(frozen=True)
class MeasuredReport:
    """All that was scored.

    Parameters
    ----------
    asked
        Which rows.
    tables
        Each with its rows.
    others
        Files that are not scored.
    seconds
        That predicting took.
    """

    asked: Asked
    tables: tuple[ScoredRows, ...]
    others: tuple[str, ...]
    seconds: float

    @property
    def groups(self) -> tuple[GroupScore, ...]:
        """Of all tables."""
        return tuple(score for scored in self.tables for score in scored.scores)

    @property
    def rows(self) -> int:
        """Of all tables."""
        return sum(len(scored.table) for scored in self.tables)

    def to_json(self) -> dict[str, Json]:
        """The document that the command line prints."""
        return {
            "kind": "measured",
            "split": self.asked.split,
            "sample": self.asked.sample,
            "seed": self.asked.seed,
            "summary": {scored.table.name: summary(scored.scores) for scored in self.tables},
            "rows": self.rows,
            "rows_per_second": round(self.rows / self.seconds, 1) if self.seconds else None,
            "groups": [group.to_json() for group in self.groups],
            "not_scored": list(self.others),
        }


def validate_tables(
    tables: tuple[MeasuredTable, ...],
    asked: Asked,
    others: tuple[str, ...] = (),
    progress: Callable[[int, int], None] | None = None,
) -> MeasuredReport:
    """Score ``tables``; `progress` is told how many rows of how many are done."""
    kept = [_asked_rows(table, asked) for table in tables]
    if asked.sample is not None:
        chosen = sampled_rows(kept, asked.sample, asked.seed)
        kept = [table.rows(rows) for table, rows in zip(kept, chosen, strict=True)]
    kept = [table for table in kept if len(table)]
    total, done, started = sum(map(len, kept)), 0, time.perf_counter()
    scored = []
    for table in kept:
        scored.append(score_table(table))
        done += len(table)
        if progress:
            progress(done, total)
    return MeasuredReport(asked, tuple(scored), others, time.perf_counter() - started)


def _asked_rows(table: MeasuredTable, asked: Asked) -> MeasuredTable:
    keep = np.ones(len(table), dtype=bool)
    if asked.split != "all":
        keep = (table.split == CALIBRATE) == (asked.split == CALIBRATE)
    if asked.gpu:
        keep &= table.words["gpu"] == asked.gpu
    return table.rows(keep)


def score_table(table: MeasuredTable) -> ScoredRows:
    """Predict and score every row of ``table``."""
    names, group = table.groups()
    keys = tuple(GroupKey(table.name, *name) for name in names)
    predicted = np.full(len(table), np.nan)
    words = [""] * len(table)
    scores = []
    for number, key in enumerate(keys):
        rows = np.flatnonzero(group == number)
        predictor = predictor_of(key, table)
        kernels, reasons = Counter[str](), Counter[str]()
        for row in map(int, rows):
            try:
                found: RowPrediction = predictor.predict(row)
            except UnsupportedRowError as reason:
                reasons[str(reason)] += 1
                words[row] = str(reason)
                continue
            predicted[row], words[row] = found.microseconds, found.dominating
            kernels[found.kernel] += 1
        scores.append(_scored(key, table, rows, predicted[rows], reasons, tuple(sorted(kernels))))
    return ScoredRows(table, group, keys, predicted, tuple(words), tuple(scores))


def _scored(
    key: GroupKey,
    table: MeasuredTable,
    rows: np.ndarray[tuple[int], np.dtype[np.int64]],
    predicted: Times,
    reasons: Counter[str],
    kernels: tuple[str, ...],
) -> GroupScore:
    some = rows[~np.isnan(predicted)]
    errors = predicted[~np.isnan(predicted)] / table.time_us[some] - 1
    bins = {TIME_BINS.name: bin_scores(table.time_us[some], errors, TIME_BINS)}
    for binned in BINS.get(table.name, ()):
        bins[binned.name] = bin_scores(table.numbers[binned.column][some].astype(np.float64), errors, binned)
    return GroupScore(key, len(rows), reasons, errors, noise_floor_pct(key), kernels, bins)
