"""Watches a stream."""

from __future__ import annotations

import time

from algorithms.live.streams.algorithm import get_stream_algorithm
from algorithms.live.streams.metrics import stream_metrics
from studies.families.family import parameters_of
from studies.families.stream.evaluation import StreamEvaluation
from studies.points.point import DesignPoint


def evaluate_stream(point: DesignPoint) -> StreamEvaluation:
    """Watch the stream of `point` on its chip.

    Raises
    ------
    InputError
        A scenario, model or policy that is not known or does not fit together.
    simulator.errors.CapacityError
        If nothing fits beside the weights.
    """
    algorithm = get_stream_algorithm(point.algorithm)
    parameters, setting = parameters_of(algorithm, point), point.on_chip
    started = time.perf_counter()
    found = algorithm.streamed(parameters, setting.accelerator, setting.mapping, setting.memory)
    return StreamEvaluation(point, None, time.perf_counter() - started, found, stream_metrics(found))
