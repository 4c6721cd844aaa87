"""Arithmetic anchors of KV policies: what bytes alone say must come out of the policies' own accounting."""

import pytest

from algorithms.kv.cost import CacheShape
from algorithms.kv.parts.quantize import compression_ratio
from studies.reproductions.kv import (
    EVICT3R_SHAPE,
    duo_memory_ratio,
    evict3r_frame_bytes,
    evict3r_rows,
    llama2_7b,
    llama2_13b,
    llama3_8b,
    recomputation_ratio,
    retroinfer_bytes,
    specache_rows,
)


def test_weights_of_the_models():
    assert llama2_7b().parameters == pytest.approx(6.738e9, rel=1e-3)
    assert llama2_13b().parameters == pytest.approx(13.016e9, rel=1e-3)
    assert llama3_8b().parameters == pytest.approx(8.030e9, rel=1e-3)


@pytest.mark.parametrize(("context", "ratio"), [(100_000, 2.47), pytest.param(110_000, 2.54, marks=pytest.mark.slow)])
def test_duo_attention_on_multi_head_attention(context, ratio):
    assert duo_memory_ratio(llama2_7b(), 0.25, context) == pytest.approx(ratio, abs=0.005)


@pytest.mark.parametrize(
    ("context", "ratio"),
    [
        (245_000, 1.50),
        pytest.param(320_000, 1.57, marks=pytest.mark.slow),
        pytest.param(500_000, 1.67, marks=pytest.mark.slow),
    ],
)
def test_duo_attention_on_grouped_queries(context, ratio):
    assert duo_memory_ratio(llama3_8b(), 0.5, context) == pytest.approx(ratio, abs=0.006)


def test_specache_stores_a_tenth():
    assert compression_ratio(1, 64) == pytest.approx(10.67, abs=0.004)
    assert compression_ratio(2, 64) == 6.4
    rows = list(specache_rows())
    assert all(row.agrees for row in rows if row.agrees is not None)
    assert rows[-1].ours == pytest.approx(8.39, abs=0.01)


def test_retroinfer_reads_a_fifteenth():
    found = {name: size / 1e6 for name, size in retroinfer_bytes().items()}
    assert found["full"] == pytest.approx(15_729, rel=1e-3)
    assert found["centroids"] == pytest.approx(492, rel=0.01)
    assert found["estimation"] == pytest.approx(228, rel=0.02)
    assert found["retrieval"] == pytest.approx(283, rel=0.01)
    assert found["steady"] == pytest.approx(9, rel=0.02)
    own = sum(found[zone] for zone in ("centroids", "estimation", "retrieval", "steady"))
    assert found["full"] / own == pytest.approx(15.5, rel=0.01)
    assert found["recorded retrieval"] >= found["retrieval"]


def test_recomputing_a_window_costs_more_the_longer_it_is():
    ratios = [recomputation_ratio(llama2_13b(), cache) for cache in (256, 1024, 4096)]
    assert ratios == sorted(ratios)
    assert 15 < ratios[-1] < 22.2


def test_evict3r_grows_by_a_hundred_megabytes_per_frame():
    assert isinstance(EVICT3R_SHAPE, CacheShape)
    assert evict3r_frame_bytes() == 24 * 1024 * 2 * 2 * 1041
    rows = {row.quantity: row for row in evict3r_rows()}
    assert rows["Evict3R, frames' worth of cache that is saved"].ours == pytest.approx(90, abs=0.5)
