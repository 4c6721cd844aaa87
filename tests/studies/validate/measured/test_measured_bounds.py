"""No measured kernel is faster than what a chip's published rates allow, by more than three percent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import studies.validate.measured.validate  # noqa: F401  registers predictors
from studies.validate.measured.bounds import group_bounds
from studies.validate.measured.sampling import sampled_rows
from studies.validate.measured.tables.layout import layout_called
from studies.validate.measured.tables.read import read_tables
from tests.studies.validate.measured.conftest import PREFILL

TABLES = Path(__file__).resolve().parents[4].parent / "shared" / "data" / "measured" / "aiconfigurator"
LEAST_RATIO = 0.97
ROWS = 6000
IMPOSSIBLE = {("attention_decode", "a100_sxm", "trtllm")}
"""Rows of caches said to be of 16 bits that would come at 3.4 TB/s out of a memory of 2.0: other bytes were moved."""


def test_the_bound_is_the_larger_of_products_and_bytes(write_table):
    long = PREFILL | {"q_len": 8192, "time_us": 1e6}
    (table,) = read_tables(write_table("attention_prefill.csv", [long])).tables
    (bound,) = group_bounds(table)
    flops = 2 * 32 * (8192 * 8193 // 2) * 256
    assert 1e6 / bound.least_ratio == pytest.approx(1e6 * flops / 989.4e12, rel=0.01)
    row = {name: PREFILL[name] for name in ("gpu", "stack", "stack_version", "split")}
    row |= {"kernel": "torch.nn.functional.linear", "dtype": "bf16", "m": 1, "n": 65536, "k": 65536, "time_us": 1e6}
    (table,) = read_tables(write_table("gemm.csv", [row])).tables
    (bound,) = group_bounds(table)
    assert 1e6 / bound.least_ratio == pytest.approx(1e6 * 2 * 65536**2 / 3.352e12, rel=0.01)


@pytest.mark.skipif(not TABLES.is_dir(), reason=f"the tables are not at {TABLES}: no kernel is held against the bound")
@pytest.mark.parametrize("name", ["attention_prefill", "attention_decode", "attention_encoder", "gemm"])
def test_no_kernel_beats_the_bound(name):
    (table,) = read_tables(TABLES / f"{name}.csv.gz", [layout_called(name)]).tables
    table = table.rows(sampled_rows([table], ROWS, 0)[0])
    bounds = list(group_bounds(table))
    assert sum(bound.rows for bound in bounds) > 0.9 * len(table)
    faster = {
        (bound.key.table, bound.key.gpu, bound.key.stack): bound.row
        for bound in bounds
        if bound.least_ratio < LEAST_RATIO
    }
    assert {place: row for place, row in faster.items() if place not in IMPOSSIBLE} == {}
    assert np.median([bound.least_ratio for bound in bounds]) < 3  # a bound that says nothing would be larger
