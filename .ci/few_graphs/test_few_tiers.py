"""What the suite does with hundreds of random graphs with memory tiers, with few of them."""

from __future__ import annotations

import pytest
from few_graphs.suite import suite

FIRST, FEW, SEEDS = 3_000_000, 4, 64

tiers = suite("test_tiers_on_both_engines")


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, FEW))
def test_engines_agree(first):
    tiers.compare_range(first, FEW)
