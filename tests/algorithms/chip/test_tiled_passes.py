"""Keys outside: steps that are listed as runs are those of walking every tile of queries in every pass."""

from __future__ import annotations

import itertools

import pytest

from algorithms.chip.algorithm import get_chip_algorithm
from algorithms.chip.attention.kv_outer import KeyOuterParameters, _Passing
from algorithms.chip.attention.kv_outer_training import _step as step_of_key_outer_training
from algorithms.chip.attention.training import _item
from algorithms.chip.plan.parameters import tiling_of
from algorithms.chip.plan.tiles import QueryTile, Tiling
from algorithms.workload.shape import Workload
from hwmodels.chips.accelerator import load_accelerator

H100 = load_accelerator("h100_sxm5_80g")
LENGTHS = [(1, 1), (7, 9), (64, 64), (200, 200), (200, 331), (129, 1000)]
TILES = [(64, 48), (48, 128), (16, 16)]


def workload(lengths: tuple[int, int], mask: str) -> Workload:
    return Workload("head", "prefill", 2, 2, *lengths, 64, mask=mask, dtype="float16")


def walked(tiling: Tiling) -> list[tuple[range, list[QueryTile]]]:
    """Every tile of keys with the tiles of queries that see some of it, one by one."""
    spans = tiling.key_spans(max(tiling.query_tiles, key=lambda tile: tile.seen))
    return [(keys, [tile for tile in tiling.query_tiles if tile.seen > keys.start]) for keys in spans]


def expanded(runs):
    return [step for step, times in runs for _ in range(times)]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("mask", ["causal", "full"])
@pytest.mark.parametrize(("lengths", "tiles"), list(itertools.product([*LENGTHS, (300, 100)], TILES)))
def test_passes_skip_tiles_that_see_nothing(lengths, tiles, mask, packed):
    tiling = Tiling(workload(lengths, mask).with_(kv_heads=1), *tiles, packed=packed)
    assert [(keys, list(queries)) for keys, queries in tiling.passes()] == walked(tiling)


@pytest.mark.parametrize("changes", [{}, {"edge": "trimmed"}, {"warps": 4, "masked": "every_step"}])
@pytest.mark.parametrize("mask", ["causal", "full"])
@pytest.mark.parametrize(("lengths", "tiles"), list(itertools.product(LENGTHS, TILES)))
def test_keys_outside(lengths, tiles, mask, changes):
    work = workload(lengths, mask)
    parameters = KeyOuterParameters(tile_rows=tiles[0], tile_columns=tiles[1], **changes)
    algorithm = get_chip_algorithm("flash.kv_outer")
    ((item, _),) = algorithm.plan(work, parameters, H100).launches[0].items
    tiling = tiling_of(work, algorithm.resolved(work, parameters, H100))
    passing = _Passing(tiling, parameters)
    assert expanded(item.steps) == [
        passing.added_to(passing.base.step(tile, keys), tile, keys, 0 if number else len(keys))
        for keys, queries in walked(tiling)
        for number, tile in enumerate(queries)
    ]
    assert all(a != b for (a, _), (b, _) in itertools.pairwise(item.steps))


@pytest.mark.parametrize("mask", ["causal", "full"])
@pytest.mark.parametrize("lengths", LENGTHS)
def test_backward_pass_of_keys_outside(lengths, mask):
    work = workload(lengths, mask)
    algorithm = get_chip_algorithm("flash.kv_outer_training")
    parameters = algorithm.resolved(work, algorithm.parameters(), H100)
    backward = next(one for one in algorithm.plan(work, parameters, H100).launches if one.name == "backward")
    ((item, _),) = backward.items
    columns = max(step.scores[0].columns for step, _ in item.steps)
    rows = max(step.scores[0].rows for step, _ in item.steps)
    tiling = Tiling(work, rows, columns, packed=False)
    key_bytes = 2 * 64 * work.dtype_bytes
    partial = parameters.partial_bytes(work)
    assert expanded(item.steps) == [
        step_of_key_outer_training(
            tiling,
            len(tile.rows),
            len(keys) * key_bytes if number == 0 else 0,
            len(keys) * key_bytes if number == len(queries) - 1 else 0,
            partial,
        )
        for keys, queries in walked(tiling)
        for number, tile in enumerate(queries)
    ]


@pytest.mark.parametrize(("lengths", "tiles"), list(itertools.product(LENGTHS, TILES)))
def test_backward_items_of_queries_outside(lengths, tiles):
    """A tile of keys of the backward pass loads as many rows as the tiles of queries that see it have."""
    tiling = Tiling(workload(lengths, "causal"), *tiles, packed=False)
    per_row = 2 * 64 * 2 + 8
    passes = list(tiling.passes())
    assert passes
    for keys, queries in passes:
        loaded = [step.load_bytes for step in expanded(_item(tiling, keys, queries).steps)]
        assert loaded == [len(tile.rows) * per_row for tile in queries]
