"""Errors of predicted times of unfused attention and softmax, which nothing or one point of 14 is fitted to."""

from __future__ import annotations

from pathlib import Path

import pytest

from studies.validate.gpu.cases import load_points
from studies.validate.gpu.validate import validate_points

POINTS = load_points(Path(__file__).parents[1] / "data" / "gpu_unfused.json")


def score(kind: str, chip: str, least_tokens: int = 0):
    """The only group of points of a kind on a chip, with so many tokens at least."""
    chosen = [
        point
        for point in POINTS
        if point.kind == kind and point.hw.startswith(chip) and point.size("Sq", "rows") >= least_tokens
    ]
    assert all(point.split == "validate" for point in chosen)
    (group,) = validate_points(chosen).groups()
    return group


@pytest.mark.parametrize(
    ("kind", "chip", "points"),
    [("op_softmax", "A100", 22), ("prefill_fwd", "H100", 14), ("prefill_fwdbwd", "A100_SXM4_80G", 10)],
)
def test_unfused_kernels(kind, chip, points):
    """LLMCompass has 12 % on softmax, NeuSight 14 % on operators."""
    group = score(kind, chip)
    assert group["n"] == group["passed"] == points
    assert group["mean_abs_error_pct"] <= 12
    assert group["mean_abs_error_pct"] < group["serial_sum_mean_abs_error_pct"] < 100


def test_short_sequences_that_the_host_launches_too_slowly_still_miss():
    """Seven launches from Python take longer than their work below 512 tokens; no published figure says how long."""
    group = score("prefill_fwd", "A100_SXM4_40G")
    assert group["mean_abs_error_pct"] > 14
    assert group["passed"] == 4
    assert score("prefill_fwd", "A100_SXM4_40G", least_tokens=1024)["mean_abs_error_pct"] < 20
