"""The loop of the compiled engine for graphs with memory tiers."""

from __future__ import annotations

from simulator.engines.compiled.machine import Machine
from simulator.engines.compiled.run_ahead import FINISHED, OUT_OF_VISITS, TIER_OVERRUN, run
from simulator.engines.compiled.scratch import Scratch
from simulator.engines.compiled.tiers_exchange import NOTHING_LEFT, OVERRUN, Tiers, exchange
from simulator.servers.kernel import as_variable, kernel

VISITS_PER_TURN = 1 << 20


@kernel
def run_with_tiers(machine: Machine, scratch: Scratch, tiers: Tiers, turns: int) -> int:
    """Let units and memory tiers take turns until nothing is left to do, or ``turns`` are over; otherwise as `run`."""
    while True:
        turns -= 1
        status = run(machine, scratch, as_variable(VISITS_PER_TURN))
        if status != FINISHED or turns < 0:
            return status if status != FINISHED else OUT_OF_VISITS
        went_on = exchange(machine, tiers, scratch.horizon)
        if went_on == OVERRUN:
            return TIER_OVERRUN
        if went_on == NOTHING_LEFT:
            return FINISHED
