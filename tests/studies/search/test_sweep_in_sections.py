"""Grids of many points are made and entered a section at a time, which changes nothing that is stored."""

import itertools
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwmodels.reading.errors import InputError
from hwmodels.reading.shipped import Shipped
from studies.families.attempt import attempt_to_store
from studies.points.outcome import Outcome
from studies.running.runner import open_inline
from studies.search.sweep import run_sweep
from studies.store.store import Store
from studies.study.axes import Axis, Space
from studies.study.resolve import read_study

STUDY = """
name: sections
algorithm: decode.split_kv
workload: {phase: decode, heads: 8, kv_heads: 8, q_len: 1, kv_len: 1024, head_dim: 64}
timing_only: true
axes:
  chip: [h100, own.yaml]
  parameters.splits: [1, 2, 4]
  parameters.stages: [1, 2]
  workload.batch: [1, 3]
"""
POINTS = 24


def own_chip(folder, clock):
    text = Shipped("hwmodels.chips", "presets", "chip").text("a100_sxm4_80g")
    assert "value: 1.41 GHz" in text
    (folder / "own.yaml").write_text(text.replace("value: 1.41 GHz", f"value: {clock}"))


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.yaml").write_text(STUDY)
    own_chip(tmp_path, "1.2 GHz")
    return tmp_path


@pytest.fixture
def in_sections_of(monkeypatch):
    def choose(length):
        for module in ("study.question", "search.sweep"):
            monkeypatch.setattr(f"studies.{module}.SECTION", length)

    return choose


class Counted:
    """Evaluates points, and counts how often each is made and evaluated; stops after so many."""

    def __init__(self, most=10**6):
        self.keys = []
        self.most = most

    def __call__(self, point) -> Outcome:
        if len(self.keys) == self.most:
            raise KeyboardInterrupt
        self.keys.append(point.key)
        return attempt_to_store(point)


def sweep(path, evaluate):
    return run_sweep(read_study("s.yaml"), path, workers=1, evaluate=evaluate, open_executor=open_inline, quiet=True)


def stored(path):
    """All that a store holds but times."""
    with Store(path) as store:
        rows = [
            (row.position, row.outcome.key, row.outcome.status, row.outcome.metrics) for row in store.rows("sections")
        ]
        for *_, metrics in rows:
            metrics.pop("wall_s")
        return rows, store.description("sections")


@pytest.mark.parametrize("length", [1, 5, 12, POINTS - 1])
def test_the_store_is_the_same_whatever_the_length_of_a_section(here, in_sections_of, length):
    whole = sweep("whole.sqlite", Counted())
    in_sections_of(length)
    parts = sweep("parts.sqlite", Counted())
    assert (parts.points, parts.evaluated, parts.done, parts.skipped) == (POINTS, POINTS, POINTS, 0)
    assert whole.points == POINTS
    assert stored("parts.sqlite") == stored("whole.sqlite")


@pytest.mark.parametrize("stop", [3, 10, 20])
def test_a_sweep_that_goes_on_evaluates_what_is_left(here, in_sections_of, stop):
    in_sections_of(5)
    first, second = Counted(stop), Counted()
    with pytest.raises(KeyboardInterrupt):
        sweep("s.sqlite", first)
    with Store("s.sqlite") as store:
        kept = store.tally("sections")["done"]
    assert 0 < kept <= stop
    summary = sweep("s.sqlite", second)
    assert (summary.evaluated, summary.skipped, summary.done) == (POINTS - kept, kept, POINTS)
    assert set(first.keys[:kept]) | set(second.keys) == {point.key for point in read_study("s.yaml").points}
    assert len(second.keys) == POINTS - kept
    again = sweep("s.sqlite", Counted(0))
    assert (again.evaluated, again.skipped) == (0, POINTS)


def test_sections_that_are_done_are_made_again_only_if_something_that_a_value_names_has_changed(
    here, in_sections_of, monkeypatch
):
    in_sections_of(5)
    sweep("s.sqlite", Counted())
    asked = []

    def sections(self, skipped=()):
        asked.append(sorted(skipped))
        return original(self, skipped)

    original = type(read_study("s.yaml")).sections
    monkeypatch.setattr(type(read_study("s.yaml")), "sections", sections)
    sweep("s.sqlite", Counted(0))
    own_chip(here, "1.3 GHz")
    changed = Counted()
    summary = sweep("s.sqlite", changed)
    assert asked[:2] == [[0, 1, 2, 3, 4], []]
    assert (summary.points, summary.evaluated) == (POINTS, POINTS // 2)


def test_a_grid_that_has_become_smaller_keeps_no_places_of_the_larger_one(here, in_sections_of):
    in_sections_of(5)
    sweep("s.sqlite", Counted())
    (here / "s.yaml").write_text(STUDY.replace("[1, 2, 4]", "[2]"))
    summary = sweep("s.sqlite", Counted(0))
    assert (summary.points, summary.evaluated, summary.done) == (8, 0, 8)
    assert len(stored("s.sqlite")[0]) == 8


def test_a_point_that_cannot_be_made_leaves_no_study_behind(here):
    study = read_study("s.yaml")

    def refuse(choice):
        raise InputError("cannot be made")

    with pytest.raises(InputError, match="cannot be made"):
        run_sweep(replace(study, point=refuse), "s.sqlite", workers=1, open_executor=open_inline, quiet=True)
    with Store("s.sqlite") as store:
        assert store.description("sections") == {}


@given(st.data())
def test_first_combinations_of_values_are_those_of_a_walk_through_all(data):
    axes = []
    for i in range(data.draw(st.integers(1, 4))):
        values = tuple(range(data.draw(st.integers(1, 3))))
        earlier = [axis for axis in axes if data.draw(st.booleans())]
        when = tuple(
            (axis.name, data.draw(st.sampled_from([axis.values[:1], axis.values[-2:]]))) for axis in earlier[:2]
        )
        axes.append(Axis(f"axis{i}", values, when))
    space = Space(tuple(axes))
    expected, seen = {}, set()
    for place, choice in enumerate(space.choices()):
        new = set(choice.items()) - seen
        if new:
            expected[place] = choice
        seen |= new
    found = space.firsts()
    assert found == expected
    assert json.dumps(list(itertools.islice(space.choices(), 1))) == json.dumps([found[0]])
