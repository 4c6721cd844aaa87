"""Memory behind a CXL port, as a plug-in: requests move in flits, which a fixed number of credits lets be under way."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from hwmodels.reading.documents import Document
from hwmodels.tiers.base import Citations, ServedTier
from hwmodels.tiers.given import (
    COMMON_FIELDS,
    GivenBytes,
    GivenCount,
    GivenJoulesPerBit,
    GivenRate,
    GivenTime,
    TierSection,
    plain_fields,
)
from hwmodels.tiers.kinds import TierKind, register_tier_kind
from simulator.firing import IntArray
from simulator.servers.kernel import kernel
from simulator.servers.mechanisms import MECHANISMS, MechanismKind

TICKS = 1 << 10


@dataclass(frozen=True)
class CxlServer:
    """A port, in cycles of the clock it is used with."""

    flit_bytes: int
    flit_cycles: Fraction
    latency_cycles: Fraction
    credits: int
    capacity_bytes: int

    def parameters(self) -> IntArray:
        """Flit, its ticks, latency in ticks, credits."""
        times = [round(cycles * TICKS) for cycles in (self.flit_cycles, self.latency_cycles)]
        return np.asarray([self.flit_bytes, *times, self.credits], dtype=np.int64)

    @property
    def state_words(self) -> int:
        """When the port is free, the oldest credit, and when each credit is back."""
        return 2 + self.credits


@kernel
def cxl_service(p, s, start, address, size_bytes, is_write):
    """Move all flits that the bytes touch, each as soon as the port and a credit are free."""
    flit = p[0]
    free = max(s[0], start * TICKS)
    for _ in range((address + size_bytes - 1) // flit - address // flit + 1):
        credit = 2 + s[1]
        free = max(free, s[credit]) + p[1]
        s[credit] = free + p[2]
        s[1] = (s[1] + 1) % p[3]
    s[0] = free
    return max(start + 1, (free + TICKS - 1) // TICKS), max(start, (free + p[2] - 1) // TICKS)


MECHANISMS.add(MechanismKind("cxl", CxlServer, cxl_service))


@dataclass(frozen=True)
class CxlTier(ServedTier):
    """Expanders with a port each."""

    name: str
    summary: str
    capacity_each_bytes: int
    count: int
    bytes_each_per_second: float
    flit_bytes: int
    latency_s: float
    credits: int
    j_per_bit: float
    area_each_mm2: float | None = None
    citations: Citations = ()
    kind: ClassVar[str] = "cxl"
    device_word: ClassVar[str] = "expanders"

    @property
    def capacity_bytes(self) -> int:
        """Bytes of all expanders."""
        return self.capacity_each_bytes * self.count

    @property
    def peak_bytes_per_second(self) -> float:
        """Rate of all ports."""
        return self.bytes_each_per_second * self.count

    @property
    def read_latency_s(self) -> float:
        """One flit of an idle port."""
        return self.latency_s + self.slot_s(reads=True)

    @property
    def streamed_j_per_bit(self) -> float:
        """Energy of a bit moved."""
        return self.j_per_bit

    @property
    def slot_bytes(self) -> int:
        """A flit on every port."""
        return self.flit_bytes * self.count

    def slot_s(self, *, reads: bool) -> float:
        """Time of a flit."""
        return self.flit_bytes / self.bytes_each_per_second

    def served(self, clock_hz: float) -> dict[str, int | Fraction]:
        """All ports as one."""
        return {
            "flit_bytes": self.slot_bytes,
            "flit_cycles": Fraction(self.slot_s(reads=True) * clock_hz),
            "latency_cycles": Fraction(self.latency_s * clock_hz),
            "credits": self.credits,
            "capacity_bytes": self.capacity_bytes,
        }


class CxlTierText(TierSection):
    """An expander in a tier file."""

    kind: Literal["cxl"]
    capacity: GivenBytes
    count: GivenCount
    rate: GivenRate
    flit: GivenBytes
    latency: GivenTime
    credits: GivenCount
    energy: GivenJoulesPerBit


FIELDS = COMMON_FIELDS | {
    "rate": "bytes_each_per_second",
    "flit": "flit_bytes",
    "latency": "latency_s",
    "credits": "credits",
    "energy": "j_per_bit",
}


def build(text: CxlTierText, document: Document) -> CxlTier:
    """The tier of a file."""
    return CxlTier(**plain_fields(text, FIELDS))


register_tier_kind(TierKind("cxl", CxlTierText, build, presets=Path(__file__).parent / "presets"))
