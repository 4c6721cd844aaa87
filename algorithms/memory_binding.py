"""Tiers of hardware as the servers that simulate them."""

from __future__ import annotations

import dataclasses

from hwmodels.tiers.tier import DramTier
from simulator.servers.dram_parameters import (
    AddressField,
    Controller,
    DramDescription,
    Organisation,
    Timing,
)


def dram_description(tier: DramTier) -> DramDescription:
    """The DRAM tier as the cycle-level service kernels take it; one step of their clock is ``tier.standard.tick_s``.

    Raises
    ------
    simulator.errors.GraphError
        The tier is beyond the limits of the kernels (banks, groups, queue depths).
    """
    bus, ticks = tier.standard.bus, tier.standard.bus.ticks_per_clock
    timing = {name: value * ticks for name, value in dataclasses.asdict(tier.standard.timing).items()}
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
