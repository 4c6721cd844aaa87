"""Three latencies of a general library's collectives, fitted: ``python -m studies.validate.measured.fit_links --help``.

Only rows of the library marked ``calibrate`` are read for the fit; the error is that on all others. What is printed
stands in the files of systems (``hwmodels/systems/presets``).
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from studies.validate.measured.calibrate import searched
from studies.validate.measured.rows.collectives import LIBRARY, CollectiveRows
from studies.validate.measured.rows.prediction import GroupKey
from studies.validate.measured.tables.layout import layout_called
from studies.validate.measured.tables.read import read_tables
from studies.validate.measured.tables.table import MeasuredTable
from studies.validate.measured.validate import CALIBRATE

START = {"library_latency_s": 1e-5, "library_hop_s": 1e-6, "library_bulk_latency_s": 3e-5}
"""Of the search."""


def library_rows(place: Path, gpu: str, *, fitted: bool) -> tuple[tuple[CollectiveRows, tuple[int, ...]], ...]:
    """Rows of the library on a GPU by group, those marked calibrate or the others."""
    found = []
    for table in read_tables(place, [layout_called("collectives")]).tables:
        kept = table.rows((table.words["gpu"] == gpu) & np.isin(table.words["kernel"], LIBRARY))
        kept = kept.rows((kept.split == CALIBRATE) == fitted)
        found += _groups(kept)
    return tuple(found)


def _groups(table: MeasuredTable) -> list[tuple[CollectiveRows, tuple[int, ...]]]:
    keys, group = table.groups()
    return [
        (CollectiveRows(GroupKey(table.name, *key), table), tuple(map(int, np.flatnonzero(group == number))))
        for number, key in enumerate(keys)
    ]


def errors(groups: Sequence[tuple[CollectiveRows, tuple[int, ...]]], numbers: Mapping[str, float]) -> list[float]:
    """Predicted over measured, minus 1."""
    found = []
    for rows, places in groups:
        changed = rows.with_links(numbers)
        found += [changed.predict(row).microseconds / float(rows.table.time_us[row]) - 1 for row in places]
    return found


def main() -> None:
    """Fit, and print the latencies and how far off rows that were not read are."""
    parser = argparse.ArgumentParser(description="Latencies of a library's collectives, fitted on rows marked for it.")
    parser.add_argument("tables", type=Path, help="folder of measured tables, or that of collectives")
    parser.add_argument("gpu", help="as the table calls it")
    given = parser.parse_args()
    rows = library_rows(given.tables, given.gpu, fitted=True)
    numbers = searched(START, lambda tried: statistics.fmean(map(abs, errors(rows, tried))))
    near, held = errors(rows, numbers), errors(library_rows(given.tables, given.gpu, fitted=False), numbers)
    shown = ", ".join(f"{name} {1e6 * value:.3g} us" for name, value in numbers.items())
    sys.stdout.write(
        f"{given.gpu}: {shown}; {len(near)} rows: mean of absolute errors {statistics.fmean(map(abs, near)):.3f}; "
        f"{len(held)} others: {statistics.fmean(map(abs, held)):.3f}, bias {statistics.fmean(held):+.3f}\n"
    )


if __name__ == "__main__":
    main()
