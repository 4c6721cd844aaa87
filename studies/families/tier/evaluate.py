"""Measures a memory tier: sends it the traffic of a point, and says what it sustains and what limits it."""

from __future__ import annotations

import time

from algorithms.memory.algorithm import get_tier_algorithm
from studies.families.family import parameters_of
from studies.families.tier.evaluation import TierEvaluation
from studies.points.point import DesignPoint


def evaluate_tier(point: DesignPoint) -> TierEvaluation:
    """Send the traffic of `point` to its memory tier.

    Raises
    ------
    InputError
        Unknown tier, settings that do not apply to it, or a mapping that does not fit it.
    simulator.errors.GraphError
        Settings beyond the limits of the DRAM kernels.
    """
    algorithm = get_tier_algorithm(point.algorithm)
    parameters = parameters_of(algorithm, point)
    started = time.perf_counter()
    report = algorithm.measure(parameters)
    return TierEvaluation(point, None, time.perf_counter() - started, report)
