"""Streams are explained by the policies that were tried: whether the model keeps up, for how long, at what memory."""

import dataclasses
import json
import math

import pytest

from hwmodels.chips.accelerator import load_accelerator
from simulator.errors import CapacityError
from studies.cli.app import run_command_line
from studies.families.stream import explain
from studies.families.stream.evaluate import evaluate_stream
from studies.families.stream.explain import explain_stream, lasts_s
from studies.points.chips import chip_setting
from studies.points.find import find_algorithm
from studies.points.knobs import complete_parameters
from studies.points.point import DesignPoint


def stream(**parameters):
    chip = chip_setting(load_accelerator("jetson_agx_orin_64g"), {}, {})
    chosen = {"scenario": "camera-orin", **parameters}
    return DesignPoint("live.stream", None, complete_parameters(find_algorithm("live.stream"), chosen), chip=chip)


def test_how_long_a_growing_policy_keeps_up_is_foreseen_from_a_shorter_stream():
    foreseen = lasts_s(evaluate_stream(stream(rate=16.0, seconds=12.0)))
    longer = evaluate_stream(stream(rate=16.0, seconds=36.0))
    assert 12 < foreseen < 36
    assert not longer.judged.keeps_up
    assert lasts_s(longer) == pytest.approx(foreseen, rel=0.15)


def test_what_bounds_memory_and_work_keeps_up_for_good_and_what_is_too_fast_never_does():
    bounded = stream(seconds=12.0, policy="streaming_llm(sink=64,recent=2000)")
    assert math.isinf(lasts_s(evaluate_stream(bounded)))
    fast = dict(bounded.parameters) | {"rate": 400.0, "seconds": 1.0}
    assert lasts_s(evaluate_stream(dataclasses.replace(bounded, parameters=tuple(sorted(fast.items()))))) < 0.1


def test_five_policies_are_told_of_and_the_best_is_named():
    found = explain_stream(stream(rate=16.0, seconds=12.0))
    policies = [each["policy"] for each in found.describe()["policies"]]
    assert policies[0] == "full" and len(set(policies)) == len(policies) == 5
    assert found.sentence.startswith("full: keeps up for about ")
    best = min(found.evaluations, key=lambda each: (-lasts_s(each), each.judged.peak_bytes))
    assert best.found.scenario.text.policy in found.sentence.partition(";")[2]
    assert all(policy in found.text() for policy in policies)


def test_a_policy_that_cannot_run_is_named_with_its_reason(monkeypatch):
    def refuses(point):
        if str(dict(point.parameters)["policy"]).startswith("rekv"):
            raise CapacityError("keys kept near need 9 GB\n  of 8 GB")
        return evaluate_stream(point)

    monkeypatch.setattr(explain, "evaluate_stream", refuses)
    found = explain_stream(stream(rate=16.0, seconds=4.0))
    assert [each.found.scenario.text.policy.partition("(")[0] for each in found.evaluations] == [
        "full",
        "streaming_llm",
        "streaming_vlm",
        "infinipot_v",
    ]
    reason = "keys kept near need 9 GB of 8 GB"
    assert found.describe()["left_out"] == [{"name": "policy", "after": "rekv(local=15000)", "reason": reason}]
    assert f"policy rekv(local=15000) cannot be: {reason}" in found.text()


def test_the_command_line_prints_the_same(capsys):
    code = run_command_line(
        ["explain", "live.stream", "camera-orin", "--set", "rate=16", "--set", "seconds=8", "--json", "--quiet"]
    )
    document = json.loads(capsys.readouterr().out)
    assert code == 0
    assert [each["keeps_up"] for each in document["policies"]] == [True] * 5
    assert document["sentence"].startswith("full: ")
