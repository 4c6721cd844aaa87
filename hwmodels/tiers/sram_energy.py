"""Energy and area of SRAM by capacity, process node and cell.

Between the capacities of a table the energy of a bit grows as ``a + b * sqrt(capacity)``: wires dominate (CACTI 7,
Balasubramonian et al., ACM TACO 2017). Between nodes energy, leakage and area are interpolated on logarithmic scales.
An access always moves a whole word, so that narrow accesses cost as much as wide ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

from pydantic import BaseModel, ConfigDict

from hwmodels.reading.cited import Cited
from hwmodels.reading.documents import read_text
from hwmodels.reading.errors import InputError, Problem
from hwmodels.standards.sections import citation

Cell = Literal["HP", "LOP", "LSTP"]
"""High performance, low operating power, low standby power (ITRS device types of CACTI)."""
BYTES_PER_MB = 1 << 20


@dataclass(frozen=True)
class SramEnergy:
    """Energy of one macro.

    Parameters
    ----------
    read_j_per_bit, write_j_per_bit
        Per bit of the words accessed.
    leakage_w
        Of one macro.
    width_bytes
        Word that an access moves at least.
    """

    read_j_per_bit: float
    write_j_per_bit: float
    leakage_w: float
    width_bytes: int

    def used(self, *, read_words: float, write_words: float, macro_seconds: float) -> dict[str, float]:
        """Joules by component, for words accessed and time multiplied by macros."""
        bits = 8 * self.width_bytes
        return {
            "read": read_words * bits * self.read_j_per_bit,
            "write": write_words * bits * self.write_j_per_bit,
            "leakage": macro_seconds * self.leakage_w,
        }


class _Text(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class NodeText(_Text):
    """One process node: capacities with read energy by cell, or another node and a factor; leakage, area per MB."""

    node_nm: float
    capacity_bytes: list[int] = []
    read_pj_per_bit: dict[Cell, Cited[list[float]]] = {}
    like_nm: float | None = None
    energy_factor: Cited[float] | None = None
    leakage_mw_per_mb: dict[Cell, Cited[float]]
    area_mm2_per_mb: Cited[float]


class TableText(_Text):
    """The table of SRAM energies."""

    nodes: list[NodeText]


@dataclass(frozen=True)
class SramNode:
    """One node of the table; arrays by cell, read energies in joules per bit."""

    node_nm: float
    capacity_bytes: tuple[int, ...]
    read_j_per_bit: Mapping[str, tuple[float, ...]]
    leakage_w_per_byte: Mapping[str, float]
    area_mm2_per_byte: float
    sources: Mapping[str, str]


@cache
def sram_table() -> tuple[SramNode, ...]:
    """The shipped table, finest node first."""
    file = resources.files("hwmodels") / "tiers" / "sram_table.yaml"
    text = read_text(file.read_text(encoding="utf-8"), "sram_table.yaml").validate(TableText)
    by_node = {node.node_nm: node for node in text.nodes}
    return tuple(_node(by_node[nm], by_node) for nm in sorted(by_node))


def _node(text: NodeText, by_node: Mapping[float, NodeText]) -> SramNode:
    parent = by_node[text.like_nm] if text.like_nm is not None else text
    factor = text.energy_factor.value if text.energy_factor else 1.0
    energies = parent.read_pj_per_bit
    sources = {f"read energy, {cell}": citation(value) for cell, value in energies.items()}
    if text.energy_factor:
        rule = f"{factor:g} times {parent.node_nm:g} nm ({citation(text.energy_factor)})"
        sources = {name: f"{rule}; {source}" for name, source in sources.items()}
    sources |= {f"leakage, {cell}": citation(value) for cell, value in text.leakage_mw_per_mb.items()}
    return SramNode(
        node_nm=text.node_nm,
        capacity_bytes=tuple(parent.capacity_bytes),
        read_j_per_bit={cell: tuple(1e-12 * factor * pj for pj in value.value) for cell, value in energies.items()},
        leakage_w_per_byte={c: 1e-3 / BYTES_PER_MB * value.value for c, value in text.leakage_mw_per_mb.items()},
        area_mm2_per_byte=text.area_mm2_per_mb.value / BYTES_PER_MB,
        sources=sources | {"area": citation(text.area_mm2_per_mb)},
    )


def sram_read_j_per_bit(capacity_bytes: float, node_nm: float, cell: Cell) -> float:
    """Energy of reading a bit of a macro of `capacity_bytes`.

    Raises
    ------
    InputError
        No node of the table has such cells on one side of `node_nm`.
    """

    nodes = _nodes_with(cell, node_nm, lambda node: cell in node.read_j_per_bit)
    values = [_by_capacity(node.capacity_bytes, node.read_j_per_bit[cell], capacity_bytes) for node in nodes]
    return _by_node(nodes, values, node_nm)


def sram_leakage_w(capacity_bytes: float, node_nm: float, cell: Cell) -> float:
    """Leakage of a macro; raises as `sram_read_j_per_bit`."""
    nodes = _nodes_with(cell, node_nm, lambda node: cell in node.leakage_w_per_byte)
    return capacity_bytes * _by_node(nodes, [node.leakage_w_per_byte[cell] for node in nodes], node_nm)


def sram_area_mm2(capacity_bytes: float, node_nm: float) -> float:
    """Area of a macro; raises as `sram_read_j_per_bit`."""
    nodes = _nodes_with("area", node_nm, lambda node: True)
    return capacity_bytes * _by_node(nodes, [node.area_mm2_per_byte for node in nodes], node_nm)


def sram_sources(node_nm: float, cell: Cell) -> dict[str, str]:
    """Sources of `read` energy, `leakage` and `area` at `node_nm`: the nodes of the table around it."""
    found = {}
    for what, key in (("read", f"read energy, {cell}"), ("leakage", f"leakage, {cell}"), ("area", "area")):
        nodes = [node for node in sram_table() if key in node.sources]
        finer = [node for node in nodes if node.node_nm <= node_nm][-1:]
        coarser = [node for node in nodes if node.node_nm >= node_nm][:1]
        around = dict.fromkeys((node.node_nm, node.sources[key]) for node in (finer or coarser) + (coarser or finer))
        found[what] = "; ".join(f"{nm:g} nm: {text}" for nm, text in around)
    return found


def _nodes_with(what: str, node_nm: float, has: Callable[[SramNode], bool]) -> list[SramNode]:
    """Nodes of the table that have something, if they reach `node_nm`; finer than the table, its finest node counts."""
    table = sram_table()
    nodes = [node for node in table if has(node)]
    finest = 0.0 if nodes and nodes[0] is table[0] else (nodes[0].node_nm if nodes else math.inf)
    if not nodes or not finest <= node_nm <= nodes[-1].node_nm:
        known = ", ".join(f"{node.node_nm:g}" for node in nodes)
        raise InputError(Problem(f"no SRAM data for {what} at {node_nm:g} nm (known: {known} nm)", field="node_nm"))
    return nodes


def _by_capacity(capacities: Sequence[int], values: Sequence[float], capacity: float) -> float:
    """Piecewise linear in the square root of the capacity; beyond the table its last piece goes on."""
    roots = [math.sqrt(each) for each in capacities]
    root = math.sqrt(capacity)
    upper = next((i for i, each in enumerate(roots) if each >= root and i > 0), len(roots) - 1)
    low, high = roots[upper - 1], roots[upper]
    value = values[upper - 1] + (root - low) / (high - low) * (values[upper] - values[upper - 1])
    # below the smallest macro the sense amplifiers remain
    return value if root >= roots[0] else values[0]


def _by_node(nodes: Sequence[SramNode], values: Sequence[float], node_nm: float) -> float:
    """Log-log interpolation between nodes."""
    if node_nm <= nodes[0].node_nm:
        return values[0]
    upper = next(i for i, node in enumerate(nodes) if node.node_nm >= node_nm)
    low, high = nodes[upper - 1].node_nm, nodes[upper].node_nm
    share = math.log(node_nm / low) / math.log(high / low)
    return math.exp(math.log(values[upper - 1]) * (1 - share) + math.log(values[upper]) * share)
