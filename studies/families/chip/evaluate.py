"""Evaluates a design point on a chip: plans its tiles, times them, and holds its values against the float64 oracle."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from hwmodels.reading.errors import InputError, Problem
from studies.families.deviation import Deviation, deviation_of
from studies.families.metrics import Subject, measure
from studies.families.value_pass import remembered
from studies.points.find import find_algorithm
from studies.points.point import ChipSetting, DesignPoint, Json, Scalar, TensorFile

if TYPE_CHECKING:
    from algorithms.chip.algorithm import TiledAlgorithm
    from algorithms.chip.plan.plan import TilePlan
    from algorithms.chip.plan.profile import KernelProfile
    from algorithms.chip.timing.mapping import ChipRun
    from algorithms.registry import Parameters
    from algorithms.workload.shape import Workload

LARGEST_CHECKED = 1 << 22
"""Scores, and elements of a tensor, up to which values are checked; they depend on no chip, and timing on no values."""


@dataclass(frozen=True)
class ChipEvaluation:
    """A design point on a chip, and what came out.

    Parameters
    ----------
    point
        What was evaluated.
    decided
        Parameters with everything automatic decided for the chip.
    plan, run
        What cores had to do, and when they did it.
    energy_j
        By component.
    tokens
        By which the run advances all sequences.
    layers
        Layers of the model that the run goes through.
    details
        Further figures of this family of algorithms.
    deviation
        Of the values from the oracle; None if they were not computed, and `note` says why.
    wall_s
        Time the evaluation took on this computer.
    """

    subject: ClassVar[Subject] = "chip"

    point: DesignPoint
    decided: Mapping[str, Scalar]
    plan: TilePlan
    run: ChipRun
    energy_j: Mapping[str, float]
    tokens: float
    layers: int
    details: Mapping[str, float | str]
    deviation: Deviation | None
    note: str
    wall_s: float

    @property
    def cycles(self) -> int:
        """Of a core's sustained clock."""
        return round(self.run.cycles)

    @property
    def seconds(self) -> float:
        """All launches and the gaps before them."""
        return self.run.seconds

    @property
    def idle_cores(self) -> int:
        """Cores that have nothing to do in the launch that takes longest."""
        longest = max(self.run.launches, key=lambda launch: launch.seconds, default=None)
        return self.chip.accelerator.cores - (longest.cores if longest else 0)

    @property
    def chip(self) -> ChipSetting:
        """What it ran on."""
        if self.point.chip is None:
            raise TypeError("a point without a chip has no chip evaluation")
        return self.point.chip

    def describe(self) -> dict[str, Json]:
        """Everything as plain JSON values: what ``attnflow run --json`` prints."""
        run, bounds, deviation = self.run, self.run.bounds, self.deviation
        return {
            "key": self.point.key,
            "point": self.point.describe(),
            "parameters": dict(self.decided),
            "cycles": self.cycles,
            "seconds": self.seconds,
            "clock_hz": run.clock_hz,
            "bounds": {
                "binding": bounds.binding,
                **{f"{name}_s": value for name, value in bounds.by_name().items()},
                "roofline_s": bounds.roofline_s,
                "compulsory_s": bounds.compulsory_s,
                "useful_matrix_s": bounds.useful_matrix_s,
            },
            "launches": self._launches(),
            "tier_bytes": dict(run.tier_bytes),
            "energy_j": dict(self.energy_j),
            "layers": self.layers,
            "details": dict(self.details),
            "metrics": measure(self),
            "error": {"rel_l2": deviation.rel_l2, "max_abs": deviation.max_abs} if deviation else None,
            "note": self.note,
            "wall_s": self.wall_s,
        }

    def _launches(self) -> list[Json]:
        """All launches; those of layers that are alike are one entry, with the sum of their times, bytes and work."""
        alike: dict[tuple[str, float, int], list[int]] = {}
        for number, run in enumerate(self.run.launches):
            alike.setdefault((run.name, run.seconds, run.items), []).append(number)
        return [self._launch(numbers) for numbers in alike.values()]

    def _launch(self, numbers: list[int]) -> dict[str, Json]:
        runs = [self.run.launches[number] for number in numbers]
        planned = [self.plan.launches[number] for number in numbers]
        return {
            "name": runs[0].name,
            "times": len(numbers),
            "seconds": sum(run.seconds for run in runs),
            "gap_s": sum(run.gap_s for run in runs),
            "cycles": sum(run.cycles for run in runs),
            "items": runs[0].items,
            "steps": sum(item.step_count * times for item, times in planned[0].items),
            "cores": runs[0].cores,
            "waves": runs[0].waves,
            "busy": dict(runs[0].busy),
            "stalled": dict(runs[0].stalled),
            "load_bytes": sum(launch.total("load_bytes") for launch in planned),
            "store_bytes": sum(launch.total("store_bytes") for launch in planned),
            "flops": sum(launch.total("flops") for launch in planned),
            "exps": sum(launch.total("exps") for launch in planned),
            "vector_ops": sum(launch.total("vector_ops") for launch in planned),
            "firings": sum(run.result.firings for run in runs),
            "skipped_firings": sum(run.result.skipped.firings for run in runs),
        }


def evaluate_on_chip(point: DesignPoint) -> ChipEvaluation:
    """Time `point` on its chip, and check its values if it is small enough.

    Raises
    ------
    InputError
        When algorithm, parameters, workload and chip do not fit together.
    simulator.CapacityError
        When tiles do not fit into a core, or tensors into the main memory.
    """
    from algorithms.chip.timing.capacity import check_tensors_fit
    from algorithms.chip.timing.energy import energy_of
    from algorithms.chip.timing.mapping import time_plan

    started = time.perf_counter()
    algorithm = _chip_algorithm(point)
    setting = point.chip
    if setting is None:
        raise InputError(Problem(f"{point.algorithm} runs on a chip: name one", field="chip"))
    chip, workload = setting.accelerator, point.workload
    parameters = algorithm.resolved(workload, algorithm.parameters(**dict(point.parameters)), chip)
    plan = algorithm.plan(workload, parameters, chip)
    check_tensors_fit(plan.algorithm, plan.capacity_bytes, chip, workload.dtype)
    run = time_plan(plan, chip, _profile(setting, parameters), mode=setting.mapping, memory=setting.memory)
    decided: dict[str, Scalar] = {
        field.name: getattr(parameters, field.name) for field in dataclasses.fields(parameters)
    }
    note = _why_unchecked(point)
    deviation = None if note else _deviation(point.algorithm, workload, tuple(decided.items()), point.tensors)
    return ChipEvaluation(
        point=point,
        decided=decided,
        plan=plan,
        run=run,
        energy_j=energy_of(plan, chip, run.tier_bytes, run.seconds),
        tokens=algorithm.tokens_made(workload, parameters),
        layers=algorithm.layers_made(workload, parameters),
        details=algorithm.details(workload, parameters, chip),
        deviation=deviation,
        note=note,
        wall_s=time.perf_counter() - started,
    )


def _profile(setting: ChipSetting, parameters: object) -> KernelProfile:
    """That of a published kernel, or no overheads and as many tiles on the way as the algorithm holds.

    Parameters of a kernel load for the next item when its profile says; others were chosen by hand, and count.
    """
    from algorithms.chip.plan.profile import unfitted_for

    if setting.profile is None:
        return unfitted_for(parameters)
    chosen = getattr(parameters, "next_item", setting.profile.next_item)
    return dataclasses.replace(setting.profile, next_item=chosen)


def _chip_algorithm(point: DesignPoint) -> TiledAlgorithm[Parameters]:
    from algorithms.chip.algorithm import get_chip_algorithm

    if "chip" not in find_algorithm(point.algorithm).takes:
        raise InputError(Problem(f"{point.algorithm} is a graph of FIFOs and takes no chip", field="chip"))
    return get_chip_algorithm(point.algorithm)


def _why_unchecked(point: DesignPoint) -> str:
    """Why the values of a point are not computed; empty if they are."""
    work = point.workload
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
    from algorithms.chip.algorithm import get_chip_algorithm
    from studies.families.deviation import oracle_on, tensors_of

    algorithm = get_chip_algorithm(algorithm_name)
    parameters = algorithm.parameters(**dict(decided))
    tensors = algorithm.prepared(workload, parameters, tensors_of(workload, file))
    return deviation_of(algorithm.values(workload, parameters, tensors), oracle_on(workload, tensors))
