"""Extremes of shape: what no memory holds is refused at once, and queries before the first key come out as zeros."""

from __future__ import annotations

import numpy as np
import pytest

from algorithms.chip.algorithm import get_chip_algorithm
from algorithms.chip.plan import tiles
from algorithms.chip.timing.mapping import time_plan
from algorithms.workload.shape import Workload
from algorithms.workload.tensors import draw_tensors
from algorithms.workload.text import load_workload
from hwmodels.chips.accelerator import load_accelerator
from hwmodels.reading.errors import InputError
from reference.truth import oracle
from simulator.errors import CapacityError

H100 = load_accelerator("h100_sxm5_80g")
TILED = (
    "flash.q_outer",
    "flash.kv_outer",
    "flash.training",
    "flash.kv_outer_training",
    "flash.low_rank",
    "decode.split_kv",
    "eager.forward",
    "eager.training",
    "prefix.relay",
)
BLIND = Workload(
    name="blind", phase="prefill", heads=4, kv_heads=2, q_len=150, kv_len=37, head_dim=8, batch=2, mask="causal"
)
"""Causal, with 113 queries that see no key."""


@pytest.mark.parametrize("name", TILED)
def test_tensors_that_do_not_fit_are_refused_before_tiles_are_cut(name, monkeypatch):
    def no_cutting(*_):
        raise AssertionError("tiles were cut")

    monkeypatch.setattr(tiles.Tiling, "_cut", no_cutting)
    algorithm = get_chip_algorithm(name)
    long = load_workload("llama3-8b").with_(q_len=10**9, kv_len=10**9)
    with pytest.raises(CapacityError, match=f"tensors of {name} does not fit into 80 GB"):
        algorithm.plan(long, algorithm.parameters(), H100)


@pytest.mark.parametrize("rows", [1, 7, 64])
@pytest.mark.parametrize("packed", [True, False])
def test_tiles_are_counted_as_they_are_cut(rows, packed):
    tiling = tiles.Tiling(BLIND, rows, 16, packed)
    assert tiling.query_tile_count == len(tiling.query_tiles)


@pytest.mark.parametrize("sizes", [{}, {"tile_rows": 16, "tile_columns": 8}])
@pytest.mark.parametrize("name", TILED)
def test_queries_that_see_no_key_come_out_as_zeros(name, sizes):
    algorithm = get_chip_algorithm(name)
    parameters = algorithm.resolved(BLIND, algorithm.parameters(**sizes), H100)
    tensors = algorithm.prepared(BLIND, parameters, draw_tensors(BLIND))
    expected = oracle.attention(*tensors, mask="causal")[0]
    got = algorithm.values(BLIND, parameters, tensors)
    np.testing.assert_allclose(got, expected, atol=1e-12)
    assert not got[:, :, : BLIND.q_len - BLIND.kv_len].any()
    assert got[:, :, BLIND.q_len - BLIND.kv_len :].all()


@pytest.mark.parametrize("sizes", [{}, {"tile_rows": 16, "tile_columns": 8}])
@pytest.mark.parametrize("name", [name for name in TILED if "kv_outer" not in name])
def test_plans_store_them_and_compute_nothing_for_them(name, sizes):
    algorithm = get_chip_algorithm(name)
    plan = algorithm.plan(BLIND, algorithm.parameters(**sizes), H100)
    assert plan.total("store_bytes") >= BLIND.out_bytes
    run = time_plan(plan, H100)
    assert run.seconds >= run.bounds.seconds > 0


@pytest.mark.parametrize("name", ["flash.kv_outer", "flash.kv_outer_training"])
def test_keys_outside_would_never_write_them(name):
    algorithm = get_chip_algorithm(name)
    with pytest.raises(InputError, match="q_len: keys outside under a causal mask need at least as many keys"):
        algorithm.plan(BLIND, algorithm.parameters(), H100)
    for seen in (BLIND.with_(mask="full"), BLIND.with_(kv_len=BLIND.q_len)):
        assert algorithm.plan(seen, algorithm.parameters(), H100).total("store_bytes") >= seen.out_bytes


def test_only_tiles_that_see_a_key_have_steps():
    algorithm = get_chip_algorithm("flash.q_outer")
    given = {"tile_rows": 16, "tile_columns": 8, "pack_gqa": "never", "edge": "trimmed"}
    plan = algorithm.plan(BLIND, algorithm.parameters(**given), H100)
    tiling = tiles.Tiling(BLIND, 16, 8, packed=False)
    counts = oracle.visible_keys(BLIND.q_len, BLIND.kv_len, mask="causal").sum(axis=1)
    steps = sum(-(-int(counts[tile.rows.start : tile.rows.stop].max()) // 8) for tile in tiling.query_tiles)
    (launch,) = plan.launches
    assert sum(item.step_count * times for item, times in launch.items) == steps * BLIND.batch * BLIND.heads
    assert launch.item_count == 10 * BLIND.batch * BLIND.heads
    assert launch.total("store_bytes") == BLIND.out_bytes
