"""Small made-up tables in the layout of the measured ones."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

PREFILL = {
    "gpu": "h100_sxm",
    "stack": "vllm",
    "stack_version": "0.24.0",
    "kernel": "vllm_flash_attn_fa3",
    "batch": 1,
    "q_len": 2048,
    "heads": 32,
    "kv_heads": 8,
    "head_dim": 128,
    "window": 0,
    "attn_dtype": "bf16",
    "kv_dtype": "bf16",
    "time_us": 100.0,
    "split": "validate",
}
"""A row of prefill; a test changes what it is about."""

Row = dict[str, object]
WriteTable = Callable[[str, Sequence[Row]], Path]


@pytest.fixture
def write_table(tmp_path: Path) -> WriteTable:
    """Writes rows under a table's name and says where."""

    def write(name: str, rows: Sequence[Row]) -> Path:
        path = tmp_path / name
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return path

    return write
