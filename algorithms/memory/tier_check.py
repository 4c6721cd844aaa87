"""Unloaded latency of a tier, by formula and as simulated: the two must be the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from algorithms.memory.binding import dram_description, mechanism_of
from hwmodels.tiers.base import ServedTier, Tier
from hwmodels.tiers.dram import DramTier
from simulator.servers.dram.tier import Requests, run_dram
from simulator.servers.mechanisms import kind_of

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
    """Read one transaction, word, chunk or sector of `tier`, idle and with all banks closed.

    Raises
    ------
    TypeError
        A tier that is neither DRAM nor served in turn.
    """
    if isinstance(tier, DramTier):
        description = dram_description(tier)
        run = run_dram(
            description, Requests.of(np.zeros(1, dtype=np.int64), description.organisation.transaction_bytes)
        )
        step = tier.standard.tick_s
        return LatencyCheck(tier.read_latency_s, float(run.done_clock[0] - run.accept_clock[0]) * step, step)
    if not isinstance(tier, ServedTier):
        raise TypeError(f"{tier.name} is a tier of kind {tier.kind}, which nothing simulates")
    step = 1 / (tier.own_clock_hz or CHECK_CLOCK_HZ)
    mechanism = mechanism_of(tier, CHECK_CLOCK_HZ)
    service, state = kind_of(mechanism).service, np.zeros(mechanism.state_words, dtype=np.int64)
    _, done = service(mechanism.parameters(), state, 0, 0, 1, 0)
    return LatencyCheck(tier.read_latency_s, (int(done) + 1) * step, step)
