"""Times a step of a model."""

from __future__ import annotations

import time

from algorithms.models.steps.algorithm import get_model_algorithm
from studies.families.family import parameters_of
from studies.families.model.evaluation import ModelEvaluation
from studies.points.point import DesignPoint


def evaluate_model(point: DesignPoint) -> ModelEvaluation:
    """Time the step of `point` on its chip or system.

    Raises
    ------
    InputError
        A model, batch, mapping or system that is not known or does not fit together.
    simulator.errors.CapacityError
        If a chip cannot hold its part, with what would make it fit.
    """
    algorithm = get_model_algorithm(point.algorithm)
    parameters = parameters_of(algorithm, point)
    setting = point.on_chip
    started = time.perf_counter()
    step = algorithm.timed(parameters, setting.accelerator, setting.mapping, setting.memory)
    return ModelEvaluation(point, None, time.perf_counter() - started, step)
