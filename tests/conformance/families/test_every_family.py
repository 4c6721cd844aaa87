"""Whatever is registered as a family keeps the contract: it evaluates, stores and reads back, explains, refuses."""

from __future__ import annotations

import dataclasses
import json
import math
import pickle
import shlex
from collections.abc import Iterator

import pytest

from algorithms.registry import ALGORITHMS
from algorithms.workload.one_head import ONE_HEAD
from hwmodels.chips.accelerator import load_accelerator
from hwmodels.reading.errors import InputError
from studies.cli.app import run_command_line
from studies.families.attempt import attempt
from studies.families.detail import VERSION, MisreadError
from studies.families.evaluate import evaluate, explain
from studies.families.explanation import Explanation
from studies.families.family import FAMILIES, Evaluation, Family, families, family_of
from studies.families.metrics import ANY, metrics
from studies.points.command import command_of
from studies.points.find import find_algorithm
from studies.points.outcome import Row
from studies.points.point import ChipSetting, DesignPoint, TensorFile
from studies.report.paths import Tracer
from studies.report.points import Points
from studies.store.store import Store

TIMES = ("wall_s", "compile_s")
"""Metrics that are of the computer, not of the design."""
INPUTS = {
    "workload": {"workload": ONE_HEAD},
    "tensors": {"tensors": TensorFile("none.npz", "00")},
    "chip": {"chip": ChipSetting(load_accelerator("h100"))},
}


@pytest.fixture(params=FAMILIES.names())
def family(request) -> Family:
    return FAMILIES.get(request.param)


@pytest.fixture
def point(family) -> DesignPoint:
    return family.rehearsal()


@pytest.fixture
def evaluation(family, point) -> Evaluation:
    return evaluate(point)


def timeless(values):
    return {name: value for name, value in values.items() if name not in TIMES}


def plain(detail) -> dict:
    """A detail as a store has it."""
    return json.loads(json.dumps(detail.to_json(), allow_nan=False))


def test_there_are_families_and_all_say_what_they_are():
    assert families()
    assert len({family.entry for family in families()}) == len(families())
    for family in families():
        assert family.name != ANY and FAMILIES.get(family.name) is family
        assert family.__doc__ and family.source
        assert family.entry.what and isinstance(family.entry.takes, frozenset)
        assert family.entry.keyed <= family.entry.takes


def test_every_algorithm_is_of_a_family():
    assert ALGORITHMS.names()
    for name in ALGORITHMS.names():
        assert isinstance(find_algorithm(name), family_of(name).entry)


def test_a_tiny_point_is_of_the_family_and_quick_to_say(family, point):
    assert family_of(point) is family
    assert DesignPoint.from_description(json.loads(json.dumps(point.describe()))).key == point.key


def test_a_point_evaluates(family, point, evaluation):
    assert evaluation.point is point
    assert evaluation.seconds > 0 and math.isfinite(evaluation.seconds)
    assert evaluation.wall_s >= 0 and not evaluation.stuck
    assert evaluation.cycles is None or evaluation.cycles > 0
    assert evaluation.text().strip()
    assert evaluation.describe()["key"] == point.key
    again = evaluate(point)
    assert timeless(again.detail.measured()) == timeless(evaluation.detail.measured()), "nothing is left to chance"


def test_its_metrics_are_those_of_its_family_and_of_all(family, evaluation):
    measured = evaluation.detail.measured()
    own = {metric.name: metric for metric in metrics() if metric.family in (ANY, family.name)}
    assert list(measured) == [name for name in own if name in measured]
    declared = {figure.name for entry in map(ALGORITHMS.get, ALGORITHMS.names()) for figure in entry.figure_kinds}
    assert own.keys() - measured.keys() <= declared, "what other algorithms of the family declare"
    assert any(value is not None for value in measured.values())
    assert measured[family.objective] is not None


def test_several_points_are_each_as_alone(family, point):
    spoilt = dataclasses.replace(point, parameters=tuple((name, object()) for name, _ in point.parameters))
    before, wrong, after = family.evaluate_many([point, spoilt, point])
    assert isinstance(wrong, Exception)
    for found in (before, after):
        assert timeless(found.detail.measured()) == timeless(evaluate(point).detail.measured())


# --- details ------------------------------------------------------------------------------------------


def test_a_detail_comes_back(family, point, evaluation):
    document = plain(evaluation.detail)
    assert document[VERSION] == evaluation.detail.version >= 1
    again = family.read(point, document)
    assert type(again) is type(evaluation.detail)
    assert plain(again) == document
    assert again.measured() == evaluation.detail.measured()
    assert again.uses == evaluation.detail.uses
    assert plain(pickle.loads(pickle.dumps(again))) == document, "it travels between processes"


def test_a_document_without_a_version_is_read(family, point, evaluation):
    document = plain(evaluation.detail)
    old = {name: value for name, value in document.items() if name != VERSION}
    assert plain(family.read(point, old)) == document


def test_a_later_version_is_refused(family, point, evaluation):
    with pytest.raises(InputError, match=r"version: was written in version 99"):
        family.read(point, plain(evaluation.detail) | {VERSION: 99})


def places(value, path=()) -> Iterator[tuple[str | int, ...]]:
    """Every field of a document; of a list the fields of its first element."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield (*path, name)
            yield from places(inner, (*path, name))
    elif isinstance(value, list) and value:
        yield from places(value[0], (*path, 0))


def without(document, path):
    copy = json.loads(json.dumps(document))
    part = copy
    for name in path[:-1]:
        part = part[name]
    del part[path[-1]]
    return copy


def test_a_field_that_is_missing_is_an_error_that_names_it_and_never_a_zero(family, point, evaluation):
    document = plain(evaluation.detail)
    named = 0
    for path in places(document):
        if path[0] in ("key", "point", VERSION):
            continue  # the point is known, and a document without a version is an old one
        spoilt = without(document, path)
        try:
            kept = plain(family.read(point, spoilt))
        except MisreadError as error:
            told = str(error.problem(spoilt, "a.json"))
            assert path[-1] in told or is_free(document, path), told
            named += path[-1] in told
            continue
        follows = kept == document  # from others, and is stored for those who read documents by themselves
        assert follows or (kept == spoilt and is_free(document, path)), f"{path} became something else"
    assert named > 3


def is_free(document, path) -> bool:
    """Whether a field stands in a mapping whose names are free: of scalars, one level down at least."""
    part = document
    for name in path[:-1]:
        part = part[name]
    return len(path) > 1 and not any(isinstance(each, dict | list) for each in part.values())


def test_it_is_stored_and_comes_back(family, point, tmp_path):
    outcome = attempt(point)
    assert outcome.status == "done", outcome.error
    with Store(tmp_path / "s.sqlite", write=True) as store:
        store.enter_grid("one", [point])
        store.record(store.begin_run({}), [outcome])
        (row,) = store.rows("one")
    assert plain(row.outcome.detail) == plain(outcome.detail)
    assert row.outcome.metrics == outcome.metrics


# --- explanations and reports ---------------------------------------------------------------------------


def test_it_explains_or_says_that_it_does_not(family, point):
    found = family.explain(point)
    if found is None:
        with pytest.raises(InputError, match=point.algorithm):
            explain(point)
        return
    assert isinstance(found, Explanation)
    assert found.sentence.endswith(".") and found.text().endswith(found.sentence)
    assert json.loads(json.dumps(found.describe(), allow_nan=False))["sentence"] == found.sentence
    for lever in found.levers:
        assert lever.gain == pytest.approx(1 - lever.cost_after / lever.cost_before)
        assert lever.before != lever.after
    assert [lever.gain for lever in found.levers] == sorted((each.gain for each in found.levers), reverse=True)


def test_a_critical_path_is_all_cycles(family, point):
    row = Row("s", 0, point, attempt(point), 1, None, {})
    path = Tracer().trace(row)
    if not family.traced:
        assert path is None
        return
    assert round(path.cycles) == evaluate(point).cycles
    assert path.parts and path.sentence.endswith(".")


def test_a_report_tells_what_binds(family, point):
    points = Points.of([Row("s", 0, point, attempt(point), 1, None, {})])
    assert list(points.families) == [family.name]
    assert points.binding(0) == family.binding(points.rows[0].outcome.detail, points.paths.get(0))
    assert all(isinstance(term, str) and isinstance(text, str) for term, text in points.facts(0))


# --- what it takes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", INPUTS)
def test_what_it_does_not_take_is_refused(family, point, name):
    if name in family.entry.takes:
        lacking = dataclasses.replace(point, **dict.fromkeys(INPUTS[name]))
        if name != "tensors":  # without, they are drawn
            with pytest.raises(InputError, match=name):
                evaluate(lacking)
            assert attempt(lacking).status == "failed"
        return
    with pytest.raises(InputError, match=f"takes no {name}"):
        evaluate(dataclasses.replace(point, **INPUTS[name]))
    assert "takes no" in attempt(dataclasses.replace(point, **INPUTS[name])).error


def test_its_command_repeats_it(family, point, evaluation, capsys):
    words = shlex.split(command_of(point))
    assert words[:2] == ["attnflow", "run"]
    assert run_command_line([*words[1:], "--json", "--quiet"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["key"] == point.key
    again = family.read(point, document)
    assert timeless(again.measured()) == timeless(evaluation.detail.measured())


def test_what_it_compiles_has_names(family, point):
    for kernels in family.kernels(point):
        assert kernels.name and kernels.estimate_s > 0
