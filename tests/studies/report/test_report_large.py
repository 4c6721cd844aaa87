"""Pages about studies of which they show a part: what they say of all points is what the whole points say."""

import tracemalloc
from collections import Counter

import numpy as np
import pytest

from simulator.engines.progress import leave, listen
from studies.benchmarks.made_study import make_store
from studies.report import read_points
from studies.report.blocks import View
from studies.report.reading import TOLD_EVERY
from studies.report.reading import read_points as reading
from studies.report.sections.headline import subject, tiles
from studies.report.sections.table import table
from studies.search import pareto
from studies.search.pareto import non_dominated
from studies.store.store import Store

COUNT = 1_500


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store, its points as a whole, and as a page of a large study shows them."""
    path = tmp_path_factory.mktemp("made") / "made.sqlite"
    make_store(path, COUNT)
    with Store(path) as store:
        return path, read_points(store), read_points(store, most_whole=COUNT - 1, sample=120)


def named(points, marks):
    return {points.rows[i].outcome.key for i in marks}


def test_a_small_study_is_there_as_a_whole(made):
    _, whole, _ = made
    assert (whole.census, len(whole), whole.total) == (None, COUNT, COUNT)


@pytest.mark.parametrize("most_whole", [COUNT, COUNT - 1])
def test_whoever_listens_is_told_how_many_points_have_been_read(made, most_whole):
    told = []

    def hear(what, done, total):
        told.append((what, done, total))

    listen(hear)
    try:
        with Store(made[0]) as store:
            read_points(store, most_whole=most_whole, sample=120)
    finally:
        leave(hear)
    assert told == [("points read", done, COUNT) for done in range(0, COUNT, TOLD_EVERY)]
    assert len(told) > 2


def test_counts_front_best_knee_and_slowest_are_those_of_all_points(made):
    _, whole, part = made
    assert len(part) < COUNT / 2
    assert part.total == COUNT
    assert {state: part.tally(state) for state in ("done", "infeasible")} == {
        state: len(whole.in_state(state)) for state in ("done", "infeasible")
    }
    assert named(part, np.flatnonzero(part.front)) == named(whole, np.flatnonzero(whole.front))
    assert part.census.front == sum(whole.front) > 3
    assert [(named(part, [b.point]), b.ties) for b in part.best] == [
        (named(whole, [b.point]), b.ties) for b in whole.best
    ]
    assert named(part, [part.knee, part.slowest]) == named(whole, [whole.knee, whole.slowest])


def test_effects_are_those_of_all_points(made):
    _, whole, part = made
    done = [i for i, state in enumerate(whole.states) if state == "done"]
    for objective in whole.objectives:
        for axis in whole.axes:
            groups = {}
            for i in done:
                groups.setdefault(axis.values[i], []).append(objective.values[i])
            told = part.census.effects[objective.name][axis.name]
            assert [line[0] for line in told] == sorted(groups)
            for value, least, median, most in told:
                among = groups[value]
                assert (least, most) == (min(among), max(among))
                assert median == pytest.approx(float(np.median(among)), rel=1e-12)


def test_densities_count_every_point_once_and_every_axis_value_is_shown(made):
    _, whole, part = made
    assert [int(each.counts.sum()) for each in part.census.densities] == [len(whole.done)] * 3
    for axis in whole.axes:
        assert set(part.column(axis.name).distinct) == set(axis.distinct)


def test_the_page_says_how_many_points_there_are_and_how_many_it_shows(made):
    _, _, part = made
    said = f"{COUNT:,} points; the table shows {len(part):,}: all of the front and a sample"
    assert said in subject(part)
    assert [view.data for view in table(part) if isinstance(view, View)] == [{"told": said}]
    assert next(iter(tiles(part))).value == f"{COUNT:,}"


def test_memory_and_rows_made_do_not_grow_with_the_study(made, monkeypatch):
    path, *_ = made
    read = Counter()
    rows = Store.rows
    monkeypatch.setattr(Store, "rows", lambda *given: (read.update(["row"]) or row for row in rows(*given)))
    with Store(path) as store:
        tracemalloc.start()
        part = reading(store, most_whole=COUNT - 1, sample=120)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert len(part) <= read["row"] < COUNT
    assert peak < 60e6


def test_leaving_out_at_once_what_few_good_ones_dominate_changes_no_front(monkeypatch):
    random = np.random.default_rng(1)
    costs = np.round(random.random((3_000, 3)), 2)  # many equal values
    plain = non_dominated(costs)
    monkeypatch.setattr(pareto, "MANY", 100)
    assert (non_dominated(costs) == plain).all()
    assert plain.sum() > 3
