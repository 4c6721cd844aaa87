"""Evaluates points of any family: for a person, who wants errors raised, and for sweeps, which want an outcome."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from hwmodels.reading.errors import InputError
from studies.families.detail import Detail
from studies.families.explanation import Explanation
from studies.families.family import Evaluation, Family, family_of, refuse_misfits
from studies.points.find import find_algorithm
from studies.points.outcome import Outcome
from studies.points.point import DesignPoint, Json
from studies.points.writing import written


def evaluate(point: DesignPoint) -> Evaluation:
    """Simulate `point`, whatever family it is of.

    Raises
    ------
    InputError, simulator.errors.SimulatorError
        When it cannot be built or simulated. A deadlock is a result, not an error.
    """
    family = family_of(point)
    refuse_misfits(point)
    return family.evaluate(point)


def explain(point: DesignPoint) -> Explanation:
    """What binds `point`, and levers that were tried.

    Raises
    ------
    InputError, simulator.errors.SimulatorError
        As `evaluate`, or if its family explains nothing.
    """
    family = family_of(point)
    refuse_misfits(point)
    found = family.explain(point)
    if found is None:
        what = find_algorithm(point.algorithm).what
        raise InputError(f"{point.algorithm} {what} and is no graph of FIFOs: `attnflow run` says what binds it there")
    return found


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


def reason(error: Exception) -> str:
    """Why something failed, in one line."""
    text = "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
    expected = isinstance(error, InputError) or type(error).__module__.startswith("simulator.")
    return text if expected and text else f"{type(error).__name__}: {text}".rstrip(": ")


def read_detail(point: DesignPoint, document: Mapping[str, Json]) -> Detail:
    """The detail of `point` as a store or a file has it.

    Raises
    ------
    InputError
        An algorithm or family that is not there, or a document of a later version.
    studies.families.detail.MisreadError
        A part that is missing, or is not what it has to be.
    """
    return family_of(point).read(point, document)
