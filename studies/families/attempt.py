"""Evaluates points of any family for sweeps and searches: what a point raises becomes an outcome with its reason."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from studies.families.evaluate import reason
from studies.families.family import Evaluation, Family, family_of, refuse_misfits
from studies.points.outcome import Outcome
from studies.points.point import DesignPoint
from studies.points.writing import written


class Attempt:
    """Evaluates points for sweeps: whatever a point raises becomes an outcome with its reason."""

    def __call__(self, point: DesignPoint) -> Outcome:
        """The outcome of one point."""
        return next(self.many((point,)))

    def many(self, points: Sequence[DesignPoint]) -> Iterator[Outcome]:
        """Outcomes in the order of the points; neighbours of one family are handed to it together."""
        for family, together in groupby(points, _family_or_why):
            group = list(together)
            many = family.evaluate_many(group) if isinstance(family, Family) else iter([family])
            yield from _attempted(group, many)


class AttemptToStore(Attempt):
    """The same for whoever only stores outcomes: they are written where they are computed."""

    def many(self, points: Sequence[DesignPoint]) -> Iterator[Outcome]:
        """Outcomes in the order of the points, as texts."""
        return map(written, super().many(points))


attempt = Attempt()
"""The one that searches use."""
attempt_to_store = AttemptToStore()
"""The one that sweeps use."""


def _family_or_why(point: DesignPoint) -> Family | Exception:
    """The family that evaluates `point`, or why none does."""
    try:
        refuse_misfits(point)
        return family_of(point)
    except Exception as error:
        return error


def _attempted(points: Sequence[DesignPoint], found: Iterator[Evaluation | Exception]) -> Iterator[Outcome]:
    """What evaluations, or why there are none, are to a sweep."""
    for point in points:
        started = time.perf_counter()
        try:
            evaluation = next(found, None)
            if evaluation is None:
                raise RuntimeError(f"{family_of(point).name} gave up before this point")
            if isinstance(evaluation, Exception):
                raise evaluation
            detail = evaluation.detail
            outcome = Outcome(point.key, "done", detail.measured(), detail)
        except Exception as error:
            why = "".join(traceback.format_exception(error))
            outcome = Outcome(point.key, "failed", {}, None, reason(error), why)
        yield replace(outcome, wall_s=time.perf_counter() - started)
