"""Families whose designs are launches on a chip share how a tiny design is made and what one compiles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from hwmodels.chips.accelerator import load_accelerator
from studies.families.compiled import ENGINE, MEMORY, Compiled
from studies.families.family import Family
from studies.points.chips import chip_setting
from studies.points.find import find_algorithm
from studies.points.knobs import complete_parameters
from studies.points.point import DesignPoint, Engine, Scalar


class LaunchFamily(Family):
    """A family whose times are those of launches on a chip."""

    rehearsed: ClassVar[tuple[str, Mapping[str, Scalar]]]
    """An algorithm, and parameters with which it takes next to no time."""
    rehearsed_on: ClassVar[str]
    """A shipped chip."""

    def rehearsal(self, engine: Engine = "compiled") -> DesignPoint:
        """The design that is `rehearsed`."""
        del engine
        name, chosen = self.rehearsed
        setting = chip_setting(load_accelerator(self.rehearsed_on), {}, {})
        return DesignPoint(name, None, complete_parameters(find_algorithm(name), chosen), chip=setting)

    def kernels(self, point: DesignPoint) -> tuple[Compiled, ...]:
        """The engine, and memory models where the main memory is simulated bank by bank."""
        return (ENGINE, MEMORY) if point.on_chip.memory == "cycle" else (ENGINE,)
