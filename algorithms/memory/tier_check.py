"""Unloaded latency of a tier, by formula and as simulated: the two must be the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from algorithms.memory.binding import dram_description, flash_server, link_server, sram_server
from hwmodels.tiers.tier import DramTier, FlashTier, LinkTier, SramTier, Tier
from simulator.firing import IntArray
from simulator.servers.dram.tier import Requests, run_dram
from simulator.servers.flash import flash_service
from simulator.servers.kernel import Kernel
from simulator.servers.link import link_service
from simulator.servers.sram import sram_service

CHECK_CLOCK_HZ = 1e12
"""Clock of links and drives in the check, fine enough for picoseconds."""


@dataclass(frozen=True)
class LatencyCheck:
    """One read of an idle tier.

    Parameters
    ----------
    formula_s, simulated_s : float
    step_s : float
        Time step of the simulation; the two may differ by one where the formula's time is no whole number of steps.
    """

    formula_s: float
    simulated_s: float
    step_s: float

    @property
    def agree(self) -> bool:
        """Whether the two are the same but for rounding up to a step."""
        return -1e-6 * self.step_s <= self.simulated_s - self.formula_s <= 1.001 * self.step_s


def check_unloaded_read(tier: Tier) -> LatencyCheck:
    """Read one transaction, word, chunk or sector of `tier`, idle and with all banks closed."""
    if isinstance(tier, DramTier):
        description = dram_description(tier)
        run = run_dram(
            description, Requests.of(np.zeros(1, dtype=np.int64), description.organisation.transaction_bytes)
        )
        step = tier.standard.tick_s
        return LatencyCheck(tier.read_latency_s, float(run.done_clock[0] - run.accept_clock[0]) * step, step)
    if isinstance(tier, SramTier):
        return _check(
            tier, 1 / tier.clock_hz, sram_server(tier).parameters(), sram_server(tier).state_words, sram_service
        )
    server = link_server(tier, CHECK_CLOCK_HZ) if isinstance(tier, LinkTier) else flash_server(tier, CHECK_CLOCK_HZ)
    service = link_service if isinstance(tier, LinkTier) else flash_service
    return _check(tier, 1 / CHECK_CLOCK_HZ, server.parameters(), server.state_words, service)


def _check(
    tier: SramTier | LinkTier | FlashTier, step_s: float, parameters: IntArray, state_words: int, service: Kernel
) -> LatencyCheck:
    _, done = service(parameters, np.zeros(state_words, dtype=np.int64), 0, 0, 1, 0)
    return LatencyCheck(tier.read_latency_s, (int(done) + 1) * step_s, step_s)
