"""Launchers refuse what would make a kernel read or write where it must not."""

from __future__ import annotations

import numpy as np
import pytest

from reference.cuda import cupy_ref
from reference.cuda.host_device import HostDevice


def zeros(*shape, dtype=np.float16):
    return np.zeros(shape, dtype=dtype)


Q, K = zeros(2, 4, 1, 32), zeros(2, 2, 40, 32)
POOL = zeros(2, 64, 32)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((Q, zeros(2, 3, 40, 32), zeros(2, 3, 40, 32)), {}, "4 query heads cannot be grouped over 3"),
        ((Q, zeros(2, 2, 40, 16), K), {}, "head dimension: 32 and 16"),
        ((Q, K, zeros(2, 2, 41, 32)), {}, "k and v differ in shape"),
        ((Q, zeros(1, 2, 40, 32), zeros(1, 2, 40, 32)), {}, "q and k differ in batch: 2 and 1"),
        ((Q[0], K, K), {}, "q must have 4 axes"),
        ((Q, K.astype(np.float32), K), {}, "arrays must all be float32, float16 or uint16"),
        ((Q.astype(np.float64), K.astype(np.float64), K.astype(np.float64)), {}, "got float64"),
        ((Q, zeros(2, 2, 40, 64)[..., ::2], K), {}, "arrays must be C-contiguous"),
        ((Q, K, K), {"mask": "triangle"}, "'full' or 'causal'"),
        ((Q, K, K), {"window": 0}, "window must be at least 1"),
        ((Q, K, K), {"sinks": -1}, "sinks must not be negative"),
        ((Q, K, K), {"scale": -1.0}, "scale must be positive"),
        ((Q, K, K), {"scale": float("inf")}, "scale must be positive and finite"),
        ((Q, K, K), {"splits": 0}, "splits must be at least 1"),
        ((Q, K, K), {"lengths": [40, 41]}, r"lengths must lie between 0 and 40 \(got 40 to 41\)"),
        ((Q, K, K), {"lengths": [-1, 4]}, "lengths must lie between 0 and 40"),
        ((Q, K, K), {"lengths": [1, 2, 3]}, r"lengths must be per \(batch, kv_heads\)"),
        ((Q, K, K), {"lengths": [1.5, 2]}, "lengths must be whole numbers"),
        ((Q, K, K), {"table": np.zeros((2, 3), int), "block_rows": 0}, "block_rows must be at least 1"),
        ((Q, K, K), {"table": np.full((2, 3), 40)}, r"table entry \(0, 0, 0\) is 40, outside the 40 blocks"),
        ((Q, K, K), {"table": np.full((2, 3), 2), "block_rows": 16}, "outside the 2 blocks"),
        ((Q, K, K), {"table": np.full((2, 3), -1)}, "is -1, outside"),
        ((Q, POOL, POOL), {}, "a pool of keys needs a table"),
    ],
)
@pytest.mark.parametrize("plan", [cupy_ref.plan_decode, cupy_ref.plan_rows])
def test_bad_decode_arguments(plan, arguments, options, message):
    with pytest.raises(ValueError, match=message):
        plan(HostDevice(), *arguments, **options)


def test_entries_of_a_table_that_no_length_reaches_may_be_anything():
    table = np.array([[0, 1, 10**6], [2, -5, 10**6]])
    call = cupy_ref.plan_decode(HostDevice(), Q, POOL, POOL, table=table, block_rows=16, lengths=[32, 16])
    assert call.outputs[0].shape == (2, 4, 1, 32)


@pytest.mark.parametrize(
    ("q", "latent", "options", "message"),
    [
        (zeros(2, 4, 1, 96), zeros(2, 40, 96), {"v_dim": 97}, "v_dim must lie between 1 and 96"),
        (zeros(2, 4, 1, 96), zeros(2, 40, 80), {"v_dim": 64}, "differ in width: 96 and 80"),
        (zeros(2, 4, 1, 96), zeros(1, 40, 96), {"v_dim": 64}, "differ in batch: 2 and 1"),
        (zeros(2, 4, 1, 96), zeros(40, 96), {"v_dim": 64}, "a pool of keys needs a table"),
        (zeros(2, 4, 1, 96), zeros(2, 1, 40, 96), {"v_dim": 64}, "latent must have 3 axes"),
    ],
)
def test_bad_latent_arguments(q, latent, options, message):
    with pytest.raises(ValueError, match=message):
        cupy_ref.plan_mla_decode(HostDevice(), q, latent, **options)


def test_prefill_and_column_sums_refuse_pools_and_wrong_sums():
    lse = zeros(2, 4, 1, dtype=np.float32)
    with pytest.raises(ValueError, match="needs a table"):
        cupy_ref.plan_prefill(HostDevice(), Q, POOL, POOL)
    with pytest.raises(ValueError, match="lse must be float32"):
        cupy_ref.plan_column_sums(HostDevice(), Q, K, lse[:1])
    with pytest.raises(ValueError, match="lse must be float32"):
        cupy_ref.plan_column_sums(HostDevice(), Q, K, lse.astype(np.float16))


@pytest.mark.parametrize(
    ("blocks", "tiles", "slots", "expected"),
    [
        (1, 1000, 264, 109),  # one row tile: 128 splits would fill 48 %, 109 are within 15 % of that
        (264, 1000, 264, 1),  # already full
        (250, 1000, 264, 1),  # nearly full
        (140, 1000, 264, 5),  # 1 split fills 53 %, 2: 53 %, 3: 80 %, 5: 88 %
        (8, 3, 264, 3),  # no more splits than tiles
        (0, 10, 264, 1),  # an empty batch
        (8, 0, 264, 1),  # no keys
    ],
)
def test_splits_fill_the_device(blocks, tiles, slots, expected):
    assert cupy_ref.choose_splits(None, blocks, tiles, slots) == expected


def test_an_empty_batch_launches_nothing(host):
    call = cupy_ref.plan_prefill(host, zeros(0, 4, 3, 32), zeros(0, 2, 5, 32), zeros(0, 2, 5, 32))
    assert call.run()[0].shape == (0, 4, 3, 32)


def test_a_call_names_its_kernels():
    call = cupy_ref.plan_decode(HostDevice(), Q, K, K, splits=2)
    assert [kernel.entry for kernel in call.kernels] == ["decode_attention", "merge_splits"]
    assert [kernel.entry for kernel in cupy_ref.plan_prefill(HostDevice(), Q, K, K).kernels] == ["prefill_attention"]
