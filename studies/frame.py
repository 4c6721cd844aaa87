"""Stored points as a pandas frame, for notebooks and scripts."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from studies.report.points import Points
from studies.store import Row


def frame(rows: Iterable[Row]) -> pd.DataFrame:
    """One line per point: its state, its settings and its metrics, named as in a report.

    Parameters
    ----------
    rows
        As `studies.store.Store.rows` yields them.

    Returns
    -------
    pandas.DataFrame
        Indexed by the number of the point. Columns are ``state`` (done, deadlock, failed or pending), every
        setting (``algorithm``, ``seq_len``, parameters by name), every metric, and ``command``, which reproduces
        the point. Missing values where a setting does not apply or a metric did not come out.
    """
    points = Points.of(rows)
    columns = {column.name: pd.Series(column.values) for column in points.columns}
    table = pd.DataFrame({"state": pd.Series(points.states)} | columns | {"command": pd.Series(points.commands)})
    return table.rename_axis("point")
