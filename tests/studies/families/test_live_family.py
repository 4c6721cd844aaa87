"""Served scenarios on the command line: what they print, what they refuse, what explains them, what is their design."""

import dataclasses
import json

import pytest

from simulator.engines import progress
from simulator.errors import CapacityError
from studies.cli.app import run_command_line
from studies.families.live import explain
from studies.families.live.evaluate import evaluate_live

SMALL = """
name: small
arrivals: {requests: 40, rate: 30.0}
lengths:
  prompt: {mean: 300, median: 200, most: 2000}
  output: {least: 5, most: 60}
model: qwen3-0.6b
deployment: {chip: h100}
scheduler: {kind: vllm, most_sequences: 8, most_tokens: 512}
service: {ttft: 200 ms}
"""


def run(capsys, *words):
    code = run_command_line(list(words))
    printed = capsys.readouterr()
    return code, printed.out, printed.err


@pytest.fixture
def scenario(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


def served(capsys, scenario, *words, ends_with=0):
    code, out, err = run(capsys, "run", "live.serve", str(scenario), *words, "--json", "--quiet")
    assert code == ends_with, err
    return json.loads(out)


def test_a_scenario_holds_latencies_course_memory_and_where_requests_are_from(capsys, scenario):
    found = served(capsys, scenario)
    metrics = found["metrics"]
    assert metrics["live.requests"] == metrics["live.finished"] == 40
    assert {curve["name"] for curve in found["latencies"]} == {"ttft", "tpot", "latency", "queueing"}
    for curve in found["latencies"]:
        assert curve["seconds"] == sorted(curve["seconds"]) and len(curve["seconds"]) == len(curve["shares"])
    assert found["origin"].startswith("drawn with seed 0: 40 requests")
    held = {each["name"]: each["bytes"] for each in found["memory"]}
    assert held["weights"] + held["activations"] + held["kv, all blocks"] <= held["usable"]
    assert 0 < held["kv, owned at most"] <= held["kv, all blocks"]
    assert 0 < found["mean_error"] < 0.05
    made = sum((each["end_s"] - each["start_s"]) * each["output_tokens_per_second"] for each in found["course"])
    # the first token of each request comes out of its prompt, not of a group
    output = metrics["live.output_tokens_per_second"] * found["seconds"]
    assert made == pytest.approx(output - 40, rel=1e-6)


def test_what_is_set_takes_the_place_of_what_the_scenario_says(capsys, scenario):
    base = served(capsys, scenario)["metrics"]
    faster = served(capsys, scenario, "--set", "speed=0.01")["metrics"]
    assert faster["live.queueing_p99_s"] < base["live.queueing_p99_s"]
    assert served(capsys, scenario, "--set", "requests=7")["metrics"]["live.requests"] == 7
    assert (
        served(capsys, scenario, "--set", "chip.hbm.bytes_per_second=6 TB/s")["metrics"]["live.tpot_mean_s"]
        < (base["live.tpot_mean_s"])
    )
    closed = served(capsys, scenario, "--set", "clients=2")
    assert max(each["running"] for each in closed["course"]) <= 2 + 1e-9


def test_the_same_bytes_come_twice_and_without_skipping(capsys, scenario):
    def kept(*words):
        found = served(capsys, scenario, *words)
        metrics = {name: value for name, value in found["metrics"].items() if name.startswith("live.")}
        errors = metrics.pop("live.table_error"), found["mean_error"], found["largest_error"], found["compared_steps"]
        same = ("latencies", "memory", "seconds", "refused", "simulated_steps")
        return {name: found[name] for name in same} | {"metrics": metrics}, errors

    first = kept()
    assert first == kept()
    # other steps are compared where each is an entry of its own
    assert first[0] == kept("--set", "skip=false")[0]
    exact, errors = kept("--set", "exact=true")
    assert errors == (0.0, 0.0, 0.0, 0)
    latency = "live.latency_mean_s"
    assert exact["metrics"][latency] == pytest.approx(first[0]["metrics"][latency], rel=0.02)


def test_a_trace_that_is_there_is_read_and_part_of_the_design(capsys, scenario):
    trace = scenario.parent / "requests.csv"
    trace.write_text("arrival_s,input_tokens,output_tokens\n0,100,10\n0.5,900,3\n")
    drawn = served(capsys, scenario)
    scenario.write_text(SMALL.replace("{requests: 40, rate: 30.0}", "{trace: requests.csv}"))
    found = served(capsys, scenario)
    assert found["origin"].startswith("read from requests.csv (plain): 2 requests")
    assert found["metrics"]["live.requests"] == 2
    trace.write_text("arrival_s,input_tokens,output_tokens\n0,100,10\n0.5,900,4\n")
    assert len({drawn["key"], found["key"], served(capsys, scenario)["key"]}) == 3


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rate: 30.0", "rate: -1", "small.yaml:3: arrivals.rate: must be greater than 0"),
        ("requests: 40, rate: 30.0", "trace: none.csv", "arrivals.requests: must be given: there is no trace none.csv"),
        ("chip: h100", "chip: h1000", "unknown chip 'h1000'"),
        ("qwen3-0.6b", "qwen3-0.6", "unknown model 'qwen3-0.6'"),
        ("kind: vllm", "kind: vlm", "small.yaml:9: scheduler.kind: no scheduler is called 'vlm'; did you mean 'vllm'?"),
        (
            "{least: 5, most: 60}",
            "{least: 5}",
            "small.yaml:6: lengths.output: must be a number, or have least",
        ),
        ("{mean: 300, median: 200, most: 2000}", "{mean: 100, median: 200}", "small.yaml:5: lengths.prompt.mean: must"),
        ("most_tokens: 512", "most_tokens: 4", "must hold a token of each of 8 sequences"),
        ("chip: h100", "chip: h100, tp: 2", "h100_sxm5_80g has 1 chips, the mapping needs 2"),
        ("most_tokens: 512", "most_tokens: 512, blocks: 99999999", "small.yaml:9: scheduler.blocks: must be at most"),
        ("arrivals", "arivals", "small.yaml:3: arivals: unknown key; did you mean 'arrivals'?"),
    ],
)
def test_bad_scenarios_are_one_line_each(capsys, scenario, old, new, message):
    assert old in SMALL
    scenario.write_text(SMALL.replace(old, new))
    code, _, err = run(capsys, "run", "live.serve", str(scenario))
    assert code == 2
    assert message in err
    assert "Traceback" not in err


def test_what_does_not_fit_ends_with_code_3(capsys, scenario):
    scenario.write_text(SMALL.replace("qwen3-0.6b", "llama3-70b"))
    code, _, err = run(capsys, "run", "live.serve", str(scenario))
    assert code == 3
    assert "leave no room for keys and values" in err


def test_a_request_that_can_never_be_served_is_named_and_the_run_ends_with_code_3(capsys, scenario):
    found = served(capsys, scenario, "--set", "blocks=20", ends_with=3)
    assert found["metrics"]["live.refused"] > 0
    assert "KV blocks, more than all 20" in found["refused"][0]
    assert found["metrics"]["live.refused"] + found["metrics"]["live.finished"] == 40


@pytest.mark.parametrize("verb", ["run", "explain"])
def test_people_are_told_of_requests_that_can_never_be_served_and_all_others_are(capsys, scenario, verb):
    code, out, _ = run(capsys, verb, "live.serve", str(scenario), "--set", "blocks=20", "--quiet")
    assert code == 3
    assert "refused, for example: its " in out and "KV blocks, more than all 20" in out
    assert "time to the first token" in out


def test_an_explanation_names_levers_that_were_tried(capsys, scenario):
    code, out, _ = run(capsys, "explain", "live.serve", str(scenario), "--json", "--quiet")
    assert code == 0
    found = json.loads(out)
    levers = {lever["name"]: lever["gain"] for lever in found["levers"]}
    assert {"chip.hbm.bytes_per_second", "replicas", "most_sequences", "kv"} <= set(levers)
    assert found["binding"] == "tokens one after the other"
    assert levers["chip.hbm.bytes_per_second"] > 0.05
    assert found["levers"][0]["gain"] == max(levers.values())


def test_levers_that_cannot_be_are_named_with_their_reason(capsys, scenario, monkeypatch):
    def refuses(point):
        values = dict(point.parameters)
        if values.get("weights") == "float8":
            raise CapacityError("weights need 9 GB\n  of 8 GB")
        found = evaluate_live(point)
        if values.get("kv") == "fp8":
            metrics = dataclasses.replace(found.found.metrics, finished=39)
            return dataclasses.replace(found, found=dataclasses.replace(found.found, metrics=metrics))
        return found

    monkeypatch.setattr(explain, "evaluate_live", refuses)
    code, out, _ = run(capsys, "explain", "live.serve", str(scenario), "--json", "--quiet")
    found = json.loads(out)
    assert code == 0
    left_out = {each["name"]: each for each in found["left_out"]}
    assert set(left_out) & {lever["name"] for lever in found["levers"]} == set()
    assert left_out["tp"]["after"] == 2 and "h100_sxm5_80g has 1 chips" in left_out["tp"]["reason"]
    assert left_out["weights"]["reason"] == "weights need 9 GB of 8 GB"
    assert left_out["kv"]["reason"] == "39 requests have all of their tokens, 40 without it"
    code, out, _ = run(capsys, "explain", "live.serve", str(scenario), "--quiet")
    assert "tp 2 cannot be: " in out and "weights float8 cannot be: weights need 9 GB of 8 GB" in out


def test_links_to_tiers_are_what_requests_wait_for_where_they_are_slow(capsys, scenario):
    shared = "  shared: {share: 0.8, depth: 0.9, block_tokens: 16}"
    text = SMALL.replace("most_tokens: 512", "most_tokens: 512, blocks: 150").replace("model:", f"{shared}\nmodel:")
    tiers = "chip: h100, tiers: [{name: host, capacity: 8 GB, rate: RATE}]"
    scenario.write_text(text.replace("chip: h100", tiers.replace("RATE", "1 TB/s")))
    fast = served(capsys, scenario)
    scenario.write_text(text.replace("chip: h100", tiers.replace("RATE", "20 MB/s")))
    slow = served(capsys, scenario)
    assert fast["waits_for"] != "links" and fast["metrics"]["live.moving_share"] < 0.01
    assert slow["metrics"]["live.moving_share"] > 0.5
    assert slow["metrics"]["live.prefix_hit_rate"] > 0.3
    held = {each["name"]: each["bytes"] for each in slow["memory"]}
    assert 0 < held["host, held at most"] <= 8e9
    scenario.write_text(text)
    assert served(capsys, scenario)["metrics"]["live.prefix_hit_rate"] < fast["metrics"]["live.prefix_hit_rate"]
    scenario.write_text(text.replace("chip: h100", tiers.replace("RATE", "20 MB/s")))
    assert served(capsys, scenario, "--set", "speed=0.01")["waits_for"] == "links", "where nobody queues"


def test_every_fault_of_a_scenario_is_told_once(capsys, scenario):
    scenario.write_text(SMALL.replace("rate: 30.0", "rate: -3").replace("chip: h100", "chip: h100, tpp: 2"))
    code, _, err = run(capsys, "run", "live.serve", str(scenario))
    assert code == 2
    told = [line.split(": ", 1)[1] for line in err.splitlines()]
    assert told == [
        "arrivals.rate: must be greater than 0 (got -3)",
        "deployment.tpp: unknown key; did you mean 'tp'?",
    ]


def test_whoever_waits_for_a_scenario_hears_how_far_it_is(capsys, scenario):
    told = []

    def note(what, done, total):
        told.append((what, done, total))

    progress.listen(note)
    try:
        served(capsys, scenario)
    finally:
        progress.leave(note)
    came = [each for each in told if each[0] == "requests that came"]
    assert came == [("requests that came", number, 40) for number in range(1, 41)]
