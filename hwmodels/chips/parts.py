"""Parts of a chip: memories that all cores share, links, budgets of an FPGA, and energies that its source states."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from hwmodels.chips.compute import Rates

ChipKind = Literal["gpu", "tpu", "dataflow", "systolic", "fpga", "custom", "abstract"]
TierLevel = Literal["cache", "memory"]
Number = int | float
OVERRIDDEN = "overridden"


@dataclass(frozen=True)
class SharedTier:
    """A memory that all cores share.

    Parameters
    ----------
    name
        ``l2``, ``hbm``, ``ddr``...
    level
        ``"cache"`` holds copies of what lies further out; ``"memory"`` holds the tensors.
    technology
        Names the energy of an access: a key of the tiers in ``energy_tables.yaml`` such as ``hbm3`` or ``sram``;
        ``core_sram`` means that the cores' own local memories are the main memory of this chip.
    capacity_bytes, bytes_per_second, latency_s
        Whole chip, peak; latency without load.
    preset, count
        Tier preset of `hwmodels.tiers` that gives timing in cycles, and how many of them (stacks, channels) there are.
        What another bandwidth costs in interfaces, and when `count` is their number: `hwmodels.chips.interfaces`.
    sustained_fraction
        Share of the peak seen by a streaming benchmark of this chip; None when no such reading is known.
    j_per_bit
        Energy of an access where the chip's own source gives one; None takes it from the table of technologies.
    """

    name: str
    level: TierLevel
    technology: str
    capacity_bytes: float
    bytes_per_second: float
    latency_s: float
    preset: str | None = None
    count: int = 1
    sustained_fraction: float | None = None
    j_per_bit: float | None = None


@dataclass(frozen=True)
class Link:
    """A way to other chips or to the host.

    Parameters
    ----------
    name
        ``nvlink``, ``pcie``, ``ici``...
    technology
        Names the energy per bit, as in `SharedTier`.
    bytes_per_second
        Peak in one direction, all lanes of the chip together.
    latency_s
        None when unknown.
    preset
        Link preset of `hwmodels.tiers`.
    """

    name: str
    technology: str
    bytes_per_second: float
    latency_s: float | None = None
    preset: str | None = None


@dataclass(frozen=True)
class Resources:
    """Budgets of an FPGA, whole device.

    Parameters
    ----------
    dsp, bram36, uram, lut, ff
        DSP slices, 36 Kbit block RAMs, 288 Kbit ultra RAMs, lookup tables, flip-flops.
    """

    dsp: int
    bram36: int
    uram: int
    lut: int
    ff: int


@dataclass(frozen=True)
class GivenEnergy:
    """Energies that the chip's own source states; None takes them from the tables of `hwmodels.costs.energy`.

    Parameters
    ----------
    mac_j
        Per multiply-accumulate, by operand format.
    sram_j_per_bit
        Access to a core's local memory.
    static_w
        Whole chip, doing nothing; memory outside of it draws its own idle power.
    """

    mac_j: Rates = dataclasses.field(default_factory=Rates)
    sram_j_per_bit: float | None = None
    static_w: float | None = None
