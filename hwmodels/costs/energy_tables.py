"""The published energies and areas of ``energy_tables.yaml``, and how they are carried to other nodes."""

from __future__ import annotations

import math
from functools import cache, lru_cache
from importlib import resources

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from hwmodels.reading.cited import Cited
from hwmodels.reading.documents import read_text
from hwmodels.reading.quantity import Bytes, Joules, JoulesPerBit, SquareMillimetres
from hwmodels.tiers.sram_energy import sram_area_mm2, sram_leakage_w, sram_table

COMPUTED_TECHNOLOGIES = ("sram", "core_sram")
"""Technologies whose energy follows from the size of the memory."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class EnergyPoint(Cited[Joules]):
    """Energy of an operation at a node."""

    node_nm: float = Field(gt=0)


class NodePoint(Cited[float]):
    """A factor or density at a node."""

    node_nm: float = Field(gt=0)


class SramPoint(Cited[JoulesPerBit]):
    """Energy per bit of an access to a memory of a size, at a node."""

    node_nm: float = Field(gt=0)
    capacity_bytes: Bytes


class EnergyTables(_Strict):
    """The whole file; see its comments."""

    operations: dict[str, list[EnergyPoint]]
    energy_below: list[NodePoint]
    sram: list[SramPoint]
    technologies: dict[str, Cited[JoulesPerBit]]
    exp_multiply_adds: Cited[float]
    fpga_dynamic_factor: Cited[float]
    fpga_static_share: Cited[float]
    area: dict[str, Cited[SquareMillimetres]]
    area_node_nm: Cited[float]
    density: list[NodePoint]
    register_area_factor: Cited[float]

    # energies

    def operation_j(self, name: str, node_nm: float) -> float:
        """Joules of one operation: between its nodes by interpolation, below them by `energy_below`."""
        points = tuple((point.node_nm, point.value) for point in self.operations[name])
        return _at_node(points, node_nm) * self._below(node_nm)

    def sram_j_per_bit(self, capacity_bytes: float, node_nm: float) -> float:
        """Joules per bit of an access to a memory of `capacity_bytes`: ``a + b * sqrt(capacity)`` at each node.

        The square root is the length of the wires, which dominate above 64 KB. CACTI's bare macros cost 3 to 10 times
        less (22 nm, 64 KB: 0.04 to 0.07 pJ/bit) than these accesses, which include the way to the datapath. Nothing is
        published for memories below the smallest of the table: they cost as much as that one.
        """
        capacity_bytes = max(capacity_bytes, min(point.capacity_bytes for point in self.sram))
        points = []
        for node in sorted({point.node_nm for point in self.sram}):
            offset, slope = self._sram_fit(node)
            points.append((node, offset + slope * math.sqrt(capacity_bytes)))
        return _at_node(tuple(points), node_nm) * self._below(node_nm)

    def _sram_fit(self, node_nm: float) -> tuple[float, float]:
        """Offset and slope with the least relative error at the points of a node."""
        return _fitted(tuple((point.capacity_bytes, point.value) for point in self.sram if point.node_nm == node_nm))

    def _below(self, node_nm: float) -> float:
        points = tuple((point.node_nm, point.value) for point in self.energy_below)
        return _at_node(points, node_nm)

    # areas

    def operator_mm2(self, name: str, node_nm: float) -> float:
        """Area of one operator: that of 45 nm by the ratio of logic densities."""
        shrink = self._millions_per_mm2(self.area_node_nm.value) / self._millions_per_mm2(node_nm)
        return self.area[name].value * shrink

    def transistors_mm2(self, transistors: float, node_nm: float) -> float:
        """Area of that many transistors of logic."""
        return transistors / (1e6 * self._millions_per_mm2(node_nm))

    def _millions_per_mm2(self, node_nm: float) -> float:
        return _at_node(tuple((point.node_nm, point.value) for point in self.density), node_nm)


def sram_mm2_per_byte(node_nm: float) -> float:
    """Area of SRAM macros; raises what `sram_area_mm2` raises."""
    return sram_area_mm2(1.0, node_nm)


def leakage_w_per_mm2(node_nm: float) -> float:
    """Static power of a die: logic is taken to leak as much per area as SRAM of high-performance cells does.

    Nothing is known above the coarsest node of those cells: its leakage per byte is kept.
    """
    coarsest = max(node.node_nm for node in sram_table() if "HP" in node.leakage_w_per_byte)
    return sram_leakage_w(1.0, min(node_nm, coarsest), "HP") / sram_mm2_per_byte(node_nm)


@lru_cache(maxsize=64)
def _fitted(points: tuple[tuple[float, float], ...]) -> tuple[float, float]:
    """Offset and slope over the square root of a size with the least relative error at pairs (size, value)."""
    sizes, values = map(np.array, zip(*points, strict=True))
    columns = np.stack([np.ones(len(values)), np.sqrt(sizes)], axis=1)
    offset, slope = np.linalg.lstsq(columns / values[:, None], np.ones(len(values)))[0]
    return float(offset), float(slope)


@lru_cache(maxsize=4096)
def _at_node(points: tuple[tuple[float, float], ...], node_nm: float) -> float:
    """Value at a node on logarithmic axes between the points; beyond them the nearest one."""
    nodes, values = zip(*sorted(points), strict=True)
    return float(np.exp(np.interp(math.log(node_nm), np.log(nodes), np.log(values))))


@cache
def energy_tables() -> EnergyTables:
    """The shipped tables."""
    text = (resources.files("hwmodels.costs") / "energy_tables.yaml").read_text(encoding="utf-8")
    return read_text(text, "energy_tables.yaml").validate(EnergyTables)


def technology_names() -> tuple[str, ...]:
    """Memory and link technologies that have an energy per bit."""
    return (*COMPUTED_TECHNOLOGIES, *energy_tables().technologies)
