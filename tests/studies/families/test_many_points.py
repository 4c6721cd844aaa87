"""Points evaluated together, with all that they share, are those evaluated one by one with nothing remembered."""

from __future__ import annotations

import itertools
import json
import pickle
import random
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from algorithms.chip.algorithm import get_chip_algorithm
from algorithms.chip.timing.mapping import forget_launches
from algorithms.workload.one_head import ONE_HEAD_ON_CHIP
from hwmodels.chips.accelerator import load_accelerator
from studies.families.attempt import attempt, attempt_to_store
from studies.families.chip.evaluate import evaluate_on_chip
from studies.families.family import families, family_of
from studies.points.chips import chip_setting
from studies.points.knobs import complete_parameters
from studies.points.outcome import Outcome
from studies.points.point import DesignPoint
from studies.search.sweep import in_structures
from studies.study.resolve import read_study

CONFIGS = Path(__file__).parents[3] / "studies" / "configs"
STUDIES = (
    "bandwidth-cores",
    "decode-h100",
    "decode-splits",
    "fifo-depth",
    "kv-policies",
    "loop-orders",
    "mla-orders",
    "speculative",
)
"""Studies of chips and graphs whose points are small."""
MOST_POINTS = 20_000


def some_points(name: str, count: int = 6) -> list[DesignPoint]:
    """Points of a shipped study at random places of its grid."""
    question = read_study(CONFIGS / f"{name}.yaml")
    choices = list(islice(question.space.choices(), MOST_POINTS))
    return [question.point(choice) for choice in random.Random(name).sample(choices, min(count, len(choices)))]


def said(outcome: Outcome) -> tuple[str, str, str]:
    """All of an outcome but how long it took here."""
    detail = outcome.detail.to_json() if outcome.detail else {}

    def lasting(value: object) -> object:
        if isinstance(value, dict):
            return {name: lasting(inner) for name, inner in value.items() if name not in ("wall_s", "compile_s")}
        return [lasting(inner) for inner in value] if isinstance(value, list | tuple) else value

    return outcome.status, json.dumps(lasting(dict(outcome.metrics))), json.dumps(lasting(detail))


def alone(point: DesignPoint) -> Outcome:
    """A point evaluated with no launch remembered."""
    forget_launches()
    return attempt(point)


@pytest.mark.parametrize("name", STUDIES)
def test_points_of_a_study_together_are_the_same_as_alone(name):
    points = some_points(name)
    together = [said(outcome) for outcome in attempt.many([*points, *points])]
    one_by_one = [said(alone(point)) for point in points]
    assert together == one_by_one * 2


def neighbours(name: str, count: int) -> list[DesignPoint]:
    """Points around one at a random place of a grid, so that they share plans, launches and runs with equal times."""
    question = read_study(CONFIGS / f"{name}.yaml")
    choices = list(islice(question.space.choices(), MOST_POINTS))
    draw = random.Random(f"around {name}")
    anchor = draw.choice(choices)
    near = [choice for choice in choices if sum(choice[axis] != anchor[axis] for axis in anchor) <= 2]
    return [question.point(choice) for choice in draw.sample(near, min(count, len(near)))]


def test_neighbours_in_the_order_of_a_sweep_come_as_processes_send_them_and_are_the_same_as_alone():
    points = neighbours("decode-h100", 24)
    ordered = in_structures(points)
    assert sorted(point.key for point in ordered) == sorted(point.key for point in points)
    structures = [family_of(point).structure(point) for point in ordered]
    changes = sum(before != after for before, after in itertools.pairwise(structures))
    assert 1 < len(set(structures)) == 1 + changes < len(points)
    # two tasks of a worker: equal chips of both are different objects
    tasks = [pickle.loads(pickle.dumps(ordered[:12])), pickle.loads(pickle.dumps(ordered[12:]))]
    together = [said(outcome) for task in tasks for outcome in attempt.many(task)]
    assert together == [said(alone(point)) for point in ordered]


def test_points_without_an_algorithm_or_a_chip_have_their_turn_and_say_why_they_cannot_be_evaluated():
    sound = some_points("decode-h100", 2)
    gone, bare = replace(sound[0], algorithm="gone.away"), replace(sound[0], chip=None)
    ordered = in_structures([sound[0], gone, bare, sound[1]])
    assert {id(point) for point in ordered} == {id(point) for point in (*sound, gone, bare)}
    failed = {outcome.key: outcome.error for outcome in attempt.many(ordered) if outcome.status == "failed"}
    assert "gone.away" in failed[gone.key]
    assert "chip" in failed[bare.key]


def test_a_tiny_point_of_every_family_after_others_is_the_same_as_alone():
    points = [family.rehearsal() for family in families()]
    assert {family_of(point).name for point in points} == {family.name for family in families()}
    together = [said(outcome) for outcome in attempt.many(points + points)]
    assert together == [said(alone(point)) for point in points] * 2


@pytest.mark.parametrize("name", ["decode-h100", "fifo-depth"])
def test_what_a_worker_writes_is_what_the_outcome_says(name):
    for point in some_points(name, 3):
        outcome, written = attempt(point), attempt_to_store(point).written
        assert written is not None

        def untimed(text: str) -> dict[str, object]:
            document = json.loads(text)
            document.pop("wall_s", None)
            for part in ("metrics", "result"):
                if isinstance(document.get(part), dict):
                    document[part] = {k: v for k, v in document[part].items() if k not in ("wall_s", "compile_s")}
            return document

        assert outcome.detail is not None
        assert untimed(written.metrics) == untimed(json.dumps(outcome.metrics))
        assert untimed(written.detail) == untimed(json.dumps(outcome.detail.to_json()))
        assert list(json.loads(written.detail)) == list(outcome.detail.to_json())


@pytest.mark.parametrize("name", ["decode-h100", "fifo-depth", "memory-patterns"])
def test_texts_of_a_point_are_those_of_its_description(name):
    for point in some_points(name, 4):
        assert point.text == json.dumps(point.describe(), allow_nan=False)
        content = json.loads(point.canonical)
        assert point.canonical == json.dumps(content, sort_keys=True, separators=(",", ":"))
        described = json.loads(json.dumps(point.describe()))
        assert {k: v for k, v in described.items() if k not in ("chip", "workload")}.keys() <= content.keys()


@pytest.mark.parametrize(
    "name", ["flash.q_outer", "flash.training", "decode.split_kv", "decode.verify", "flash.kv_outer"]
)
def test_what_is_timed_is_the_plan_of_the_algorithm_itself(name):
    """Algorithms that extend another one have plans of their own."""
    algorithm = get_chip_algorithm(name)
    chip = chip_setting(load_accelerator("h100"), {}, {})
    work = ONE_HEAD_ON_CHIP.with_(q_len=8, kv_len=200)
    point = DesignPoint(name, work, complete_parameters(algorithm, {}), timing_only=True, chip=chip)
    assert evaluate_on_chip(point).plan == algorithm.plan(work, algorithm.parameters(), chip.accelerator)
