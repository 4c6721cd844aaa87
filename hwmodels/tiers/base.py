"""Memory tiers: frozen values with capacity, peak, unloaded latency, energy and area.

A tier is `count` equal devices side by side (stacks, DIMM channels, drives, links, SRAM macros); addresses or bytes
are spread over them. DRAM is timed bank by bank (`hwmodels.tiers.dram`). All other kinds serve one request after
another and have a module each in this package, which registers them (`hwmodels.tiers.kinds`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from fractions import Fraction
from typing import ClassVar

from hwmodels.reading.cards import html_table
from hwmodels.reading.quantity import format_quantity

Citations = tuple[tuple[str, str], ...]
"""Field and its source."""


class Tier(ABC):
    """A memory tier or link."""

    kind: ClassVar[str]
    """Name of its kind in tier files."""
    device_word: ClassVar[str] = "devices"
    """Plural of one of its devices."""
    rates_of: ClassVar[str] = ""
    """Phrase for the sizes of `rates`."""
    name: str
    summary: str
    count: int
    area_each_mm2: float | None
    citations: Citations

    @property
    @abstractmethod
    def capacity_bytes(self) -> int:
        """Bytes of all devices."""

    @property
    @abstractmethod
    def peak_bytes_per_second(self) -> float:
        """Rate of all devices, reading."""

    @property
    @abstractmethod
    def read_latency_s(self) -> float:
        """Unloaded latency of the smallest read."""

    @property
    @abstractmethod
    def streamed_j_per_bit(self) -> float:
        """Energy of a bit read in order at full rate."""

    @property
    def working_sets(self) -> int:
        """Buffers that take turns, of which one has to hold everything."""
        return 1

    def transfer_s(self, size_bytes: float) -> float:
        """Time of one large transfer: at full rate behind one latency, unless its kind knows better."""
        return self.read_latency_s + size_bytes / self.peak_bytes_per_second

    def rates(self) -> tuple[tuple[int, float], ...]:
        """Bytes per second by size in bytes, where the kind has a formula for them."""
        return ()

    @property
    def area_mm2(self) -> float | None:
        """Area of all devices, None when it is not known."""
        return None if self.area_each_mm2 is None else self.area_each_mm2 * self.count

    def _repr_html_(self) -> str:
        """Card for notebooks."""
        rows = [
            ("capacity", format_quantity(self.capacity_bytes, "B", 4)),
            ("peak", format_quantity(self.peak_bytes_per_second, "B/s", 4)),
            ("unloaded read", format_quantity(self.read_latency_s, "s", 4)),
            ("energy, streaming", format_quantity(self.streamed_j_per_bit, "J/bit", 4)),
            ("area", "unknown" if self.area_mm2 is None else f"{self.area_mm2:,.4g} mm2"),
        ]
        return html_table(f"{self.name}: {self.summary}", ("", ""), rows)


class ServedTier(Tier):
    """A tier that serves one request after another, by the mechanism of its kind's name in `simulator.servers`.

    The two packages know nothing of each other: a tier says in plain values how its mechanism is set up.
    """

    @property
    def own_clock_hz(self) -> float | None:
        """Clock of the tier itself; None where any clock will do."""
        return None

    @abstractmethod
    def served(self, clock_hz: float) -> Mapping[str, int | Fraction]:
        """Settings of the mechanism by name, times in cycles of `clock_hz`."""

    @property
    def simulated_devices(self) -> int:
        """Devices that one mechanism stands for: all, unless each has addresses of its own."""
        return self.count

    @property
    def address_unit_bytes(self) -> int:
        """Least distance between two addresses that differ for the mechanism."""
        return self.slot_bytes

    @property
    @abstractmethod
    def slot_bytes(self) -> int:
        """Bytes that the interface moves at once."""

    @abstractmethod
    def slot_s(self, *, reads: bool) -> float:
        """Time in which the interface moves them, reading or writing."""
