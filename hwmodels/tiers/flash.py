"""Flash behind a controller."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar, Literal

from hwmodels.reading.cited import Cited
from hwmodels.reading.documents import Document
from hwmodels.reading.errors import InputError
from hwmodels.tiers.base import Citations, ServedTier
from hwmodels.tiers.given import (
    COMMON_FIELDS,
    GivenArea,
    GivenBytes,
    GivenCount,
    GivenJoulesPerBit,
    GivenNumber,
    GivenRate,
    GivenTime,
    GivenWatts,
    TierSection,
    plain_fields,
)
from hwmodels.tiers.kinds import TierKind, register_tier_kind


@dataclass(frozen=True)
class FlashTier(ServedTier):
    """Flash behind a controller (an NVMe drive).

    Parameters
    ----------
    page_bytes, sector_bytes
        What the array senses at once, and the unit of transfers.
    planes
        Pages that can be sensed side by side (dies times planes).
    read_s, program_s
        Array time of a page.
    read_bytes_each_per_second, write_bytes_each_per_second
        Host interface of one drive.
    commands_each_per_second
        Commands the controller starts.
    queue_depth
        Commands under way.
    latency_s
        Controller and link, on top of the array and the transfer.
    """

    name: str
    summary: str
    capacity_each_bytes: int
    count: int
    page_bytes: int
    sector_bytes: int
    planes: int
    read_s: float
    program_s: float
    read_bytes_each_per_second: float
    write_bytes_each_per_second: float
    commands_each_per_second: float
    queue_depth: int
    latency_s: float
    read_j_per_bit: float
    write_j_per_bit: float
    idle_w: float
    area_each_mm2: float | None = None
    citations: Citations = ()
    kind: ClassVar[str] = "flash"
    device_word: ClassVar[str] = "drives"
    rates_of: ClassVar[str] = "random reads of"

    @property
    def capacity_bytes(self) -> int:
        """Bytes of all drives."""
        return self.capacity_each_bytes * self.count

    @property
    def peak_bytes_per_second(self) -> float:
        """Rate of all host interfaces, reading."""
        return self.read_bytes_each_per_second * self.count

    @property
    def read_latency_s(self) -> float:
        """One sector of an idle drive."""
        return self.read_s + self.sector_bytes / self.read_bytes_each_per_second + self.latency_s

    @property
    def streamed_j_per_bit(self) -> float:
        """Energy of a bit read at full rate, the idle drive included."""
        return self.read_j_per_bit + self.idle_w / (8 * self.read_bytes_each_per_second)

    def random_bytes_per_second(self, chunk_bytes: int) -> float:
        """Sustained rate of reads of `chunk_bytes` (part of a page, or whole pages) spread evenly over all planes.

        The least of interface, command rate, planes (each senses a whole page per command), and queue depth.
        """
        useful = min(chunk_bytes, self.page_bytes)
        sectors = math.ceil(useful / self.sector_bytes) * self.sector_bytes
        transfer = sectors / self.read_bytes_each_per_second
        rates = (
            1 / transfer,
            self.commands_each_per_second,
            self.planes / (self.read_s + transfer),
            self.queue_depth / (self.read_s + transfer + self.latency_s),
        )
        return self.count * useful * min(rates)

    def rates(self) -> tuple[tuple[int, float], ...]:
        """Rates of random reads."""
        sizes = (512, 4096, self.page_bytes, 4 * self.page_bytes)
        return tuple((size, self.random_bytes_per_second(size)) for size in sizes)

    def served(self, clock_hz: float) -> dict[str, int | Fraction]:
        """Settings of all drives as one: pages are spread over their planes."""

        def cycles(seconds: float) -> Fraction:
            return Fraction(seconds * clock_hz)

        return {
            "page_bytes": self.page_bytes,
            "sector_bytes": self.sector_bytes,
            "planes": self.planes * self.count,
            "queue_depth": self.queue_depth * self.count,
            "read_cycles": cycles(self.read_s),
            "program_cycles": cycles(self.program_s),
            "sector_read_cycles": cycles(self.sector_bytes / (self.read_bytes_each_per_second * self.count)),
            "sector_write_cycles": cycles(self.sector_bytes / (self.write_bytes_each_per_second * self.count)),
            "command_cycles": cycles(1 / (self.commands_each_per_second * self.count)),
            "latency_cycles": cycles(self.latency_s),
        }

    @property
    def slot_bytes(self) -> int:
        """A sector."""
        return self.sector_bytes

    def slot_s(self, *, reads: bool) -> float:
        """Time of a sector on all interfaces together."""
        rate = self.count * (self.read_bytes_each_per_second if reads else self.write_bytes_each_per_second)
        return self.sector_bytes / rate


class FlashTierText(TierSection):
    """A drive."""

    kind: Literal["flash"]
    capacity: GivenBytes
    count: GivenCount = Cited[int](value=1, assumption=True, note="one drive")
    page: GivenBytes
    sector: GivenBytes
    planes: GivenCount
    read_time: GivenTime
    program_time: GivenTime
    read_rate: GivenRate
    write_rate: GivenRate
    commands_per_second: GivenNumber
    queue_depth: GivenCount
    latency: GivenTime
    read_energy: GivenJoulesPerBit
    write_energy: GivenJoulesPerBit
    idle: GivenWatts
    area: GivenArea | None = None


_FLASH_FIELDS = COMMON_FIELDS | {
    "page": "page_bytes",
    "sector": "sector_bytes",
    "planes": "planes",
    "read_time": "read_s",
    "program_time": "program_s",
    "read_rate": "read_bytes_each_per_second",
    "write_rate": "write_bytes_each_per_second",
    "commands_per_second": "commands_each_per_second",
    "queue_depth": "queue_depth",
    "latency": "latency_s",
    "read_energy": "read_j_per_bit",
    "write_energy": "write_j_per_bit",
    "idle": "idle_w",
}


def _build(text: FlashTierText, document: Document) -> FlashTier:
    if text.page.value % text.sector.value:
        message = f"a page is no whole number of sectors of {text.sector.value:g} bytes"
        raise InputError(document.problem(("page",), message))
    return FlashTier(**plain_fields(text, _FLASH_FIELDS))


register_tier_kind(TierKind("flash", FlashTierText, _build))
