"""Area of a chip by component, from published operator and SRAM areas.

The components are datapaths, memory macros and the interfaces to memory outside of the chip. What a die has beside
them (wires, control, links, spare parts, graphics) is not modelled from below: it is taken to grow with datapaths and
macros as on the published dies of the same family, of which the estimate is the geometric mean. Interfaces to memory
come on top as they are. Areas of two designs of one family can thus be compared; one figure alone is no floor plan. An
FPGA has budgets (`Accelerator.resources`) instead of an area.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from hwmodels.chips.accelerator import accelerator_names, load_accelerator
from hwmodels.chips.chip import Accelerator
from hwmodels.chips.compute import Rates
from hwmodels.chips.interfaces import INTERFACE_FIELDS, interfaces_mm2, memory_interfaces
from hwmodels.costs.energy_tables import energy_tables, sram_mm2_per_byte
from hwmodels.reading.cards import html_table

_OPERATORS: dict[str, tuple[str, ...]] = {
    "float64": ("float32_multiply",) * 4 + ("float32_add",) * 2,
    "float32": ("float32_multiply", "float32_add"),
    "tfloat32": ("float16_multiply", "float32_add"),
    "float16": ("float16_multiply", "float32_add"),
    "bfloat16": ("float16_multiply", "float32_add"),
    "int16": ("int8_multiply",) * 4 + ("int32_add",),
    "float8_e4m3": ("int8_multiply", "float16_add"),
    "int8": ("int8_multiply", "int32_add"),
}
"""Operators of one multiply-accumulate. Four half-width multipliers make one of full width; BF16 and TF32 take the FP16
multiplier (8 and 11 instead of 11 significand bits); FP8 has a multiplier of at most 8 bits and accumulates in half
precision."""
_NARROW = {"float4_e2m1": "float8_e4m3", "int4": "int8"}
"""Formats that run on half of a wider unit each."""


@dataclass(frozen=True)
class Area:
    """Area by component.

    Parameters
    ----------
    chip
        Name.
    components
        mm2 of all cores together (``matrix``, ``vector``, ``exp``, ``sram``, ``registers``), of the caches, and of the
        interfaces to memory (``memory_phy``, ``memory_controller``).
    die_mm2
        The published die, or the estimate; None for an FPGA.
    published
        Whether `die_mm2` is a published figure.
    """

    chip: str
    components: Rates
    die_mm2: float | None
    published: bool

    @property
    def modelled_mm2(self) -> float:
        """Sum of the components."""
        return math.fsum(self.components.values())

    def _repr_html_(self) -> str:
        rows = [(name, f"{value:,.3g}") for name, value in self.components.items()]
        die = "not known" if self.die_mm2 is None else f"{self.die_mm2:,.3g}"
        rows.append(("die, published" if self.published else "die, estimated", die))
        return html_table(f"Area of {self.chip}", ("component", "mm2"), rows)


@lru_cache(maxsize=4096)
def area_of(chip: Accelerator) -> Area:
    """Area of `chip` by component, with its die published or estimated."""
    if chip.kind == "fpga":
        return Area(chip.name, Rates(), chip.area_mm2, chip.area_mm2 is not None)
    components = Rates.of({**_components(chip), **_interfaces(chip)})
    if chip.area_mm2 is None:
        return Area(chip.name, components, family_mm2(chip), published=False)
    if not _changes_the_die(chip):
        return Area(chip.name, components, chip.area_mm2, published=True)
    return Area(chip.name, components, _die_mm2(chip, _own_factor(chip)), published=False)


def family_mm2(chip: Accelerator) -> float | None:
    """What the dies of its family would make of a chip's components, to hold beside a published die; None for an FPGA.

    The figure reads every chip that is shipped: whoever shows none does without.
    """
    return None if chip.kind == "fpga" else _die_mm2(chip, die_factor(chip.kind == "gpu"))


def _die_mm2(chip: Accelerator, factor: float) -> float:
    return factor * math.fsum(_components(chip).values()) + interfaces_mm2(chip)


def _changes_the_die(chip: Accelerator) -> bool:
    """A design changed by hand no longer has the published die, unless its area was set by hand too."""
    changed = {path for path, _ in chip.changes}
    if "area_mm2" in changed:
        return False
    if not changed.isdisjoint(chip.die_fields()):
        return True
    if chip.name in accelerator_names():
        return interfaces_mm2(chip) != interfaces_mm2(load_accelerator(chip.name))
    # how many interfaces a user's chip had before the change is not known any more
    memories = [interface.tier for interface in memory_interfaces(chip)]
    return any(f"{name}.{field}" in changed for name in memories for field in INTERFACE_FIELDS)


def _own_factor(chip: Accelerator) -> float:
    """Die over components, of the preset alone that was changed; of its family where the chip is a user's own."""
    return _factor_of(chip.name) or die_factor(chip.kind == "gpu")


@lru_cache(maxsize=64)
def _factor_of(name: str) -> float:
    """Die over components of a preset; 0 where none is called so, or its die is not published."""
    if name not in accelerator_names():
        return 0.0
    preset = load_accelerator(name)
    return 0.0 if preset.area_mm2 is None else _rest_over_components(preset, preset.area_mm2)


@lru_cache(maxsize=2)
def die_factor(gpu: bool) -> float:
    """Published die without memory interfaces over datapaths and macros: geometric mean of the GPUs, or of others.

    Dies of graphics cards, told by their GDDR, do not count: raster, ray tracing, video and display engines are no
    components here, and no part of a design for attention.
    """
    chips = [load_accelerator(name) for name in accelerator_names()]
    dies: dict[float, list[float]] = {}
    for chip in chips:
        compute = chip.kind != "fpga" and not chip.memory.technology.startswith("gddr")
        if chip.area_mm2 is not None and (chip.kind == "gpu") == gpu and compute:
            dies.setdefault(chip.area_mm2, []).append(_rest_over_components(chip, chip.area_mm2))
    # parts that share a die (H100, H800, H200, H20) count once, with the fullest of them
    return math.exp(math.fsum(math.log(min(ratios)) for ratios in dies.values()) / len(dies))


def _rest_over_components(chip: Accelerator, die_mm2: float) -> float:
    return (die_mm2 - interfaces_mm2(chip)) / math.fsum(_components(chip).values())


def _interfaces(chip: Accelerator) -> dict[str, float]:
    found = memory_interfaces(chip)
    if not found:
        return {}
    return {
        "memory_phy": math.fsum(interface.phy_mm2 for interface in found),
        "memory_controller": math.fsum(interface.controller_mm2 for interface in found),
    }


def _components(chip: Accelerator) -> Rates:
    tables = energy_tables()
    core = chip.core
    fma_mm2 = _mac_mm2("float32", chip.node_nm)
    sram_mm2 = sram_mm2_per_byte(chip.node_nm)
    registers = core.register_bytes + core.accumulator_bytes
    caches = math.fsum(tier.capacity_bytes for tier in chip.caches if tier.technology == "sram")
    return Rates.of(
        {
            "matrix": chip.cores * _matrix_mm2(chip),
            "vector": chip.cores * core.vector_flops_per_cycle / 2 * fma_mm2,
            "exp": chip.cores * core.exp_per_cycle * tables.exp_multiply_adds.value * fma_mm2,
            "sram": chip.cores * core.sram_bytes * sram_mm2,
            "registers": chip.cores * registers * sram_mm2 * tables.register_area_factor.value,
            "caches": caches * sram_mm2,
        }
    )


def _matrix_mm2(chip: Accelerator) -> float:
    """The format that needs most: others share its multipliers. Formats at the rate of the vector lanes use those."""
    rates = chip.core.matrix_flops_per_cycle
    own = {name: rate for name, rate in rates.items() if rate > chip.core.vector_flops_per_cycle or len(rates) == 1}
    return max((rate / 2 * _mac_mm2(name, chip.node_nm) for name, rate in own.items()), default=0.0)


@lru_cache(maxsize=1024)
def _mac_mm2(operand_format: str, node_nm: float) -> float:
    """One multiply-accumulate unit."""
    tables = energy_tables()
    wider = _NARROW.get(operand_format)
    if wider is not None:
        return _mac_mm2(wider, node_nm) / 2
    return math.fsum(tables.operator_mm2(name, node_nm) for name in _OPERATORS[operand_format])


def estimates_of(chip: Accelerator, energies: Iterable[str], areas: Iterable[str] = ()) -> Mapping[str, str]:
    """Metrics of `chip` that rest on an estimate, each with what that is.

    Parameters
    ----------
    energies
        Metrics of energy and power. Leakage is by the square millimetres of the die, and all energies are those of a
        node.
    areas
        Metrics of the die itself.
    """
    die, node = not area_of(chip).published, _assumes_its_node(chip)
    if die:
        return dict.fromkeys([*areas, *energies], "estimated die and node" if node else "estimated die")
    return dict.fromkeys(energies, "assumed node") if node else {}


def _assumes_its_node(chip: Accelerator) -> bool:
    """Of a preset its file says so; chips of users state what they state, and a node that is set is given."""
    if chip.name not in accelerator_names() or "node_nm" in dict(chip.changes):
        return False
    # of the file: a chip that was read back from a store does not know who stated its numbers
    return load_accelerator(chip.name).sources().get("node_nm", "").startswith("assumption:")
