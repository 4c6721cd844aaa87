"""Tiers, block caches and the time that transfers cost."""

import pytest

from algorithms.kv_cost import StepCost, Transfer
from algorithms.placement import BlockCache, Placement, TieredBlocks, exposed_transfer_time
from hwmodels.errors import InputError


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


def cost(step, layer, *transfers):
    return StepCost(layer, step, 1, 1, (1,), (1,), 0, 0, transfers=transfers)


def move(step, layer, size, **more):
    return Transfer("x", "DRAM", "HBM", 1, size, step, layer, **more)


def test_a_miss_waits_and_a_prefetch_hides():
    link = {("DRAM", "HBM"): 10.0}
    # 20 bytes take 2 s; each of the two layers computes for 1 s
    demand = [[cost(0, 0), cost(0, 1, move(0, 1, 20.0))]]
    assert exposed_transfer_time(demand, link, 2.0).exposed_seconds == (2.0,)
    # fetched one step ahead for layer 1: layers 1 of step 0 and 0 of step 1 run meanwhile
    ahead = [[cost(0, 0), cost(0, 1, move(1, 1, 20.0))], [cost(1, 0), cost(1, 1)]]
    assert exposed_transfer_time(ahead, link, 2.0).exposed_seconds == (0.0, 0.0)
    late = [[cost(0, 0), cost(0, 1, move(1, 1, 35.0))], [cost(1, 0), cost(1, 1)]]
    assert exposed_transfer_time(late, link, 2.0).exposed_seconds == (0.0, 1.5)


def test_transfers_share_their_link_in_order():
    link = {("DRAM", "HBM"): 10.0}
    both = [[cost(0, 0, move(-1, -1, 30.0), move(0, 0, 10.0))]]
    times = exposed_transfer_time(both, link, 1.0, latency_seconds=0.5)
    assert times.exposed_seconds == (4.5,)
    assert times.busy_seconds == (("DRAM", "HBM", 4.0),)
    with pytest.raises(InputError, match="no bandwidth given from DRAM to HBM"):
        exposed_transfer_time(both, {}, 1.0)
