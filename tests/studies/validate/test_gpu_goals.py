"""Errors of predicted kernel times on published points that nothing is fitted to, against the goals of the project."""

from __future__ import annotations

from pathlib import Path

import pytest

from studies.validate.gpu.cases import load_points
from studies.validate.gpu.validate import validate_points

PUBLISHED = Path(__file__).parents[1] / "data" / "gpu_published.json"
POINTS = load_points(PUBLISHED)


def score(kind: str, kernel: str, part: str = ""):
    """The only group of points of a kind and a kernel (and whose group is called so)."""
    chosen = [point for point in POINTS if point.kind == kind and point.kernel.startswith(kernel)]
    assert all(point.split == "validate" for point in chosen)
    groups = [group for group in validate_points(chosen).groups() if part in group["group"]]
    assert len(groups) == 1
    return groups[0]


def test_flash_attention_3_on_an_h100():
    """The best published predictions have 5.7 % on average and 12.7 % at worst (arXiv:2605.00555)."""
    group = score("prefill_fwd", "FlashAttention-3")
    assert group["n"] == 16
    assert group["mean_abs_error_pct"] <= 5
    assert group["max_abs_error_pct"] <= 12
    assert group["mean_abs_error_pct"] < group["serial_sum_mean_abs_error_pct"] < group["roofline_mean_abs_error_pct"]


@pytest.mark.parametrize(
    ("kind", "kernel", "part", "limit_pct"),
    [
        ("decode", "Flash-Decoding", ">= 64 MB", 8),
        ("decode", "TileOPs", ">= 64 MB", 8),
        ("decode", "TileOPs", "< 64 MB", 15),
        ("mla_decode", "FlashMLA", "", 3),
        ("e2e_decode_token", "full attention", "", 6),
        ("e2e_decode_token", "DuoAttention", "", 6),
        ("prefill_fwd", "FlashAttention-2", "", 8),
        ("prefill_fwdbwd", "FlashAttention-2", "", 8),
        pytest.param("prefill_fwd", "Triton", "", 8, marks=pytest.mark.slow),
        pytest.param("prefill_fwd", "cuDNN", "", 8, marks=pytest.mark.slow),
    ],
)
def test_other_fused_kernels(kind, kernel, part, limit_pct):
    group = score(kind, kernel, part)
    assert group["mean_abs_error_pct"] <= limit_pct


def test_what_misses_still_misses():
    """FlashAttention-3's FP8 decode spends tens of microseconds before and between kernels that no point calibrates."""
    group = score("decode", "FlashAttention-3", "< 64 MB")
    assert group["mean_abs_error_pct"] > 15
    long = score("decode", "FlashAttention-3", ">= 64 MB")
    assert long["passed"] == 1
    assert 8 < long["mean_abs_error_pct"] < group["mean_abs_error_pct"] / 2
