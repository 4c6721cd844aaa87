"""Tiers of hardware as the servers that simulate them."""

from __future__ import annotations

import dataclasses

from hwmodels.tiers.base import ServedTier
from hwmodels.tiers.dram import DramTier
from simulator.servers.dram.parameters import (
    AddressField,
    Controller,
    DramDescription,
    Organisation,
    Timing,
)
from simulator.servers.dram.tier import DramCounters
from simulator.servers.mechanisms import MECHANISMS, Mechanism


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


def mechanism_of(tier: ServedTier, clock_hz: float) -> Mechanism:
    """Mechanism of the tier's kind, in cycles of ``clock_hz`` or of the tier's own clock.

    Raises
    ------
    simulator.errors.GraphError
        If no mechanism is called as the kind.
    """
    return MECHANISMS.get(tier.kind).type(**tier.served(tier.own_clock_hz or clock_hz))


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
