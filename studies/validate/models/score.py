"""How far predicted steps and layers are from measured ones: errors by group, model, GPU, batch and chips."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hwmodels.reading.errors import InputError
from simulator.errors import SimulatorError
from studies.points.point import Json
from studies.validate.models.cases import Case

_STATISTICS = ("mean_abs_error_pct", "median_abs_error_pct", "p90_abs_error_pct", "median_signed_error_pct")
COLUMNS = ("n", "unsupported", *_STATISTICS)
HEADINGS = ("n", "unsupported", "mean |%|", "median |%|", "nine of ten within %", "bias %")
"""What is said of the cases of a line, and its headings in a table for people."""
ALL = "all"


@dataclass(frozen=True)
class Score:
    """A case and what was predicted.

    Parameters
    ----------
    case
        The measured one.
    seconds
        Predicted; None where it cannot be.
    why
        Why it cannot be.
    """

    case: Case
    seconds: float | None
    why: str = ""

    @property
    def error(self) -> float | None:
        """Predicted over measured, minus 1."""
        return None if self.seconds is None else self.seconds / self.case.seconds - 1


def predicted(case: Case) -> Score:
    """The prediction of a case, or why there is none."""
    try:
        return Score(case, case.predicted_s())
    except (InputError, SimulatorError) as error:
        return Score(case, None, str(error).splitlines()[0])


@dataclass(frozen=True)
class Line:
    """Errors of the cases of a group that share the value of a label.

    Parameters
    ----------
    group, label, value
        Group; label and its value, ``all`` and an empty one for the whole group.
    scores
        The cases.
    """

    group: str
    label: str
    value: str
    scores: tuple[Score, ...]

    def statistics(self) -> dict[str, float | None]:
        """What stands under `COLUMNS`; None where nothing could be predicted."""
        errors = np.array([score.error for score in self.scores if score.error is not None])
        counts: dict[str, float | None] = {"n": len(self.scores), "unsupported": len(self.scores) - len(errors)}
        sizes = np.abs(errors)
        found: dict[str, Callable[[], np.floating]] = {
            "mean_abs_error_pct": lambda: np.mean(sizes),
            "median_abs_error_pct": lambda: np.median(sizes),
            "p90_abs_error_pct": lambda: np.quantile(sizes, 0.9),
            "median_signed_error_pct": lambda: np.median(errors),
        }
        return counts | {name: round(100 * float(of()), 2) if len(errors) else None for name, of in found.items()}

    @property
    def reasons(self) -> Mapping[str, int]:
        """Why cases have no prediction, each with how many."""
        return Counter(score.why for score in self.scores if score.seconds is None)


@dataclass(frozen=True)
class ModelsReport:
    """All scores.

    Parameters
    ----------
    scores
        One per case, in the order of the tables.
    """

    scores: tuple[Score, ...]

    @property
    def groups(self) -> tuple[Line, ...]:
        """A line for every group as a whole."""
        return tuple(line for line in self.lines() if line.label == ALL)

    def lines(self) -> Iterator[Line]:
        """A line per group, and one for every value of its labels."""
        for group in dict.fromkeys(score.case.group for score in self.scores):
            own = [score for score in self.scores if score.case.group == group]
            yield Line(group, ALL, "", tuple(own))
            yield from _by_label(group, own)

    def to_json(self) -> dict[str, Json]:
        """The document that the command line prints."""
        return {
            "kind": "models",
            "cases": len(self.scores),
            "unsupported": sum(score.seconds is None for score in self.scores),
            "groups": [
                {
                    "group": line.group,
                    "label": line.label,
                    "value": line.value,
                    **line.statistics(),
                    "reasons": dict(line.reasons) if line.label == ALL else {},
                }
                for line in self.lines()
            ],
        }


def _by_label(group: str, scores: Sequence[Score]) -> Iterator[Line]:
    for name in dict.fromkeys(name for score in scores for name, _ in score.case.labels):
        values: dict[str, list[Score]] = {}
        for score in scores:
            values.setdefault(dict(score.case.labels).get(name, ""), []).append(score)
        for value in sorted(values) if len(values) > 1 else ():
            yield Line(group, name, value, tuple(values[value]))


def table_lines(lines: Iterable[Line]) -> Iterator[tuple[str | float | None, ...]]:
    """Cells of lines: group, label, value, and what stands under `COLUMNS`."""
    for line in lines:
        yield line.group, line.label, line.value, *line.statistics().values()
