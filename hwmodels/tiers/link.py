"""Links, and memories of which only bandwidth and latency count."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from hwmodels.reading.cited import CITE_PLAIN, Cited
from hwmodels.reading.documents import Document
from hwmodels.tiers.base import Citations, ServedTier
from hwmodels.tiers.given import (
    COMMON_FIELDS,
    GivenArea,
    GivenBytes,
    GivenCount,
    GivenJoulesPerBit,
    GivenRate,
    GivenShare,
    GivenTime,
    TierSection,
    plain_fields,
)
from hwmodels.tiers.kinds import TierKind, register_tier_kind


@dataclass(frozen=True)
class LinkTier(ServedTier):
    """A link, or a memory of which only bandwidth and latency count: ``t = t0 + ceil(bytes / chunk) * chunk / BW``.

    Parameters
    ----------
    bytes_each_per_second
        Raw rate of one link per direction.
    efficiency
        Payload over raw bytes.
    latency_s
        From the last byte on the wire to its arrival, requests included.
    chunk_bytes
        Bytes move in whole chunks.
    outstanding
        Chunks under way at most.
    duplex
        Both directions at once.
    capacity_each_bytes
        Of the memory behind one link; 0 for a link alone.
    """

    name: str
    summary: str
    bytes_each_per_second: float
    efficiency: float
    latency_s: float
    chunk_bytes: int
    outstanding: int
    duplex: bool
    count: int
    j_per_bit: float
    capacity_each_bytes: int = 0
    area_each_mm2: float | None = None
    citations: Citations = ()
    kind: ClassVar[str] = "link"
    rates_of: ClassVar[str] = "one transfer of"

    @property
    def capacity_bytes(self) -> int:
        """Bytes behind all links; 0 for links alone."""
        return self.capacity_each_bytes * self.count

    @property
    def peak_bytes_per_second(self) -> float:
        """Raw rate of all links, one direction."""
        return self.bytes_each_per_second * self.count

    @property
    def chunk_s(self) -> float:
        """Time of a chunk on its wire."""
        return self.chunk_bytes / (self.bytes_each_per_second * self.efficiency)

    @property
    def read_latency_s(self) -> float:
        """One chunk on an idle link."""
        return self.latency_s + self.chunk_s

    @property
    def streamed_j_per_bit(self) -> float:
        """Energy of a bit moved."""
        return self.j_per_bit

    @property
    def usable_bytes_per_second(self) -> float:
        """Sustained payload rate: the wire, or what the chunks under way allow (Little's law)."""
        window = self.outstanding * self.chunk_bytes / self.read_latency_s
        return self.count * min(self.chunk_bytes / self.chunk_s, window)

    def transfer_s(self, size_bytes: float) -> float:
        """Time to move `size_bytes`, spread evenly over the links, from an idle start."""
        chunks = math.ceil(size_bytes / self.count / self.chunk_bytes)
        interval = self.count * self.chunk_bytes / self.usable_bytes_per_second
        rounds, rest = divmod(chunks - 1, self.outstanding)
        paced = rounds * self.outstanding * interval + rest * self.chunk_s
        return self.read_latency_s + paced if chunks else 0.0

    def rates(self) -> tuple[tuple[int, float], ...]:
        """Rates of single transfers."""
        sizes = (4 << 10, 64 << 10, 1 << 20, 16 << 20, 1 << 30)
        return tuple((size, size / self.transfer_s(size)) for size in sizes)

    def served(self, clock_hz: float) -> dict[str, int | Fraction]:
        """Settings of all links as one: a chunk is spread over them."""
        return {
            "chunk_bytes": self.slot_bytes,
            "chunk_cycles": Fraction(self.chunk_s * clock_hz),
            "latency_cycles": Fraction(self.latency_s * clock_hz),
            "outstanding": self.outstanding,
            "duplex": self.duplex,
        }

    @property
    def slot_bytes(self) -> int:
        """A chunk on every link."""
        return self.chunk_bytes * self.count

    def slot_s(self, *, reads: bool) -> float:
        """Time of a chunk, the same in both directions."""
        return self.chunk_s


class LinkTierText(TierSection):
    """A link, or a memory that only has a rate."""

    kind: Literal["link"]
    rate: GivenRate
    efficiency: GivenShare
    latency: GivenTime
    chunk: GivenBytes
    outstanding: GivenCount
    duplex: Annotated[Cited[Annotated[bool, Field(strict=True)]], CITE_PLAIN]
    capacity: GivenBytes | None = None
    count: GivenCount = Cited[int](value=1, assumption=True, note="one link")
    energy: GivenJoulesPerBit
    area: GivenArea | None = None


_LINK_FIELDS = COMMON_FIELDS | {
    "rate": "bytes_each_per_second",
    "efficiency": "efficiency",
    "latency": "latency_s",
    "chunk": "chunk_bytes",
    "outstanding": "outstanding",
    "duplex": "duplex",
    "energy": "j_per_bit",
}


def _build(text: LinkTierText, document: Document) -> LinkTier:
    return LinkTier(**plain_fields(text, _LINK_FIELDS))


register_tier_kind(TierKind("link", LinkTierText, _build))
