"""The lever that `attnflow explain` prints helps, by exactly what it says."""

from __future__ import annotations

import dataclasses
import json
import pathlib

import pytest

from algorithms.registry import algorithm_names, get_algorithm
from algorithms.workload.shape import Workload
from studies.cli.app import run_command_line

SMALL = Workload(name="w", phase="prefill", heads=1, kv_heads=1, q_len=4, kv_len=4, head_dim=2, mask="full")
EXAMPLES = [
    ("sdpa.naive", ["exp_cycles=4"], "exp_lanes"),
    ("sdpa.scaled", ["exp_cycles=3"], "exp_lanes"),
    ("sdpa.memory_free", ["exp_cycles=2"], "exp_lanes"),
    ("sdpa.naive", ["div_cycles=5"], "div_lanes"),
    ("sdpa.memory_free", ["mac_lanes=4"], "mac_lanes"),
    ("sdpa.reordered", ["fifo_depth=1"], "fifo_depth"),
    ("sdpa.memory_free", ["fifo_depth=1"], "fifo_depth"),
    ("sdpa.scaled", ["exp_latency=40"], "depths"),
    ("sdpa.naive", ["exp_latency=24", "fifo_depth=4"], "fifo_depth"),
    ("dam.composed_naive", ["exp_ii=3"], "exp_ii"),
    ("dam.composed_naive", [], "long_depth"),
    ("dam.composed_scaled", ["repeat_ii=4"], "repeat_ii"),
    ("dam.agnostic", ["reduce_prod_reset=900"], "reduce_prod_reset"),
    ("dam.gina_spatial", [], "qkt_exp_latency"),
    ("dam.gina_unscaled", ["pv_ii=5"], "pv_ii"),
    ("dam.gina_scaled", ["exp_latency=30"], "exp_latency"),
]


def explain(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    assert run_command_line(["explain", *arguments, "--seq-len", "48", "--head-dim", "16", "--json"]) == 0
    document: dict[str, object] = json.loads(capsys.readouterr().out)
    return document


@pytest.mark.parametrize(("algorithm", "settings", "parameter"), EXAMPLES)
def test_the_lever_gains_what_it_promises(
    algorithm: str, settings: list[str], parameter: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [word for setting in settings for word in ("--set", setting)]
    before = explain(capsys, algorithm, *options)
    lever = before["lever"]
    assert isinstance(lever, dict)
    assert lever["parameter"] in {parameter, "fifo_depth", "depths"}
    assert lever["cycles_before"] == before["cycles"]
    again = explain(capsys, algorithm, *options, "--set", f"{lever['parameter']}={lever['after']}")
    assert again["cycles"] == lever["cycles_after"] < lever["cycles_before"]
    assert f"{lever['cycles_after']:,}" in str(before["sentence"])


def test_a_design_at_full_rate_has_no_lever(capsys: pytest.CaptureFixture[str]) -> None:
    document = explain(capsys, "sdpa.memory_free")
    assert document["lever"] is None
    assert "No parameter" in str(document["sentence"])


def test_the_memory_behind_a_load_is_named_with_what_it_lost(capsys: pytest.CaptureFixture[str]) -> None:
    sentence = str(explain(capsys, "sdpa.memory_free", "--set", "kv_tier=ddr4_3200")["sentence"])
    assert sentence.startswith("the memory behind ") and "binds: waiting for loads is " in sentence
    assert "ddr4_3200 sustains " in sentence and "of its 25.4 GB/s" in sentence
    assert "most is lost to command spacing: distance between column commands" in sentence


def test_why_there_is_no_lever_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    sentence = str(explain(capsys, "dam.agnostic")["sentence"])
    assert sentence.endswith("relieves it: matmul_qk starts a firing in every cycle, and none lets a firing do more.")
    sentence = str(explain(capsys, "sdpa.memory_free", "--set", "row_div_cycles=2000")["sentence"])
    assert "div binds" in sentence
    assert "would not help" in sentence
    assert "in every cycle" not in sentence


@pytest.mark.parametrize("name", algorithm_names())
def test_levers_name_units_and_values_that_exist(name: str) -> None:
    algorithm = get_algorithm(name)
    graph = algorithm.build(SMALL.with_(mask=algorithm.default_workload.mask), algorithm.parameters())
    units = {unit.name for unit in graph.units}
    found = 0
    for field in dataclasses.fields(algorithm.parameters):
        slows = field.metadata.get("slows")
        named = slows.units if slows else ()
        found += bool(named or field.metadata.get("depth"))
        assert not named or units & set(named), field.name
        assert not slows or not field.metadata.get("speeds")
    assert found


def test_a_deadlock_is_explained_with_exit_code_3(capsys: pytest.CaptureFixture[str]) -> None:
    code = run_command_line(["explain", "sdpa.naive", "--seq-len", "48", "--set", "long_depth=47"])
    assert code == 3
    assert "weights_fifo = 48" in capsys.readouterr().out


CHIP = """
name: my_chip
kind: custom
summary: Sixteen 32 x 32 arrays on LPDDR5
node_nm: 7
clock_hz: 1 GHz
cores: 16
core:
  matrix_flops_per_cycle: {bfloat16: 2048}
  matrix_rows: 1
  matrix_columns: 32
  matrix_depth: 32
  vector_flops_per_cycle: 64
  exp_per_cycle: 16
  sram_bytes: 256 KiB
  sram_bytes_per_cycle: 256
  register_bytes: 4 KiB
tiers:
  lpddr:
    level: memory
    technology: lpddr5
    capacity_bytes: 16 GB
    bytes_per_second: {value: 51.2 GB/s, source: "JESD209-5, four x16 channels at 6400 MT/s"}
    latency_s: 100 ns
"""
LATENT = ["mla.seq", "--workload", "deepseek-v3", "--context", "65536", "--batch", "32", "--timing-only"]


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    assert run_command_line([*arguments, "--json"]) == 0
    document: dict[str, object] = json.loads(capsys.readouterr().out)
    return document


def test_local_memory_is_tried_with_the_tile_that_would_then_fit(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The chip of a user whose best lever is no rate: with twice the memory the latent is read a third as often."""
    (tmp_path / "my_chip.yaml").write_text(CHIP)
    chip = ["--chip", str(tmp_path / "my_chip.yaml")]
    told = printed(capsys, "explain", *LATENT, *chip)
    levers = told["levers"]
    assert isinstance(levers, dict)
    best = levers["chip"][0]
    assert (best["name"], best["before"], best["after"]) == ("chip.core.sram_bytes", 256 * 1024, 512 * 1024)
    assert best["then"]["tile_rows"] == 128
    assert 0.7 < best["gain"] < 0.75
    larger = printed(capsys, "run", *LATENT, *chip, "--set", "chip.core.sram_bytes=512 KiB")
    assert larger["seconds"] == best["seconds"]
    sentence = str(told["sentence"])
    assert "Best lever of the chip: chip.core.sram_bytes from 256 KiB to 512 KiB saves 71.7 % of the time" in sentence
    assert "then tile_rows 128 instead of 32" in sentence
    assert "3.5 times fewer bytes are moved" in sentence


def test_every_memory_of_a_chip_is_tried(capsys: pytest.CaptureFixture[str]) -> None:
    told = printed(capsys, "explain", "flash.q_outer", "--chip", "h100", "--workload", "llama3-8b", "--seq-len", "2048")
    levers = told["levers"]
    assert isinstance(levers, dict)
    names = {lever["name"] for lever in levers["chip"]}
    assert {"chip.core.sram_bytes", "chip.core.register_bytes", "chip.l2.capacity_bytes"} <= names


def test_where_cores_are_idle_no_bound_is_said_to_bind(capsys: pytest.CaptureFixture[str]) -> None:
    few = ["decode.split_kv", "--chip", "h100", "--workload", "llama3-8b", "--context", "8192", "--set", "splits=1"]
    told = str(printed(capsys, "explain", *few)["sentence"])
    assert told.startswith("no bound explains it: 8 of 132 cores busy; the largest bound, memory, is ")
    assert run_command_line(["run", *few]) == 0
    assert "bound by  no bound explains it: 8 of 132 cores busy; the largest is memory: " in capsys.readouterr().out
