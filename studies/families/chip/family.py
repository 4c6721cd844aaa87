"""Designs on a chip, as the rest of `studies` knows them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from algorithms.chip.algorithm import TiledAlgorithm
from algorithms.workload.one_head import ONE_HEAD_ON_CHIP
from hwmodels.chips.accelerator import load_accelerator
from hwmodels.costs.area import estimates_of
from studies.families.chip.binding import what_binds
from studies.families.chip.evaluate import cores_of, evaluate_on_chip
from studies.families.chip.evaluation import ChipDetail, ChipEvaluation
from studies.families.chip.explain import ChipExplanation, explain_on_chip
from studies.families.chip.path import path_of
from studies.families.chip.text import summary
from studies.families.compiled import ENGINE, MEMORY, Compiled
from studies.families.detail import Detail
from studies.families.family import Evaluation, Family, family, of_kind
from studies.families.path import StartTimes, TracedPath
from studies.points.chips import chip_setting
from studies.points.find import find_algorithm
from studies.points.knobs import complete_parameters
from studies.points.point import DesignPoint, Engine, Json

REHEARSED = "flash.q_outer"
REHEARSED_ON = "h100"


ENERGIES = ("energy_j", "energy_per_token_j", "power_w", "power.idle_w")
"""Metrics of energy and power."""


@family
class ChipFamily(Family):
    """Tiles, launches and the cores, caches and memories that they run on."""

    name = "chip"
    entry = TiledAlgorithm
    traced = True

    def evaluate(self, point: DesignPoint) -> ChipEvaluation:
        """Plan the tiles and time them; see `evaluate_on_chip`."""
        return evaluate_on_chip(point)

    def structure(self, point: DesignPoint) -> Hashable:
        """All that decides on plans and graphs of cores; clocks and rates of memories only fill times in."""
        setting = point.on_chip
        return point.algorithm, id(point.workload), point.parameters, setting.mapping, cores_of(setting.accelerator)

    def text(self, evaluation: Evaluation) -> str:
        """Time, bounds, energy, launches and traffic."""
        return summary(of_kind(ChipEvaluation, evaluation))

    def read(self, point: DesignPoint, document: Mapping[str, Json]) -> ChipDetail:
        """Times, bounds, launches, traffic, energy and figures."""
        return ChipDetail.from_json(point, document)

    def rehearsal(self, engine: Engine = "compiled") -> DesignPoint:
        """Four queries and keys on one of the shipped chips."""
        del engine
        parameters = complete_parameters(find_algorithm(REHEARSED), {})
        setting = chip_setting(load_accelerator(REHEARSED_ON), {}, {})
        workload = ONE_HEAD_ON_CHIP.with_(q_len=4, kv_len=4)
        return DesignPoint(REHEARSED, workload, parameters, chip=setting)

    def kernels(self, point: DesignPoint) -> tuple[Compiled, ...]:
        """The engine, and memory models where the main memory is simulated bank by bank."""
        return (ENGINE, MEMORY) if point.on_chip.memory == "cycle" else (ENGINE,)

    def settings(self, point: DesignPoint, other: DesignPoint) -> Mapping[str, Json]:
        """Of different chips the names and what was changed about them, of equal ones every number."""
        setting = point.on_chip
        accelerator = setting.accelerator
        alike = other.chip is None or other.chip.accelerator.name == accelerator.name
        numbers = accelerator.values() if alike else dict(accelerator.changes)
        use: dict[str, Json] = {"mapping": setting.mapping, "memory": setting.memory}
        return {**point.describe(), "chip": {"name": accelerator.name, **numbers, **use}}

    def explain(self, point: DesignPoint) -> ChipExplanation:
        """Bounds, launches, and twice of each resource or other parameters, tried one by one."""
        return explain_on_chip(point)

    def path(self, point: DesignPoint, starts: StartTimes) -> TracedPath:
        """Through the cores that stand for all, and the gaps between launches."""
        return path_of(evaluate_on_chip(point).run, starts)

    def estimates(self, point: DesignPoint) -> Mapping[str, str]:
        """Area, and energies with its leakage, where the die is not published; energies where the node is not."""
        return estimates_of(point.on_chip.accelerator, ENERGIES, ("area_mm2",))

    def binding(self, detail: Detail, path: TracedPath | None = None) -> str:
        """What most of the path goes to, or the largest bound, or the cache."""
        return what_binds(of_kind(ChipDetail, detail), path)
