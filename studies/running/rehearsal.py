"""A tiny point before the first one with limits: what a worker loads once is not time and memory of a design."""

from __future__ import annotations

import functools
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from studies.points.point import DesignPoint, Engine

GRAPH = "sdpa.naive"
ON_CHIP = "flash.q_outer"
CHIP = "h100"


def rehearse(point: DesignPoint) -> None:
    """Load what evaluating points like this one takes, once in a process; what fails here fails again there."""
    if point.workload is not None:
        with suppress(Exception):
            _evaluate_tiny(point.engine, point.chip is not None)


@functools.cache
def _evaluate_tiny(engine: Engine, on_chip: bool) -> None:
    import numpy as np

    from algorithms.workload.one_head import ONE_HEAD, ONE_HEAD_ON_CHIP
    from studies.families.graph.evaluate import attempt
    from studies.points.find import find_algorithm
    from studies.points.knobs import complete_parameters
    from studies.points.point import DesignPoint

    square = np.ones((256, 256))
    np.matmul(square, square)  # large enough to make the library of linear algebra take its working memory
    size = {"q_len": 4, "kv_len": 4}
    if on_chip:
        from hwmodels.chips.accelerator import load_accelerator
        from studies.points.chips import chip_setting

        parameters = complete_parameters(find_algorithm(ON_CHIP), {})
        setting = chip_setting(load_accelerator(CHIP), {}, {})
        attempt(DesignPoint(ON_CHIP, ONE_HEAD_ON_CHIP.with_(**size), parameters, engine, chip=setting))
    else:
        parameters = complete_parameters(find_algorithm(GRAPH), {})
        attempt(DesignPoint(GRAPH, ONE_HEAD.with_(**size), parameters, engine))
