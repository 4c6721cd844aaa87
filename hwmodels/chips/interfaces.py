"""Interfaces to memory outside of a chip: silicon of PHYs and controllers, and power while nothing moves.

Interfaces come in whole units, the stacks, channels or devices of ``memory_interfaces.yaml``. A chip has as many as its
bandwidth takes at the rate of the technology, rounded up: half a PHY cannot be built, so that a bandwidth between two
units pays for the larger one. Where a chip's source states how many there are, it has those; they may run slower than
the technology could. A bandwidth or technology that is changed by hand is a new design with as few units as will do,
unless their number (``hbm.count``) is given with it. Capacity is another matter: stacks of one width come in many
heights. Nothing here changes the time of anything.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from hwmodels.chips.chip import OVERRIDDEN, Accelerator, SharedTier
from hwmodels.chips.interface_tables import BITS, FILE, InterfaceText, interface_tables
from hwmodels.costs.energy_tables import energy_tables
from hwmodels.reading.bibliography import references, source_text
from hwmodels.reading.cited import Cited
from hwmodels.reading.quantity import format_quantity

INTERFACE_FIELDS = ("bytes_per_second", "technology", "count")
"""Fields of a memory that its interfaces follow from."""


@dataclass(frozen=True)
class MemoryInterface:
    """The way of a chip to one of its memories.

    Parameters
    ----------
    tier
        Name of the memory.
    unit, count
        What it is made of, and how many.
    bytes_per_second_each
        Rate at which a unit has to run.
    phy_mm2, controller_mm2
        Silicon on the die, all units together.
    phy_idle_w, device_idle_w
        Power while nothing moves, all units together: PHYs without the leakage of their silicon, which belongs to the
        die; standby and refresh of the memory itself.
    sources
        (field, source) of the above.
    """

    tier: str
    unit: str
    count: int
    bytes_per_second_each: float
    phy_mm2: float
    controller_mm2: float
    phy_idle_w: float
    device_idle_w: float
    sources: tuple[tuple[str, str], ...] = ()

    @property
    def area_mm2(self) -> float:
        """Silicon on the die."""
        return self.phy_mm2 + self.controller_mm2

    @property
    def idle_w(self) -> float:
        """Power while nothing moves."""
        return self.phy_idle_w + self.device_idle_w

    def values(self) -> dict[str, tuple[float, str | None]]:
        """Every number with its unit, by field."""
        return {
            "count": (self.count, None),
            "bytes_per_second_each": (self.bytes_per_second_each, "B/s"),
            "phy_mm2": (self.phy_mm2, "mm2"),
            "controller_mm2": (self.controller_mm2, "mm2"),
            "phy_idle_w": (self.phy_idle_w, "W"),
            "device_idle_w": (self.device_idle_w, "W"),
        }


@lru_cache(maxsize=4096)
def memory_interfaces(chip: Accelerator) -> tuple[MemoryInterface, ...]:
    """Interfaces to the memories of `chip` that lie outside of it, near to far."""
    known = interface_tables().technologies
    return tuple(_interface(chip, tier, known[tier.technology]) for tier in chip.tiers if tier.technology in known)


def interfaces_mm2(chip: Accelerator) -> float:
    """Silicon of all of them."""
    return math.fsum(interface.area_mm2 for interface in memory_interfaces(chip))


def standing_j_per_bit(technology: str) -> float:
    """Part of a technology's energy per bit that is idle power of a memory at full rate; 0 where it holds none."""
    text = interface_tables().technologies.get(technology)
    if text is None or not text.in_energy.value:
        return 0.0
    return text.idle_w / (BITS * text.bytes_per_second)


def _interface(chip: Accelerator, tier: SharedTier, text: InterfaceText) -> MemoryInterface:
    count, counted = _count(chip, tier, text)
    controller_mm2 = energy_tables().transistors_mm2(text.controller_transistors.value, chip.node_nm)
    return MemoryInterface(
        tier=tier.name,
        unit=text.unit,
        count=count,
        bytes_per_second_each=tier.bytes_per_second / count,
        phy_mm2=count * text.phy.value,
        controller_mm2=count * controller_mm2,
        phy_idle_w=count * text.phy_idle.value,
        device_idle_w=count * text.device_idle_w,
        sources=(("count", counted), *_sources(tier, text, references())),
    )


def _count(chip: Accelerator, tier: SharedTier, text: InterfaceText) -> tuple[int, str]:
    """Units of a tier: those that its source states, and at least as many as the bandwidth takes; and why."""
    most = text.bytes_per_second * (1 + interface_tables().rounding.value)
    needed = max(1, math.ceil(tier.bytes_per_second / most))
    stated = _stated_count(chip, tier, text)
    if stated >= needed:
        return stated, chip.sources().get(f"{tier.name}.count", OVERRIDDEN)
    each = format_quantity(text.bytes_per_second, "B/s", 4)
    return needed, f"{FILE}: whole {text.unit}s of {tier.technology} at {each}"


def _stated_count(chip: Accelerator, tier: SharedTier, text: InterfaceText) -> int:
    """The tier's count where it is one of these units and of this bandwidth; 0 where it is not."""
    sources, path = chip.sources(), f"{tier.name}.count"
    changes = dict(chip.changes)
    decisive = (f"{tier.name}.bytes_per_second", f"{tier.name}.technology")
    if {path, tier.name} & changes.keys():
        return tier.count
    redesigned = OVERRIDDEN in map(sources.get, decisive)
    if set(sources.values()) <= {OVERRIDDEN}:  # read back from a store, which keeps numbers and not who stated them
        redesigned = redesigned or not changes.keys().isdisjoint(decisive)
    elif path not in sources:
        return 0
    other_units = tier.preset is not None and tier.preset not in text.counted_by
    return 0 if redesigned or other_units else tier.count


def _sources(tier: SharedTier, text: InterfaceText, known: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    def of(amount: str, value: Cited[Any]) -> str:
        return f"{amount} a {text.unit}: {source_text(value, known)}"

    yield "bytes_per_second_each", f"{tier.name}.bytes_per_second over count"
    yield "phy_mm2", of(f"{text.phy.value:.4g} mm2", text.phy)
    millions = f"{text.controller_transistors.value / 1e6:.4g} million transistors"
    yield "controller_mm2", of(millions, text.controller_transistors)
    yield "phy_idle_w", of(format_quantity(text.phy_idle.value, "W", 4), text.phy_idle)
    idle = format_quantity(text.device_idle_w, "W", 4)
    if text.idle is not None:
        yield "device_idle_w", of(idle, text.idle)
    else:
        yield "device_idle_w", f"{idle} a {text.unit}: standby and refresh of tier {text.device} (`attnflow show tier`)"
