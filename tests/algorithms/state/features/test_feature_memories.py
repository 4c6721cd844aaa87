"""Blocks of feature memories against their definitions; chains that do not grow; systems with their published sizes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from algorithms.state.features.block import FeatureMemory, Items, most_elements
from algorithms.state.features.merging import (
    Clusters,
    ClusterTree,
    MergeNeighbours,
    OrderedClusters,
    SimilarNeighbours,
    k_means,
)
from algorithms.state.features.pooling import Carrier, RoundBudget, Split, Voxels
from algorithms.state.features.prototypes import Prototypes, nearest_softmax
from algorithms.state.features.queues import Batch, Distinct, Every, Fifo
from algorithms.state.features.slots import RecurrentTokens, SemanticAttention, Sensory
from algorithms.state.features.systems import SYSTEMS, Branch, system
from hwmodels.reading.errors import InputError
from reference.truth import features as truth

WIDTH, TOKENS = 4, 3
SQUARE = np.random.default_rng(7).standard_normal((4, WIDTH, WIDTH)) / 2
BLOCKS = {
    "fifo": Fifo(3),
    "batch": Batch(4),
    "every": Every(3),
    "distinct": Distinct(0.5),
    "merge": MergeNeighbours(2),
    "similar": SimilarNeighbours(5),
    "ordered": OrderedClusters(4),
    "clusters": Clusters(4, 3),
    "tree": ClusterTree(4, 2, 3),
    "semantic": SemanticAttention(5, 0.8),
    "recurrent": RecurrentTokens(SQUARE, 5, 2),
    "sensory": Sensory(np.random.default_rng(3).standard_normal((3, 2 * WIDTH, WIDTH)) / 2),
    "carrier": Carrier(2),
    "rounds": RoundBudget(10),
    "voxels": Voxels(6, 0.5),
    "split": Split(),
    "prototypes": Prototypes(4, 9, 2),
}


def frames(count, seed=0, tokens=TOKENS, width=WIDTH):
    return np.random.default_rng(seed).standard_normal((count, tokens, width))


def weighted(count, seed=0):
    return Items(frames(count, seed), np.random.default_rng(seed + 1).integers(1, 5, count) * 1.0)


# --- every block -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BLOCKS)
def test_no_block_grows_and_none_depends_on_how_frames_come(name):
    memory, x = FeatureMemory((BLOCKS[name],), TOKENS, WIDTH), frames(60)
    sizes = []
    for frame in x:
        memory.push(frame[None])
        sizes.append(memory.elements)
    assert max(sizes) <= most_elements((BLOCKS[name],), TOKENS, WIDTH)
    assert max(sizes[30:]) <= max(sizes[:30]) or name == "voxels"
    first = memory.read()
    memory.reset()
    memory.push(x[:17])
    memory.push(x[17:])
    np.testing.assert_array_equal(memory.read(), first)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(sorted(BLOCKS)), min_size=1, max_size=4), st.integers(0, 30))
def test_blocks_go_together_in_any_order(names, count):
    blocks = tuple(BLOCKS[name] for name in names)
    memory = FeatureMemory(blocks, TOKENS, WIDTH)
    memory.push(frames(count))
    assert memory.elements <= most_elements(blocks, TOKENS, WIDTH)
    assert memory.read().shape[1] == WIDTH


# --- values ----------------------------------------------------------------------------------------------------------


def test_what_falls_out_of_a_queue_is_what_came_first():
    memory, x = FeatureMemory((Fifo(4),), TOKENS, WIDTH), frames(9)
    np.testing.assert_array_equal(memory.push(x).features, x[:5])
    np.testing.assert_array_equal(memory.read(), x[5:].reshape(-1, WIDTH))
    memory = FeatureMemory((Every(3), Fifo(9)), TOKENS, WIDTH)
    memory.push(x[:2])
    memory.push(x[2:])
    np.testing.assert_array_equal(memory.read(), x[::3].reshape(-1, WIDTH))


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 9), st.integers(1, 5), st.integers(0, 99))
def test_neighbours_merge_as_the_paper_says(count, left, seed):
    x = frames(count, seed)
    merged = MergeNeighbours(left).merged(Items.of(x))
    want = truth.merged_neighbours(x, left)
    np.testing.assert_allclose(merged.features.reshape(len(merged), -1), want, rtol=1e-11)
    assert merged.weights.sum() == count


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 8), st.integers(1, 5), st.integers(0, 99))
def test_ordered_clusters_are_the_best_of_all_partitions(count, clusters, seed):
    items = weighted(count, seed)
    _, found = OrderedClusters(clusters).push(OrderedClusters(clusters).start(TOKENS, WIDTH), items)
    assert not len(found)
    held, _ = OrderedClusters(clusters).push(OrderedClusters(clusters).start(TOKENS, WIDTH), items)
    _, want = truth.best_runs(items.features, items.weights, min(clusters, count))
    np.testing.assert_allclose(held["features"].reshape(len(want), -1), want, rtol=1e-9, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(6, 14), st.integers(1, 5), st.integers(1, 4), st.integers(0, 99))
def test_clusters_are_those_of_lloyd(count, clusters, rounds, seed):
    items = weighted(count, seed)
    want = truth.lloyd(items.features, items.weights, clusters, rounds)
    found = k_means(items, clusters, rounds)
    np.testing.assert_allclose(found.features.reshape(len(found), -1), want, rtol=1e-11, atol=1e-13)
    assert found.weights.sum() == items.weights.sum()


def test_slots_attend():
    x = frames(6)
    memory = FeatureMemory((RecurrentTokens(SQUARE, 5, 2),), TOKENS, WIDTH)
    slots = memory.read()
    for segment in x:
        seen = np.concatenate([slots, segment])
        out = truth.attention_rows(slots @ SQUARE[0], seen @ SQUARE[1], seen @ SQUARE[2], 2)
        slots = slots + out @ SQUARE[3]
    memory.push(x)
    np.testing.assert_allclose(memory.read(), slots, rtol=1e-10)
    memory = FeatureMemory((SemanticAttention(3, 0.8),), TOKENS, WIDTH)
    slots = x[0]
    for segment in x[1:]:
        slots = 0.8 * slots + 0.2 * truth.attention_rows(slots, segment, segment, 1)
    memory.push(x)
    np.testing.assert_allclose(memory.read(), slots, rtol=1e-11)


def test_a_sensory_memory_is_a_gated_unit():
    block = BLOCKS["sensory"]
    memory = FeatureMemory((block,), TOKENS, WIDTH)
    memory.push(frames(8))
    np.testing.assert_allclose(memory.read(), truth.recurrent_unit(frames(8), block.weights), rtol=1e-11)


@pytest.mark.parametrize("top", [1, 3, 12])
def test_a_readout_sees_the_nearest(top):
    rng = np.random.default_rng(0)
    queries, keys, values = rng.standard_normal((5, 3)), rng.standard_normal((12, 3)), rng.standard_normal((12, 4))
    weights = nearest_softmax(queries, keys, np.ones((5, 3)), np.ones(12), top)
    np.testing.assert_allclose(weights @ values, truth.nearest_read(queries, keys, values, top), rtol=1e-11)


def test_prototypes_are_the_most_used_filled_from_all():
    items = Items(frames(3), np.array([1.0, 5.0, 2.0]))
    block = Prototypes(4, 9, 2)
    held, _ = block.push(block.start(TOKENS, WIDTH), items)
    flat = items.features.reshape(-1, WIDTH)
    order = [3, 4, 5, 6]
    want = truth.nearest_read(flat[order, :2], flat[:, :2], flat[:, 2:], len(flat))
    np.testing.assert_allclose(held["features"][:, 0, 2:], want, rtol=1e-11)
    np.testing.assert_array_equal(held["weights"], [5, 5, 5, 2])


def test_the_oldest_rounds_are_pooled_first():
    block = RoundBudget(8)
    x = frames(3, tokens=4)
    memory = FeatureMemory((block,), 4, WIDTH)
    memory.push(x)
    want = np.concatenate([x[0].reshape(2, 2, WIDTH).mean(axis=1).mean(axis=0)[None], x[1][:0]])
    found = memory.read()
    assert len(found) == 8
    np.testing.assert_array_equal(found[-4:], x[2])
    # the first round has become one token, and the second two pairs and less
    np.testing.assert_allclose(found[0], want[0], rtol=1e-12)


def test_a_voxel_keeps_its_newest_token():
    x = np.array([[[0.1, 0.1, 0.1, 1.0], [0.9, 0.1, 0.1, 2.0]], [[0.2, 0.3, 0.1, 3.0], [5.0, 0.0, 0.0, 4.0]]])
    memory = FeatureMemory((Voxels(10, 0.5),), 2, 4)
    memory.push(x)
    assert memory.read()[:, 3].tolist() == [2.0, 3.0, 4.0]


# --- systems ---------------------------------------------------------------------------------------------------------


def small(branch: Branch) -> int:
    """Frames that fill what a small test can fill."""
    return 8 if branch.tokens * branch.width > 100_000 else 40


SLOW = ("xmem", "videostreaming", "videollamb", "dense_captioning")
"""Systems that a computer is busy with for seconds per frame."""


@pytest.mark.parametrize("name", [name for name in SYSTEMS if name not in SLOW])
def test_systems_take_frames_and_stay_within_their_size(name):
    found = system(name)
    assert found.branches
    for branch in found.branches:
        memory = FeatureMemory(branch.blocks(), branch.tokens, branch.width)
        memory.push(frames(small(branch), tokens=branch.tokens, width=branch.width))
        assert 0 < memory.elements <= branch.most_elements
        assert memory.read().shape[1] == branch.width


@pytest.mark.parametrize(
    ("name", "tokens", "megabytes"),
    [
        ("moviechat", (256 + 17) * 32, 13.4),
        ("flash_vstream", 681, None),
        ("videoscan", 64, 0.46),
        ("streambridge", 16_384, None),
        ("streamvln", 1568, None),
        ("dense_captioning", 514, None),
    ],
)
def test_systems_have_their_published_sizes(name, tokens, megabytes):
    found = system(name)
    assert found.most_tokens == tokens
    assert megabytes is None or found.most_bytes / 1e6 == pytest.approx(megabytes, rel=0.01)


def test_xmem_keeps_ten_thousand_prototypes_beside_its_working_frames():
    (_, working) = system("xmem").branches
    blocks = working.blocks()
    long_term = blocks[-1].most_elements(working.tokens, working.width)
    assert long_term * 2 / 1e6 == pytest.approx(11.5, abs=0.05)
    assert working.most_elements - long_term == (5 + 4) * working.tokens * working.width


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Fifo(0), "items"),
        (lambda: Clusters(0), "clusters"),
        (lambda: ClusterTree(4, 4), "clusters"),
        (lambda: RoundBudget(0), "tokens"),
        (lambda: SemanticAttention(0), "slots"),
        (lambda: FeatureMemory((), 1, 1), "blocks"),
        (lambda: FeatureMemory((Fifo(1),), 0, 1), "tokens"),
        (lambda: system("moviechats"), "system"),
    ],
)
def test_a_memory_of_nothing_is_one_line(make, field):
    with pytest.raises(InputError) as caught:
        make()
    assert [problem.field for problem in caught.value.problems] == [field]
    assert len(str(caught.value).splitlines()) == 1
