"""Tiers, block caches and the time that transfers cost."""

import pytest

from algorithms.kv.placement import BlockCache, Placement, TieredBlocks
from hwmodels.reading.errors import InputError


def test_least_recently_used_leaves_first_and_never_what_is_asked_for():
    cache = BlockCache(3)
    assert cache.request([1, 2, 3]) == [False, False, False]
    assert cache.request([1]) == [True]
    assert cache.request([4]) == [False]
    assert cache.blocks == (1, 3, 4)  # 2 and 3 were equally old; 2 came first
    assert cache.request([5, 6, 1]) == [False, False, True]
    assert cache.blocks == (1, 5, 6)


def test_a_request_larger_than_the_cache_is_held_until_the_next():
    cache = BlockCache(2)
    cache.request([1, 2, 3])
    assert len(cache) == 3
    cache.request([4])
    assert len(cache) == 2


def test_attention_fades_under_score_decay():
    cache = BlockCache(2, "score_decay", decay=0.5)
    cache.request([1, 2])
    cache.credit([1, 2], [1.0, 0.3])
    cache.request([2])  # starts again from nothing, as in the published code
    cache.credit([2], [0.6])
    assert cache.request([3]) == [False]
    assert cache.blocks == (2, 3)  # 1 has faded to 0.5, 2 has 0.6


def test_blocks_climb_through_every_tier():
    tiers = TieredBlocks(Placement(("HBM", "DRAM", "flash"), (1, 2)), 1, 1)
    fetched = tiers.request([[7, 8]])
    assert (fetched.hits, fetched.misses) == (0, 2)
    assert fetched.hops == (("flash", "DRAM", 2), ("DRAM", "HBM", 2))
    tiers.request([[9]])
    # 9 pushed the older ones out of HBM; DRAM still has one of them
    again = tiers.request([[8]])
    assert again.hops == (("DRAM", "HBM", 1),)
    assert tiers.resident(0, 1) == (8, 9)


def test_one_tier_always_hits():
    fetched = TieredBlocks(Placement(("HBM",)), 2, 4).request([[1, 2], [3]])
    assert (fetched.hits, fetched.misses, fetched.hops) == (3, 0, ())


def test_a_tier_the_chip_lacks_is_one_line_with_the_nearest():
    with pytest.raises(InputError, match=r"h100 has no tier 'HMB'; did you mean 'HBM'\?"):
        Placement(("HMB", "DRAM")).check("h100", ["HBM", "DRAM"])
    Placement(("HBM", "DRAM")).check("h100", ["HBM", "DRAM", "SRAM"])


@pytest.mark.parametrize("arguments", [{"tiers": ()}, {"tiers": ("a", "a")}, {"cache_blocks": (1, 2)}, {"decay": 2.0}])
def test_bad_placements_are_refused(arguments):
    with pytest.raises(InputError):
        Placement(**arguments)
