"""The points of a study as they are in its store: frames, the front, a report; what `Study.sweep` hands back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hwmodels.reading.cards import html_table
from hwmodels.reading.errors import InputError, Problem
from studies.points.outcome import Row
from studies.points.point import Json
from studies.report.frame import frame_of
from studies.report.page import write_points
from studies.report.picture import picture
from studies.report.points import Points
from studies.report.reading import read_points
from studies.store.store import Store
from studies.study.goals import Goals

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Results:
    """A study in a store.

    Parameters
    ----------
    store
        The SQLite file.
    study
        Name of the study in it.
    summary
        What the call that made these results did, as plain JSON values.
    """

    store: Path
    study: str
    summary: dict[str, Json]

    def rows(self) -> list[Row]:
        """Every point with all that is stored about it, in the order of the grid."""
        with Store(self.store) as opened:
            return list(opened.rows(self.study))

    def points(self) -> Points:
        """The same as reports see it."""
        with Store(self.store) as opened:
            goals = Goals.of({self.study: opened.description(self.study)})
        return Points.of(self.rows(), goals)

    def frame(self) -> pd.DataFrame:
        """One line per point: state, settings, metrics, front, command; see `studies.report.frame.frame_of`."""
        return frame_of(self.points())

    def front(self) -> pd.DataFrame:
        """The lines of `frame` that no other point of their workload beats, best by the first objective first."""
        points = self.points()
        table = self.frame()
        table = table[table["front"]]
        objective = points.objectives[0] if points.objectives else None
        return table.sort_values(objective.name, ascending=objective.goal != "max") if objective else table

    def best(self, metric: str) -> pd.Series[Any]:
        """The line of the best feasible point by `metric`.

        Raises
        ------
        InputError
            If no point has it, or it has no direction.
        """
        points = self.points()
        column = points.column(metric)
        if column is None or not column.numeric or column.goal is None:
            raise InputError(Problem(f"no point is best by {metric!r}: it is no number with a direction here"))
        table = self.frame()
        done = table[table["state"] == "done"]
        values = done[metric].to_numpy(dtype=float)
        return done.iloc[int(np.nanargmax(values) if column.goal == "max" else np.nanargmin(values))]

    def report(self, path: Path | str, title: str | None = None) -> Path:
        """Write the report to one HTML file; returns where.

        Raises
        ------
        InputError
            If it cannot be written, as when its folder is missing.
        """
        with Store(self.store) as opened:
            told = opened.description(self.study)
            points = read_points(opened, self.study)
        try:
            write_points(points, path, title or str(told.get("title") or self.study))
        except OSError as error:
            raise InputError(Problem(f"cannot be written: {error.strerror}", str(path))) from None
        return Path(path)

    def _repr_html_(self) -> str:
        points = self.points()
        rows = [("points", f"{len(points):,}"), ("with a result", f"{len(points.done):,}")]
        rows += [
            (state, f"{many:,}")
            for state in ("infeasible", "deadlock", "failed")
            if (many := len(points.in_state(state)))
        ]
        for best in points.best:
            value = best.objective.values[best.point]
            label = points.label(best.point, "design") or points.rows[best.point].point.algorithm
            rows.append((f"best {best.objective.spoken}", f"{best.objective.words(value)}: {label}"))
        table = html_table(f"{self.study} in {self.store}", ("", ""), [(name, str(value)) for name, value in rows])
        return f"{table}{picture(points)}"
