"""The loop of the compiled engine for graphs with memory tiers."""

from __future__ import annotations

from simulator.engines.compiled.run_ahead import FINISHED, OUT_OF_VISITS, TIER_OVERRUN, run
from simulator.engines.compiled.tiers_exchange import NOTHING_LEFT, OVERRUN, exchange
from simulator.servers.kernel import as_variable, kernel

VISITS_PER_TURN = 1 << 20


@kernel
def run_with_tiers(
    units,
    blocks,
    segments,
    channels,
    servers,
    words,
    queue,
    queued,
    start,
    cause,
    options,
    trace,
    watch,
    visits,
    horizon,
    tiers,
    memory,
):
    """Let units and memory tiers take turns until nothing is left to do; otherwise as `run`."""
    while True:
        visits -= 1
        status = run(
            units, blocks, segments, channels, servers, words, queue, queued, start, cause, options, trace, watch,
            as_variable(VISITS_PER_TURN), horizon,
        )  # fmt: skip
        if status != FINISHED or visits < 0:
            return status if status != FINISHED else OUT_OF_VISITS
        went_on = exchange(units, segments, channels, servers, words, tiers, memory, horizon)
        if went_on == OVERRUN:
            return TIER_OVERRUN
        if went_on == NOTHING_LEFT:
            return FINISHED
