"""Stored points as a pandas frame, for notebooks, scripts and other programs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from hwmodels.reading.errors import InputError, Problem
from studies.points.outcome import Row
from studies.report.points import Points
from studies.study.goals import Goals

if TYPE_CHECKING:
    import pandas as pd

FRAME_FORMATS = (".csv", ".parquet", ".json")
"""Endings of files that `write_frame` writes."""


def frame(rows: Iterable[Row], goals: Goals | None = None) -> pd.DataFrame:
    """`frame_of` the points of `rows`, as `studies.store.store.Store.rows` yields them."""
    return frame_of(Points.of(rows, goals))


def frame_of(points: Points) -> pd.DataFrame:
    """One line per point: its state, its settings and its metrics, named as in a report.

    Returns
    -------
    pandas.DataFrame
        Indexed by the number of the point. Columns are ``state`` (done, infeasible, deadlock, failed or pending),
        every setting (``algorithm``, ``seq_len``, parameters by name), every metric, ``front`` (no other point is
        better in one objective without being worse in another), ``reason`` of a point that failed or breaks a
        constraint, ``key``, ``commit`` of the code that computed it, and ``command``, which reproduces it. Missing
        values where a setting does not apply or a metric did not come out.
    """
    import pandas as pd

    columns = {column.name: pd.Series(column.values) for column in points.columns}
    added = {
        "front": pd.Series(points.front),
        "reason": pd.Series([points.reasons.get(i) for i in range(len(points))], dtype=object),
        "key": pd.Series([row.outcome.key for row in points.rows]),
        "commit": pd.Series([row.provenance.get("commit") for row in points.rows], dtype=object),
        "command": pd.Series(points.commands),
    }
    table = pd.DataFrame({"state": pd.Series(points.states)} | columns | added)
    return table.rename_axis("point")


def write_frame(table: pd.DataFrame, path: Path) -> None:
    """Write a frame as CSV, Parquet or JSON, by the ending of `path`.

    Raises
    ------
    InputError
        For another ending, or Parquet where nothing is installed that writes it.
    OSError
        If the file cannot be written.
    """
    if path.suffix == ".csv":
        table.to_csv(path)
    elif path.suffix == ".json":
        table.reset_index().to_json(path, orient="records", indent=1)
    elif path.suffix == ".parquet":
        try:
            table.to_parquet(path)
        except ImportError:
            raise InputError(Problem("Parquet needs pyarrow: pip install pyarrow", str(path))) from None
    else:
        raise InputError(Problem(f"must end in .html, {', '.join(FRAME_FORMATS)}", str(path)))
