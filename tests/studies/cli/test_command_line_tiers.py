"""``attnflow show tier`` and ``list tiers``."""

from __future__ import annotations

import json

import pytest

from hwmodels.tiers.text import load_tier, tier_names
from studies.cli.app import run_command_line


def shown(capsys, *arguments, code=0):
    assert run_command_line(["show", "tier", *arguments]) == code
    captured = capsys.readouterr()
    return captured.out if code == 0 else captured.err


@pytest.mark.parametrize("name", tier_names())
def test_every_tier_shows_itself_and_passes_its_check(capsys, name):
    document = json.loads(shown(capsys, name, "--json"))
    tier = load_tier(name)
    assert (document["name"], document["kind"]) == (name, tier.kind)
    assert document["peak_bytes_per_second"] == tier.peak_bytes_per_second
    assert document["self_check"]["agree"]
    assert document["self_check"]["simulated_s"] == pytest.approx(document["read_latency_s"], rel=1e-4)
    text = shown(capsys, name)
    assert "the same" in text
    # every reference of a table has its entry in the list of sources
    assert all(f"\n[{number}] " in text for number in range(1, text.count("\n[") + 1))


def test_timings_come_in_clocks_and_nanoseconds_with_a_source(capsys):
    text = shown(capsys, "hbm2")
    assert "rc               48  48    [" in text
    assert "DRAMsim3 configs/HBM2_8Gb_x128.ini" in text
    assert "909 pJ" in text


def test_sn40l_moves_a_model_in_10_ms(capsys):
    document = json.loads(shown(capsys, "sn40l_ddr", "--set", "count=16", "--set", "bytes=16.06 GB", "--json"))
    assert document["peak_bytes_per_second"] == 1.6e12
    assert document["transfer"] == {"bytes": 16.06e9, "seconds": pytest.approx(10.0e-3, rel=0.01)}
    assert "10.04 ms" in shown(capsys, "sn40l_ddr", "--set", "count=16", "--set", "bytes=16.06 GB")


def test_rates_depend_on_the_size_of_requests(capsys):
    for name in ("nvme_gen5", "pcie5_x16"):
        document = json.loads(shown(capsys, name, "--json"))
        rates = [entry["bytes_per_second"] for entry in document["rates"]]
        assert rates == sorted(rates)
        assert rates[0] < 0.2 * document["peak_bytes_per_second"] < rates[-1] <= document["peak_bytes_per_second"]
    assert "random reads of" in shown(capsys, "nvme_gen5")


def test_fields_of_the_file_can_be_changed(capsys):
    document = json.loads(shown(capsys, "ddr4_3200", "--set", "controller.read_depth=64", "--set", "count=4", "--json"))
    assert document["controller"]["read_depth"] == 64
    assert document["organisation"]["channels"] == 4


def test_a_check_that_fails_ends_with_1(capsys, monkeypatch):
    from algorithms.memory import tier_check

    monkeypatch.setattr(tier_check.LatencyCheck, "agree", False)
    assert run_command_line(["show", "tier", "pcie4_x16"]) == 1
    assert "NOT THE SAME" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["hbm33"], "unknown tier 'hbm33'; did you mean 'hbm3'?"),
        (["hbm3", "--set", "counts=2"], "hbm3.yaml:1: counts: unknown key; did you mean 'count'?"),
        (["hbm3", "--set", "count"], "--set: must be FIELD=VALUE (got 'count')"),
        (["hbm2", "--set", "timing.rc=47"], "timing.rc: the row cycle must be at least ras + rp = 34 + 14 = 48 clocks"),
        (["hbm2", "--set", "mapping.order=[column, bank, group, row]"], "1 of the 8 values of channel: 3 address bits"),
        (["hbm3", "--set", "count=0"], "count: must be at least 1 (got 0)"),
        (["hbm3", "--set", "bytes=3 GHz"], "must be a quantity in B"),
        (["missing.yaml"], "missing.yaml: no such file"),
    ],
)
def test_bad_requests_are_one_line(capsys, arguments, message):
    error = shown(capsys, *arguments, code=2)
    assert message in error
    assert error.count("\n") == 1


def test_tiers_are_listed(capsys):
    assert run_command_line(["list", "tiers", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["tiers"]
    assert [entry["name"] for entry in listed] == list(tier_names())


def test_standards_are_listed(capsys):
    assert run_command_line(["list", "standards", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["standards"]
    assert {"ddr5_6400", "hbm2", "hbm3e", "hbm4", "lpddr5_6400"} <= {entry["name"] for entry in listed}
