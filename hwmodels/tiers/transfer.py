"""Tiers that are known by rates and latencies: links, memories without bank timing, drives."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from hwmodels.tiers.base import BaseTier, Citations


@dataclass(frozen=True)
class LinkTier(BaseTier):
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


@dataclass(frozen=True)
class FlashTier(BaseTier):
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
