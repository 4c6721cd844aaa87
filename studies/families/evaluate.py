"""Evaluates, explains and reads back points of any family, for a person, who wants errors raised."""

from __future__ import annotations

from collections.abc import Mapping

from hwmodels.reading.errors import InputError
from studies.families.detail import Detail
from studies.families.explanation import Explanation
from studies.families.family import Evaluation, family_of, refuse_misfits
from studies.points.find import find_algorithm
from studies.points.point import DesignPoint, Json


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
