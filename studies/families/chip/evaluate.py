"""Evaluates a design on a chip: plans its tiles, times them, and holds its values against the float64 oracle."""

from __future__ import annotations

import dataclasses
import math
import time
from functools import lru_cache

import numpy as np

from algorithms.chip.algorithm import get_chip_algorithm
from algorithms.chip.plan.profile import KernelProfile, unfitted_for
from algorithms.chip.timing.capacity import check_tensors_fit
from algorithms.chip.timing.energy import energy_of
from algorithms.chip.timing.mapping import time_plan
from algorithms.figures import Ran
from algorithms.workload.shape import Workload
from hwmodels.chips.chip import Accelerator
from hwmodels.reading.made import made
from studies.families.chip.evaluation import ChipEvaluation
from studies.families.deviation import Deviation, deviation_of, oracle_on, tensors_of
from studies.families.family import parameters_of
from studies.families.value_pass import remembered
from studies.points.point import ChipSetting, DesignPoint, Scalar, TensorFile

LARGEST_CHECKED = 1 << 22
"""Scores, and elements of a tensor, up to which values are checked; they depend on no chip, and timing on no values."""


def evaluate_on_chip(point: DesignPoint) -> ChipEvaluation:
    """Time `point` on its chip, and check its values if it is small enough.

    Raises
    ------
    InputError
        When algorithm, parameters, workload and chip do not fit together.
    simulator.CapacityError
        When tiles do not fit into a core, or tensors into the main memory.
    """
    started = time.perf_counter()
    algorithm, setting, workload = get_chip_algorithm(point.algorithm), point.on_chip, point.attending
    chip = _one_of(setting.accelerator)
    parameters = algorithm.resolved(workload, parameters_of(algorithm, point), chip)
    plan = algorithm.plan(workload, parameters, chip)
    check_tensors_fit(plan.algorithm, plan.capacity_bytes, chip, workload.dtype)
    run = time_plan(plan, chip, _profile(setting, parameters), mode=setting.mapping, memory=setting.memory)
    decided: dict[str, Scalar] = {name: getattr(parameters, name) for name in _names_of(type(parameters))}
    note = _why_unchecked(point)
    deviation = None if note else _deviation(point.algorithm, workload, tuple(decided.items()), point.tensors)
    figures = algorithm.figures(workload, parameters, chip, Ran(run.seconds))
    return ChipEvaluation(
        point=point,
        accelerator=chip,
        decided=decided,
        plan=plan,
        run=run,
        energy_j=energy_of(plan, chip, run.tier_bytes, run.seconds),
        tokens=algorithm.tokens_made(workload, parameters),
        layers=algorithm.layers_made(workload, parameters),
        details=algorithm.details(workload, parameters, chip),
        own={figure.name: figure.value for figure in figures},
        deviation=deviation,
        note=note,
        wall_s=time.perf_counter() - started,
    )


@lru_cache(maxsize=4096)
def cores_of(chip: Accelerator) -> tuple[int, int]:
    """How many cores a chip has, and a number that is the same for those that are alike."""
    return chip.cores, hash(chip.core)


@lru_cache(maxsize=4096)
def _one_of(chip: Accelerator) -> Accelerator:
    """One object for all chips that are equal: points come with their own, and equal ones take long to compare."""
    return chip


@lru_cache(maxsize=256)
def _names_of(parameters: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(parameters))


def _profile(setting: ChipSetting, parameters: object) -> KernelProfile:
    """That of a published kernel, or no overheads and as many tiles on the way as the algorithm holds.

    Parameters of a kernel load for the next item when its profile says; others were chosen by hand, and count.
    """
    if setting.profile is None:
        return unfitted_for(parameters)
    chosen = getattr(parameters, "next_item", setting.profile.next_item)
    return dataclasses.replace(setting.profile, next_item=chosen)


def _why_unchecked(point: DesignPoint) -> str:
    """Why the values of a point are not computed; empty if they are."""
    work = point.attending
    scores = work.batch * work.heads * work.q_len * work.kv_len
    if point.timing_only:
        return "timing only"
    elements = max(math.prod(shape) for shape in (work.q_shape, work.k_shape, work.v_shape))
    for count, what in ((scores, "scores"), (elements, "elements of a tensor")):
        if count > LARGEST_CHECKED:
            return f"values are not checked: {count:,} {what} are more than {LARGEST_CHECKED:,}"
    return ""


@remembered(maxsize=64)
def _deviation(
    algorithm_name: str, workload: Workload, decided: tuple[tuple[str, Scalar], ...], file: TensorFile | None
) -> Deviation:
    """Errors of the output against the oracle; shared by all chips that decide for the same tiles."""
    algorithm = get_chip_algorithm(algorithm_name)
    parameters = made(algorithm.parameters, dict(decided))
    tensors = algorithm.prepared(workload, parameters, tensors_of(workload, file))
    # what overflows is not finite in the output, and refused there in a sentence
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        computed = algorithm.values(workload, parameters, tensors)
    return deviation_of(computed, oracle_on(workload, tensors))
