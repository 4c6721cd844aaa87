"""Memory tiers as algorithms: listed, shown, swept, reported and compared like all others."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path

import pytest

from algorithms.memory.algorithm import get_tier_algorithm
from algorithms.memory.probe import probe
from algorithms.memory.probe_parameters import ProbeParameters
from algorithms.memory.tier_report import CAUSES
from hwmodels.reading.documents import read_text
from hwmodels.reading.errors import InputError
from studies.cli.app import run_command_line
from studies.families.attempt import attempt
from studies.families.evaluate import evaluate
from studies.families.tier.evaluation import TierEvaluation
from studies.points.command import command_of
from studies.points.point import DesignPoint
from studies.search.sweep import run_sweep
from studies.study.resolve import read_study, resolve

SHIPPED = Path(__file__).parents[3] / "studies" / "configs" / "memory-patterns.yaml"
SMALL = """
name: small
algorithm: tier.probe
parameters: {transactions: 3000, run_bytes: 1 KiB}
axes:
  tier: [ddr4_3200, pcie5_x16]
  pattern: [sequential, gather]
  mapping: {values: ["", group column bank rank row], when: {tier: ddr4_3200}}
"""


def study(text):
    return resolve(read_text(text, "s.yaml"), Path())


@pytest.fixture(scope="module")
def small_store(tmp_path_factory):
    path = tmp_path_factory.mktemp("tiers") / "small.sqlite"
    summary = run_sweep(study(SMALL), path, workers=1, quiet=True)
    assert (summary.points, summary.done, summary.failed) == (6, 6, 0)
    return path


def test_a_probe_is_listed_and_shown_with_its_parameters(json_of):
    listed = {entry["name"]: entry["summary"] for entry in json_of("list", "algorithms")["algorithms"]}
    assert listed["tier.probe"].startswith("[tier] ")
    shown = json_of("show", "algorithm", "tier.probe")
    assert shown["kind"] == "tier"
    assert not shown["runs_on_chip"]
    assert [entry["name"] for entry in shown["parameters"]] == [
        each.name for each in dataclasses.fields(ProbeParameters)
    ]
    assert all(entry["help"] for entry in shown["parameters"])


def test_a_point_of_a_study_is_what_run_prints(json_of):
    points = study(SMALL).points
    assert len(points) == 6
    for point in points:
        command = shlex.split(command_of(point))[1:]
        document = json_of(*command)
        outcome = attempt(point)
        assert document["key"] == point.key == outcome.key
        kept = {name: value for name, value in outcome.metrics.items() if name != "wall_s"}
        assert {name: value for name, value in document["metrics"].items() if name != "wall_s"} == kept
        assert document["seconds"] == kept["seconds"] > 0
        report = probe(ProbeParameters(**dict(point.parameters)))
        assert document["lost_clocks"] == dict(report.lost_clocks)
        assert kept["tier.bytes_per_second"] == report.achieved_bytes_per_second
        assert DesignPoint.from_description(document["point"]) == point


def test_the_title_of_a_run_has_its_parameters_in_their_order(capsys):
    settings = ["--set", "transactions=500", "--set", "pattern=random", "--set", "tier=ddr4_3200"]
    assert run_command_line(["run", "tier.probe", *settings, "--quiet"]) == 0
    (title, *_) = capsys.readouterr().out.splitlines()
    assert title == "ddr4_3200, 1 channels, cycle: tier = ddr4_3200, pattern = random, transactions = 500"


def test_efficiency_and_losses_make_up_the_peak():
    point = study(SMALL).points[0]
    for changes in ({}, {"tier": "nvme_gen5"}, {"fidelity": "analytic"}, {"pattern": "random", "read_fraction": 0.5}):
        parameters = tuple(sorted((dict(point.parameters) | changes).items()))
        metrics = attempt(dataclasses.replace(point, parameters=parameters)).metrics
        lost = [metrics[f"tier.lost.{cause}"] for cause in CAUSES]
        assert metrics["tier.efficiency"] + sum(lost) == pytest.approx(1, abs=1e-9)
        assert metrics[f"tier.lost.{metrics['tier.limiter']}"] == max(lost)
        assert metrics["tier.efficiency"] == metrics["tier.bytes_per_second"] / metrics["tier.peak_bytes_per_second"]
        assert metrics["cycles"] is None
        assert "energy_j" not in metrics


def test_energy_and_activations_are_those_of_what_was_simulated():
    point = study("algorithm: tier.probe\nparameters: {tier: hbm2, transactions: 16000, pattern: gather}\n").points[0]

    def metrics(**changes):
        return attempt(
            dataclasses.replace(point, parameters=tuple(sorted((dict(point.parameters) | changes).items())))
        ).metrics

    whole, sampled, estimated = metrics(), metrics(sample_channels=2), metrics(fidelity="analytic")
    assert whole["tier.energy_j_per_byte"] == pytest.approx(whole["tier.energy_j"] / (16000 * 64), rel=1e-9, abs=0)
    assert whole["tier.activations"] == pytest.approx((1 - whole["tier.row_hit_rate"]) * 16000, rel=1e-9)
    assert sampled["tier.activations"] == pytest.approx(whole["tier.activations"] / 2, rel=0.05)
    assert sampled["tier.energy_j"] is None
    assert sampled["tier.energy_j_per_byte"] is None
    assert (estimated["tier.energy_j"], estimated["tier.activations"]) == (None, None)


def test_the_shipped_study_shows_what_the_lowest_address_bits_do():
    found = {}
    for point in read_study(SHIPPED).points:
        values = dict(point.parameters)
        if (
            values["tier"] == "ddr4_3200"
            and values["outstanding"] == 0
            and values["pattern"] in ("streams", "sequential")
        ):
            found[values["pattern"], values["mapping"]] = attempt(point).metrics["tier.efficiency"]
    group_low = "group column bank rank row"
    assert found["streams", group_low] > 2 * found["streams", ""]
    assert found["sequential", group_low] > 0.9 > 0.7 > found["sequential", ""]


def test_a_resolved_study_tells_of_nothing_that_attends(json_of, tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(SMALL, encoding="utf-8")
    assert set(json_of("config", "show", str(path))["settings"]) == {"algorithm"} | {
        f"parameters.{each.name}" for each in dataclasses.fields(ProbeParameters)
    }


def test_a_report_says_what_limits_tiers_and_nothing_of_workloads(small_store, tmp_path):
    page = tmp_path / "small.html"
    assert run_command_line(["report", str(small_store), "--output", str(page), "--quiet"]) == 0
    text = page.read_text(encoding="utf-8")
    assert "6 design points of tier.probe. Varied: " in text
    assert "Where the peak of the memory goes" in text
    assert "of the peak" in text
    assert "float64 oracle" not in text.partition("<script")[0]
    assert "no values computed" not in text
    assert "head dim" not in text.partition("<script")[0]


def test_bars_of_a_report_add_up_to_the_peak():
    from studies.report.sections.tier_traffic import KINDS, _bars

    points = study(SMALL).points[::3]
    assert len(points) == 2
    for point in points:
        outcome = attempt(point)
        bars = list(_bars(outcome.detail))
        assert sum(bar.value for bar in bars) == pytest.approx(outcome.metrics["tier.peak_bytes_per_second"])
        assert {bar.kind for bar in bars} <= set(KINDS)


def test_stored_probes_are_compared_by_their_rate(small_store, json_of):
    points = study(SMALL).points
    same, other = (f"{small_store}:{point.key}" for point in points[:2])
    assert json_of("compare", same, same)["within"]
    document = json_of("compare", same, other, code=1)
    assert [change["name"] for change in document["config"]] == ["parameters.mapping"]
    rates = {delta["name"]: delta for delta in document["metrics"]}["tier.bytes_per_second"]
    assert rates["compared"]
    assert rates["b"] > rates["a"]
    assert run_command_line(["compare", same, other, "--tolerance", "900", "--quiet"]) == 0


def test_keys_depend_on_parameters_alone():
    first, second, *_ = study(SMALL).points
    assert first.key != second.key
    assert dataclasses.replace(first, engine="simpy", clock_hz=2e9, skip=False).key == first.key
    assert first.seed is None
    assert "workload" not in first._repr_html_()


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("parameters: {tier: hbm22}", ["s.yaml:2: parameters.tier: unknown tier 'hbm22'; did you mean 'hbm2'?"]),
        ("axes: {tier: [hbm2, hbm22]}", ["s.yaml:2: axes.tier[1]: unknown tier 'hbm22'; did you mean 'hbm2'?"]),
        ("axes: {patern: [random]}", ["s.yaml:2: axes.patern: unknown axis; did you mean 'pattern'?"]),
        ("axes: {heads: [1, 2]}", ["s.yaml:2: axes.heads: unknown axis"]),
        ("axes: {engine: [simpy]}", ["s.yaml:2: axes.engine: unknown axis"]),
        ("seeds: [1, 2]", ["s.yaml:2: seeds: does not apply to tier.probe"]),
        ("workload: llama3-8b", ["s.yaml:2: workload: does not apply to tier.probe"]),
        (
            "mapping: exact\nmemory: cycle",
            [
                "s.yaml:2: mapping: does not apply to tier.probe; `parameters: {mapping: ...}` is that of the traffic",
                "s.yaml:3: memory: does not apply to tier.probe",
            ],
        ),
        ("chip: h100", ["s.yaml:2: chip: tier.probe measures a memory tier and runs on no chip"]),
        ("axes: {load: [0.1, 1.5]}", ["s.yaml:2: axes.load[1]: must be from 0 to 1 (got 1.5)"]),
    ],
)
def test_what_does_not_apply_is_one_line_each(text, messages):
    with pytest.raises(InputError) as caught:
        study(f"algorithm: tier.probe\n{text}\n")
    assert str(caught.value).splitlines() == messages


def test_a_probe_shares_no_study_with_what_attends():
    with pytest.raises(InputError, match=r"tier\.probe measures a memory tier: sdpa\.naive needs a study of its own"):
        study("axes:\n  algorithm: [tier.probe, sdpa.naive]\n")


def test_a_tier_that_does_not_fit_fails_with_its_reason():
    point = study("algorithm: tier.probe\nparameters: {tier: pcie5_x16, refresh: false}\n").points[0]
    outcome = attempt(point)
    assert outcome.status == "failed"
    assert "does not apply to a tier of kind link" in outcome.error


@pytest.mark.parametrize("verb", [["explain"], ["advise", "depths"], ["trace"]])
def test_what_needs_a_graph_says_so(verb, capsys):
    assert run_command_line([*verb, "tier.probe", "--quiet"]) == 2
    assert "tier.probe measures a memory tier and is no graph of FIFOs" in capsys.readouterr().err


def test_an_evaluation_is_of_the_registered_measurement():
    point = study("algorithm: tier.probe\nparameters: {tier: ddr4_3200, transactions: 500}\n").points[0]
    evaluation = evaluate(point)
    assert isinstance(evaluation, TierEvaluation)
    assert get_tier_algorithm("tier.probe").measure is probe
    with pytest.raises(InputError, match=r"no measurement of a memory tier is called 'tier\.prob'; did you mean"):
        get_tier_algorithm("tier.prob")
