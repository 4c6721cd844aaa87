"""DRAM with bank timing: a standard's devices side by side."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Literal

from hwmodels.standards.checks import mapped_fields
from hwmodels.standards.policies.policy import queue_policy
from hwmodels.standards.standard import DramOrganisation, DramStandard, MappedField
from hwmodels.tiers.base import Citations, Tier
from hwmodels.tiers.dram_energy import DramEnergy

RowState = Literal["open", "closed", "conflict"]
"""State that an access finds: its row open, the bank closed, or another row open."""


@dataclass(frozen=True)
class DramTier(Tier):
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
        """Organisation of all devices together."""
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

        Precharge and activation as the row state asks, column access and burst, and what the controller's queue policy
        adds. Commands of several ticks take effect in their last one; with half clocks, activations and column
        commands wait for the rising edge; a split activation's strobe has to be started first.
        """
        timing, bus, ticks = self.standard.timing, self.standard.bus, self.standard.bus.ticks_per_clock
        activate, column = bus.activate_ticks - 1, bus.column_ticks - 1
        steps = [(timing.cl + timing.burst) * ticks]
        if row != "open":
            steps.append(timing.rcd_read * ticks + activate - column)
        if row == "conflict":
            steps.append(timing.rp * ticks - activate)
        on_edges = sum(-(-step // ticks) * ticks for step in steps)
        return queue_policy(self.standard.controller.policy).command_ticks + bus.split_activate + on_edges

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

    @property
    def idle_w(self) -> float:
        """Power of all devices while nothing moves: standby of every channel, refresh of every rank."""
        organisation, standard = self.organisation, self.standard
        refreshes = organisation.ranks * self.energy.refresh_j / (standard.timing.refi * standard.clock_s)
        return organisation.channels * (self.energy.background_w + refreshes)

    def at_peak(self, bytes_per_second: float) -> DramTier:
        """The same devices clocked for another peak rate, their timings re-derived (`DramTiming.at_clock`)."""
        clock_s = self.standard.clock_s * self.peak_bytes_per_second / bytes_per_second
        return replace(self, standard=self.standard.at_clock(clock_s))
