"""Tiers below the memory of chips: what is found in them, what moves take, and what of a system's host is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from algorithms.live.blocks import BlockPool
from algorithms.live.requests import Request
from algorithms.live.scenario import load_scenario
from algorithms.live.schedulers.vllm import ContinuousBatching
from algorithms.live.serve import serve
from algorithms.live.tiers import FarBlocks, FarTier
from hwmodels.reading.errors import InputError


def brute_force_finds(requests, blocks, limits):
    """Lists of names, oldest first, near to far, one request after the other; hits near, hits per tier, writes."""
    near, far = [], [[] for _ in limits]
    hits, reads, writes = 0, [0] * len(limits), [0] * len(limits)
    for prefix in requests:
        here, below = [], []
        for name in prefix:
            if name in near:
                here.append(name)
            elif any(name in each for each in far):
                below.append(name)
            else:
                break
        hits += len(here)
        for name in here:
            near.remove(name)
        for name in below:
            place = next(i for i, each in enumerate(far) if name in each)
            far[place].remove(name)
            reads[place] += 1
        while len(near) + len(prefix) > blocks:
            gone = near.pop(0)
            for place, each in enumerate(far if gone is not None else []):
                each.append(gone)
                writes[place] += 1
                if len(each) <= limits[place]:
                    break
                gone = each.pop(0)
        for name in prefix[len(here) + len(below) :]:
            for each in far:
                if name in each:
                    each.remove(name)
        # a block whose content another one still holds is not found by its content
        near += list(reversed([None if name in near else name for name in prefix]))
    return hits, reads, writes


@settings(max_examples=400, deadline=None)
@given(
    st.integers(5, 9),
    st.lists(st.integers(1, 6), max_size=3),
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3), st.integers(0, 3)), max_size=30),
)
def test_a_cache_of_tiers_equals_lists_of_names(blocks, limits, drawn):
    """Requests are paths in a small tree, served one at a time."""
    requests = [tuple(hash((root, i, side if i >= fork else -1)) for i in range(1, 6)) for root, fork, side in drawn]
    far = FarBlocks([FarTier(str(i), limit, 1) for i, limit in enumerate(limits)])
    pool, near = BlockPool(blocks, block_tokens=1, far=far), 0
    for prefix in requests:
        matched = pool.match(prefix, len(prefix))
        here = [block for block in matched if block >= 0]
        near += len(here)
        pool.share(here)
        owned = pool.fetch(matched, prefix)
        owned += pool.take(len(prefix) - len(matched))
        for block, name in zip(owned, prefix, strict=True):
            pool.remember(block, name)
        pool.release(owned)
        far.moved_ns()
    hits, reads, writes = brute_force_finds(requests, blocks, limits)
    assert near == hits
    assert [read for _, read, _, _ in far.traffic] == reads
    assert [written for _, _, written, _ in far.traffic] == writes


def test_moves_of_a_step_take_the_time_of_the_slowest_link():
    far = FarBlocks([FarTier("host", 2, block_ns=10, latency_ns=3), FarTier("nvme", 5, block_ns=100, latency_ns=50)])
    assert far.moved_ns() == 0
    for name in range(3):
        far.push(name)
    assert far.moved_ns() == max(3 + 3 * 10, 50 + 100), "three down, and the oldest further down"
    assert 0 in far and [most for _, _, _, most in far.traffic] == [2, 1]
    far.pull(0)
    far.pull(2)
    assert far.moved_ns() == max(3 + 10, 50 + 100)
    assert list(far.pushing_ns(np.array([0, 1, 1, 2]))) == [0, 13, 150, 250]
    with pytest.raises(KeyError):
        far.pull(99)


class Slow:
    """Every token of a prompt takes as long as a block on the link of a fast tier."""

    def decode(self, sequences, context_tokens):
        return np.full(len(context_tokens), 1_000)

    def mixed(self, sequences, context_tokens, prefill):
        return 1_000 + 1_000 * sum(part.new_tokens for part in prefill)


def test_whoever_lost_its_memory_reads_it_back_where_that_is_kept():
    requests = [Request(0, 0, 40, 60), Request(1, 1, 40, 60)]

    def run(far):
        pool = BlockPool(30, 4, far=far)  # for one and a half of them
        found = serve(requests, lambda: ContinuousBatching(pool, 2, 64), Slow())
        assert sum(each.preemptions for each in found.requests) == 1
        return found

    lost = run(None)
    kept = run(FarBlocks([FarTier("host", 100, 10)]))
    small = run(FarBlocks([FarTier("host", 3, 10)]))
    tokens = [each.logs[0].prefill_tokens for each in (kept, small, lost)]
    assert tokens[0] <= 80 + 4, "a block that is not full is computed again"
    assert tokens[0] < tokens[1] <= tokens[2] and tokens[2] > 120
    assert kept.end_ns < lost.end_ns
    slow = run(FarBlocks([FarTier("host", 100, 1_000_000)]))
    assert slow.end_ns > lost.end_ns and slow.logs[0].moving_ns > 0
    assert slow.logs[0].prefill_tokens == tokens[0]


SCENARIO = """
name: tiered
arrivals: {requests: 5, rate: 3}
lengths: {prompt: 100, output: 5}
model: llama3-8b
deployment: {system: dgx_h200, tp: 8, tiers: [host, {name: nvme, latency: 100 us}]}
"""


def test_tiers_are_as_the_host_of_a_system_has_them(tmp_path):
    path = tmp_path / "tiered.yaml"
    path.write_text(SCENARIO)
    deployment = load_scenario(path).deployment
    host, nvme = deployment.far_tiers
    block_bytes = deployment.steps.cached_bytes(16)
    assert block_bytes == 16 * 32 * 2 * 128 * 2, "one KV head of eight on each chip"
    assert host.blocks == int(2e12 / 8 // block_bytes)
    assert host.block_ns == round(block_bytes / 63e9 * 1e9)
    assert (nvme.block_ns, nvme.latency_ns) == (round(block_bytes / (50e9 / 8) * 1e9), 100_000)
    with_two = deployment.maker()().pool.far
    assert [tier.name for tier, *_ in with_two.traffic] == ["host", "nvme"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "{system: dgx_h200, tp: 8, ",
            "{chip: h100, ",
            "tiered.yaml:6: deployment.tiers: host: capacity and rate must",
        ),
        ("[host,", "[{name: pool, capacity: 1 TB},", "pool: capacity and rate must be given"),
        ("[host,", "[{name: host, capacity: 1 B},", "holds no KV block of"),
        ("[host,", "[{name: host, rate: 0},", "rate: must be greater than 0"),
        ("tiers:", "tier:", "deployment.tier: unknown key; did you mean 'tiers'"),
        ("model: llama3-8b", "model: llama3-8b\nscheduler: {prefix_cache: false}", "need the prefix cache"),
    ],
)
def test_tiers_that_cannot_be_are_named(tmp_path, old, new, message):
    assert old in SCENARIO
    path = tmp_path / "tiered.yaml"
    path.write_text(SCENARIO.replace(old, new))
    with pytest.raises(InputError, match=message):
        load_scenario(path)
