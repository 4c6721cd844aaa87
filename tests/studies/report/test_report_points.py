"""What a report makes of stored rows: columns, workloads, the best designs and the front."""

import dataclasses
import doctest
import importlib

import pytest

from algorithms.workload.shape import Workload
from hwmodels.chips.accelerator import load_accelerator
from hwmodels.costs.area import area_of, estimates_of
from studies.cli.front_table import front_table
from studies.families.attempt import attempt
from studies.families.live.family import LiveFamily
from studies.families.metrics import metrics as all_metrics
from studies.families.model.family import ModelFamily
from studies.points.find import find_algorithm
from studies.points.knobs import complete_parameters
from studies.points.outcome import Row
from studies.points.point import ChipSetting, DesignPoint
from studies.report.points import Points
from studies.report.sections.headline import answer, cards
from studies.study.goals import Constraint, Goals, Objective

SHORT = Workload(name="head", phase="prefill", heads=1, kv_heads=1, q_len=8, kv_len=8, head_dim=4, mask="full")
LONG = SHORT.with_(q_len=16, kv_len=16)


@pytest.mark.parametrize("name", ["words", "families.graph.binding", "report.blocks"])
def test_examples_in_docstrings(name):
    results = doctest.testmod(importlib.import_module(f"studies.{name}"))
    assert results.attempted > 0
    assert results.failed == 0


# --- columns ----------------------------------------------------------------------------------------


def test_what_varies_is_an_axis(make_row):
    points = Points.of([make_row(depth=2), make_row(depth=4), make_row(depth=4, workload=LONG)])
    assert [axis.name for axis in points.axes] == ["seq_len", "fifo_depth"]
    assert points.column("fifo_depth").values == (2, 4, 4)
    assert points.column("fifo_depth").meaning != ""
    assert points.column("head_dim").varied is False


def test_lengths_that_differ_keep_columns_of_their_own(make_row):
    points = Points.of([make_row(workload=SHORT.with_(q_len=2)), make_row(workload=LONG)])
    assert points.column("seq_len") is None
    assert points.column("q_len").values == (2, 16)
    assert points.column("kv_len").values == (8, 16)


def test_a_parameter_that_one_algorithm_has_is_no_axis(make_row):
    rows = [make_row(), make_row(algorithm="sdpa.reordered", parameters={"row_max": True})]
    assert [axis.name for axis in Points.of(rows).axes] == ["algorithm"]
    more = [*rows, make_row(algorithm="sdpa.reordered", parameters={"row_max": None})]
    assert [axis.name for axis in Points.of(more).axes] == ["algorithm", "row_max"]


def test_a_parameter_may_be_called_like_a_field_of_the_workload(make_row):
    points = Points.of([make_row(parameters={"mask": 1}), make_row(parameters={"mask": 2})])
    assert points.column("mask").values == ("full", "full")
    assert points.column("parameters.mask").values == (1, 2)


def test_rows_of_an_algorithm_that_is_gone_are_shown_all_the_same(make_row):
    points = Points.of([make_row(algorithm="gone.away", depth=2), make_row(algorithm="gone.away")])
    assert points.column("fifo_depth").values == (2, 4)


def test_metrics_without_meaning_are_left_out(make_row):
    rows = [
        make_row(0),
        make_row(1, depth=2, deadlock=True, cycles=17),
        make_row(2, status="failed", error="why"),
        make_row(3, status="pending"),
    ]
    points = Points.of(rows)
    assert points.states == ("done", "deadlock", "failed", "pending")
    assert points.column("cycles").values == (1000, None, None, None)
    assert points.column("fifo.capacity_bytes").values == (32, 16, None, None), "a deadlocked design has its FIFOs"


def test_seconds_are_an_objective_only_where_they_say_more_than_cycles(make_row):
    assert [c.name for c in Points.of([make_row(), make_row(cycles=7)]).objectives] == ["cycles", "fifo.capacity_bytes"]


# --- the best ---------------------------------------------------------------------------------------


def test_best_slowest_and_ties(make_row):
    rows = [
        make_row(0, cycles=900, depth=8),
        make_row(1, cycles=500, depth=8),
        make_row(2, cycles=500, depth=6),
        make_row(3, cycles=700, depth=2),
        make_row(4, cycles=1, depth=1, deadlock=True),
        make_row(5, status="failed", error="why"),
    ]
    points = Points.of(rows)
    by_cycles, by_bytes = points.best
    assert (by_cycles.objective.name, by_cycles.point, by_cycles.ties) == ("cycles", 2, 2), "the cheaper of the two"
    assert (by_bytes.objective.name, by_bytes.point, by_bytes.ties) == ("fifo.capacity_bytes", 3, 1)
    assert points.slowest == 0
    assert points.front == (False, False, True, True, False, False)
    assert points.selected_first == (2, 3, 0, 4), "the best, and for contrast the slowest and a deadlock"


def test_designs_within_the_tolerance_are_equally_good_and_the_cheapest_is_named(make_row):
    """Ten designs within 0.064 % in time, from 50 to 125 in area: the small one is the answer."""
    rows = [make_row(i, cycles=1_000_000 + 64 * (9 - i), depth=50 + 8 * i) for i in range(10)]
    points = Points.of([*rows, make_row(10, cycles=2_000_000, depth=30), make_row(11, cycles=1_500_000, depth=36)])
    by_cycles, by_bytes = points.best
    assert (by_cycles.point, by_cycles.ties) == (0, 10)
    assert by_bytes.point == 10
    assert [i for i, on_it in enumerate(points.front) if on_it] == [0, 10, 11]
    exact = dataclasses.replace(points, goals=Goals(tolerance=0.0))
    assert (exact.best[0].point, exact.best[0].ties) == (9, 1)
    assert sum(exact.front) == 12


def test_the_knee_gives_up_least_in_all_objectives(make_row):
    # depth is 8 bytes each: along the front (0, 1), (0.1, 0.4), (0.5, 0.2), (1, 0) of cycles and bytes
    front = ((1000, 22), (1100, 10), (1500, 6), (2000, 2))
    rows = [make_row(i, cycles=cycles, depth=depth) for i, (cycles, depth) in enumerate(front)]
    points = Points.of([*rows, make_row(4, cycles=5000, depth=30)])
    assert points.front == (True, True, True, True, False)
    assert points.knee == 1
    assert points.selected_first == (0, 3, 1, 4)
    assert points.roles == {
        0: "lowest cycles",
        3: "lowest FIFO capacity",
        1: "knee of the front",
        4: "slowest",
    }


@pytest.mark.parametrize(
    "front",
    [((1000, 22), (2000, 2)), ((1000, 22), (1900, 20), (2000, 2)), ((1000, 22),)],
    ids=["two ends", "bulging outwards", "one point"],
)
def test_a_front_without_a_bend_has_no_knee(make_row, front):
    points = Points.of([make_row(i, cycles=cycles, depth=depth) for i, (cycles, depth) in enumerate(front)])
    assert all(points.front)
    assert points.knee is None


def test_designs_are_compared_on_the_same_workload(make_row):
    rows = [
        make_row(0, cycles=100, depth=4),
        make_row(1, cycles=120, depth=2),
        make_row(2, cycles=900, depth=4, workload=LONG),
        make_row(3, cycles=800, depth=2, workload=LONG),
    ]
    points = Points.of(rows)
    by_cycles, by_bytes = points.best
    assert (by_cycles.point, by_cycles.wins, by_cycles.workloads) == (3, 1, 2)
    assert (by_bytes.point, by_bytes.wins, by_bytes.workloads) == (3, 2, 2)
    assert points.front == (True, True, False, True)
    assert points.label(3, "design") == "fifo_depth 2"
    assert points.workload_labels == ("seq_len 8", "seq_len 16")


def test_few_points_are_all_selected(make_row):
    assert Points.of([make_row(i, depth=i + 2) for i in range(3)]).selected_first == (0, 1, 2)


def test_seeds_do_not_make_workloads(make_row):
    points = Points.of([make_row(workload=SHORT.with_(seed=seed)) for seed in range(3)])
    assert len(points.workload_labels) == 1
    assert [axis.name for axis in points.axes] == ["seed"]


# --- points that several studies share ----------------------------------------------------------------


def test_a_point_of_a_sweep_and_a_search_is_one_point(make_row):
    swept = [make_row(i, depth=i + 2, cycles=100 - 10 * i) for i in range(4)]
    searched = [make_row(i, depth=5 - i, cycles=70 + 10 * i, study="made-up/nsga2-0") for i in range(3)]
    points = Points.of([*swept, *searched], distinct=True)
    assert len(points) == 4
    assert [best.ties for best in points.best] == [1, 1]
    assert points.column("study").values == ("made-up", *3 * ("made-up, made-up/nsga2-0",))
    assert len(Points.of([*swept, *searched])) == 7, "tables keep a row for each study"


def test_two_runs_of_one_design_in_a_study_stay_two(make_row):
    assert len(Points.of([make_row(0), make_row(1)], distinct=True)) == 2


def test_a_point_that_only_one_study_forbids_stays_two(make_row):
    goals = Goals(constraints={"other": (Constraint("cycles", "<=", 10, "cycle"),)})
    points = Points.of([make_row(0), make_row(0, study="other")], goals, distinct=True)
    assert points.states == ("done", "infeasible")
    assert list(points.reasons) == [1]


# --- layers -------------------------------------------------------------------------------------------


def of_layers(row, layers):
    metrics = row.outcome.metrics | {"layers": layers}
    return dataclasses.replace(row, outcome=dataclasses.replace(row.outcome, metrics=metrics))


def test_designs_are_compared_on_equally_many_layers(make_row):
    one = [of_layers(make_row(i, cycles=100 + i, depth=2 + i), 1) for i in range(2)]
    every = [of_layers(make_row(2 + i, cycles=3200 + i, depth=4 + i, algorithm="sdpa.scaled"), 32) for i in range(2)]
    points = Points.of([*one, *every])
    assert points.mixed_layers == {1: ("sdpa.naive",), 32: ("sdpa.scaled",)}
    assert points.workload_labels == ("1 layer", "32 layers")
    assert (points.best[0].point, points.slowest) == (2, 3), "a factor is within 32 layers"
    assert points.front == (True, False, True, False)


def test_layers_of_metrics_are_told_from_a_parameter_called_layers(make_row):
    rows = [make_row(0), make_row(1, cycles=3200, algorithm="sdpa.scaled", parameters={"layers": 0})]
    points = Points.of([of_layers(rows[0], 1), of_layers(rows[1], 32)])
    assert points.mixed_layers == {1: ("sdpa.naive",), 32: ("sdpa.scaled",)}


def test_layers_that_follow_from_the_workload_are_no_mixture(make_row):
    points = Points.of([of_layers(make_row(0), 12), of_layers(make_row(1, workload=LONG), 32)])
    assert points.mixed_layers == {}
    assert points.workload_labels == ("seq_len 8", "seq_len 16")


# --- estimates --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dies():
    """A published die, one that is not published, and one whose published die no longer holds."""
    names = ("h100", "tpu_v5p")
    workload = Workload(name="w", phase="decode", heads=32, kv_heads=8, q_len=1, kv_len=4096, head_dim=128)
    found = []
    for position, chip in enumerate([*map(load_accelerator, names), load_accelerator("h100").with_(cores=64)]):
        parameters = complete_parameters(find_algorithm("decode.split_kv"), {})
        point = DesignPoint("decode.split_kv", workload, parameters, timing_only=True, chip=ChipSetting(chip))
        found.append(Row("s", position, point, attempt(point), 1, None, {}))
    return found


def test_what_rests_on_an_estimated_die_is_marked(dies):
    points = Points.of(dies)
    assert [points.estimate(i, "energy_j") for i in range(3)] == ["", "estimated die and node", "estimated die"]
    assert [points.estimate(i, "area_mm2") for i in range(3)] == ["", "estimated die and node", "estimated die"]
    assert {points.estimate(i, "seconds") for i in range(3)} == {""}


def test_what_rests_on_an_assumed_node_is_marked(dies):
    chips = {name: load_accelerator(name) for name in ("rtx_pro_6000_server", "l40s")}
    assert all(area_of(chip).published for chip in chips.values())
    assumed, published = (estimates_of(chip, ["energy_j"], ["area_mm2"]) for chip in chips.values())
    assert (assumed, published) == ({"energy_j": "assumed node"}, {})
    set_by_hand = chips["rtx_pro_6000_server"].with_(node_nm=5, area_mm2=700)
    assert estimates_of(set_by_hand, ["energy_j"], ["area_mm2"]) == {}
    models = complete_parameters(find_algorithm("model.step"), {})
    step = DesignPoint("model.step", None, models, chip=ChipSetting(load_accelerator("tpu_v5p")))
    told = ModelFamily().estimates(step)
    assert told["model.energy_j"] == "estimated die and node" and "model.step_s" not in told


def test_a_table_of_the_front_marks_estimates_and_says_on_what_they_rest(dies):
    points = Points.of(dies, Goals((Objective("energy_j", "min", "J"), Objective("seconds", "min", "s"))))
    lines = front_table(points, [0, 1]).splitlines()
    published, estimated = (
        next(line for line in lines if row.point.on_chip.accelerator.name in line) for row in dies[:2]
    )
    assert "†" not in published and estimated.count("†") == 1
    assert lines[-1] == "† rests on an estimated die and node"
    assert "†" not in front_table(points, [0])


def test_values_in_a_table_of_the_front_have_the_digits_that_tell_them_apart(dies):
    values = (0.03505323451502324, 0.035054, 0.035196768500688)
    outcomes = [dataclasses.replace(dies[0].outcome, metrics={"energy_j": value}) for value in values]
    rows = [dataclasses.replace(dies[0], outcome=outcome) for outcome in outcomes]
    points = Points.of(rows, Goals((Objective("energy_j", "min", "J"),)))
    shown = front_table(points, [0, 1, 2])
    assert "0.035053 J" in shown and "0.035054 J" in shown and "0.035197 J" in shown
    assert "35.1 mJ" in front_table(points, [0])


def test_an_estimate_is_never_ranked_silently_against_published_values(dies):
    objectives = (Objective("energy_j", "min", "J"),)
    points = Points.of(dies, Goals(objectives))
    (best,) = points.best
    assert points.estimate(best.point, "energy_j")
    assert points.best_published(best) == 0
    told = str(answer(points))
    assert "that rests on an estimated die and node: without one the best is " in told
    assert "h100" in told
    (card,) = cards(points)
    assert "estimated die" in card.records[0].aside
    assert dict(card.facts)["Estimate"].startswith("that rests on an estimated die")
    published = Points.of(dies[:1], Goals(objectives))
    assert published.best_published(published.best[0]) is None
    assert "estimated" not in str(answer(published))


def test_a_family_of_many_metrics_says_what_its_pages_are_about(make_row):
    parameters = complete_parameters(find_algorithm("live.serve"), {})
    point = DesignPoint("live.serve", None, parameters, chip=ChipSetting(load_accelerator("h100")))
    rows = []
    for i in range(2):
        row = make_row(i)
        names = [metric.name for metric in all_metrics() if metric.name.startswith("live.")]
        metrics = {name: 1.0 + i * (1 + place) for place, name in enumerate(names)}  # none is another in another unit
        outcome = dataclasses.replace(row.outcome, metrics={**row.outcome.metrics, **metrics})
        rows.append(dataclasses.replace(row, point=point, outcome=outcome))
    assert [column.name for column in Points.of(rows).objectives] == list(LiveFamily.objectives)
    assert set(LiveFamily.objectives) <= {metric.name for metric in all_metrics() if metric.goal}
    wanted = Goals((Objective("live.refused", "min", ""),))
    assert [column.name for column in Points.of(rows, wanted).objectives] == ["live.refused"]


def test_the_knee_comes_first(make_row):
    front = ((1000, 22), (1100, 10), (1500, 6), (2000, 2))
    points = Points.of([make_row(i, cycles=cycles, depth=depth) for i, (cycles, depth) in enumerate(front)])
    assert str(answer(points)).startswith(
        "The design that gives up least is <strong>fifo_depth 10</strong>: 1,100 cycles"
    )
    first, *others = cards(points)
    assert (first.point, first.records[0].title) == (1, "Gives up least")
    assert [card.point for card in others] == [0, 3]
