"""Points that compute the same share their values, and nothing but time depends on the rest."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from algorithms.registry import algorithm_names, get_algorithm
from algorithms.streaming.parameters import StreamingParameters
from hwmodels.reading.documents import read_text
from studies.families import value_pass
from studies.families.graph.evaluate import build_graph
from studies.families.value_pass import content_of, values_of
from studies.running.runner import open_inline
from studies.search.sweep import run_sweep
from studies.study.resolve import resolve

STREAMING = [name for name in algorithm_names() if issubclass(get_algorithm(name).parameters, StreamingParameters)]


def study(algorithm, more):
    mask = "full" if algorithm == "sdpa.query_blocks" else "causal"  # queries of a pass see the same keys
    text = f"name: s\nalgorithm: {algorithm}\nworkload: {{seq_len: 12, head_dim: 4, mask: {mask}}}\n{more}"
    return resolve(read_text(text, "s.yaml"), Path())


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    monkeypatch.setattr(value_pass, "_kept", type(value_pass._kept)())


@pytest.mark.parametrize(
    ("algorithm", "granularity"),
    [
        (name, kind)
        for name in STREAMING
        for kind in ("row", "scalar")
        if (name, kind) != ("sdpa.query_blocks", "scalar")
    ],
)
def test_parameters_that_are_not_named_change_no_value(algorithm, granularity):
    """Every number is doubled in turn; the values stay the same, to the bit."""
    base = {"granularity": granularity, "long_depth": 60, "kv_tier": ""}
    numbers = [
        field.name
        for field in dataclasses.fields(StreamingParameters)
        if isinstance(field.default, int)
        and not field.name.startswith("kv_")
        and not (field.name == "mac_lanes" and granularity == "scalar")
    ]
    (plain,) = study(algorithm, f"parameters: {{granularity: {granularity}}}\n").points
    expected = values_of(plain, build_graph(plain)).outputs["out"]
    assert len(numbers) > 5
    for name in numbers:
        value = 3 * (base.get(name) or 1)
        (point,) = study(algorithm, f"parameters: {{granularity: {granularity}, {name}: {value}}}\n").points
        assert content_of(point) == content_of(plain)
        value_pass._kept.clear()
        np.testing.assert_array_equal(values_of(point, build_graph(point)).outputs["out"], expected)


def test_what_is_computed_separates_points():
    points = study(
        STREAMING[0],
        "axes:\n  granularity: [row, scalar]\n  mask: [full, causal]\n  exp_lanes: [1, 2]\nseeds: [0, 1]\n",
    ).points
    assert len({content_of(point) for point in points}) == 8


def test_a_sweep_computes_values_once_and_says_how_many_it_shared(tmp_path):
    grid = study(STREAMING[0], "axes:\n  seed: [0, 1]\n  exp_lanes: [1, 2, 4]\n  fifo_depth: [2, 4]\n")
    summary = run_sweep(grid, tmp_path / "s.sqlite", workers=1, quiet=True, open_executor=open_inline)
    assert (summary.done, summary.failed) == (12, 0)
    assert summary.value_passes_reused == pytest.approx(10 / 12)
    timing = study(STREAMING[0], "timing_only: true\n")
    summary = run_sweep(timing, tmp_path / "t.sqlite", workers=1, quiet=True, open_executor=open_inline)
    assert summary.value_passes_reused is None


def test_memory_for_values_is_bounded(monkeypatch):
    monkeypatch.setattr(value_pass, "LARGEST_MEMORY_BYTES", 2 * 12 * 4 * 8)
    for point in study(STREAMING[0], "seeds: [0, 1, 2, 3, 4]\n").points:
        values_of(point, build_graph(point))
    assert len(value_pass._kept) == 2
