"""Metrics: their order, those that algorithms declare themselves, and what is an error."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from algorithms.figures import LAST, Figure, OwnFigures
from algorithms.registry import ALGORITHMS, Algorithm, algorithm, get_algorithm
from hwmodels.reading.errors import InputError
from studies.cli.options import DesignOptions, design_point
from studies.families.evaluate import evaluate
from studies.families.family import FAMILIES, families, family_of
from studies.families.metrics import ANY, METRICS, find_metric, measure, metric, metrics, metrics_of


@pytest.fixture
def fresh(monkeypatch):
    """Registers that forget afterwards what a test adds."""
    metrics()
    for register in (METRICS, ALGORITHMS):
        monkeypatch.setattr(register, "_entries", dict(register._entries))


def names() -> list[str]:
    return [metric.name for metric in metrics()]


def test_the_order_does_not_depend_on_what_was_imported_first():
    script = (
        "import json; import studies.families.tier.metrics, studies.families.chip.metrics\n"
        "from studies.families.metrics import metrics; print(json.dumps([each.name for each in metrics()]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == names()
    assert names()[:3] == ["cycles", "seconds", "firings"]


def test_every_metric_is_of_a_family_or_of_all():
    known = {ANY, *(family.name for family in families())}
    assert len(metrics()) > 50
    assert {each.family for each in metrics()} == known
    assert len(set(names())) == len(names())


def test_a_metric_of_a_family_is_registered_in_its_package_where_its_points_look():
    for found in map(METRICS.get, METRICS.names()):
        home = METRICS.package if found.family == ANY else FAMILIES.get(found.family).source.rpartition(".")[0]
        assert found.source.rpartition(".")[0] == home, found.name


@pytest.mark.parametrize("name", ["sdpa.naive", "flash.q_outer", "tier.probe"])
def test_a_row_has_what_applies_to_its_design_and_needs_nothing_else(name):
    script = (
        "import json, sys; from studies.families.attempt import attempt\n"
        "from studies.families.family import family_of\n"
        f"found = attempt(family_of({name!r}).rehearsal())\n"
        "print(json.dumps([dict(found.metrics), sorted(sys.modules)]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    row, modules = json.loads(done.stdout)
    family = family_of(name)
    own = {figure.name for figure in ALGORITHMS.get(family.rehearsal().algorithm).figure_kinds}
    declared = {figure.name for entry in map(ALGORITHMS.get, ALGORITHMS.names()) for figure in entry.figure_kinds}
    wanted = [each.name for each in metrics() if each.family in (ANY, family.name)]
    assert list(row) == [each for each in wanted if each in own or each not in declared]
    loaded = {name for name in modules if re.fullmatch(r"studies\.families\.\w+\.family", name)}
    assert loaded == {family.source}


def test_a_metric_of_a_script_is_there_at_once_and_last(fresh):
    @metric("own.units", "", "units of the graph", family="graph")
    def units(evaluation):
        return len(evaluation.result.units)

    evaluation = evaluate(design_point("sdpa.naive", DesignOptions(seq_len=8, head_dim=4, timing_only=True)))
    assert names()[-1] == "own.units"
    assert measure(evaluation)["own.units"] == len(evaluation.result.units) > 3
    probed = evaluate(design_point("tier.probe", DesignOptions(set_=["transactions=64"])))
    assert "own.units" not in measure(probed)
    with pytest.raises(InputError, match=r"'cycles' is registered by both studies\.families\.metrics and"):
        metric("cycles", "", "again", family=ANY)(units)


def test_what_is_not_finite_is_not_measured(fresh):
    metric("own.ratio", "", "a ratio of nothing", family=ANY)(lambda evaluation: float("inf"))
    assert measure(evaluate(family_of("tier.probe").rehearsal()))["own.ratio"] is None


# --- figures --------------------------------------------------------------------------------------------


def naive_with(figure: Figure) -> Algorithm:
    """Naive attention that declares a figure: tokens that come per second."""
    naive = get_algorithm("sdpa.naive")

    def figures(workload, parameters, ran):
        return (figure.of(workload.q_len / ran.seconds),)

    own = OwnFigures((figure,), figures)

    def build(workload, parameters, tensors):
        """Naive attention that counts tokens."""
        return naive.builder(workload, parameters, tensors)

    algorithm("test.counted", naive.parameters, figures=own)(build)
    return get_algorithm("test.counted")


def test_a_figure_of_an_algorithm_is_a_metric_like_all(fresh):
    naive_with(Figure("counted.rate", "token/s", "queries per second", goal="max"))
    (found,) = [each for each in metrics() if each.name == "counted.rate"]
    assert (found.unit, found.goal, found.static, found.order, found.family) == ("token/s", "max", False, LAST, "graph")
    evaluation = evaluate(design_point("test.counted", DesignOptions(seq_len=8, head_dim=4)))
    assert measure(evaluation)["counted.rate"] == 8 / evaluation.seconds
    assert evaluation.detail.measured()["counted.rate"] == 8 / evaluation.seconds, "from what is stored, too"
    other = evaluate(design_point("sdpa.naive", DesignOptions(seq_len=8, head_dim=4)))
    assert "counted.rate" not in measure(other)


def test_two_meanings_of_a_figure_are_an_error_that_names_both_algorithms(fresh):
    naive_with(Figure("fpga.dsp", "", "something else"))
    with pytest.raises(InputError, match=r"'fpga\.dsp' is declared in different ways by .* and "):
        metrics()


def test_figures_of_the_same_kind_are_shared():
    for name in ("decode.policy", "stream.frames"):
        assert {figure.name for figure in ALGORITHMS.get(name).figure_kinds} >= {"kv.near_bytes", "kv.attended"}
    assert names().count("kv.near_bytes") == 1


@pytest.mark.parametrize("chosen", [["policy=h2o", "budget=128"], ["policy=quest", "budget=128"]])
def test_bytes_that_a_policy_keeps_are_those_of_its_details(chosen):
    options = DesignOptions(chip="h100", workload="llama3-8b", context=1024, timing_only=True, set_=chosen)
    evaluation = evaluate(design_point("decode.policy", options))
    measured, details = evaluation.detail.measured(), evaluation.details
    kept = {name.partition(".")[2]: size for name, size in details.items() if name.startswith("kept_bytes.")}
    assert measured["kv.near_bytes"] == kept[evaluation.chip.accelerator.memory.name] > 0
    assert measured["kv.far_bytes"] == sum(kept.values()) - measured["kv.near_bytes"]
    assert measured["kv.attended"] == details["attended"] > 0
    assert measured["kv.score_bytes"] == details["score_bytes"] + details["exported_bytes"]


def test_metrics_of_some_algorithms_are_those_that_their_points_are_measured_by():
    points = [family_of(name).rehearsal() for name in ("sdpa.naive", "flash.q_outer", "tier.probe")]
    names = [point.algorithm for point in points]
    own = [[each.name for each in metrics_of([name])] for name in names]
    assert own == [list(measure(evaluate(point))) for point in points]
    together = [each.name for each in metrics_of(names)]
    assert together == [each.name for each in metrics() if each.name in {name for found in own for name in found}]
    assert metrics_of(["sdpa.naive", "gone.with.its.plugin"]) == metrics()


def test_a_metric_is_found_among_those_of_some_algorithms_and_then_among_all():
    assert find_metric("cycles", ["sdpa.naive"]) is METRICS.get("cycles")
    assert find_metric("live.goodput", ["sdpa.naive"]) is METRICS.get("live.goodput")
    with pytest.raises(InputError, match="no metric is called 'cycle'") as refused:
        find_metric("cycle", ["sdpa.naive"])
    assert "cycles" in str(refused.value)
