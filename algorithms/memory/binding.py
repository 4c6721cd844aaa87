"""Tiers of hardware as the servers that simulate them."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

from hwmodels.tiers.tier import DramTier, FlashTier, LinkTier, SramTier
from simulator.servers.dram.parameters import (
    AddressField,
    Controller,
    DramDescription,
    Organisation,
    Timing,
)
from simulator.servers.dram.tier import DramCounters
from simulator.servers.flash import FlashServer
from simulator.servers.link import LinkServer
from simulator.servers.sram import SramServer


def dram_description(tier: DramTier) -> DramDescription:
    """The DRAM tier as the cycle-level service kernels take it; one step of their clock is ``tier.standard.tick_s``.

    Raises
    ------
    simulator.errors.GraphError
        The tier is beyond the limits of the kernels (banks, groups, queue depths).
    """
    bus, ticks = tier.standard.bus, tier.standard.bus.ticks_per_clock
    timing = {name: value * ticks for name, value in dataclasses.asdict(tier.standard.timing).items()}
    if not timing["refi_bank"]:
        timing["refi_bank"] = timing["refi"] // tier.organisation.banks
    controller = Controller(
        **dataclasses.asdict(tier.standard.controller),
        dual_command_bus=bus.dual_command_bus,
        one_command_bus=not bus.dual_command_bus,
        half_clock=ticks == 2,
        split_activate=bus.split_activate,
    )
    return DramDescription(
        Organisation(**dataclasses.asdict(tier.organisation)),
        Timing(
            **timing,
            refresh_blocks_refresh=bus.refresh_blocks_refresh,
            slow_rank_write_to_read=bus.slow_rank_write_to_read,
            act_clocks=bus.activate_ticks,
            cas_clocks=bus.column_ticks,
        ),
        controller,
        tuple(AddressField(field.coordinate, field.size, field.xor) for field in tier.fields),
    )


def sram_server(tier: SramTier) -> SramServer:
    """One macro of the SRAM tier, in cycles of the tier's own clock."""
    return SramServer(
        capacity_bytes=tier.capacity_each_bytes,
        banks=tier.banks,
        ports=tier.ports,
        width_bytes=tier.width_bytes,
        lanes=tier.lanes,
        # the data of a word is there in its last cycle
        latency_cycles=tier.latency_cycles - 1,
        buffers=tier.buffers,
    )


def link_server(tier: LinkTier, clock_hz: float) -> LinkServer:
    """Server of all links of the tier as one, in cycles of `clock_hz`: a chunk is spread over them."""
    return LinkServer(
        chunk_bytes=tier.chunk_bytes * tier.count,
        chunk_cycles=Fraction(tier.chunk_s * clock_hz),
        latency_cycles=Fraction(tier.latency_s * clock_hz),
        outstanding=tier.outstanding,
        duplex=tier.duplex,
    )


def flash_server(tier: FlashTier, clock_hz: float) -> FlashServer:
    """Server of all drives of the tier as one, in cycles of `clock_hz`: pages are spread over their planes."""

    def cycles(seconds: float) -> Fraction:
        return Fraction(seconds * clock_hz)

    return FlashServer(
        page_bytes=tier.page_bytes,
        sector_bytes=tier.sector_bytes,
        planes=tier.planes * tier.count,
        queue_depth=tier.queue_depth * tier.count,
        read_cycles=cycles(tier.read_s),
        program_cycles=cycles(tier.program_s),
        sector_read_cycles=cycles(tier.sector_bytes / (tier.read_bytes_each_per_second * tier.count)),
        sector_write_cycles=cycles(tier.sector_bytes / (tier.write_bytes_each_per_second * tier.count)),
        command_cycles=cycles(1 / (tier.commands_each_per_second * tier.count)),
        latency_cycles=cycles(tier.latency_s),
    )


def dram_energy_j(tier: DramTier, counters: DramCounters) -> dict[str, float]:
    """Joules by component (`DramEnergy.used`) of what happened on a DRAM tier; bits are those of column commands."""
    organisation = tier.organisation
    bits = 8 * organisation.transaction_bytes
    return tier.energy.used(
        activations=counters.activations,
        read_bits=bits * counters.read_commands,
        write_bits=bits * counters.write_commands,
        refreshes=counters.refreshes + counters.bank_refreshes / (organisation.banks // organisation.ranks),
        channel_seconds=counters.clocks * tier.standard.tick_s * organisation.channels,
    )
