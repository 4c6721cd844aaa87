"""`validate analytic`, the benchmark of the DRAM model, and probes from the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hwmodels.tiers.dram_analytic import NINE_IN_TEN_ERROR_PCT, TYPICAL_ERROR_PCT
from studies.benchmarks import memory
from studies.cli.app import run_command_line
from studies.validate.analytic import FITTED, HELD_OUT, dram_tiers, validate_analytic


def test_every_pattern_is_compared_on_a_tier():
    report = validate_analytic(("ddr4_3200",))
    assert len(report.rows) == len(FITTED) + len(HELD_OUT) == len({row.id for row in report.rows})
    assert max(abs(row.error_pct) for row in report.rows) < 25
    assert sum("held out" in row.why for row in report.rows) == len(HELD_OUT)


def test_all_dram_presets_are_covered():
    assert {"hbm2", "hbm2e", "hbm3", "hbm3e", "hbm4", "ddr4_3200", "ddr5_4800", "lpddr4_2400", "lpddr5_6400"} <= set(
        dram_tiers()
    )


@pytest.mark.slow
def test_the_stated_errors_are_those_of_patterns_that_were_held_out():
    report = validate_analytic()
    errors = [abs(row.error_pct) for row in report.rows if "held out" in row.why]
    assert np.median(errors) == pytest.approx(TYPICAL_ERROR_PCT, abs=0.3)
    assert np.percentile(errors, 90) == pytest.approx(NINE_IN_TEN_ERROR_PCT, abs=1)
    assert report.count("pass") >= 0.93 * len(report.rows)


def test_the_benchmark_names_both_simulators_beside_its_own_rates(monkeypatch):
    monkeypatch.setattr(memory, "TRANSACTIONS", 1 << 16)
    figures = memory.dram_hbm2()
    assert figures["runs_over_single_requests"] > 1.5
    for kind in ("sequential", "random", "gather_4k"):
        ours = figures[f"{kind}_requests_per_s"]
        assert ours > figures[f"dramsim3_{kind}_requests_per_s"] > 0
        assert ours > figures[f"ramulator2_{kind}_requests_per_s"] > 0


def test_a_probe_prints_one_document(capsys):
    asked = ["tier=ddr4_3200", "pattern=gather", "run_bytes=1 KiB", "transactions=5000"]
    arguments = [word for text in asked for word in ("--set", text)]
    assert run_command_line(["run", "tier.probe", *arguments, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["parameters"]["run_bytes"] == 1024
    assert printed["busy_clocks"] + sum(printed["lost_clocks"].values()) == printed["bus_clocks"]
    assert run_command_line(["run", "tier.probe", *arguments, "--set", "fidelity=analytic", "--quiet"]) == 0
    assert "closed forms" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tier.prob"], "did you mean 'tier.probe'"),
        (["tier.probe", "--set", "patern=gather"], "did you mean 'pattern'"),
        (["tier.probe", "--set", "pattern=spiral"], "--set pattern"),
        (["tier.probe", "--set", "load"], "must be NAME=VALUE"),
        (["tier.probe", "--heads", "4"], "--heads: does not apply to tier.probe"),
        (["tier.probe", "--set", "load=2"], "load: must be from 0 to 1"),
    ],
)
def test_bad_probes_get_one_line_and_exit_code_2(arguments, message, capsys):
    assert run_command_line(["run", *arguments, "--quiet"]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
