"""Energy of a chip per operation and per byte, and the power that follows.

Datapath energies come from published tables at 45 and 7 nm and are carried to the chip's node by the rules of
`hwmodels.costs.energy_tables`; what the chip's own source states goes first. Instruction fetch, clocks and control are
not in the table, so a sum over work is a lower estimate of what a programmable chip draws: an H100 at 700 W and 989
TFLOP/s spends 1.42 pJ per multiply-accumulate over all, of which the multiplier and adder are about a third.

Memory outside of the chip costs energy by bits and by time. Energies per bit that hold the idle power of a streaming
memory are charged without it, so that nothing is counted twice; what a chip's source states is taken as it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from hwmodels.chips.chip import Accelerator, Link, SharedTier
from hwmodels.chips.compute import FORMAT_BITS, Rates
from hwmodels.chips.interface_tables import FILE
from hwmodels.chips.interfaces import memory_interfaces, standing_j_per_bit
from hwmodels.costs.area import area_of
from hwmodels.costs.energy_tables import energy_tables, leakage_w_per_mm2
from hwmodels.reading.cards import html_table
from hwmodels.reading.errors import InputError, Problem, did_you_mean

_OPERATIONS: dict[str, tuple[str, ...]] = {
    "float32": ("float32_multiply", "float32_add"),
    "tfloat32": ("float16_multiply", "float32_add"),
    "float16": ("float16_multiply", "float32_add"),
    "bfloat16": ("bfloat16_multiply", "float32_add"),
    "float8_e4m3": ("float8_multiply_accumulate",),
    "int8": ("int8_multiply", "int32_add"),
}
"""Operations of one multiply-accumulate. TF32 has the significand of FP16."""

_REGISTER_BANK_BYTES = 8192
BITS = 8
Sourced = tuple[float, str]
"""An energy and where it is from."""


@dataclass(frozen=True)
class EnergyTable:
    """Energies of one chip.

    Parameters
    ----------
    chip
        Name.
    node_nm
        The node they hold at.
    mac_j
        One multiply-accumulate by the format in which the product runs.
    exp_j, sram_j_per_bit, register_j_per_bit, static_w
        One exponential; accesses to a core's local memory and registers; the whole die doing nothing.
    moved_j_per_bit
        Per tier and link; without the idle power of a memory.
    idle_w
        Standby and refresh of every memory outside of the chip, and what its PHYs draw beside their leakage.
    sources
        (name, source) of each energy.
    """

    chip: str
    node_nm: float
    mac_j: Rates
    exp_j: float
    sram_j_per_bit: float
    register_j_per_bit: float
    static_w: float
    moved_j_per_bit: Rates
    idle_w: Rates
    sources: tuple[tuple[str, str], ...]

    def matmul_j_per_flop(self, operand_format: str) -> float:
        """Half of a multiply-accumulate, in the format in which the chip would run it.

        Raises
        ------
        InputError
            The chip has no such products.
        """
        if operand_format not in self.mac_j:
            hint = did_you_mean(operand_format, self.mac_j)
            raise InputError(Problem(f"{self.chip} has no products of {operand_format!r}", hint=hint))
        return self.mac_j[operand_format] / 2

    @property
    def vector_j_per_flop(self) -> float:
        """Half of a float32 multiply-add."""
        return self.mac_j["float32"] / 2

    @property
    def sram_j_per_byte(self) -> float:
        """Access to a core's local memory."""
        return self.sram_j_per_bit * BITS

    def tier_j_per_byte(self, name: str) -> float:
        """Access to a shared tier, or a byte over a link.

        Raises
        ------
        InputError
            The chip has no tier or link of that name.
        """
        if name not in self.moved_j_per_bit:
            hint = did_you_mean(name, self.moved_j_per_bit)
            raise InputError(Problem(f"{self.chip} has no tier or link {name!r}", hint=hint))
        return self.moved_j_per_bit[name] * BITS

    @property
    def waiting_w(self) -> float:
        """Power while nothing happens: the die, and the memories beside it."""
        return self.static_w + math.fsum(self.idle_w.values())

    def values(self) -> dict[str, float]:
        """Every energy in joules (watts for ``static_w`` and ``idle_w``), by name."""
        return {
            **{f"mac_j.{name}": value for name, value in self.mac_j.items()},
            "exp_j": self.exp_j,
            "sram_j_per_bit": self.sram_j_per_bit,
            "register_j_per_bit": self.register_j_per_bit,
            **{f"{name}.j_per_bit": value for name, value in self.moved_j_per_bit.items()},
            **{f"{name}.idle_w": value for name, value in self.idle_w.items()},
            "static_w": self.static_w,
        }

    def _repr_html_(self) -> str:
        sources = dict(self.sources)
        rows = [(name, f"{value:.4g}", sources.get(name, "")) for name, value in self.values().items()]
        return html_table(f"Energies of {self.chip} at {self.node_nm:g} nm", ("energy", "J or W", "source"), rows)


@lru_cache(maxsize=4096)
def energy_table(chip: Accelerator) -> EnergyTable:
    """The energies of `chip`: stated by its source, or scaled to its node from the published tables."""
    products = {name: _mac(chip, name) for name in FORMAT_BITS if _runs_as(chip, name)}
    moved = {tier.name: _tier(chip, tier) for tier in chip.tiers} | {link.name: _link(link) for link in chip.links}
    single = {"exp_j": _exp(chip), "sram_j_per_bit": _sram(chip), "register_j_per_bit": _register(chip)}
    static, idle = _static(chip), _idle(chip)
    sourced = {
        **{f"mac_j.{name}": pair for name, pair in products.items()},
        **single,
        **{f"{name}.j_per_bit": pair for name, pair in moved.items()},
        **{f"{name}.idle_w": pair for name, pair in idle.items()},
        "static_w": static,
    }
    return EnergyTable(
        chip=chip.name,
        node_nm=chip.node_nm,
        mac_j=Rates.of({name: value for name, (value, _) in products.items()}),
        moved_j_per_bit=Rates.of({name: value for name, (value, _) in moved.items()}),
        idle_w=Rates.of({name: value for name, (value, _) in idle.items()}),
        static_w=static[0],
        sources=tuple((name, source) for name, (_, source) in sourced.items()),
        **{name: value for name, (value, _) in single.items()},
    )


@lru_cache(maxsize=1024)
def mac_energy_j(operand_format: str, node_nm: float) -> float:
    """Multiply-accumulate of a format at a node: its multiplier and the adder of its accumulator.

    Integer formats between and below the published widths follow the power law of the 8- and 32-bit multipliers;
    four-bit floats are half of eight-bit ones, and float64 is four float32.
    """
    tables = energy_tables()
    if operand_format == "float64":
        return 4 * mac_energy_j("float32", node_nm)
    if operand_format == "float4_e2m1":
        return mac_energy_j("float8_e4m3", node_nm) / 2
    if operand_format in ("int16", "int4"):
        narrow, wide = (tables.operation_j(f"int{bits}_multiply", node_nm) for bits in (8, 32))
        exponent = math.log2(wide / narrow) / 2
        multiply = narrow * math.pow(FORMAT_BITS[operand_format] / 8, exponent)
        return multiply + tables.operation_j("int32_add", node_nm)
    return math.fsum(tables.operation_j(name, node_nm) for name in _OPERATIONS[operand_format])


def full_power_w(chip: Accelerator, operand_format: str = "float16") -> dict[str, float]:
    """Power by component when every unit runs at its peak at once; what a chip draws in practice lies below.

    Raises
    ------
    InputError
        The chip has no products of `operand_format`.
    """
    table = energy_table(chip)
    found = {
        "matrix": chip.peak_flops_per_second(operand_format) * table.matmul_j_per_flop(operand_format),
        "vector": chip.vector_flops_per_second * table.vector_j_per_flop,
        "exp": chip.exp_per_second * table.exp_j,
        "sram": chip.sram_bytes_per_second * table.sram_j_per_byte,
    }
    # core_sram is the cores' local memory under another name: counted above
    found |= {
        tier.name: tier.bytes_per_second * table.tier_j_per_byte(tier.name)
        for tier in chip.tiers
        if tier.technology != "core_sram"
    }
    return {**found, **{f"{name}.idle": value for name, value in table.idle_w.items()}, "static": table.static_w}


def _runs_as(chip: Accelerator, operand_format: str) -> str:
    """The format in which products run, or nothing; float32 also stands for the vector lanes that every chip has."""
    try:
        return chip.core.matrix_format(operand_format)
    except InputError:
        return operand_format if operand_format == "float32" else ""


def _stated(chip: Accelerator, path: str, value: float) -> Sourced:
    return value, chip.sources().get(path, "stated by the chip")


def _scaled(chip: Accelerator) -> str:
    return f"energy_tables.yaml at {chip.node_nm:g} nm" + (", FPGA fabric" if chip.kind == "fpga" else "")


def _fabric_factor(chip: Accelerator) -> float:
    """Factor by which an operation costs more in programmable logic."""
    return energy_tables().fpga_dynamic_factor.value if chip.kind == "fpga" else 1.0


def _mac(chip: Accelerator, operand_format: str) -> Sourced:
    runs_as = _runs_as(chip, operand_format)
    stated = chip.energy.mac_j.get(runs_as)
    if stated is not None:
        return _stated(chip, f"energy.mac_j.{runs_as}", stated)
    note = "" if runs_as == operand_format else f", run as {runs_as}"
    return _fabric_factor(chip) * mac_energy_j(runs_as, chip.node_nm), _scaled(chip) + note


def _exp(chip: Accelerator) -> Sourced:
    times = energy_tables().exp_multiply_adds
    one = _fabric_factor(chip) * mac_energy_j("float32", chip.node_nm)
    return times.value * one, f"{times.value:g} {times.note}"


def _sram(chip: Accelerator) -> Sourced:
    if chip.energy.sram_j_per_bit is not None:
        return _stated(chip, "energy.sram_j_per_bit", chip.energy.sram_j_per_bit)
    bank_bytes = chip.core.sram_bytes / chip.core.sram_banks
    value = energy_tables().sram_j_per_bit(bank_bytes, chip.node_nm)
    return value, f"energy_tables.yaml at {chip.node_nm:g} nm, {bank_bytes / 1024:,.4g} KiB per access"


def _register(chip: Accelerator) -> Sourced:
    value = energy_tables().sram_j_per_bit(_REGISTER_BANK_BYTES, chip.node_nm)
    return value, f"energy_tables.yaml at {chip.node_nm:g} nm, banks of {_REGISTER_BANK_BYTES // 1024} KiB"


def _tier(chip: Accelerator, tier: SharedTier) -> Sourced:
    if tier.j_per_bit is not None:
        return _stated(chip, f"{tier.name}.j_per_bit", tier.j_per_bit)
    if tier.technology == "core_sram":
        return _sram(chip)[0], "the cores' local memory"
    if tier.technology == "sram":
        value = energy_tables().sram_j_per_bit(tier.capacity_bytes, chip.node_nm)
        return value, f"energy_tables.yaml at {chip.node_nm:g} nm, {tier.capacity_bytes / 2**20:,.4g} MiB"
    value, source = _technology(tier.technology)
    standing = 0.0 if chip.kind == "fpga" else standing_j_per_bit(tier.technology)
    note = f", without the {standing * 1e12:.3g} pJ/bit of its idle power" if standing else ""
    return value - standing, source + note


def _idle(chip: Accelerator) -> dict[str, Sourced]:
    """Idle power of memories by tier; that of an FPGA is part of its board's stated power, see `_static`."""
    if chip.kind == "fpga":
        return {}
    found = {}
    for interface in memory_interfaces(chip):
        technology = chip.tier(interface.tier).technology
        found[interface.tier] = (interface.idle_w, f"{FILE}, {technology}: {interface.count} x {interface.unit}")
    return found


def _link(link: Link) -> Sourced:
    return _technology(link.technology)


def _technology(name: str) -> Sourced:
    entry = energy_tables().technologies[name]
    return entry.value, f"energy_tables.yaml, {name}" + (f": {entry.note}" if entry.note else "")


def _static(chip: Accelerator) -> Sourced:
    if chip.energy.static_w is not None:
        return _stated(chip, "energy.static_w", chip.energy.static_w)
    if chip.kind == "fpga":
        share = energy_tables().fpga_static_share.value
        return share * (chip.power_w or 0.0), f"{share:.0%} of the stated power, memories of the board included"
    area = area_of(chip)
    die = area.die_mm2 or 0.0
    per_mm2 = leakage_w_per_mm2(chip.node_nm)
    kind = "published" if area.published else "estimated"
    return die * per_mm2, f"{kind} die of {die:,.4g} mm2 at {per_mm2:.3g} W/mm2"
