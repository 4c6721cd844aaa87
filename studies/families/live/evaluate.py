"""Serves a scenario."""

from __future__ import annotations

import time

from algorithms.live.algorithm import get_live_algorithm
from studies.families.family import parameters_of
from studies.families.live.evaluation import LiveEvaluation
from studies.points.point import DesignPoint


def evaluate_live(point: DesignPoint) -> LiveEvaluation:
    """Serve the scenario of `point` on its chip.

    Raises
    ------
    InputError
        A scenario, trace, model or system that is not known or does not fit together.
    simulator.errors.CapacityError
        If no KV block fits beside the weights.
    """
    algorithm = get_live_algorithm(point.algorithm)
    parameters, setting = parameters_of(algorithm, point), point.on_chip
    started = time.perf_counter()
    found = algorithm.served(parameters, setting.accelerator, setting.mapping, setting.memory)
    return LiveEvaluation(point, None, time.perf_counter() - started, found)
