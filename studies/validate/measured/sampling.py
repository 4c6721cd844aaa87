"""Takes a sample of rows that stands for all: of every group and every power of ten of time its share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from studies.validate.measured.tables.table import MeasuredTable

Rows = NDArray[np.int64]


def sampled_rows(tables: list[MeasuredTable], count: int, seed: int) -> list[Rows]:
    """Rows of each table, ascending, about ``count`` of all; the same for the same tables, count and seed.

    Strata are the groups of each table by power of ten of the measured time. Each gives its share, rounded up, so that
    small groups are there; within a stratum rows are drawn without replacement.
    """
    total = sum(len(table) for table in tables)
    if total <= count:
        return [np.arange(len(table), dtype=np.int64) for table in tables]
    generator = np.random.default_rng(seed)
    share = count / total
    chosen = []
    for table in tables:
        strata = _strata(table)
        order = generator.permutation(len(table))
        order = order[np.argsort(strata[order], kind="stable")]
        _, starts, sizes = np.unique(strata[order], return_index=True, return_counts=True)
        taken = [order[start : start + int(np.ceil(share * size))] for start, size in zip(starts, sizes, strict=True)]
        chosen.append(np.sort(np.concatenate(taken)))
    return chosen


def _strata(table: MeasuredTable) -> Rows:
    _, group = table.groups()
    decade = np.floor(np.log10(table.time_us)).astype(np.int64)
    decade -= decade.min()
    return group * (int(decade.max()) + 1) + decade
