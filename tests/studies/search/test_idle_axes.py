"""Axes that changed nothing are named, and no others."""

import pytest

from studies.cli import main

STUDY = """
name: idle
algorithm: decode.split_kv
workload: {phase: decode, heads: 8, kv_heads: 8, q_len: 1, kv_len: 4096, head_dim: 64}
chip: {preset: h100}
timing_only: true
axes:
  chip.hbm.count: [2, 3, 5]
  chip.hbm.bytes_per_second: ["2 TB/s", "4 TB/s"]
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.yaml").write_text(STUDY)
    return tmp_path


def test_an_axis_that_changes_no_metric_is_named_after_the_sweep(here, capsys):
    text = STUDY.replace("chip.hbm.count: [2, 3, 5]", 'chip.nvlink.bytes_per_second: ["450 GB/s", "900 GB/s"]')
    (here / "s.yaml").write_text(text)
    assert main(["sweep", "s.yaml", "--jobs", "0"]) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("axis ")]
    assert told == ["axis chip.nvlink.bytes_per_second changed nothing in 4 points: no metric depends on it here"]


def test_axes_that_change_something_are_not(here, json_of, capsys):
    text = STUDY.replace("chip.hbm.count: [2, 3, 5]", "chip.core.exp_per_cycle: [1, 64]")
    (here / "s.yaml").write_text(text)
    document = json_of("sweep", "s.yaml", "--jobs", "0")
    assert document["idle_axes"] == {}
