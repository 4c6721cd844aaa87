"""Firings that move bytes: columns of them take what each takes by itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorithms.chip.cores.core_tables import Moving
from algorithms.chip.cores.fabric import Fabric, MovedBytes, TierThroughput

RATES = st.sampled_from([1 / 3, 0.7, 5.25, 13.1])
SHARES = st.sampled_from([0.0, 1.0, 1 / 3, 0.2917])
TIERS = st.builds(TierThroughput, st.just("tier"), RATES, st.integers(0, 999))
FABRICS = st.builds(Fabric, TIERS, st.none() | TIERS, SHARES, RATES, SHARES)
MOVING = st.builds(
    Moving,
    st.just((1,)),
    st.just((1,)),
    st.sampled_from(["memory", "cache"]),
    st.sampled_from(["load", "store", "all"]),
    st.integers(0, 1 << 40),
    st.booleans(),
    st.integers(0, 99),
)


@given(fabric=FABRICS, moving=st.lists(MOVING, min_size=1, max_size=9))
def test_columns_of_firings_take_what_each_takes_by_itself(fabric, moving):
    latencies, intervals, requests = MovedBytes.of(list(enumerate(moving))).times(fabric)
    for number, one in enumerate(moving):
        alone = fabric.fired(one)
        assert (latencies[number], intervals[number], requests[number]) == (
            alone.latency,
            alone.ii,
            alone.request_bytes,
        )


def test_bytes_that_fit_into_no_word_are_refused():
    slow = TierThroughput("memory", 1.0, 0)
    huge = MovedBytes.of([(0, Moving((1,), (1,), "memory", "all", 1 << 60))])
    with pytest.raises(OverflowError, match="64 bits"), np.errstate(all="raise"):
        huge.times(Fabric(slow, None, 1.0, 1.0))
