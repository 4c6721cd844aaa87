"""What all kinds of tiers have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod

from hwmodels.reading.cards import html_table
from hwmodels.reading.quantity import format_quantity

Citations = tuple[tuple[str, str], ...]
"""Field and its source."""


class BaseTier(ABC):
    """What all tiers have in common."""

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
