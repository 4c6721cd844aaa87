"""The kinds of tiers: frozen values with capacity, peak, unloaded latency, energy and area.

A tier is `count` equal devices side by side (stacks, DIMM channels, drives, links, SRAM macros); addresses or bytes
are spread over them.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Literal

from hwmodels.cards import html_table
from hwmodels.quantity import format_quantity
from hwmodels.standards.checks import mapped_fields
from hwmodels.standards.standard import DramOrganisation, DramStandard, MappedField
from hwmodels.tiers.dram_energy import DramEnergy
from hwmodels.tiers.sram_energy import Cell, SramEnergy

RowState = Literal["open", "closed", "conflict"]
"""What an access finds: its row open, the bank closed, or another row open."""
Citations = tuple[tuple[str, str], ...]

CONTROLLER_TICKS = {"dramsim3": 2, "ramulator2": 1}
"""Ticks from acceptance to the first command, by queue policy: ``dramsim3`` moves a transaction to its bank first."""


class _Counted(ABC):
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


@dataclass(frozen=True)
class DramTier(_Counted):
    """DRAM with bank timing.

    Parameters
    ----------
    standard
        One device, with everything that the tier's file changes.
    count
        Stacks, or channels of a standard whose device has one channel.
    energy
        Of the tier's channels and ranks.
    area_each_mm2
        Memory and interface of one device, as far as known.
    """

    name: str
    summary: str
    standard: DramStandard
    count: int
    energy: DramEnergy
    area_each_mm2: float | None = None
    citations: Citations = ()
    kind: ClassVar[str] = "dram"

    @cached_property
    def organisation(self) -> DramOrganisation:
        """All devices together."""
        one = self.standard.organisation
        return replace(one, channels=one.channels * self.count)

    @cached_property
    def fields(self) -> tuple[MappedField, ...]:
        """Parts of an address in transactions, least significant first."""
        return mapped_fields(self.standard.mapping, self.organisation)[0]

    @property
    def capacity_bytes(self) -> int:
        """Bytes of all devices."""
        return self.organisation.capacity_bytes

    @property
    def peak_bytes_per_second(self) -> float:
        """Rate of all data buses."""
        return self.standard.peak_bytes_per_second * self.count

    def read_latency_ticks(self, row: RowState = "closed") -> int:
        """Unloaded read latency in ticks, from acceptance (on a rising edge) to the last data of one transaction.

        Precharge and activation as the row state asks, column access and burst, and what the controller adds
        (`CONTROLLER_TICKS`). Commands of several ticks take effect in their last one; with half clocks, activations
        and column commands wait for the rising edge; a split activation's strobe has to be started first.
        """
        timing, bus, ticks = self.standard.timing, self.standard.bus, self.standard.bus.ticks_per_clock
        activate, column = bus.activate_ticks - 1, bus.column_ticks - 1
        steps = [(timing.cl + timing.burst) * ticks]
        if row != "open":
            steps.append(timing.rcd_read * ticks + activate - column)
        if row == "conflict":
            steps.append(timing.rp * ticks - activate)
        on_edges = sum(-(-step // ticks) * ticks for step in steps)
        return CONTROLLER_TICKS[self.standard.controller.policy] + bus.split_activate + on_edges

    @property
    def read_latency_s(self) -> float:
        """Unloaded latency of a read that finds its bank closed."""
        return self.read_latency_ticks() * self.standard.tick_s

    @property
    def streamed_j_per_bit(self) -> float:
        """Energy of a bit of whole rows read one after the other at full rate, refresh and background included."""
        organisation, timing = self.organisation, self.standard.timing
        busy_s = 1 / (8 * self.peak_bytes_per_second)
        refreshes = organisation.channels * organisation.ranks * busy_s / (timing.refi * self.standard.clock_s)
        used = self.energy.used(
            activations=1 / (8 * organisation.row_bytes),
            read_bits=1,
            write_bits=0,
            refreshes=refreshes,
            channel_seconds=organisation.channels * busy_s,
        )
        return sum(used.values())

    def with_count(self, count: int) -> DramTier:
        """The same devices, `count` of them."""
        return replace(self, count=count)

    def at_peak(self, bytes_per_second: float) -> DramTier:
        """The same devices clocked for another peak rate, their timings re-derived (`DramTiming.at_clock`)."""
        clock_s = self.standard.clock_s * self.peak_bytes_per_second / bytes_per_second
        return replace(self, standard=self.standard.at_clock(clock_s))


@dataclass(frozen=True)
class SramTier(_Counted):
    """Banked on-chip memory.

    Parameters
    ----------
    capacity_each_bytes
        Bytes of one macro.
    count
        Macros with ports of their own.
    banks, ports
        Banks of a macro, and accesses a bank can serve per cycle.
    width_bytes
        Word of a bank; consecutive words lie in consecutive banks.
    lanes
        Words the macro's interface moves per cycle.
    latency_cycles
        From the access of a word to its data.
    buffers
        2: double buffering, each half has half of the banks and of the capacity.
    node_nm, cell
        Process and kind of cell.
    """

    name: str
    summary: str
    capacity_each_bytes: int
    count: int
    banks: int
    ports: int
    width_bytes: int
    lanes: int
    latency_cycles: int
    clock_hz: float
    buffers: int
    node_nm: float
    cell: Cell
    energy: SramEnergy
    area_each_mm2: float | None = None
    citations: Citations = ()
    kind: ClassVar[str] = "sram"

    @property
    def capacity_bytes(self) -> int:
        """Bytes of all macros."""
        return self.capacity_each_bytes * self.count

    @property
    def usable_bytes(self) -> int:
        """Bytes that one working set may take: one buffer of each macro."""
        return self.capacity_each_bytes // self.buffers * self.count

    @property
    def peak_bytes_per_second(self) -> float:
        """Rate of all interfaces without bank conflicts."""
        return self.count * self.lanes * self.width_bytes * self.clock_hz

    @property
    def streamed_j_per_bit(self) -> float:
        """Energy of a bit read at full rate, leakage included."""
        return self.energy.read_j_per_bit + self.count * self.energy.leakage_w / (8 * self.peak_bytes_per_second)

    @property
    def read_latency_s(self) -> float:
        """One word of an idle bank."""
        return self.latency_cycles / self.clock_hz

    def with_count(self, count: int) -> SramTier:
        """The same macros, `count` of them."""
        return replace(self, count=count)

    def at_peak(self, bytes_per_second: float) -> SramTier:
        """The same macros at the clock that gives another peak rate."""
        return replace(self, clock_hz=self.clock_hz * bytes_per_second / self.peak_bytes_per_second)


@dataclass(frozen=True)
class LinkTier(_Counted):
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

    def with_count(self, count: int) -> LinkTier:
        """The same links, `count` of them."""
        return replace(self, count=count)

    def at_peak(self, bytes_per_second: float) -> LinkTier:
        """The same links at another raw rate."""
        return replace(self, bytes_each_per_second=bytes_per_second / self.count)


@dataclass(frozen=True)
class FlashTier(_Counted):
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

    def with_count(self, count: int) -> FlashTier:
        """The same drives, `count` of them."""
        return replace(self, count=count)

    def at_peak(self, bytes_per_second: float) -> FlashTier:
        """The same drives behind interfaces of another rate, writes in proportion."""
        factor = bytes_per_second / self.peak_bytes_per_second
        return replace(
            self,
            read_bytes_each_per_second=self.read_bytes_each_per_second * factor,
            write_bytes_each_per_second=self.write_bytes_each_per_second * factor,
        )


Tier = DramTier | SramTier | LinkTier | FlashTier
