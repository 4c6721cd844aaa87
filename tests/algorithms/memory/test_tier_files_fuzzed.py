"""Tier files with anything in them: a tier that works, or lines that say what is wrong; never a traceback."""

from __future__ import annotations

import math

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from algorithms.memory.binding import dram_description
from hwmodels.reading.errors import InputError
from hwmodels.tiers.dram import DramTier
from hwmodels.tiers.text import load_tier, tier_names
from simulator.errors import GraphError

FIELDS = [
    "kind",
    "name",
    "standard",
    "count",
    "clock",
    "organisation.channels",
    "organisation.rows",
    "organisation.columns",
    "organisation.transaction_bytes",
    "organisation",
    "timing.rc",
    "timing.ras",
    "timing.burst",
    "timing.refi",
    "timing",
    "bus.ticks_per_clock",
    "bus.activate_ticks",
    "controller.policy",
    "controller.refresh",
    "controller.read_depth",
    "mapping.order",
    "mapping.xor",
    "mapping",
    "energy.activate",
    "energy",
    "capacity",
    "banks",
    "ports",
    "width",
    "lanes",
    "latency_cycles",
    "buffers",
    "node_nm",
    "cell",
    "rate",
    "efficiency",
    "latency",
    "chunk",
    "outstanding",
    "duplex",
    "page",
    "sector",
    "planes",
    "read_time",
    "queue_depth",
    "source",
    "area",
]
TEXTS = ("", "no", "1 ns", "0 s", "-1 B", "4 KiB", "hbm3", "ddr9", "[row]", "[column, 3]", "{value: 1}", "{}", "a: [")
PARTS = ("row", "column", "column:4", "bank:0", "bank", "group", "channel", "rank", "sid", ":", "x:1")
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.sampled_from(TEXTS),
    st.lists(st.sampled_from(PARTS)),
)
CHANGES = st.dictionaries(st.sampled_from(FIELDS), VALUES, min_size=1, max_size=3)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(name=st.sampled_from(tier_names()), changes=CHANGES)
def test_a_tier_or_clear_lines(name, changes):
    try:
        tier = load_tier(name, changes=changes)
    except InputError as error:
        assert all(str(problem).count("\n") == 0 and problem.message for problem in error.problems)
        return
    figures = (tier.capacity_bytes, tier.peak_bytes_per_second, tier.read_latency_s, tier.streamed_j_per_bit)
    assert all(math.isfinite(figure) and figure >= 0 for figure in figures)
    if isinstance(tier, DramTier):
        try:
            dram_description(tier).parameters()
        except GraphError as error:
            # more banks, deeper queues than the kernels have room for
            assert "dram: " in str(error)
